"""Backing up a guest's disk, and writing it back."""

from __future__ import annotations

import hashlib
import json
import re
import secrets
import shutil
import tarfile
from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

from agents.node.call import Call
from agents.node.disk import segments as seg
from agents.node.disk.blocks import Disk
from agents.node.disk.showing import Shown, shown
from agents.node.disk.signature import LOOKED_AT, signature
from agents.node.disk.sources import source, volume
from agents.node.protocol import AgentError
from agents.node.restic import argv, check
from agents.node.restic.commands import Session, listed, made, made_row, seen, session
from agents.node.restic.outcome import DONE, failure

DISKS = "disks"
"""The directory below the agent's own in /run where segments are shown, in a namespace of its own."""

_FRACTION = re.compile(r"\.(\d{1,9})")
_LINE_LIMIT = 1 << 20


def disk_backup(call: Call) -> dict[str, Any]:
    """A snapshot of the disk, of which so many segments are then compared with it, changed ones first, while it is still frozen.

    Without a bitmap, or where ``parent`` is not what it should be, everything is read. ``bytes_read`` from the disk by restic;
    ``compared`` and ``differing`` of the samples.
    """
    given = call.arguments
    doing = f"backing up the disk of {given['host']}"
    directory = call.place.locks / DISKS / given["host"]
    with session(call, alone=True) as work, source(call, given) as disk:
        known = times_of(work, given["parent"], doing) if given["parent"] and disk.bitmap else {}
        with shown(disk, str(directory), known=known) as segments:
            with seen(call, str(directory)) as view:
                verb = argv.backup(
                    host=given["host"], tags=given["tags"], limits=given["limits"], parent=given["parent"] if known else ""
                )
                result = made(work.restic.run(verb, doing=doing, view=view), doing)
                work.known.add(made_row(result, given))
                work.known.note_times(result["snapshot"], segments.times)
            read = segments.bytes_read()
            # What could not be read cannot be compared either, and the snapshot does not count.
            chosen = sample(segments, wanted=given["samples"]) if result["whole"] else []
            differing = _compare(work, Path(directory), result["snapshot"], chosen, doing)
    return {
        **result,
        "size": segments.size,
        "segments": segments.segments,
        "dirty": segments.dirty,
        "bytes_read": read,
        "compared": len(chosen),
        "differing": differing,
    }


def times_of(work: Session, snapshot: str, doing: str) -> dict[int, int]:
    """The times of the segments in a snapshot; none where it is not there, or holds anything but segments."""
    if all(row["id"] != snapshot for row in listed(work, doing)):
        return {}
    noted = work.known.times(snapshot)
    if noted is not None:
        return seg.of_runs(noted)
    lines = FileTimes()
    said = work.restic.run(argv.listing(snapshot), doing=doing, take=lines.take)
    if said.status != DONE or said.stopped:
        raise failure(said, doing)
    try:
        return {seg.index_of(path): time for path, time in lines.found}
    except ValueError:
        return {}


