"""The disk that is meant: found by its serial number each time anew, and opened so that it stays that one."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from agents.deploy import inspecting
from agents.deploy.failure import Failed
from agents.deploy.place import Place

BLOCK = 4 << 20
"""Bytes that are read or written at a time; a multiple of every disk's own blocks."""


def find(place: Place, serial: str) -> dict[str, Any]:
    """The one disk with that serial number. Raises Failed where there is none, or more than one."""
    if not serial:
        raise Failed("no serial number was given, and without one no disk is written to")
    found = [disk for disk in inspecting.disks(place) if disk["serial"] == serial]
    if not found:
        there = ", ".join(f"{disk['name']} {disk['serial'] or 'without a number'}" for disk in inspecting.disks(place))
        raise Failed(f"there is no disk with the serial number {serial} in this machine; there are: {there or 'none'}")
    if len(found) > 1:
        raise Failed(f"{len(found)} disks say that they have the serial number {serial}: {', '.join(d['name'] for d in found)}")
    return found[0]


@contextmanager
def opened(place: Place, serial: str, *, write: bool) -> Iterator[tuple[int, int]]:
    """The disk's descriptor, past the page cache where that can be, and its size. For writing nobody else may have it open.

    That it is the one is proven by its serial number before, and once more when it is open: a name can go to another disk.
    """
    disk = find(place, serial)
    path = str(place.path("dev", disk["name"]))
    fd = _open(path, (os.O_RDWR | os.O_EXCL) if write else os.O_RDONLY)
    try:
        if find(place, serial)["name"] != disk["name"]:
            raise Failed(f"the disk {serial} changed its name while it was opened")
        size = os.lseek(fd, 0, os.SEEK_END)
        if size != disk["bytes"]:
            raise Failed(f"{disk['name']} has {size} bytes, and the disk {serial} is known with {disk['bytes']}")
        yield fd, size
    finally:
        os.close(fd)


def _open(path: str, flags: int) -> int:
    try:
        return os.open(path, flags | os.O_DIRECT | os.O_CLOEXEC)
    except OSError as exc:
        if exc.errno != 22:  # EINVAL: no such thing as O_DIRECT there
            raise Failed(f"{path} cannot be opened: {exc.strerror}") from exc
        return os.open(path, flags | os.O_CLOEXEC)


def put(fd: int, content: memoryview, at: int) -> None:
    """All of it, at that byte."""
    done = 0
    while done < len(content):
        done += os.pwrite(fd, content[done:], at + done)


class Buffer:
    """Memory as O_DIRECT wants it: whole pages."""

    def __init__(self, size: int = BLOCK) -> None:
        self._map = mmap.mmap(-1, size)
        self._view = memoryview(self._map)

    def write(self, fd: int, content: bytes | memoryview, at: int) -> None:
        """All of it, at that byte. A length that is no multiple of 4096 needs an ``at`` and a disk that allow it."""
        whole = memoryview(content)
        for start in range(0, len(whole), len(self._map)):
            put(fd, self.filled(whole[start : start + len(self._map)]), at + start)

    def filled(self, content: bytes | memoryview, *, unit: int = 1) -> memoryview:
        """With that, and zeros to the next multiple of ``unit``; it is good until the next call."""
        length = len(content) + -len(content) % unit
        self._view[: len(content)] = content
        self._view[len(content) : length] = bytes(length - len(content))
        return self._view[:length]

    def read(self, fd: int, length: int, at: int) -> memoryview:
        """Exactly so many bytes; they are good until the next call."""
        done = 0
        while done < length:
            got = os.preadv(fd, [self._view[done:length]], at + done)
            if not got:
                raise Failed(f"the disk ends at byte {at + done}")
            done += got
        return self._view[:length]
