"""The simulated outside world: nodes with guests, volumes, secrets and files, kept in one file on disk.

It outlives the process that uses it, SIGKILL included: every change is one transaction under a file lock that ends in an atomic
rename, so a killed process leaves the world as it was before or after the change, as a real node would.

Faults are set per call: ``world.fault("volumes.create", nth=2, error=TransientDriverError("…"))`` makes the second create from
now on fail. ``where`` says when: before anything happened, during (between the parts of an act that has two) or after it took
effect and only the answer was lost.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from orchestrator.domain.errors import NotFound, OrchestratorError, TransientDriverError, Unreachable
from orchestrator.drivers.calls import logged

T = TypeVar("T")
State = dict[str, Any]
Where = Literal["before", "during", "after"]

POOL_PATH = "/var/lib/orchestrator/pool"
OVERLAY_BYTES = 200 * 1024  # what an empty overlay occupies
JOURNAL_LENGTH = 2000
JOURNAL_BYTES = 1 << 20  # longer than what so many calls need: then the older ones go


def _error_classes() -> dict[str, type[OrchestratorError]]:
    found: dict[str, type[OrchestratorError]] = {}
    waiting: list[type[OrchestratorError]] = [OrchestratorError]
    while waiting:
        error = waiting.pop()
        found[error.code] = error
        waiting.extend(error.__subclasses__())
    return found


@dataclass(frozen=True, slots=True)
class Call:
    """One call in the journal: ``method`` as faults name it, the node, and what it was about."""

    method: str
    node: str
    subject: str


class FakeWorld:
    """All simulated nodes, in the file ``path`` (made where it is missing; a link leads to another's). Safe to use from several
    processes at once."""

    def __init__(self, path: Path) -> None:
        self._path = path = path.resolve()  # the file is replaced, and its lock lies beside it: both where it really is
        self._lock = path.with_name(path.name + ".lock")
        # Beside the state, which is written whole at each change: every call is noted, and most change nothing.
        self._journal = path.with_name(path.name + ".journal")
        path.parent.mkdir(parents=True, exist_ok=True)

    @contextmanager
    def change(self) -> Iterator[State]:
        """The whole state, to be changed; written only when the block ends without an error."""
        with self._lock.open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            state = self._load()
            yield state
            new = self._path.with_name(f"{self._path.name}.{os.getpid()}.{threading.get_ident()}.new")
            new.write_text(json.dumps(state, sort_keys=True), encoding="utf-8")
            new.replace(self._path)

    def read(self) -> State:
        """The whole state as it is now. Needs no lock: the file is only ever replaced whole."""
        return self._load()

    def node(self, name: str) -> State:
        """One node's state as it is now; raises NotFound where no such node was seeded."""
        return node_of(self.read(), name)

    def _load(self) -> State:
        try:
            state: State = json.loads(self._path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            state = {"nodes": {}, "faults": [], "deliveries": [], "answers": []}
        return state

    # -- seeding ------------------------------------------------------------------------------------------------------------

    def add_node(
        self,
        name: str,
        *,
        cpus: int = 16,
        memory_bytes: int = 64 << 30,
        pool_bytes: int = 1 << 40,
        pool_path: str = POOL_PATH,
        accelerated: bool = True,
        enrolled: bool = True,
    ) -> None:
        """Seed a node; one of that name already there is kept as it is."""
        with self.change() as state:
            state["nodes"].setdefault(
                name,
                {
                    "name": name,
                    "up": True,
                    "enrolled": enrolled,
                    "cpus": cpus,
                    "memory_bytes": memory_bytes,
                    "pool_bytes": pool_bytes,
                    "pool_path": pool_path,
                    "metadata_percent": 1.0,
                    "accelerated": accelerated,
                    "missing": [],
                    "guests": {},
                    "volumes": {},
                    "secrets": {},
                    "files": [],
                    "raw": [],
                },
            )

    def add_template(
        self,
        node: str,
        volume: str,
        *,
        size_bytes: int = 2 << 30,
        sha256: str = "0" * 64,
        format: str = "qcow2",  # noqa: A002 - the word of VolumeFacts
        corrupt: bool = False,
    ) -> None:
        """Seed a template volume (or a kernel, as format ``raw``) on a node, replacing one of that name."""
        with self.change() as state:
            node_of(state, node)["volumes"][volume] = {
                "format": format,
                "capacity_bytes": size_bytes,
                "allocated_bytes": size_bytes // 4,
                "backing": "",
                "secret_uuid": "",
                "sha256": sha256,
                "corrupt": corrupt,
                "content": "",
                "markers": [],
            }

    def set_node(self, name: str, **values: object) -> None:
        """Change what a node is: ``up=False`` unreachable, ``pool_bytes`` shrinks the pool, ``missing`` lists package names."""
        with self.change() as state:
            node = node_of(state, name)
            unknown = set(values) - set(node)
            if unknown:
                raise NotFound(f"a simulated node has no {', '.join(sorted(unknown))}")
            node.update(values)

    def reboot(self, name: str) -> None:
        """The host goes down and comes back: guests with autostart run again, except the held ones."""
        with self.change() as state:
            node = node_of(state, name)
            node["host_boots"] = node.get("host_boots", 0) + 1
            for guest in node["guests"].values():
                held = bool(guest["mark"] and guest["mark"]["holds"])
                guest["power"] = "running" if guest["autostart"] and not held else "stopped"

    def plant(self, node: str, volume: str, marker: str) -> None:
        """Write ``marker`` from inside the guest into a volume: in the clear on the medium unless the volume is encrypted."""
        with self.change() as state:
            there = node_of(state, node)
            there["volumes"][volume]["markers"].append(marker)
            if not there["volumes"][volume]["secret_uuid"]:
                there["raw"].append(marker)

    def on_medium(self, node: str, marker: str) -> bool:
        """Whether the marker can be read from the node's raw medium, also after its file was deleted."""
        return marker in self.node(node)["raw"]

    # -- faults -------------------------------------------------------------------------------------------------------------

    def fault(
        self,
        method: str,
        *,
        nth: int = 1,
        node: str = "",
        where: Where = "before",
        error: OrchestratorError | None = None,
        delay: float = 0.0,
        hang: bool = False,
    ) -> None:
        """Spoil the ``nth`` call of ``method`` from now on (``hypervisor.define``, ``volumes.create``, ``agent.volume-wipe``).

        ``error`` is raised; ``delay`` waits so many seconds first; ``hang`` waits until the call's deadline and then raises
        TransientDriverError. ``nth`` 0 = every call. ``node`` '' = on any node.
        """
        with self.change() as state:
            state["faults"].append(
                {
                    "method": method,
                    "nth": nth,
                    "node": node,
                    "where": where,
                    "error": error.code if error else "",
                    "message": error.message if error else "",
                    "details": error.details if error else {},
                    "retry_after": error.retry_after if isinstance(error, TransientDriverError) else None,
                    "delay": delay,
                    "hang": hang,
                    "seen": 0,
                }
            )

    def clear_faults(self) -> None:
        with self.change() as state:
            state["faults"] = []

    def journal(self) -> tuple[Call, ...]:
        """The calls that began, oldest first, the latest 2000."""
        try:
            lines = self._journal.read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return ()
        return tuple(Call(*json.loads(line)) for line in lines[-JOURNAL_LENGTH:])

    def begin(self, method: str, *, node: str, subject: str) -> list[State]:
        """Note a call in the journal and return the faults that are to strike it."""
        self._note([method, node, subject])
        if not any(_meant(fault, method, node) for fault in self.read()["faults"]):
            return []
        with self.change() as state:
            hits = []
            for fault in state["faults"]:
                if _meant(fault, method, node):
                    fault["seen"] += 1
                    if fault["nth"] in (0, fault["seen"]):
                        hits.append(dict(fault))
            return hits

    def _note(self, call: list[str]) -> None:
        with self._journal.open("a", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0, os.SEEK_END)
            if file.tell() > JOURNAL_BYTES:
                kept = self._journal.read_text(encoding="utf-8").splitlines(keepends=True)[-JOURNAL_LENGTH:]
                file.truncate(0)
                file.writelines(kept)
            file.write(json.dumps(call) + "\n")

    def act(
        self,
        method: str,
        *,
        node: str,
        subject: str,
        deadline: float,
        stages: Sequence[Callable[[State], T]],
    ) -> T:
        """Carry out one call on a node: each stage is one durable change; the last one's value is returned.

        Raises what the faults say, and Unreachable where the node is down.
        """

        def on_node(stage: Callable[[State], T]) -> Callable[[State, State], T]:
            return lambda _state, here: stage(here)

        inside = [on_node(stage) for stage in stages]
        return self.act_from(method, node=node, subject=subject, deadline=deadline, stages=inside)

    def act_from(
        self,
        method: str,
        *,
        node: str,
        subject: str,
        deadline: float,
        stages: Sequence[Callable[[State, State], T]],
    ) -> T:
        """As ``act``, for what is not on the node but is reached from it: a stage is given everything, and the node."""
        with logged(method, by="fake", node=node):
            return self._struck(method, node=node, subject=subject, deadline=deadline, stages=stages)

    def _struck(
        self, method: str, *, node: str, subject: str, deadline: float, stages: Sequence[Callable[[State, State], T]]
    ) -> T:
        hits = self.begin(method, node=node, subject=subject)
        _strike(hits, "before", method=method, deadline=deadline)
        for number, stage in enumerate(stages):
            if number:
                _strike(hits, "during", method=method, deadline=deadline)
            with self.change() as state:
                here = node_of(state, node)
                if not here["up"]:
                    raise Unreachable(f"node {node} does not answer")
                result = stage(state, here)
        _strike(hits, "after", method=method, deadline=deadline)
        return result


def _meant(fault: State, method: str, node: str) -> bool:
    return bool(fault["method"] == method and fault["node"] in ("", node))


def node_of(state: State, name: str) -> State:
    """The node ``name`` inside the whole state; raises NotFound."""
    try:
        node: State = state["nodes"][name]
    except KeyError:
        raise NotFound(f"there is no simulated node {name}", hint="seed it with FakeWorld.add_node") from None
    return node


def pool_available(node: State) -> int:
    """Bytes free in the node's pool."""
    used = sum(int(v["allocated_bytes"]) for v in node["volumes"].values())
    return max(0, int(node["pool_bytes"]) - used)


def new_uuid() -> str:
    """A random identifier in the form libvirt prints."""
    digits = secrets.token_hex(16)
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def _strike(hits: list[State], where: Where, *, method: str, deadline: float) -> None:
    for fault in hits:
        if fault["where"] != where:
            continue
        wait = deadline if fault["hang"] else min(float(fault["delay"]), deadline)
        if wait > 0:
            threading.Event().wait(wait)
        if fault["hang"] or float(fault["delay"]) >= deadline:
            raise TransientDriverError(f"{method} did not answer within {deadline:g} s")
        if fault["error"]:
            again = {} if fault["retry_after"] is None else {"retry_after": fault["retry_after"]}
            raise _error_classes()[fault["error"]](fault["message"], **again, **fault["details"])