class FileTimes:
    """Takes ``restic ls`` as it comes: the path (without its first slash) and time of every file."""

    def __init__(self) -> None:
        self._rest = b""
        self.found: list[tuple[str, int]] = []

    def take(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > _LINE_LIMIT:
            raise AgentError("driver-permanent", "restic's list of files cannot be read")
        for line in filter(None, lines):
            node = json.loads(line)
            if node.get("type") == "file":
                self.found.append((str(node["path"]).lstrip("/"), nanoseconds(str(node["mtime"]))))


def nanoseconds(text: str) -> int:
    """A time as Go writes it (RFC 3339 with up to nine digits of a second), in nanoseconds since 1970 UTC."""
    fraction = _FRACTION.search(text)
    whole = datetime.fromisoformat(_FRACTION.sub("", text)).timestamp()
    return int(whole) * 10**9 + (int(fraction[1].ljust(9, "0")) if fraction else 0)


def sample(shown_now: Shown, *, wanted: int) -> list[int]:
    """Segments at random, half of them of those that changed."""
    random = secrets.SystemRandom()
    dirty = shown_now.some[: -(-wanted // 2)]
    others = (random.randrange(shown_now.segments) for _ in range(wanted - len(dirty))) if shown_now.segments else ()
    return sorted({*dirty, *others})


def _compare(work: Session, directory: Path, snapshot: str, chosen: Iterable[int], doing: str) -> list[str]:
    """Those of the segments that the snapshot does not hold as the disk does."""
    paths = [seg.path_of(index) for index in chosen]
    if not paths:
        return []
    target = Path(work.files.scratch) / "samples"
    target.mkdir(mode=0o700)
    try:
        verb = argv.restore(snapshot, target=str(target), only=[f"/{path}" for path in paths], delete=False, verify=False)
        work.restic.done(verb, doing=f"{doing}: comparing {len(paths)} segments")
        return [path for path in paths if _digest(directory / path) != _digest(target / path)]
    except OSError as exc:
        raise AgentError(
            "driver-permanent", f"{doing}: the disk cannot be read any more: {exc.strerror}", hint="did its guest end meanwhile?"
        ) from None
    finally:
        shutil.rmtree(target, ignore_errors=True)


def _digest(path: Path) -> bytes:
    try:
        with path.open("rb", buffering=0) as stream:
            return hashlib.file_digest(stream, "sha256").digest()
    except FileNotFoundError:
        return b""


def disk_digest(call: Call) -> dict[str, Any]:
    """The SHA-256 of what the volume, which nobody runs on, holds in the clear.

    Over number and SHA-256 of each segment that is not all zeros, in order, after the size: it is the same however the volume
    keeps it. Raises AgentError: not-found, driver-transient (in use).
    """
    given = call.arguments
    doing = f"reading {given['path']}"
    whole = hashlib.sha256()
    with volume(call, given) as exported:
        disk = Disk(exported.socket, exported.export)
        whole.update(f"{disk.size}\n".encode())
        found = sorted(set(seg.touched(disk.data())))
        for number, index in enumerate(found):
            call.progress(number / len(found), doing)
            content = disk.read(index * seg.SEGMENT_BYTES, seg.length(index, disk.size))
            if content.count(0) != len(content):
                whole.update(f"{index} {hashlib.sha256(content).hexdigest()}\n".encode())
        size = disk.size
        disk.close()
    return {"sha256": whole.hexdigest(), "size": size}


# -- back onto a disk ------------------------------------------------------------------------------------------------------


def disk_restore(call: Call) -> dict[str, Any]:
    """Write what the snapshot holds onto a new, empty volume, and read it back.

    Raises AgentError: refused (the volume holds something), no-capacity (it is smaller than the disk was), not-found,
    driver-permanent (what was read back is not what was written, or the snapshot is of no disk).
    """
    given = call.arguments
    doing = f"restoring {given['path']}"
    with session(call, alone=False) as work:
        row = check.require(listed(work, doing), given["snapshot"], given["repository"].location)
        with volume(call, given, writing=True) as exported:
            disk = Disk(exported.socket, exported.export)
            if disk.data():
                raise AgentError("refused", f"{doing}: the volume is not empty, and is not written over")
            if row["bytes"] > disk.size:
                raise AgentError("no-capacity", f"{doing}: the disk was of {row['bytes']} bytes, the volume has {disk.size}")
            writing = _Writing(disk, total=row["bytes"], say=call.progress, doing=doing)
            work.restic.stream(argv.archive(given["snapshot"]), doing=doing, consume=writing.run)
            disk.flush()
            writing.prove()
            disk.close()
    return {"bytes": writing.bytes, "written": len(writing.digests), "size": disk.size, "signature": writing.signature}


class _Writing:
    """Takes the archive of a snapshot, segment by segment. What is all zeros is not written: the volume is empty there."""

    def __init__(self, disk: Disk, *, total: int, say: Callable[[float, str], None], doing: str) -> None:
        self._disk, self._total, self._say, self._doing = disk, total, say, doing
        self.bytes = 0
        self.digests: dict[int, tuple[int, bytes]] = {}
        self.signature = ""

    def run(self, stream: BinaryIO) -> None:
        with tarfile.open(fileobj=stream, mode="r|") as archive:
            for member in archive:
                content = archive.extractfile(member) if member.isfile() else None
                if content is not None:
                    self._one(member.name, content.read(seg.SEGMENT_BYTES + 1))
        if self.bytes != self._total:
            raise AgentError("driver-permanent", f"{self._doing}: the snapshot gave {self.bytes} of {self._total} bytes")

    def _one(self, name: str, content: bytes) -> None:
        try:
            index = seg.index_of(name.lstrip("/"))
        except ValueError:
            raise AgentError("driver-permanent", f"{self._doing}: the snapshot is of no disk: it holds {name[:100]}") from None
        offset = index * seg.SEGMENT_BYTES
        if len(content) != min(seg.SEGMENT_BYTES, max(0, self._total - offset)):
            raise AgentError("driver-permanent", f"{self._doing}: segment {index} has {len(content)} bytes")
        if content.count(0) != len(content):
            self._disk.write(offset, content)
            self.digests[index] = (len(content), hashlib.sha256(content).digest())
        self.bytes += len(content)

    def prove(self) -> None:
        """Read all of it back, and see what it begins with. Raises AgentError (driver-permanent)."""
        strange = set(seg.touched(self._disk.data())) - self.digests.keys()
        for number, (index, (length, digest)) in enumerate(self.digests.items()):
            self._say(number / len(self.digests), f"{self._doing}: reading it back")
            held = self._disk.read(index * seg.SEGMENT_BYTES, length)
            if hashlib.sha256(held).digest() != digest:
                strange.add(index)
            elif index == 0:
                self.signature = signature(held[:LOOKED_AT])
        if strange:
            told = ", ".join(str(index) for index in sorted(strange)[:10])
            raise AgentError("driver-permanent", f"{self._doing}: what was read back is not what was written: segments {told}")
