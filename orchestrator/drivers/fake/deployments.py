"""Deployments of simulated machines: one that was turned on with the medium in its drive claims, and does its tasks.

Time does not pass there: each time that the deployment is looked at, the machine does one thing more (it claims, begins a task,
ends one). Faults: ``deploy.inspect``, ``deploy.write``, ``deploy.erase``, ``deploy.test``, ``deploy.password``,
``deploy.rescue``, ``deploy.finish`` strike the task of that kind, which has failed then; ``deployments.open`` and so on strike
the port's own calls.
"""

from __future__ import annotations

import copy
import hashlib
import secrets
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

from orchestrator.domain.canonical import canonical_json
from orchestrator.domain.deployments import differences
from orchestrator.domain.errors import OrchestratorError, PermanentDriverError, WrongState
from orchestrator.domain.sizes import size_words
from orchestrator.drivers.fake.world import FakeWorld, State, node_of
from orchestrator.ports.bmc import BootFrom, MachinePower
from orchestrator.ports.clock import Clock
from orchestrator.ports.deployment import REPORTED, Deployment, Disk, Expected, Inspection, Network, Nic, Task, TaskState

_URL = "https://desk.invalid/deploy/v1/media/"
_DEADLINE = 30.0
WAITING, RUNNING, DONE, FAILED = "waiting", "running", "done", "failed"


def set_disks(world: FakeWorld, machine: str, **sizes: int) -> None:
    """The machine's disks, empty, by serial number: so many bytes each. Without it there is one of 1 TiB, ``<machine>-disk0``."""
    with world.change() as state:
        node_of(state, machine)["machine"]["disks"] = [_disk(serial, size) for serial, size in sizes.items()]


def disk(world: FakeWorld, machine: str, serial: str) -> State:
    """What is on it: ``image`` (its SHA-256) and ``seed`` that were written last, ``markers`` that a tenant left, ``erased`` how
    often it was."""
    found = next(each for each in _disks(world.node(machine)) if each["serial"] == serial)
    return copy.deepcopy(found)


def plant(world: FakeWorld, machine: str, serial: str, marker: str) -> None:
    """A tenant writes something, somewhere an image does not reach."""
    with world.change() as state:
        _find(node_of(state, machine), serial)["markers"].append(marker)


class FakeDeployments:
    """The port ``Deployments``, for the machines of the simulated world."""

    def __init__(self, world: FakeWorld, clock: Clock) -> None:
        self._world, self._clock = world, clock

    def open(self, machine: str, *, job_id: str, expected: Expected, network: Network) -> str:
        medium = f"{_URL}{secrets.token_urlsafe(32)}/deploy.iso"
        now = self._clock.now().isoformat()

        def stage(node: State) -> None:
            before = node["machine"].get("deployment")
            tasks = before["tasks"] if before is not None and before["job_id"] == job_id else []
            for task in tasks:
                if task["state"] != DONE:
                    task.update(state=WAITING, fraction=0.0, says="", result={})
            node["machine"]["deployment"] = {
                "medium": medium,
                "job_id": job_id,
                "opened_at": now,
                "expected": {"uuid": expected.uuid, "serials": list(expected.serials)},
                "network": asdict(network),
                "claimed_at": None,
                "claimed_boot": 0,
                "heard_at": None,
                "refused": "",
                "inspection": None,
                "closed": False,
                "tasks": tasks,
            }

        self._act("open", machine, stage)
        return medium

    def deployment(self, machine: str, *, job_id: str) -> Deployment | None:
        """See the port. The machine goes on by one thing with each look."""
        if self._act("look", machine, lambda node: _open(node, job_id)) is None:
            return None
        self._go_on(machine)
        found = self._act("look", machine, lambda node: copy.deepcopy(_open(node, job_id)))
        return None if found is None else _told(machine, found)

    def give(self, machine: str, task: Task, *, job_id: str) -> None:
        body = {"kind": task.kind, "arguments": dict(task.arguments)}
        digest = hashlib.sha256(canonical_json(body, floats=True)).hexdigest()

        def stage(node: State) -> None:
            found = _open(node, job_id)
            if found is None:
                raise WrongState(f"no deployment of {machine} is open for the job {job_id}")
            known = next((each for each in found["tasks"] if each["key"] == task.key), None)
            if known is not None and known["sha256"] != digest:
                raise WrongState(f"the task {task.key} of {machine} was given with something else before")
            if known is None:
                new = {"key": task.key, **body, "sha256": digest, "state": WAITING, "fraction": 0.0, "says": "", "result": {}}
                found["tasks"].append(new)

        self._act("give", machine, stage)

    def close(self, machine: str, *, job_id: str) -> None:
        def stage(node: State) -> None:
            found = _open(node, job_id)
            if found is not None:
                found["closed"], found["tasks"] = True, []

        self._act("close", machine, stage)

    def _go_on(self, machine: str) -> None:
        """One thing more, as far as the machine runs the image."""
        node = self._world.node(machine)
        found = node["machine"]["deployment"]
        ending = next((task for task in found["tasks"] if task["state"] == RUNNING), None)
        if not _runs(node) or ending is None or found["claimed_boot"] != len(node["machine"]["boots"]):
            self._change(machine, lambda node: _come_further(node, self._clock.now()))
            return
        try:
            self._act(ending["kind"], machine, lambda node: _end(node, ending["key"], self._clock.now()), family="deploy")
        except OrchestratorError as exc:
            said = exc.message
            self._change(machine, lambda node: _task(node, ending["key"]).update(state=FAILED, says=said))

    def _change(self, machine: str, stage: Callable[[State], None]) -> None:
        with self._world.change() as state:
            stage(node_of(state, machine))

    def _act(self, method: str, machine: str, stage: Callable[[State], Any], *, family: str = "deployments") -> Any:
        return self._world.act(f"{family}.{method}", node=machine, subject=machine, deadline=_DEADLINE, stages=[stage])


