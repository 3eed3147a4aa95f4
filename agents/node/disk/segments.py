"""How a disk is cut into files, and which of them changed when.

restic passes over a file whose size, mtime, ctime and inode are those of the parent snapshot (its design document, "Backups").
So a disk is shown as one file for each 4 MiB of it, and a file gets a new time only where the disk was written to.
Pure: no disk is touched here.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, groupby, repeat

SEGMENT_BYTES = 4 * 1024 * 1024
PER_DIRECTORY = 1024
"""Segments in one directory: restic keeps a directory as one object, which is written anew when one of its files changes."""

Extent = tuple[int, int]
"""(offset, length) in bytes."""


def count(size: int) -> int:
    """The number of segments of a disk of ``size`` bytes; the last may be shorter."""
    return -(-size // SEGMENT_BYTES)


def length(index: int, size: int) -> int:
    """The bytes of one segment."""
    return min(SEGMENT_BYTES, size - index * SEGMENT_BYTES)


def directory_of(index: int) -> str:
    return f"{index // PER_DIRECTORY:06d}"


def name_of(index: int) -> str:
    return f"{index:09d}"


def path_of(index: int) -> str:
    """Where the segment lies below the disk's directory: ``000001/000001024``."""
    return f"{directory_of(index)}/{name_of(index)}"


def index_of(path: str) -> int:
    """The segment at that path. Raises ValueError where it is none of ours."""
    directory, _, name = path.partition("/")
    index = int(name) if name.isascii() and name.isdigit() else -1
    if index < 0 or path_of(index) != f"{directory}/{name}":
        raise ValueError(f"{path!r} is no segment of a disk")
    return index


def touched(extents: Iterable[Extent]) -> Iterator[int]:
    """The segments that the extents lie in, each once for each extent."""
    for offset, size in extents:
        if size > 0:
            yield from range(offset // SEGMENT_BYTES, (offset + size - 1) // SEGMENT_BYTES + 1)


def times(size: int, *, known: Mapping[int, int], dirty: Iterable[int], now: int) -> array[int]:
    """The time of each segment's last change, in nanoseconds since 1970 UTC.

    ``known``: the times in the parent snapshot; a segment without one, or in ``dirty``, changed ``now``. ``now`` is put after
    all that is known, so that a clock that was set back cannot give a changed segment the time it had.
    """
    now = max([now, *(time + 1 for time in known.values())])
    found = array("q", (known.get(index, now) for index in range(count(size))))
    for index in dirty:
        if index < len(found):
            found[index] = now
    return found


def runs(found: Sequence[int]) -> list[tuple[int, int]]:
    """Times as they follow each other: each with the number of segments that have it."""
    return [(moment, sum(1 for _ in same)) for moment, same in groupby(found)]


def of_runs(found: Iterable[Sequence[int]]) -> dict[int, int]:
    """The time of each segment again. Raises ValueError where these are no runs."""
    return dict(enumerate(chain.from_iterable(repeat(moment, number) for moment, number in found)))


def within(extents: Iterable[Extent], index: int, size: int) -> list[Extent]:
    """The parts of the extents that lie in the segment, as offsets within it, in order."""
    start, end = index * SEGMENT_BYTES, index * SEGMENT_BYTES + length(index, size)
    parts = ((max(offset, start), min(offset + size_, end)) for offset, size_ in extents)
    return [(first - start, last - first) for first, last in parts if first < last]
