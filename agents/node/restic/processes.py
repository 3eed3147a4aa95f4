"""Which process is which, so that one that is dead can be told from one that only has its number, and what restic runs here.

Each run of restic leaves a record until it has ended by itself: by it a lock in a repository is known for this node's own.
"""

from __future__ import annotations

import json
import os
import socket
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from agents.node.place import Place


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """A run of restic on this node. ``start`` are the kernel's clock ticks between boot and the process's begin (proc(5))."""

    location: str
    host: str
    boot: str
    pid: int
    start: int

    def alive(self) -> bool:
        return self.boot == boot_id() and started(self.pid) == self.start


def boot_id() -> str:
    """Differs after every boot of this machine."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def started(pid: int) -> int | None:
    """When the process began, in ticks since boot; None where there is none, or only what is left of a dead one."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if _over(fields) else int(fields[19])


def _over(fields: list[bytes]) -> bool:
    """Whether nothing of a process runs. Its state is its first thread's: others may go on, with its files open (proc(5))."""
    return fields[0] in (b"Z", b"X") and int(fields[17]) <= 1


def session_members(session: int) -> list[int]:
    """The processes of a session that are left."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_bytes().rpartition(b")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[3]) == session and not _over(fields):
            found.append(int(entry.name))
    return found


def directory(place: Place) -> Path:
    return place.state / "restic" / "runs"


def note(place: Place, location: str) -> Path:
    """Called in the child that will become restic, which keeps its number and its beginning: write down that it runs."""
    pid = os.getpid()
    record = RunRecord(location=location, host=socket.gethostname(), boot=boot_id(), pid=pid, start=started(pid) or 0)
    path = record_path(place, pid)
    with path.open("w") as stream:
        json.dump(asdict(record), stream)
        stream.flush()
        os.fsync(stream.fileno())
    return path


def record_path(place: Place, pid: int) -> Path:
    return directory(place) / f"{boot_id()}.{pid}"


def records(place: Place) -> list[tuple[Path, RunRecord]]:
    """Every run that is on record; one that cannot be read proves nothing and is left out."""
    found = []
    for path in sorted(directory(place).glob("*")) if directory(place).is_dir() else []:
        try:
            value: dict[str, Any] = json.loads(path.read_text())
            found.append((path, RunRecord(**value)))
        except (OSError, ValueError, TypeError):
            continue
    return found
