"""The task ``write``: an image from the controller onto the disk that is meant, checked on its way and on the disk."""

from __future__ import annotations

import hashlib
import os
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

from agents.deploy import drives, fat, partitions
from agents.deploy.failure import Failed
from agents.deploy.place import Place

SEED_BYTES = fat.SMALLEST
_UNIT = 4096  # what every disk takes
_CLEARED = 1 << 20  # at the disk's end, where a former GPT's copy lies
Progress = Callable[[float, str], None]


class Images(Protocol):
    def image(self, name: str, size: int, *, start: int = 0) -> Iterator[bytes]: ...


def write(place: Place, images: Images, arguments: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """``image`` its name, ``sha256``, ``bytes``, ``serial`` of the disk; ``seed``: files by name, {} = none is made.

    Nothing is said to be done that was not read back from the disk.
    """
    name, wanted, size, serial = (arguments[key] for key in ("image", "sha256", "bytes", "serial"))
    files = {str(key): str(value).encode() for key, value in dict(arguments.get("seed") or {}).items()}
    seed = fat.image(files, label="cidata", size=SEED_BYTES) if files else b""
    begun = time.monotonic()
    with drives.opened(place, serial, write=True) as (fd, whole):
        if size + (len(seed) + _CLEARED if seed else 0) > whole:
            raise Failed(f"the disk {serial} has {whole} bytes: too small for the image of {size}")
        buffer = drives.Buffer()
        _clear_end(fd, buffer, size, whole)
        came = _stream(fd, buffer, images.image(name, size), size, lambda part: progress(part * 0.6, "writing"))
        if came != wanted:
            raise Failed(f"the image that came has the SHA-256 {came}, and not {wanted}")
        os.fsync(fd)
        _forget(fd)
        found = _read_back(fd, buffer, size, lambda part: progress(0.6 + part * 0.35, "reading back"))
        if found != wanted:
            raise Failed(
                f"the disk {serial} reads back with the SHA-256 {found}, and not {wanted}: it does not keep what it is given"
            )
        placed = _seed(fd, buffer, seed, whole) if seed else 0
        os.fsync(fd)
    return {
        "serial": serial,
        "bytes": size,
        "sha256": came,
        "read_back_sha256": found,
        "seed_at": placed,
        "seconds": round(time.monotonic() - begun, 3),
    }


def _stream(fd: int, buffer: drives.Buffer, parts: Iterator[bytes], size: int, told: Callable[[float], None]) -> str:
    """Write the image as it comes; its SHA-256. The next part is fetched while this one is written, and hashed meanwhile."""
    digest, at, buffers = hashlib.sha256(), 0, (buffer, drives.Buffer())
    with ThreadPoolExecutor(max_workers=1) as beside:
        written = beside.submit(drives.put, fd, memoryview(b""), 0)
        for turn, part in enumerate(_pieces(_ahead(parts))):
            filled = buffers[turn % 2].filled(part, unit=_UNIT)
            written.result()
            written = beside.submit(drives.put, fd, filled, at)
            digest.update(part)
            at += len(part)
            told(at / size)
        written.result()
    return digest.hexdigest()


def _pieces(parts: Iterator[bytes]) -> Iterator[memoryview]:
    """What fits into a buffer."""
    for part in parts:
        whole = memoryview(part)
        yield from (whole[start : start + drives.BLOCK] for start in range(0, len(whole), drives.BLOCK))


def _ahead(parts: Iterator[bytes]) -> Iterator[bytes]:
    """The same parts, fetched by a thread of its own, one ahead."""
    line: queue.Queue[bytes | BaseException | None] = queue.Queue(maxsize=1)

    def fetch() -> None:
        try:
            for part in parts:
                line.put(part)
            line.put(None)
        except BaseException as exc:  # noqa: BLE001 - whatever it was, who reads the parts is told
            line.put(exc)

    threading.Thread(target=fetch, daemon=True, name="fetch").start()
    while (found := line.get()) is not None:
        if isinstance(found, BaseException):
            raise found
        yield found


def _read_back(fd: int, buffer: drives.Buffer, size: int, told: Callable[[float], None]) -> str:
    """Its SHA-256. A part is hashed while the next is read, into the other of two buffers."""
    digest, buffers = hashlib.sha256(), (buffer, drives.Buffer())
    with ThreadPoolExecutor(max_workers=1) as beside:
        hashed = beside.submit(digest.update, b"")
        for turn, at in enumerate(range(0, size, drives.BLOCK)):
            length = min(drives.BLOCK, size - at)
            part = buffers[turn % 2].read(fd, length + -length % _UNIT, at)[:length]
            hashed.result()
            hashed = beside.submit(digest.update, part)
            told((at + length) / size)
        hashed.result()
    return digest.hexdigest()


def _forget(fd: int) -> None:
    """What was opened without O_DIRECT is read from the disk again, and not from memory."""
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)


def _clear_end(fd: int, buffer: drives.Buffer, size: int, whole: int) -> None:
    """No table of a former system is found at the end of the disk, or right behind the image."""
    for start in (whole - _CLEARED, size + -size % _UNIT):
        start = max(start - start % _UNIT, 0)
        buffer.write(fd, bytes(min(_CLEARED, (whole - start) // _UNIT * _UNIT)), start)


def _seed(fd: int, buffer: drives.Buffer, seed: bytes, whole: int) -> int:
    """Where it begins."""
    head = bytes(buffer.read(fd, partitions.HEAD, 0))
    try:
        plan = partitions.plan(head, disk_bytes=whole, seed_bytes=len(seed), guid=os.urandom(16))
    except partitions.NoRoom as exc:
        raise Failed(str(exc)) from exc
    patches = ((plan.start, seed), *plan.patches)
    for at, content in patches:
        _patch(fd, buffer, at, content)
    os.fsync(fd)
    _forget(fd)
    for at, content in patches:
        start, length = _around(at, len(content))
        if bytes(buffer.read(fd, length, start)[at - start : at - start + len(content)]) != content:
            raise Failed(f"the seed reads back from byte {at} otherwise than it was written")
    return plan.start


def _around(at: int, length: int) -> tuple[int, int]:
    start = at - at % _UNIT
    return start, at + length + -(at + length) % _UNIT - start


def _patch(fd: int, buffer: drives.Buffer, at: int, content: bytes) -> None:
    start, length = _around(at, len(content))
    whole = bytearray(buffer.read(fd, length, start))
    whole[at - start : at - start + len(content)] = content
    buffer.write(fd, bytes(whole), start)
