"""What a directory holds: one walk that stays on its file system and follows no link."""

from __future__ import annotations

import errno
import heapq
import math
import os
import random
import stat
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

from agents.node import amounts
from agents.node.protocol import AgentError

LARGEST = 10
UNREADABLE_TOLD = 20
_BEAT = 0.5
_NEARLY_ONE = 1 - 2.0**-50

Say = Callable[[float, str], None]


@dataclass(frozen=True, slots=True)
class Sample:
    """A file of the source as it was met. ``path`` is relative to the source, as os.fsdecode gives it."""

    path: str
    size: int
    mtime_ns: int
    ctime_ns: int


@dataclass(slots=True, kw_only=True)
class Measured:
    """``bytes``: the sizes that files tell (holes count), each inode once; ``inodes``: all, the directory itself too.

    By names: ``files``, ``directories`` (without the directory itself), ``links`` (symbolic), ``sockets``, ``others`` (pipes and
    devices). ``file_bytes``: the sizes of all names of files, which is what restic counts. ``elsewhere``: directories on which
    another file system is mounted; what is in them is not the directory's.
    """

    bytes: int = 0
    inodes: int = 1
    files: int = 0
    file_bytes: int = 0
    directories: int = 0
    links: int = 0
    sockets: int = 0
    others: int = 0
    elsewhere: int = 0
    unreadable: int = 0
    unreadable_paths: list[str] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)

    def report(self) -> dict[str, Any]:
        numbers = (
            "bytes",
            "inodes",
            "files",
            "file_bytes",
            "directories",
            "links",
            "sockets",
            "others",
            "elsewhere",
            "unreadable",
        )
        return {**{name: getattr(self, name) for name in numbers}, "unreadable_paths": self.unreadable_paths}


def _told(rows: list[tuple[int, int, str]]) -> list[dict[str, Any]]:
    return [{"path": path, "bytes": size, "inodes": inodes} for size, inodes, path in rows]


