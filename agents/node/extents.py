"""Which blocks of the medium a file occupies (FIEMAP, Documentation/filesystems/fiemap.rst of the kernel)."""

from __future__ import annotations

import fcntl
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_FS_IOC_FIEMAP = 0xC020660B
_FLAG_SYNC = 0x1
_HEAD = struct.Struct("=QQLLLL")
_EXTENT = struct.Struct("=QQQQQLLLL")
_BATCH = 500
_MAX_EXTENTS = 4_000_000

LAST = 0x1
UNWRITTEN = 0x800

# Extents that cannot be overwritten where they lie, or whose place is not told: flag and what it means.
IMMOVABLE_REASONS = (
    (0x2, "its place on the medium is unknown"),
    (0x4, "it has no place on the medium yet"),
    (0x8, "it is stored encoded (compressed or encrypted by the file system)"),
    (0x200, "it is stored inside the file system's own metadata"),
    (0x400, "it shares a block with other files (tail packing)"),
    (0x100, "it is not aligned to blocks"),
    (0x2000, "it is shared with another file or snapshot (copy on write)"),
)


@dataclass(frozen=True, slots=True)
class Extent:
    """``logical`` is the offset in the file, ``physical`` on the file system's device; bytes."""

    logical: int
    physical: int
    length: int
    flags: int = 0

    @property
    def end(self) -> int:
        return self.logical + self.length


def file_extents(fd: int) -> tuple[Extent, ...]:
    """Every extent of the open file, after what is still in memory was given its place. OSError where FIEMAP is missing."""
    found: list[Extent] = []
    start = 0
    while len(found) < _MAX_EXTENTS:
        buffer = bytearray(_HEAD.size + _BATCH * _EXTENT.size)
        _HEAD.pack_into(buffer, 0, start, 2**64 - 1 - start, _FLAG_SYNC, 0, _BATCH, 0)
        fcntl.ioctl(fd, _FS_IOC_FIEMAP, buffer)
        mapped = _HEAD.unpack_from(buffer, 0)[3]
        for index in range(mapped):
            logical, physical, length, _, _, flags, *_ = _EXTENT.unpack_from(buffer, _HEAD.size + index * _EXTENT.size)
            found.append(Extent(logical, physical, length, flags))
        if mapped == 0 or found[-1].flags & LAST:
            return tuple(found)
        start = found[-1].end
    raise OSError(f"the file has more than {_MAX_EXTENTS} extents")


def why_not_in_place(extents: Iterable[Extent]) -> str:
    """Why some extent cannot be overwritten where it lies, or '' where all can."""
    for extent in extents:
        for flag, reason in IMMOVABLE_REASONS:
            if extent.flags & flag:
                return f"the extent at byte {extent.logical} cannot be overwritten in place: {reason}"
    return ""


def clip(extents: Sequence[Extent], ranges: Iterable[tuple[int, int]]) -> tuple[Extent, ...]:
    """The parts of the extents inside the (offset, length) ranges, in the ranges' order; holes fall out."""
    parts: list[Extent] = []
    for offset, length in ranges:
        for extent in extents:
            first, end = max(offset, extent.logical), min(offset + length, extent.end)
            if first < end:
                parts.append(Extent(first, extent.physical + first - extent.logical, end - first, extent.flags))
    return tuple(parts)


def places(extents: Iterable[Extent]) -> tuple[tuple[int, int, int], ...]:
    """(logical, physical, length), with neighbours joined and flags left out: equal where the same blocks are meant.

    A file system splits and joins extents as it likes (an unwritten one becomes two when half of it is written).
    """
    joined: list[tuple[int, int, int]] = []
    for extent in sorted(extents, key=lambda e: e.logical):
        if joined:
            logical, physical, length = joined[-1]
            if logical + length == extent.logical and physical + length == extent.physical:
                joined[-1] = (logical, physical, length + extent.length)
                continue
        joined.append((extent.logical, extent.physical, extent.length))
    return tuple(joined)


def choose_samples(extents: Sequence[Extent], *, samples: int, block: int) -> tuple[Extent, ...]:
    """``samples`` blocks spread evenly over the extents, first and last included; the same for the same map."""
    total = sum(e.length // block for e in extents)
    wanted = min(samples, total)
    chosen: list[Extent] = []
    for index in range(wanted):
        position = index * (total - 1) // max(1, wanted - 1)
        for extent in extents:
            blocks = extent.length // block
            if position < blocks:
                chosen.append(Extent(extent.logical + position * block, extent.physical + position * block, block))
                break
            position -= blocks
    return tuple(chosen)
