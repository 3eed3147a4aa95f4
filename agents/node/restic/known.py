"""What this node knows of a repository from its last calls, so that restic is not started to be told it again.

Each start of restic derives the repository's key anew, which is made to take half a second, and a weekly backup looks a dozen
times at what is held. A snapshot never changes, and its name is the digest of its content: where the repository has files of the
names that are known, and no other, it holds what was read of them. Anything else is asked of restic.

It lies in the node's cache of the repository, and goes with it. It is of no use with another key.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import astuple
from hashlib import sha256
from pathlib import Path
from typing import Any

from agents.node.restic.measure import Sample
from agents.node.restic.repository import Repository

NAME, TIMES = "known", "known.times"
_ID = re.compile(r"[0-9a-f]{64}")

Row = dict[str, Any]


class Known:
    """``directory``: the node's cache of the repository. What cannot be read is nothing."""

    def __init__(self, directory: Path, repository: Repository) -> None:
        self._path = directory / NAME
        self._key = sha256(f"what is known of\0{repository.location}\0{repository.password}".encode()).hexdigest()

    def rows(self, names: Collection[str]) -> list[Row] | None:
        """Of the snapshots of these names, the oldest first; None where there are none, or one of them is not known."""
        known, wanted = self._read()["rows"], ids(names)
        if not wanted or any(name not in known for name in wanted):
            return None
        return sorted((dict(known[name]) for name in wanted), key=lambda row: str(row["time"]))

    def keep(self, rows: Sequence[Row]) -> None:
        """All that the repository holds."""
        found = self._read()
        held = {str(row["id"]): row for row in rows}
        samples = {name: kept for name, kept in found["samples"].items() if name in held}
        if (found["rows"], found["samples"]) != (held, samples):
            self._write({"rows": held, "samples": samples})

    def add(self, row: Row, samples: Sequence[Sample] = (), *, source: tuple[int, int] | None = None) -> None:
        """A snapshot that was just made, and files of its source (device and inode of the directory) as they were before that."""
        found, name = self._read(), str(row["id"])
        found["rows"][name] = row
        if source is not None:
            found["samples"][name] = {"source": list(source), "files": [astuple(each) for each in samples]}
        self._write(found)

    def samples(self, snapshot: str, source: tuple[int, int]) -> list[Sample] | None:
        """Files to compare the snapshot of this directory by; None where none were noted."""
        try:
            noted = self._read()["samples"][snapshot]
            return [Sample(*each) for each in noted["files"]] if noted["source"] == list(source) else None
        except (KeyError, TypeError):
            return None

    def note_times(self, snapshot: str, times: Sequence[Sequence[int]]) -> None:
        """When the segments of a disk had changed that the snapshot holds (``agents.node.disk.segments.runs``). Those of the last
        one are kept: by them the next is made."""
        _replace(self._path.with_name(TIMES), {"key": self._key, "snapshot": snapshot, "times": times})

    def times(self, snapshot: str) -> list[list[int]] | None:
        """As they were noted, or None."""
        try:
            found = json.loads(self._path.with_name(TIMES).read_text())
            if (found["key"], found["snapshot"]) == (self._key, snapshot):
                return [[int(each) for each in run] for run in found["times"]]
        except (OSError, ValueError, KeyError, TypeError):
            pass
        return None

    def _read(self) -> dict[str, dict[str, Any]]:
        try:
            found = json.loads(self._path.read_text())
            if found["key"] == self._key:
                return {"rows": dict(found["rows"]), "samples": dict(found["samples"])}
        except (OSError, ValueError, KeyError, TypeError):
            pass
        return {"rows": {}, "samples": {}}

    def _write(self, found: Mapping[str, Any]) -> None:
        _replace(self._path, {"key": self._key, **found})


def _replace(path: Path, found: Mapping[str, Any]) -> None:
    """The whole of it, or what was there before."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = path.with_name(f"{path.name}.{os.getpid()}")
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600), "w") as stream:
        json.dump(found, stream)
    new.replace(path)


def ids(names: Collection[str]) -> list[str]:
    """Those that are a snapshot's or a lock's: a file that is still being written has another name."""
    return [name for name in names if _ID.fullmatch(name)]
