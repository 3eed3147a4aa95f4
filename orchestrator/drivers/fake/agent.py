"""The simulated node agent: the commands of the real one, over the simulated node."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from agents.node.arguments import parse
from agents.node.commands import COMMANDS
from agents.node.protocol import AgentError
from orchestrator.domain.errors import NotFound, PermanentDriverError, Refused, RequestError, TransientDriverError, WrongState
from orchestrator.drivers.fake.directories import directory_report
from orchestrator.drivers.fake.disks import disk_files, system_bytes
from orchestrator.drivers.fake.traffic import counters
from orchestrator.drivers.fake.volumes import make
from orchestrator.drivers.fake.world import FakeWorld, State, pool_available
from orchestrator.drivers.words import plain
from orchestrator.ports.clock import Clock
from orchestrator.ports.node_transport import Progress
from orchestrator.ports.repositories import DiskSource
from orchestrator.ports.volumes import VolumeSpec

WIPING = ".wiping"
RECORDS = "/var/lib/orchestrator-agent/wipes"
VERSION = "fake"
Stage = Callable[[State], dict[str, Any]]


class FakeAgent:
    """NodeTransport over a simulated node. ``clock`` dates wipes; without one they carry the epoch."""

    def __init__(self, world: FakeWorld, node: str, *, clock: Clock | None = None) -> None:
        self._world = world
        self._node = node
        self._clock = clock

    def call(
        self, command: str, request: Mapping[str, Any], *, deadline: float, progress: Progress | None = None
    ) -> dict[str, Any]:
        commands: dict[str, Callable[[Mapping[str, Any]], list[Stage]]] = {
            "hello": self._hello,
            "doctor": self._doctor,
            "pool-fill": self._pool_fill,
            "disk-digest": self._disk_digest,
            "guest-traffic": lambda _request: [counters],
            "template-check": self._template_check,
            "volume-state": self._volume_state,
            "volume-make": self._volume_make,
            "volume-wipe": self._volume_wipe,
            "secret-wipe": self._secret_wipe,
            "residue": self._residue,
            "guest-freeze": self._guest_freeze,
            "guest-thaw": self._guest_thaw,
            "directory-measure": lambda request: [lambda node: directory_report(node, str(request["path"]))],
        }
        if command not in commands:
            raise PermanentDriverError(f"the agent of {self._node} knows no command {command!r}")
        try:  # as the agent on a node does: what that would refuse is refused here
            parse(COMMANDS[command].fields, json.loads(json.dumps(dict(request))))
        except AgentError as exc:
            raise RequestError(f"{command}: {exc.message}") from None
        stages = commands[command](request)
        result = self._world.act(
            f"agent.{command}",
            node=self._node,
            subject=str(request.get("path") or request.get("service_id") or request.get("uuid") or request.get("guest") or ""),
            deadline=deadline,
            stages=stages,
        )
        if progress is not None:
            progress(1.0, f"{command} done")
        return result

    def close(self) -> None:
        """Nothing is kept open."""

    def _now(self) -> str:
        return (self._clock.now() if self._clock else datetime.fromtimestamp(0, UTC)).isoformat()

    def _hello(self, request: Mapping[str, Any]) -> list[Stage]:
        def stage(node: State) -> dict[str, Any]:
            return {"version": VERSION, "sha256": "0" * 64, "hostname": node["name"], "python": "3.11"}

        return [stage]

    def _doctor(self, request: Mapping[str, Any]) -> list[Stage]:
        def stage(node: State) -> dict[str, Any]:
            missing = [
                {"name": name, "ok": False, "found": "", "mend": f"apt-get install {name}", "package": name}
                for name in node["missing"]
            ]
            pool = {"name": "pool", "ok": True, "found": node["pool_path"], "mend": "", "package": ""}
            restic = {"name": "restic", "ok": True, "found": "simulated", "mend": "", "package": ""}
            more = [restic] if request.get("backups") and "restic" not in node["missing"] else []
            return {"requirements": [pool, *more, *missing], "accelerated": node["accelerated"]}

        return [stage]

    def _pool_fill(self, request: Mapping[str, Any]) -> list[Stage]:
        def stage(node: State) -> dict[str, Any]:
            data = round(100 * (1 - pool_available(node) / node["pool_bytes"]), 2) if node["pool_bytes"] else 100.0
            return {"data_percent": data, "metadata_percent": node.get("metadata_percent", 1.0), "thin": []}

        return [stage]

    def _disk_digest(self, request: Mapping[str, Any]) -> list[Stage]:
        source = DiskSource(path=str(request["path"]), secret_uuid=str(request.get("secret_uuid", "")))

        def stage(node: State) -> dict[str, Any]:
            texts = [file["text"] for _, file in sorted(disk_files(node, source).items())]
            return {"sha256": hashlib.sha256(json.dumps(texts).encode()).hexdigest(), "size": system_bytes(node, source) * 16}

        return [stage]

    def _template_check(self, request: Mapping[str, Any]) -> list[Stage]:
        name, wanted = _volume_name(request["path"]), str(request["sha256"])

        def stage(node: State) -> dict[str, Any]:
            volume = node["volumes"].get(name)
            if volume is None:
                raise NotFound(f"the template {request['path']} is missing on {node['name']}")
            found = hashlib.sha256(b"corrupt").hexdigest() if volume["corrupt"] else volume["sha256"]
            return {"ok": found == wanted, "sha256": found, "size": volume["allocated_bytes"]}

        return [stage]

    def _volume_state(self, request: Mapping[str, Any]) -> list[Stage]:
        name = _volume_name(request["path"])

        def stage(node: State) -> dict[str, Any]:
            volumes = node["volumes"]
            state = "present" if name in volumes else "wiping" if name + WIPING in volumes else "absent"
            volume = volumes.get(name) or volumes.get(name + WIPING) or {}
            found = {
                "state": state,
                "allocated_bytes": volume.get("allocated_bytes", 0),
                "size": volume.get("capacity_bytes", 0),
                **({"mark": _mark(node, str(request["path"]), volume)} if volume else {}),
            }
            report = _reports(node).get(name) if state == "absent" else None
            return found if report is None else {**found, "report": report}

        return [stage]

    def _volume_make(self, request: Mapping[str, Any]) -> list[Stage]:
        name, template = _volume_name(request["path"]), _volume_name(request.get("template", ""))
        if not name.startswith("orch."):
            raise Refused(f"{name} is not the name of a service's volume")
        spec = VolumeSpec(
            name=name,
            capacity_bytes=int(request["capacity_bytes"]),
            template=template,
            template_format=str(request.get("template_format", "qcow2")),
            full_copy=bool(request.get("full_copy", False)),
            encrypted="passphrase" in request,
        )

        def stage(node: State) -> dict[str, Any]:
            made = make(node, spec, secret_uuid=node["secrets"].get(name, {}).get("uuid", ""))
            return {
                "path": made.path,
                "capacity_bytes": made.capacity_bytes,
                "allocated_bytes": made.allocated_bytes,
                "encrypted": spec.encrypted,
                "backing_path": made.backing_path,
            }

        return [stage]

    def _volume_wipe(self, request: Mapping[str, Any]) -> list[Stage]:
        """Two stages, as the real one: the rename (from which there is no way back) and the destruction."""
        name, method, samples = _volume_name(request["path"]), str(request["method"]), int(request.get("samples", 16))
        if method not in ("crypto-erase", "overwrite"):
            raise RequestError(f"there is no way of wiping called {method!r}")
        if not name.startswith("orch."):
            raise Refused(f"{name} is not the name of a service's volume")

        def rename(node: State) -> dict[str, Any]:
            volume = node["volumes"].get(name)
            if volume is None:
                return {}
            for guest in node["guests"].values():
                if guest["power"] == "running" and any(disk["path"] == request["path"] for disk in guest["definition"]["disks"]):
                    raise TransientDriverError(f"{name} is in use", hint="stop the guest first")
            if method == "crypto-erase" and not volume["secret_uuid"]:
                raise Refused(f"{name} cannot be erased by destroying its keys: it is not encrypted")
            node["volumes"][name + WIPING] = node["volumes"].pop(name)
            return {}

        def destroy(node: State) -> dict[str, Any]:
            volume = node["volumes"].pop(name + WIPING, None)
            if volume is None:
                kept: dict[str, Any] | None = _reports(node).get(name)
                return kept or {"path": request["path"], "absent": True}
            node["raw"] = [marker for marker in node["raw"] if marker not in volume["markers"]]
            report = self._wiped(request["path"], method=method, volume=volume, samples=samples)
            _reports(node)[name] = report
            return report

        return [rename, destroy]

    def _wiped(self, path: str, *, method: str, volume: Mapping[str, Any], samples: int) -> dict[str, Any]:
        allocated = int(volume["allocated_bytes"])
        return {
            "path": path,
            "method": method,
            "medium": {"device": "/dev/fake", "filesystem": "fake", "rotational": False, "model": "simulated"},
            "allocated_bytes": allocated,
            "size": int(volume["capacity_bytes"]),
            "passes": ["pattern"] if method == "overwrite" else ["random", "zeros"],
            "verified": True,
            "bytes_overwritten": allocated if method == "overwrite" else min(allocated, 2 << 20),
            "extents": 1,
            "samples": [
                {
                    "device_offset": number * 4096,
                    "length": 4096,
                    "sha256_before": hashlib.sha256(f"{path} {number} before".encode()).hexdigest(),
                    "sha256_after": hashlib.sha256(f"{path} {number} after".encode()).hexdigest(),
                }
                for number in range(samples)
            ],
            "limits": ["The medium is simulated."],
            "started_at": self._now(),
            "finished_at": self._now(),
        }

    def _secret_wipe(self, request: Mapping[str, Any]) -> list[Stage]:
        uuid = str(request["uuid"])

        def stage(node: State) -> dict[str, Any]:
            for secret in node["secrets"].values():
                if secret["uuid"] == uuid:
                    secret["wiped"] = True
                    return {"uuid": uuid, "wiped": True, "bytes_overwritten": 88, "in_place": True, "limits": []}
            return {"uuid": uuid, "absent": True}

        return [stage]

    def _guest_freeze(self, request: Mapping[str, Any]) -> list[Stage]:
        name = str(request["guest"])

        def stage(node: State) -> dict[str, Any]:
            guest = node["guests"].get(name)
            if guest is None or guest["power"] != "running" or not guest["definition"]["agent"]:
                return {"frozen": 0, "why": "its guest agent does not answer"}
            node.setdefault("frozen", [])
            if name in node["frozen"]:
                node["frozen"].remove(name)
                raise WrongState(f"{name} was frozen already, and thawed now")
            node["frozen"].append(name)
            return {"frozen": 1}

        return [stage]

    def _guest_thaw(self, request: Mapping[str, Any]) -> list[Stage]:
        name = str(request["guest"])

        def stage(node: State) -> dict[str, Any]:
            held = name in node.get("frozen", [])
            node["frozen"] = [each for each in node.get("frozen", []) if each != name]
            return {"held": held, "seconds": 0.0}

        return [stage]

    def _residue(self, request: Mapping[str, Any]) -> list[Stage]:
        """Volumes, secrets and definitions are named and never removed here: they are wiped, and undefined through libvirt."""
        own, clean = f"orch.{request['service_id']}", bool(request["clean"])

        def stage(node: State) -> dict[str, Any]:
            named = [path for path in node["files"] if _belongs(path.rpartition("/")[2], own)]
            files = [path for path in named if not path.startswith("/etc/")]
            records = [name for name in _reports(node) if _belongs(name, own)]
            kept = [path for path in named if path.startswith("/etc/")]
            kept += [f"{node['pool_path']}/{name}" for name in node["volumes"] if _belongs(name, own)]
            kept += [
                f"/etc/libvirt/secrets/{secret['uuid']}.xml" for name, secret in node["secrets"].items() if _belongs(name, own)
            ]
            caches = [where for where in request.get("repositories", ()) if where in node.get("caches", [])]
            by_products = [*files, *(f"{RECORDS}/{name}.report" for name in records), *(f"cache of {where}" for where in caches)]
            if clean:
                if own in node["guests"]:
                    raise WrongState(f"the guest {own} is still defined on this node", hint="undefine it first")
                node["files"] = [path for path in node["files"] if path not in files]
                node["caches"] = [where for where in node.get("caches", []) if where not in caches]
                for name in records:
                    del _reports(node)[name]
            return {"found": _told([*by_products, *kept]), "removed": _told(by_products if clean else [])}

        return [stage]


def _reports(node: State) -> dict[str, Any]:
    """The reports of finished wipes by volume, kept on the node until its residue is cleaned."""
    kept: dict[str, Any] = node.setdefault("wipes", {})
    return kept


def _told(paths: Iterable[str]) -> list[str]:
    """Names as the real agent and its transport tell them: bytes that are not UTF-8, and controls, as escapes."""
    return [plain(os.fsencode(path).decode("utf-8", "backslashreplace")) for path in sorted(paths)]


def _mark(node: State, path: str, volume: Mapping[str, Any]) -> str:
    """Another one after each write, and after each start of a guest on it."""
    starts = [
        guest["boots"] for guest in node["guests"].values() if any(disk["path"] == path for disk in guest["definition"]["disks"])
    ]
    return hashlib.sha256(json.dumps([volume, starts], sort_keys=True).encode()).hexdigest()


def _volume_name(path: object) -> str:
    return str(path).rpartition("/")[2]


def _belongs(name: str, own: str) -> bool:
    return name == own or name.startswith(own + ".")
