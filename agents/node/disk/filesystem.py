"""The segments of one disk as a read-only file system (FUSE, through mfusepy)."""

from __future__ import annotations

import errno
import os
import stat
import threading
from array import array
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from agents.node.disk import segments as seg
from agents.node.disk.blocks import Disk
from agents.node.disk.segments import Extent

COUNTER = ".bytes-read"
"""A file that stands in no listing and tells how much was read from the disk."""

KEPT = 16
"""Segments held in memory: the kernel asks for a file in pieces, of several files at a time."""

READ_BYTES = 1024 * 1024
"""The most that the kernel may ask for at once; each question costs a turn of the interpreter."""

_ZEROS = bytes(seg.SEGMENT_BYTES)
_ROOT_INODE = 1
_DIRECTORY_INODES = 1 << 40
_COUNTER_INODE = (1 << 40) - 1
_FILE_INODES = 2


class Content:
    """The content of each segment, read whole and at most once for one pass over it. Counts what it reads from the disk."""

    def __init__(self, disk: Disk, data: list[Extent]) -> None:
        self._disk = disk
        self._data = data
        self._starts = [offset for offset, _ in data]
        self._lock = threading.Lock()
        self._kept: OrderedDict[int, bytes] = OrderedDict()
        self.bytes_read = 0

    def read(self, index: int, offset: int, length: int) -> bytes:
        with self._lock:
            found = self._kept.get(index)
        if found is None:
            found = self._load(index)
            with self._lock:
                self._kept[index] = found
                while len(self._kept) > KEPT:
                    self._kept.popitem(last=False)
        return found[offset : offset + length]

    def _load(self, index: int) -> bytes:
        """Zeros where the disk says that it holds nothing else, which are not read."""
        start, whole = index * seg.SEGMENT_BYTES, seg.length(index, self._disk.size)
        parts = seg.within(self._near(index), index, self._disk.size)
        if not parts:
            return _ZEROS[:whole]
        with self._lock:
            self.bytes_read += sum(length for _, length in parts)
        if parts == [(0, whole)]:
            return self._disk.read(start, whole)
        held = bytearray(whole)
        for offset, length in parts:
            held[offset : offset + length] = self._disk.read(start + offset, length)
        return bytes(held)

    def _near(self, index: int) -> list[Extent]:
        """The extents of data that can lie in the segment."""
        start = index * seg.SEGMENT_BYTES
        first = max(0, bisect_right(self._starts, start) - 1)
        return self._data[first : bisect_right(self._starts, start + seg.SEGMENT_BYTES)]


class Segments:
    """What mfusepy calls for the kernel. ``times``: of each segment, nanoseconds; ``ready`` is called when it is mounted."""

    use_ns = True

    def __init__(self, content: Content, *, size: int, times: array[int], ready: Callable[[], None]) -> None:
        self._content, self._size, self._times, self._ready = content, size, times, ready
        # A directory is as old as its youngest segment, so that one without a change is the same object again.
        step = seg.PER_DIRECTORY
        self._ages = [max(times[first : first + step]) for first in range(0, len(times), step)]

    def init_with_config(self, conn_info: Any, config_3: Any) -> None:
        if hasattr(conn_info, "max_read"):  # libfuse 3 wants it here, too
            conn_info.max_read = READ_BYTES
        self._ready()

    def getattr(self, path: str, fh: int | None = None) -> dict[str, Any]:
        if path == "/":
            return _directory(_ROOT_INODE, max(self._ages, default=0), len(self._ages))
        name = path[1:]
        if name == COUNTER:
            return {"st_ino": _COUNTER_INODE, "st_mode": stat.S_IFREG | 0o400, "st_nlink": 1, "st_size": 20, **_at(0)}
        if "/" not in name:
            number = self._directory(name)
            return _directory(_DIRECTORY_INODES + number, self._ages[number], 0)
        index = self._segment(name)
        return {
            "st_ino": _FILE_INODES + index,
            "st_mode": stat.S_IFREG | 0o400,
            "st_nlink": 1,
            "st_size": seg.length(index, self._size),
            "st_blocks": seg.length(index, self._size) // 512,
            **_at(self._times[index]),
        }

    def readdir(self, path: str, fh: int) -> Any:
        """Each with its inode: a name whose inode is 0 counts as deleted for who reads a directory (readdir(3))."""
        if path == "/":
            for number in range(len(self._ages)):
                inode = _DIRECTORY_INODES + number
                yield seg.directory_of(number * seg.PER_DIRECTORY), {"st_ino": inode, "st_mode": stat.S_IFDIR}, 0
            return
        first = self._directory(path[1:]) * seg.PER_DIRECTORY
        for index in range(first, min(first + seg.PER_DIRECTORY, len(self._times))):
            yield seg.name_of(index), {"st_ino": _FILE_INODES + index, "st_mode": stat.S_IFREG}, 0

    def open(self, path: str, flags: int) -> int:
        return _COUNTER_INODE if path[1:] == COUNTER else self._segment(path[1:])

    def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
        if path[1:] == COUNTER:
            return f"{self._content.bytes_read:>20}".encode()[offset : offset + size]
        return self._content.read(fh, offset, size)

    def _directory(self, name: str) -> int:
        number = int(name) if name.isascii() and name.isdigit() else -1
        if not 0 <= number < len(self._ages) or seg.directory_of(number * seg.PER_DIRECTORY) != name:
            raise _absent()
        return number

    def _segment(self, path: str) -> int:
        try:
            index = seg.index_of(path)
        except ValueError:
            raise _absent() from None
        if index >= len(self._times):
            raise _absent()
        return index


def _absent() -> OSError:
    """mfusepy hands the number of an OSError to the kernel."""
    return OSError(errno.ENOENT, os.strerror(errno.ENOENT))


def _directory(inode: int, time: int, children: int) -> dict[str, Any]:
    return {"st_ino": inode, "st_mode": stat.S_IFDIR | 0o500, "st_nlink": 2 + children, **_at(time)}


def _at(time: int) -> dict[str, int]:
    return {"st_mtime": time, "st_ctime": time, "st_atime": time}
