"""Writing over blocks where they lie: O_DIRECT, from a buffer of its own, never growing or moving anything.

Not O_SYNC: waiting for the medium at each piece made it four times slower. It is waited for before a cursor says that something
is done, and at the end of each pass.
"""

from __future__ import annotations

import hashlib
import mmap
import os
from collections.abc import Callable, Iterator, Sequence

from agents.node.extents import Extent

CHUNK = 1024 * 1024
"""Bytes a write, and the unit of the pseudo-random pattern."""

Fill = Callable[[int, int], bytes]
"""Called with an offset in the file and a length that stays within one CHUNK-aligned piece; returns what belongs there."""


def zeros(_offset: int, length: int) -> bytes:
    return bytes(length)


def pattern(seed: bytes) -> Fill:
    """Pseudo-random bytes that can be made again for any offset, so that a read-back can be compared with what was written.

    Not zeros, because layers below may turn those into a mere unmapping.
    """
    last: tuple[int, bytes] = (-1, b"")

    def fill(offset: int, length: int) -> bytes:
        nonlocal last
        index, start = divmod(offset, CHUNK)
        if last[0] != index:
            last = (index, hashlib.shake_256(seed + index.to_bytes(8, "big")).digest(CHUNK))
        return last[1][start : start + length]

    return fill


def pieces(extents: Sequence[Extent], *, skip: int = 0) -> Iterator[Extent]:
    """The extents but their first ``skip`` bytes, cut so that no piece crosses a multiple of CHUNK in the file."""
    for extent in extents:
        done = min(skip, extent.length)
        skip -= done
        while done < extent.length:
            offset = extent.logical + done
            length = min(extent.length - done, CHUNK - offset % CHUNK)
            yield Extent(offset, extent.physical + done, length)
            done += length


def overwrite(fd: int, extents: Sequence[Extent], fill: Fill, *, skip: int = 0, written: Callable[[int], None]) -> None:
    """Write ``fill`` over the extents; on return it is on the medium. ``fd`` must be open with O_DIRECT.

    ``written`` hears of each piece's bytes, which may still be on their way then.
    """
    with mmap.mmap(-1, CHUNK) as buffer, memoryview(buffer) as view:
        for piece in pieces(extents, skip=skip):
            buffer[: piece.length] = fill(piece.logical, piece.length)
            with view[: piece.length] as part:
                if os.pwrite(fd, part, piece.logical) != piece.length:
                    raise OSError(f"a write at byte {piece.logical} was cut short")
            written(piece.length)
    os.fsync(fd)
