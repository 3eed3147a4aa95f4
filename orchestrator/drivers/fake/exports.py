"""Simulated exports of running guests' disks."""

from __future__ import annotations

from typing import Any

from orchestrator.domain.errors import AlreadyExists, NotFound, WrongState
from orchestrator.drivers.fake.world import FakeWorld, State
from orchestrator.ports.disk_exports import Export

NAME = "disk"
BITMAP = "changed"


class FakeExports:
    """The DiskExports of one simulated node."""

    def __init__(self, world: FakeWorld, node: str) -> None:
        self._world = world
        self._node = node

    def prepare(self, guest: str, *, deadline: float) -> None:
        """What is still open ends; there is nothing to be made."""

        def stage(node: State) -> None:
            if guest not in node["guests"]:
                raise NotFound(f"there is no guest {guest} on {node['name']}")
            if node["guests"][guest]["power"] not in ("running", "paused"):
                raise WrongState(f"{guest} does not run")
            _exports(node).pop(guest, None)

        self._act("prepare", guest, deadline, [stage])

    def begin(self, guest: str, *, checkpoint: str, since: str, deadline: float) -> Export:
        """Two stages: an export that is still open ends, and the new one begins."""

        def end(node: State) -> Export | None:
            if guest not in node["guests"]:
                raise NotFound(f"there is no guest {guest} on {node['name']}")
            if node["guests"][guest]["power"] not in ("running", "paused"):
                raise WrongState(f"{guest} does not run")
            _exports(node).pop(guest, None)
            return None

        def begin(node: State) -> Export | None:
            there = _checkpoints(node, guest)
            if checkpoint in there:
                raise AlreadyExists(f"{guest} has a checkpoint {checkpoint}")
            usable = since if since in there else ""
            volume = node["guests"][guest]["definition"]["disks"][0]["path"].rpartition("/")[2]
            socket = f"/run/{guest}.nbd"
            disk = node["volumes"][volume]
            known = {"markers": list(disk["markers"]), "bytes": disk["capacity_bytes"]}
            _exports(node)[guest] = {"socket": socket, "name": NAME, **known}
            there.append(checkpoint)
            return Export(
                guest=guest,
                socket=socket,
                name=NAME,
                checkpoint=checkpoint,
                since=usable,
                bitmap=BITMAP if usable else "",
            )

        made = self._act("begin", guest, deadline, [end, begin])
        assert isinstance(made, Export)
        return made

    def end(self, guest: str, *, deadline: float) -> None:
        def stage(node: State) -> None:
            _exports(node).pop(guest, None)

        self._act("end", guest, deadline, [stage])

    def checkpoints(self, guest: str, *, deadline: float) -> tuple[str, ...]:
        def stage(node: State) -> tuple[str, ...]:
            return tuple(_checkpoints(node, guest)) if guest in node["guests"] else ()

        found: tuple[str, ...] = self._act("checkpoints", guest, deadline, [stage])
        return found

    def drop(self, guest: str, checkpoint: str, *, deadline: float) -> None:
        def stage(node: State) -> None:
            there = _checkpoints(node, guest)
            if checkpoint in there:
                there.remove(checkpoint)

        self._act("drop", guest, deadline, [stage])

    def close(self) -> None:
        """Nothing is kept open."""

    def _act(self, method: str, guest: str, deadline: float, stages: list[Any]) -> Any:
        return self._world.act(f"exports.{method}", node=self._node, subject=guest, deadline=deadline, stages=stages)


def _exports(node: State) -> dict[str, State]:
    kept: dict[str, State] = node.setdefault("exports", {})
    return kept


def _checkpoints(node: State, guest: str) -> list[str]:
    kept: list[str] = node.setdefault("checkpoints", {}).setdefault(guest, [])
    return kept
