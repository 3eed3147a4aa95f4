"""Locks in a repository: whose they are, and which of them nobody holds any more.

A lock is this node's own only by the record that the agent keeps of its runs (``processes``): a host's name proves nothing, two
may have the same. Its owner is dead when no process has its number and its beginning, or the machine was booted since.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agents.node.place import Place
from agents.node.protocol import AgentError
from agents.node.restic import argv, processes
from agents.node.restic.backend import Backend
from agents.node.restic.known import ids
from agents.node.restic.outcome import DONE
from agents.node.restic.processes import RunRecord
from agents.node.restic.running import Restic


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    """As restic writes it into the repository."""

    id: str
    host: str
    pid: int
    since: str
    exclusive: bool


def owner(lock: Lock, location: str, records: Sequence[RunRecord]) -> RunRecord | None:
    """The run of this node that made the lock, or None: then it is somebody else's. Pure."""
    for record in records:
        if (record.location, record.host, record.pid) == (location, lock.host, lock.pid):
            return record
    return None


def unlock(restic: Restic, place: Place, backend: Backend, location: str, *, doing: str) -> list[dict[str, Any]]:
    """Remove the locks of this node's dead runs; tell of all that were found. Where there is no lock restic is not asked."""
    try:
        none = not ids(backend.files_of("locks"))
    except AgentError:  # restic will say it in its own words
        none = False
    found = [] if none else _locks(restic, doing)
    records = [record for _, record in processes.records(place)]
    told = []
    for lock in found:
        record = owner(lock, location, records)
        dead = record is not None and not record.alive() and not _is_restic(lock.pid)
        if dead:
            backend.remove_lock(lock.id)
        told.append(
            {
                "id": lock.id,
                "host": lock.host,
                "pid": lock.pid,
                "since": lock.since,
                "exclusive": lock.exclusive,
                "ours": record is not None,
                "removed": dead,
            }
        )
    _forget_records(place, location)
    return told


def _locks(restic: Restic, doing: str) -> list[Lock]:
    ids = restic.done(argv.locks(), doing=doing).plain.split()
    found = []
    for lock_id in ids:
        said = restic.run(argv.lock(lock_id), doing=doing)
        if said.status != DONE or said.stopped:
            continue  # given up meanwhile, or half written: nothing that could be proven of it
        try:
            value = json.loads(said.plain)
            found.append(
                Lock(
                    id=lock_id,
                    host=str(value["hostname"]),
                    pid=int(value["pid"]),
                    since=str(value["time"]),
                    exclusive=bool(value.get("exclusive", False)),
                )
            )
        except (ValueError, KeyError, TypeError):
            raise AgentError("driver-permanent", f"{doing}: restic's answer cannot be read") from None
    return found


def _is_restic(pid: int) -> bool:
    """Somebody else's run may have the number of ours that is dead."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip() == "restic"
    except (FileNotFoundError, ProcessLookupError):
        return False


def _forget_records(place: Place, location: str) -> None:
    """The dead runs on this repository have no lock left."""
    for path, record in processes.records(place):
        if record.location == location and not record.alive():
            path.unlink(missing_ok=True)
