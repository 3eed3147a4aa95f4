"""What is new in a repository is read back once, whole: a pack is named by the SHA-256 of its file (restic's design document).

The node keeps the names of those that it has read. Where it does not know any more it reads all of them again.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from agents.node import amounts
from agents.node.call import Call
from agents.node.place import Place
from agents.node.protocol import AgentError
from agents.node.restic.backend import Backend

_NAME = re.compile(r"[0-9a-f]{64}")
"""Of a pack; what is still being written has another."""

_TOLD = 3


def read_new(call: Call, place: Backend, location: str, stored: Mapping[str, int], *, end: float) -> dict[str, Any]:
    """Read the packs among ``stored`` (names and bytes) that were not read yet. Says what is wrong as ``check.soundness`` does;
    says nothing where all is well. ``end``: of time.monotonic. Raises AgentError (driver-transient) when the time is up.
    """
    every = {name: size for name, size in stored.items() if _NAME.fullmatch(name)}
    record = record_path(call.place, location)
    read = _read(record) & every.keys()
    fresh = sorted(every.keys() - read)
    pace, total, done = _Pace(call.arguments["limits"].download_kib), sum(every[name] for name in fresh), 0
    broken = []
    try:
        for name, digest in place.digests(fresh):
            if digest == name:
                read.add(name)
            else:
                broken.append(name)
            done += every[name]
            call.progress(
                done / max(total, 1), f"reading what is new in {location}: {amounts.size(done)} of {amounts.size(total)}"
            )
            if time.monotonic() > end:
                raise AgentError("driver-transient", f"reading what is new in {location} did not end in time", reason="stopped")
            pace.keep(done)
    finally:  # what was read need not be read again, however this ends
        _write(record, read)
    if not broken:
        return {}
    if not set(broken) <= place.sizes("data").keys():  # whether it was needed the next check says
        raise AgentError("driver-transient", f"{location}: packs went while it was read: somebody prunes it", reason="locked")
    told = [f"pack {name[:8]} is not what was written" for name in broken[:_TOLD]]
    return {"errors": len(broken), "broken_packs": broken, "messages": told}


def forget(place: Place, location: str) -> None:
    """The repository is gone, or this node has no more to do with it."""
    record_path(place, location).unlink(missing_ok=True)


class _Pace:
    """``kib`` a second on the average; 0 = as fast as it goes."""

    def __init__(self, kib: int) -> None:
        self._kib = kib
        self._begin = time.monotonic()

    def keep(self, done: int) -> None:
        if self._kib:
            time.sleep(max(0.0, self._begin + done / (self._kib * 1024) - time.monotonic()))


def record_path(place: Place, location: str) -> Path:
    return place.state / "restic" / "read" / sha256(location.encode()).hexdigest()[:32]


def _read(record: Path) -> set[str]:
    try:
        return set(record.read_text().split())
    except (FileNotFoundError, UnicodeDecodeError):
        return set()


def _write(record: Path, names: Iterable[str]) -> None:
    record.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = record.with_suffix(".new")
    with new.open("w") as stream:
        stream.write("\n".join(names))
        stream.flush()
        os.fsync(stream.fileno())
    new.replace(record)