def _disk(serial: str, size: int) -> State:
    return {"serial": serial, "bytes": size, "image": "", "seed": {}, "markers": [], "erased": 0}


def _disks(node: State) -> list[State]:
    found: list[State] = node["machine"].setdefault("disks", [_disk(f"{node['name']}-disk0", 1 << 40)])
    return found


def _find(node: State, serial: str) -> State:
    for each in _disks(node):
        if each["serial"] == serial:
            return each
    there = ", ".join(each["serial"] for each in _disks(node))
    raise PermanentDriverError(f"there is no disk with the serial number {serial} in this machine; there are: {there or 'none'}")


def _open(node: State, job_id: str) -> State | None:
    found: State | None = node["machine"].get("deployment")
    return found if found is not None and found["job_id"] == job_id and not found["closed"] else None


def _task(node: State, key: str) -> State:
    found: State = next(each for each in node["machine"]["deployment"]["tasks"] if each["key"] == key)
    return found


def _runs(node: State) -> bool:
    """Whether the machine runs the image that this deployment's medium has."""
    machine = node["machine"]
    return bool(
        machine["power"] == MachinePower.ON and machine["boots"] and machine["boots"][-1] == machine["deployment"]["medium"]
    )


def _come_further(node: State, now: datetime) -> None:
    """Claim, or begin a task."""
    if not _runs(node):
        return
    machine, found = node["machine"], node["machine"]["deployment"]
    if found["claimed_at"] is None:
        serials = [each["serial"] for each in _disks(node)]
        wanted = found["expected"]
        wrong = differences(uuid=wanted["uuid"], serials=wanted["serials"], found_uuid=machine["uuid"], found_serials=serials)
        if wrong:
            found["refused"] = f"this is not the machine {node['name']}: {'; '.join(wrong)}"
            return
        found["claimed_at"], found["claimed_boot"] = now.isoformat(), len(machine["boots"])
    elif found["claimed_boot"] != len(machine["boots"]):
        found["refused"] = "this token was claimed before, and is good for once"
        return
    else:
        waiting = next((task for task in found["tasks"] if task["state"] == WAITING), None)
        if waiting is not None:
            waiting.update(state=RUNNING, fraction=0.5)
    found["heard_at"] = now.isoformat()


def _end(node: State, key: str, now: datetime) -> None:
    """Carry the task out. Raises PermanentDriverError where the image would fail."""
    task = _task(node, key)
    result = _KINDS[task["kind"]](node, task["arguments"]) if task["kind"] in _KINDS else None
    if result is None:
        raise PermanentDriverError(f"this image knows no task {task['kind']}")
    reported = {REPORTED: now.isoformat(timespec="seconds")} if task["kind"] == "erase" else {}
    task.update(state=DONE, fraction=1.0, result=result | reported)


