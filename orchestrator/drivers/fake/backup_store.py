"""The simulated store of archives, apart from the simulated nodes and reached from each.

What a volume holds is simulated by a digest and by what was planted in it: both go into an archive and come out of it.
"""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from typing import Any

from orchestrator.domain.errors import NotFound, PermanentDriverError, TransientDriverError
from orchestrator.drivers.fake.world import FakeWorld, State
from orchestrator.ports.backup_store import ArchivedVolume, ArchiveFacts, ArchiveSpec
from orchestrator.ports.clock import Clock


class FakeBackupStore:
    """The archives of all simulated nodes, as one node reaches them. ``clock`` dates them; without one they carry the epoch."""

    def __init__(self, world: FakeWorld, node: str, *, clock: Clock | None = None) -> None:
        self._world = world
        self._node = node
        self._clock = clock

    def keep(self, spec: ArchiveSpec, *, deadline: float) -> ArchiveFacts:
        """Two stages: all is written, and then it is read back; a process killed in between leaves what is not whole."""
        kept_at = self._clock.now() if self._clock else datetime.fromtimestamp(0, UTC)

        def write(state: State, node: State) -> ArchiveFacts | None:
            there = _kept(state).get(spec.id)
            if there is not None and there["whole"]:
                return None
            _kept(state)[spec.id] = {
                "service_id": spec.service_id,
                "job_id": spec.job_id,
                "whole": False,
                "volumes": {name: _copy(node, name) for name in spec.volumes},
                "kept_at": kept_at.isoformat(),
                "until": spec.until.isoformat() if spec.until else "",
            }
            return None

        def read_back(state: State, _node: State) -> ArchiveFacts | None:
            archive = _kept(state)[spec.id]
            if any(digest(volume) != volume["sha256"] for volume in archive["volumes"].values()):
                del _kept(state)[spec.id]
                return None
            archive["whole"] = True
            return _facts(spec.id, archive)

        made = self._act("backups.keep", spec.id, deadline, [write, read_back])
        if made is None:
            raise PermanentDriverError(f"the archive {spec.id} could not be read back as it was written: it is not kept")
        found: ArchiveFacts = made
        return found

    def archives(self, service_id: str, *, deadline: float) -> tuple[ArchiveFacts, ...]:
        def stage(state: State, _node: State) -> tuple[ArchiveFacts, ...]:
            kept = sorted(_kept(state).items())
            return tuple(_facts(key, archive) for key, archive in kept if archive["service_id"] == service_id)

        found: tuple[ArchiveFacts, ...] = self._act("backups.archives", service_id, deadline, [stage])
        return found

    def restore(self, archive_id: str, *, source: str, volume: str, deadline: float) -> None:
        """Two stages, so that a process killed in between leaves a volume that is half written."""

        def begin(state: State, node: State) -> None:
            held, target = _held(state, archive_id, source), _unused(node, volume)
            if target["capacity_bytes"] < held["capacity_bytes"]:
                raise PermanentDriverError(f"{volume} is smaller than what {archive_id} holds of {source}")
            target.update({"markers": [], "content": "", "restored": "", "half written": True})

        def end(state: State, node: State) -> None:
            held, target = _held(state, archive_id, source), _unused(node, volume)
            del target["half written"]
            target.update({"markers": list(held["markers"]), "content": held["content"], "restored": archive_id})
            if not target["secret_uuid"]:
                node["raw"] += held["markers"]

        self._act("backups.restore", archive_id, deadline, [begin, end])

    def restored(self, volume: str, *, deadline: float) -> str:
        def stage(_state: State, node: State) -> str:
            return str(node["volumes"].get(volume, {}).get("restored", ""))

        return str(self._act("backups.restored", volume, deadline, [stage]))

    def destroy(self, archive_id: str, *, deadline: float) -> None:
        """Two stages, as the real one: it is given up, and then what it held is removed."""

        def give_up(state: State, _node: State) -> None:
            if archive_id in _kept(state):
                _kept(state)[archive_id]["whole"] = False

        def remove(state: State, _node: State) -> None:
            _kept(state).pop(archive_id, None)

        self._act("backups.destroy", archive_id, deadline, [give_up, remove])

    def close(self) -> None:
        """Nothing is kept open."""

    def _act(self, method: str, subject: str, deadline: float, stages: list[Any]) -> Any:
        return self._world.act_from(method, node=self._node, subject=subject, deadline=deadline, stages=stages)


def digest(volume: State) -> str:
    """Of what a volume, or its copy, holds: what was planted in it and what was put there."""
    held = {"content": volume["content"], "markers": volume["markers"], "corrupt": volume.get("corrupt", False)}
    return hashlib.sha256(json.dumps(held, sort_keys=True).encode()).hexdigest()


def _copy(node: State, name: str) -> State:
    volume = _unused(node, name)
    copied = {key: volume[key] for key in ("capacity_bytes", "allocated_bytes", "content")}
    return {**copied, "markers": list(volume["markers"]), "corrupt": False, "sha256": digest(volume)}


def _unused(node: State, name: str) -> State:
    volume: State | None = node["volumes"].get(name)
    if volume is None:
        raise NotFound(f"{name} is not in the pool of {node['name']}")
    path = f"{node['pool_path']}/{name}"
    for guest in node["guests"].values():
        if guest["power"] != "stopped" and any(disk["path"] == path for disk in guest["definition"]["disks"]):
            raise TransientDriverError(f"{name} is in use", hint="stop the guest first")
    return volume


def _held(state: State, archive_id: str, source: str) -> State:
    archive = _kept(state).get(archive_id)
    held: State | None = None if archive is None or not archive["whole"] else archive["volumes"].get(source)
    if held is None:
        raise NotFound(f"there is no whole archive {archive_id} with a copy of {source}")
    return held


def _kept(state: State) -> dict[str, State]:
    """The archives by id."""
    kept: dict[str, State] = state.setdefault("archives", {})
    return kept


def _facts(archive_id: str, archive: State) -> ArchiveFacts:
    volumes = tuple(
        ArchivedVolume(name=name, capacity_bytes=volume["capacity_bytes"], sha256=volume["sha256"])
        for name, volume in sorted(archive["volumes"].items())
    )
    return ArchiveFacts(
        id=archive_id,
        service_id=archive["service_id"],
        job_id=archive["job_id"],
        whole=archive["whole"],
        volumes=volumes,
        bytes=sum(int(volume["allocated_bytes"]) for volume in archive["volumes"].values()),
        kept_at=datetime.fromisoformat(archive["kept_at"]),
        until=datetime.fromisoformat(archive["until"]) if archive["until"] else None,
    )
