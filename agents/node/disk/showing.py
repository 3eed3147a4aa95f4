"""Shows a disk's segments in a directory for as long as a block of code runs; a process of its own serves it."""

from __future__ import annotations

import json
import os
import secrets
import select
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from agents.node.disk import segments as seg
from agents.node.disk.filesystem import COUNTER
from agents.node.kernel import die_with_parent, keep_mounts_private, unmount
from agents.node.protocol import AgentError

READY_SECONDS = 60.0
"""For opening the disk, asking for its blocks and mounting."""

END_SECONDS = 10.0
SOME = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """A disk behind an NBD socket. ``bitmap``: of what changed since the parent snapshot; '' = nobody knows: all is read."""

    socket: str
    export: str = ""
    bitmap: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """So many ``dirty`` segments have a new time; ``some`` of them, chosen at random. ``times``: of all (``segments.runs``)."""

    directory: str
    size: int
    segments: int
    dirty: int
    some: list[int]
    times: list[list[int]]

    def bytes_read(self) -> int:
        """From the disk, until now. Asked while the disk is shown."""
        return int((Path(self.directory) / COUNTER).read_text())


@contextmanager
def shown(disk: Exported, directory: str, *, known: Mapping[int, int]) -> Iterator[Shown]:
    """``known``: the times of the segments in the parent snapshot; without a bitmap they count for nothing.

    Raises AgentError: driver-transient where the disk cannot be opened, not-found where the bitmap is missing,
    driver-permanent where it cannot be shown.
    """
    Path(directory).mkdir(mode=0o700, parents=True, exist_ok=True)
    keep_mounts_private()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _serve(disk, directory, known, writer)
    os.close(writer)
    with os.fdopen(reader, "rb") as words:
        try:
            found = _said(words, READY_SECONDS)
            try:
                yield Shown(directory=directory, **found["ready"])
            finally:
                with suppress(OSError):
                    unmount(directory)
        finally:
            _end(child)


def _said(words: BinaryIO, seconds: float) -> dict[str, Any]:
    """The child's next word. Raises the AgentError that it told, or one where it ended or kept silent."""
    if not select.select([words], [], [], seconds)[0]:
        raise AgentError("driver-transient", "the disk could not be shown in time")
    line = words.readline()
    if not line.endswith(b"\n"):
        raise AgentError("driver-permanent", "the process that shows the disk ended", hint="is fuse3 installed on the node?")
    said: dict[str, Any] = json.loads(line)
    if "error" in said:
        raise AgentError(said["error"]["code"], said["error"]["message"])
    return said


def _end(child: int) -> None:
    end = time.monotonic() + END_SECONDS
    while os.waitpid(child, os.WNOHANG)[0] == 0:
        if time.monotonic() > end:
            os.kill(child, 9)
            os.waitpid(child, 0)
            return
        time.sleep(0.02)


def _serve(disk: Exported, directory: str, known: Mapping[int, int], writer: int) -> NoReturn:
    """The child. It says one word on ``writer``, and nothing on the agent's streams."""
    die_with_parent()
    null = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(null, stream)

    def say(word: dict[str, Any]) -> None:
        os.write(writer, json.dumps(word).encode() + b"\n")

    try:
        _show(disk, directory, known, say)
    except AgentError as error:
        say({"error": {"code": error.code, "message": error.message}})
    except Exception as error:  # noqa: BLE001 - the rim of this process: the parent hears of it, and no traceback leaves the node
        say({"error": {"code": "driver-permanent", "message": f"the disk cannot be shown: {type(error).__name__}: {error}"}})
    finally:
        os._exit(0)


def _show(disk: Exported, directory: str, known: Mapping[int, int], say: Callable[[dict[str, Any]], None]) -> None:
    """Returns when it was unmounted."""
    import mfusepy

    from agents.node.disk.blocks import Disk
    from agents.node.disk.filesystem import READ_BYTES, Content, Segments

    opened = Disk(disk.socket, disk.export, bitmap=disk.bitmap)
    dirty = set(seg.touched(opened.changed())) if disk.bitmap else set(range(seg.count(opened.size)))
    times = seg.times(opened.size, known=known if disk.bitmap else {}, dirty=dirty, now=time.time_ns())
    changed = [index for index, moment in enumerate(times) if known.get(index) != moment]
    content = Content(opened, opened.data())
    some = secrets.SystemRandom().sample(changed, min(SOME, len(changed)))
    ready = {"size": opened.size, "segments": len(times), "dirty": len(changed), "some": some, "times": seg.runs(times)}
    segments = Segments(content, size=opened.size, times=times, ready=lambda: say({"ready": ready}))
    # direct_io: the kernel asks for what the reader asks for, not for its own 128 KiB. Our times never change: names and
    # attributes may be kept.
    fixed = {"ro": True, "use_ino": True, "direct_io": True, "max_read": READ_BYTES, "attr_timeout": 3600, "entry_timeout": 3600}
    mfusepy.FUSE(segments, directory, foreground=True, fsname="orchestrator-disk", **fixed)