def _inspect(node: State, _arguments: Mapping[str, Any]) -> dict[str, Any]:
    machine = node["machine"]
    found = {
        "uuid": machine["uuid"],
        "serial": machine["serial"],
        "firmware": "uefi",
        "cpus": 16,
        "cpu_model": "Simulated CPU",
        "memory_bytes": 64 << 30,
        "disks": [
            {
                "name": f"nvme{number}n1",
                "serial": each["serial"],
                "by_id": f"nvme-Simulated_{each['serial']}",
                "model": "Simulated",
                "bytes": each["bytes"],
                "rotational": False,
                "transport": "nvme",
            }
            for number, each in enumerate(_disks(node))
        ],
        "nics": [{"name": f"eth{number}", "mac": mac, "link": True} for number, mac in enumerate(machine["macs"])],
    }
    machine["deployment"]["inspection"] = found
    return found


def _write(node: State, arguments: Mapping[str, Any]) -> dict[str, Any]:
    found = _find(node, arguments["serial"])
    if arguments["bytes"] > found["bytes"]:
        raise PermanentDriverError(f"the disk {found['serial']} has {size_words(found['bytes'])}: too small for the image")
    found["image"], found["seed"] = arguments["sha256"], dict(arguments.get("seed") or {})
    told = {"serial": found["serial"], "bytes": arguments["bytes"], "sha256": found["image"], "read_back_sha256": found["image"]}
    return {**told, "seed_at": found["bytes"] - (5 << 20) if found["seed"] else 0, "seconds": 1.0}


def _erase(node: State, arguments: Mapping[str, Any]) -> dict[str, Any]:
    rows = []
    for found in [_find(node, serial) for serial in arguments["disks"]]:
        found.update(image="", seed={}, markers=[], erased=found["erased"] + 1)
        row = {"serial": found["serial"], "model": "Simulated", "bytes": found["bytes"], "method": "nvme-sanitize-crypto"}
        rows.append({**row, "tried": [], "samples": 256, "seconds": 1.0, "unreached": "", "problem": ""})
    return {"drives": rows}


def _test(_node: State, arguments: Mapping[str, Any]) -> dict[str, Any]:
    memory = {"bytes": 60 << 30, "rounds": 1, "problems": []} if arguments.get("memory") else {}
    return {"memory": memory, "disks": [{"serial": each, "problems": []} for each in arguments.get("disks") or ()]}


def _password(node: State, arguments: Mapping[str, Any]) -> dict[str, Any]:
    found = _find(node, arguments["serial"])
    if not found["image"]:
        raise PermanentDriverError(f"no Linux system that is understood is on the disk {found['serial']}")
    found.setdefault("passwords", {})[arguments["user"]] = arguments["hash"]
    return {"partition": "nvme0n1p1", "filesystem": "ext4", "system": "Simulated Linux", "user": arguments["user"]}


def _rescue(node: State, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """It ends with the boot that it was opened in."""
    machine = node["machine"]
    if not arguments["keys"]:
        raise PermanentDriverError("no SSH key was given: nothing is opened")
    machine["rescue"] = {"boot": len(machine["boots"]), "keys": arguments["keys"], "addresses": arguments["addresses"]}
    key = hashlib.sha256(machine["deployment"]["medium"].encode()).hexdigest()
    return {"host_key": f"ssh-ed25519 {key}", "fingerprint": f"SHA256:{key[:43]}", "port": 22, "keys": len(arguments["keys"])}


def _finish(node: State, arguments: Mapping[str, Any]) -> dict[str, Any]:
    if arguments["power"] == "off":
        node["machine"]["power"] = MachinePower.OFF.value
    else:
        node["machine"]["boots"].append(BootFrom.DISK.value)
    return {}


_KINDS: dict[str, Callable[[State, Mapping[str, Any]], dict[str, Any]]] = {
    "inspect": _inspect,
    "write": _write,
    "erase": _erase,
    "test": _test,
    "password": _password,
    "rescue": _rescue,
    "finish": _finish,
}


def _told(machine: str, found: State) -> Deployment:
    def time(name: str) -> datetime | None:
        return None if found[name] is None else datetime.fromisoformat(found[name])

    inspected, opened = found["inspection"], time("opened_at")
    assert opened is not None
    return Deployment(
        machine=machine,
        job_id=found["job_id"],
        opened_at=opened,
        claimed_at=time("claimed_at"),
        heard_at=time("heard_at"),
        refused=found["refused"],
        inspection=None if inspected is None else _inspection(inspected),
        tasks=tuple(
            TaskState(**{key: task[key] for key in ("key", "state", "fraction", "says", "result")}) for task in found["tasks"]
        ),
    )


def _inspection(values: Mapping[str, Any]) -> Inspection:
    rest = {key: value for key, value in values.items() if key not in ("disks", "nics")}
    disks, nics = tuple(Disk(**each) for each in values["disks"]), tuple(Nic(**each) for each in values["nics"])
    return Inspection(**rest, disks=disks, nics=nics)