class Walk:
    """Walks once. ``end`` (of time.monotonic) and ``say``, which may raise, break it off. ``without``: names at its top that are
    passed by."""

    def __init__(
        self,
        root: int,
        path: str,
        *,
        say: Say,
        end: float,
        without: Collection[str] = (),
        samples: int = 0,
        older_than_ns: int = 0,
        sample_limit: int = 0,
    ) -> None:
        self._without = without
        self._root, self._path, self._say, self._end = root, path, say, end
        self._wanted, self._older_than_ns = samples, older_than_ns
        self._sample_limit = sample_limit
        self._reservoir = _Reservoir(samples)
        self._seen: set[int] = set()
        self._beat = 0.0
        self.found = Measured()
        self._sizes: dict[str, tuple[int, int]] = {}

    def run(self) -> Measured:
        top = os.fstat(self._root)
        waiting: list[tuple[str, int]] = [("", top.st_ino)]
        while waiting:
            relative, inode = waiting.pop()
            self._look()
            try:
                fd = self._open(relative, top.st_dev, inode)
            except OSError as exc:
                self._cannot(relative, exc)
                continue
            try:
                self._directory(fd, relative, top.st_dev, waiting)
            finally:
                os.close(fd)
        return self.found

    def report(self) -> dict[str, Any]:
        """What was found, and the directories that hold most bytes (``largest``) and most inodes (``fullest``): all below."""
        rows = [(size, inodes, path) for path, (size, inodes) in self._wholes().items()]
        by_bytes = heapq.nlargest(LARGEST, rows)
        by_inodes = heapq.nlargest(LARGEST, rows, key=lambda row: (row[1], row[0], row[2]))
        return {**self.found.report(), "largest": _told(by_bytes), "fullest": _told(by_inodes)}

    def _open(self, relative: str, device: int, inode: int) -> int:
        """The directory that was met under this name, or none: somebody may have put a link in the place of one of its parts."""
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(relative or ".", flags, dir_fd=self._root)
        found = os.fstat(fd)
        if (found.st_dev, found.st_ino) != (device, inode):
            os.close(fd)
            raise OSError(errno.ESTALE, "it was moved meanwhile")
        return fd

    def _directory(self, fd: int, relative: str, device: int, waiting: list[tuple[str, int]]) -> None:
        found, size, inodes = self.found, 0, 0
        with os.scandir(fd) as entries:
            for entry in (each for each in entries if relative or each.name not in self._without):
                try:
                    status = entry.stat(follow_symlinks=False)
                except OSError as exc:
                    self._cannot(f"{relative}/{entry.name}".lstrip("/"), exc)
                    continue
                name = f"{relative}/{entry.name}" if relative else entry.name
                mode = status.st_mode
                if stat.S_ISDIR(mode):
                    found.directories += 1
                    inodes += 1
                    if status.st_dev != device:
                        found.elsewhere += 1
                    else:
                        waiting.append((name, status.st_ino))
                    continue
                if status.st_nlink > 1:
                    counted = status.st_ino in self._seen
                    self._seen.add(status.st_ino)
                else:
                    counted = False
                inodes += not counted
                if stat.S_ISREG(mode):
                    found.files += 1
                    found.file_bytes += status.st_size
                    size += 0 if counted else status.st_size
                    if self._wanted:
                        self._sample(name, status)
                elif stat.S_ISLNK(mode):
                    found.links += 1
                elif stat.S_ISSOCK(mode):
                    found.sockets += 1
                else:
                    found.others += 1
        found.bytes += size
        found.inodes += inodes
        self._sizes[relative] = (size, inodes)

    def _sample(self, name: str, status: os.stat_result) -> None:
        """Each file that has been left alone for long enough has the same chance."""
        if max(status.st_mtime_ns, status.st_ctime_ns) >= self._older_than_ns or status.st_size > self._sample_limit:
            return
        place = self._reservoir.place()
        if place is not None:
            self.found.samples[place : place + 1] = [Sample(name, status.st_size, status.st_mtime_ns, status.st_ctime_ns)]

    def _look(self) -> None:
        now = time.monotonic()
        if now < self._beat:
            return
        self._beat = now + _BEAT
        if now > self._end:
            raise AgentError("driver-transient", f"measuring {self._path} did not end in time", reason="stopped")
        self._say(0.0, f"measuring {self._path}: {self.found.inodes} inodes, {amounts.size(self.found.bytes)}")

    def _cannot(self, relative: str, exc: OSError) -> None:
        if exc.errno == errno.ENOENT:
            return  # gone meanwhile
        self.found.unreadable += 1
        if len(self.found.unreadable_paths) < UNREADABLE_TOLD:
            self.found.unreadable_paths.append(f"{relative}: {exc.strerror}")

    def _wholes(self) -> dict[str, tuple[int, int]]:
        """Bytes and inodes of each directory with all below it; a path's part comes after what lies deeper."""
        whole: dict[str, tuple[int, int]] = {}
        for path in sorted(self._sizes, key=lambda each: each.count("/") if each else -1, reverse=True):
            (size, inodes), below = self._sizes[path], whole.get(path, (0, 0))
            whole[path] = total = (size + below[0], inodes + below[1])
            if path:
                parent = path.rpartition("/")[0]
                before = whole.get(parent, (0, 0))
                whole[parent] = (before[0] + total[0], before[1] + total[1])
        whole.pop("", None)
        return whole


class _Reservoir:
    """So many of a number of things that is not known before, each with the same chance: Li's algorithm L, which asks chance once
    for each that is taken and not for each that is passed by."""

    def __init__(self, size: int) -> None:
        self._size, self._met, self._next = size, 0, size
        self._chance = random.SystemRandom()
        self._weight = 1.0

    def place(self) -> int | None:
        """Where the next thing is put, in place of the one that is there; None: it is passed by."""
        number, self._met = self._met, self._met + 1
        if number < self._size:
            if number == self._size - 1:
                self._skip(number)
            return number
        if number < self._next:
            return None
        self._skip(number)
        return self._chance.randrange(self._size)

    def _skip(self, number: int) -> None:
        self._weight *= math.exp(math.log(1.0 - self._chance.random()) / self._size)
        self._next = number + 1 + int(math.log(1.0 - self._chance.random()) / math.log1p(-min(self._weight, _NEARLY_ONE)))
