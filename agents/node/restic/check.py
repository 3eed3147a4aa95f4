"""Whether a repository is sound, and whether a snapshot holds what its source does."""

from __future__ import annotations

import hashlib
import os
import random
import re
import shutil
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from agents.node.protocol import AgentError
from agents.node.restic import argv
from agents.node.restic.measure import Sample, Say, Walk
from agents.node.restic.outcome import DAMAGED, DONE, FATAL, Said, failure
from agents.node.restic.running import Restic

SAMPLE_LIMIT = 128 << 20
"""Bytes of a file that is compared: what is read from the repository lies on the node's disk for a moment."""

MESSAGES_TOLD = 20
_BLOCK = 1 << 20
_FRACTION = re.compile(r"\.(\d{6})\d+")
# What restic says of a repository that is damaged so that it cannot even be checked to the end.
_DAMAGE = re.compile(
    r"ciphertext verification failed|invalid data returned|hash mismatch|does not match id|not found in (?:repository|index)"
    r"|no such file or directory|does not exist|unexpected eof|truncated|invalid character|repository contains errors|damaged",
    re.IGNORECASE,
)


@dataclass(slots=True, kw_only=True)
class Compared:
    """Of the sampled files: how many were compared, how many had changed meanwhile, and which differ."""

    compared: int = 0
    changed: int = 0
    differing: list[str] = field(default_factory=list)


def soundness(said: Said, doing: str) -> dict[str, Any]:
    """What ``restic check`` found. Damage is an answer; raises the AgentError of a check that could not be made."""
    summary = said.summary
    if said.stopped or said.status not in (DONE, FATAL):
        raise failure(said, doing)
    errors = summary.count("num_errors") if summary else 0
    if said.status != DONE and errors == 0:
        error = failure(said, doing)
        if error.details["reason"] not in ("failed", DAMAGED) or not _DAMAGE.search(said.everything):
            raise error
        errors = 1
    packs = summary.fields.get("broken_packs") if summary else None
    told = [each.message for each in said.errors] + [line.strip() for line in said.stderr.splitlines() if line.strip()]
    return {
        "errors": errors,
        "broken_packs": [str(pack) for pack in packs or []],
        "messages": told[:MESSAGES_TOLD] if errors else [],
    }


def moment_ns(text: str) -> int:
    """A time as restic writes it, in nanoseconds since the epoch, to the microsecond below."""
    return int(datetime.fromisoformat(_FRACTION.sub(r".\1", text)).timestamp() * 1_000_000) * 1000


def chosen(source: int, path: str, *, without: Collection[str], wanted: int, taken_ns: int, say: Say, end: float) -> list[Sample]:
    """So many files of the open directory ``source`` that nobody touched since before ``taken_ns``, at random."""
    limits = {"samples": wanted, "older_than_ns": taken_ns, "sample_limit": SAMPLE_LIMIT}
    return Walk(source, path, say=say, end=end, without=without, **limits).run().samples


@dataclass(frozen=True, slots=True)
class Comparing:
    """Of a snapshot that was taken at ``taken_ns`` with its source, an open directory."""

    source: int
    taken_ns: int
    doing: str

    def run(self, restic: Restic, snapshot: str, samples: Sequence[Sample], wanted: int, *, scratch: str) -> Compared:
        """Compare ``wanted`` of the samples, at random, that are still as they were."""
        found = Compared()
        taken: list[Sample] = []
        for sample in random.SystemRandom().sample(samples, len(samples)):
            if len(taken) == wanted:
                break
            if _digest(self.source, sample, self.taken_ns, read=False) is None:
                found.changed += 1
            else:
                taken.append(sample)
        if taken:
            self._compare(restic, snapshot, taken, Path(scratch) / "samples", found)
        return found

    def _compare(self, restic: Restic, snapshot: str, samples: Sequence[Sample], target: Path, found: Compared) -> None:
        target.mkdir(mode=0o700)
        only = [f"/{each.path}" for each in samples]
        try:
            said = restic.run(argv.restore(snapshot, target=str(target), only=only, delete=False, verify=False), doing=self.doing)
            if said.stopped or said.status not in (DONE, FATAL) or (said.status == FATAL and not said.error_count):
                raise failure(said, self.doing)
            for sample in samples:
                _one(self.source, target, sample, self.taken_ns, found)
        finally:
            shutil.rmtree(target, ignore_errors=True)


def _one(source: int, target: Path, sample: Sample, taken_ns: int, found: Compared) -> None:
    """What is not as it was, or came to its place after the snapshot (a directory above it changed), proves nothing."""
    here = _digest(source, sample, taken_ns)
    if here is None:
        found.changed += 1
        return
    copy = target / sample.path
    try:
        with copy.open("rb") as stream:
            there = hashlib.file_digest(stream, "sha256").digest()
    except OSError:
        there = b""
    found.compared += 1
    if there != here:
        found.differing.append(sample.path)


def _digest(source: int, sample: Sample, taken_ns: int, *, read: bool = True) -> bytes | None:
    """Of the file as it was sampled; None where it, or its place, has changed since. No link is followed.

    Without ``read`` only that is looked at.
    """
    *above, name = sample.path.split("/")
    fds = [os.dup(source)]
    try:
        for part in above:
            fds.append(os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fds[-1]))
        if any(max(os.fstat(fd).st_mtime_ns, os.fstat(fd).st_ctime_ns) >= taken_ns for fd in fds):
            return None
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOATIME * (os.geteuid() == 0)
        fds.append(os.open(name, flags, dir_fd=fds[-1]))
        digest = hashlib.sha256()
        while read and (block := os.read(fds[-1], _BLOCK)):
            digest.update(block)
        status = os.fstat(fds[-1])
    except OSError:
        return None
    finally:
        for fd in fds:
            os.close(fd)
    same = (status.st_size, status.st_mtime_ns, status.st_ctime_ns) == (sample.size, sample.mtime_ns, sample.ctime_ns)
    return digest.digest() if same else None


def require(found: Sequence[dict[str, Any]], snapshot: str, where: str) -> dict[str, Any]:
    """The snapshot's row. Raises AgentError (not-found)."""
    for row in found:
        if row["id"] == snapshot:
            return dict(row)
    raise AgentError("not-found", f"there is no snapshot {snapshot[:8]} in {where}", reason="no-snapshot")
