"""A small file system of the kind FAT16, written as bytes (Microsoft's FAT specification of 2000; UEFI 2.10, 13.3).

The cloud-init seed lies in one on the machine's disk, and what UEFI starts in one on the deploy image. The same content has the
same bytes: times are those of the format's own beginning.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

SECTOR = 512
# One sector a cluster: so many clusters that it is FAT16 and neither FAT12 nor FAT32.
SMALLEST, LARGEST = 4 << 20, 32 << 20
_ROOT_ENTRIES, _FATS, _RESERVED = 512, 2, 1
_FIRST_DATE = 0x21  # 1980-01-01
_END, _DIRECTORY, _ARCHIVE, _LABEL, _LONG = 0xFFFF, 0x10, 0x20, 0x08, 0x0F
_PLAIN = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")
_HEAD = "<3s8sHBHBHHBHHHII"


class TooFull(ValueError):
    """The files do not fit."""


@dataclass(slots=True)
class _Volume:
    fat: list[int]
    data: bytearray
    first: int

    def store(self, content: bytes) -> int:
        """The first cluster; 0 for nothing."""
        count = -(-len(content) // SECTOR)
        if not count:
            return 0
        start = self.first
        if start + count > len(self.fat):
            raise TooFull("the files do not fit into the file system")
        self.fat[start : start + count] = [*range(start + 1, start + count), _END]
        at = (start - 2) * SECTOR
        self.data[at : at + len(content)] = content
        self.first += count
        return start


def image(files: Mapping[str, bytes], *, label: str, size: int) -> bytes:
    """A whole file system of ``size`` bytes. A name may have directories before it (``EFI/BOOT/BOOTX64.EFI``).

    Raises TooFull where the files do not fit, ValueError for a size or a label that FAT16 does not know.
    """
    if not SMALLEST <= size <= LARGEST or size % SECTOR:
        raise ValueError(f"between {SMALLEST} and {LARGEST} bytes, in whole sectors")
    if not 0 < len(label) <= 11:
        raise ValueError("a label has at most 11 letters")
    sectors = size // SECTOR
    root = _ROOT_ENTRIES * 32 // SECTOR
    fat_sectors = -(-(sectors - _RESERVED - root + 2) * 2 // SECTOR)
    clusters = sectors - _RESERVED - root - _FATS * fat_sectors
    volume = _Volume([0xFFF8, _END, *[0] * clusters], bytearray(clusters * SECTOR), 2)
    entries = _entry(_padded(label, 11), _LABEL, 0, 0) + b"".join(_directory(volume, _tree(files), above=0))
    if len(entries) > _ROOT_ENTRIES * 32:
        raise TooFull("too many files in the first directory")
    table = b"".join(struct.pack("<H", each) for each in volume.fat).ljust(fat_sectors * SECTOR, b"\0")
    boot = _boot_sector(label, sectors, fat_sectors)
    return boot + table * _FATS + entries.ljust(root * SECTOR, b"\0") + bytes(volume.data)


_Tree = dict[str, "bytes | _Tree"]


def _tree(files: Mapping[str, bytes]) -> _Tree:
    whole: _Tree = {}
    for path, content in sorted(files.items()):
        *above, name = path.split("/")
        here = whole
        for each in above:
            inner = here.setdefault(each, {})
            if not isinstance(inner, dict):
                raise ValueError(f"{each} is a file and a directory")
            here = inner
        here[name] = content
    return whole


def _directory(volume: _Volume, tree: _Tree, *, above: int) -> Iterator[bytes]:
    """The entries of a directory, what they name stored before them."""
    taken: set[bytes] = set()
    for name, value in tree.items():
        short = _short(name, taken)
        taken.add(short)
        if isinstance(value, bytes):
            kind, cluster, length = _ARCHIVE, volume.store(value), len(value)
        else:
            kind, cluster, length = _DIRECTORY, _inner(volume, value, above), 0
        yield from _long(name, short)
        yield _entry(short, kind, cluster, length)


def _inner(volume: _Volume, tree: _Tree, above: int) -> int:
    """A directory's own cluster has to be known to those below it: it is taken first, and one is enough for a few names."""
    cluster = volume.store(bytes(SECTOR))
    dots = _entry(b".          ", _DIRECTORY, cluster, 0) + _entry(b"..         ", _DIRECTORY, above, 0)
    content = dots + b"".join(_directory(volume, tree, above=cluster))
    if len(content) > SECTOR:
        raise TooFull("too many files in a directory")
    at = (cluster - 2) * SECTOR
    volume.data[at : at + len(content)] = content
    return cluster


def _boot_sector(label: str, sectors: int, fat_sectors: int) -> bytes:
    few, many = (sectors, 0) if sectors < 65536 else (0, sectors)
    head = struct.pack(
        _HEAD,
        *(b"\xeb\x3c\x90", b"MSWIN4.1", SECTOR, 1, _RESERVED, _FATS, _ROOT_ENTRIES, few, 0xF8, fat_sectors, 63, 255, 0, many),
    )
    rest = struct.pack("<BBBI11s8s", 0x80, 0, 0x29, 0x0DE91071, _padded(label, 11), b"FAT16   ")
    return (head + rest).ljust(510, b"\0") + b"\x55\xaa"


def _entry(short: bytes, kind: int, cluster: int, length: int) -> bytes:
    return struct.pack("<11sBBBHHHHHHHI", short, kind, 0, 0, 0, _FIRST_DATE, _FIRST_DATE, 0, 0, _FIRST_DATE, cluster, length)


def _padded(text: str, width: int) -> bytes:
    return text.encode("ascii").ljust(width)


def _short(name: str, taken: set[bytes]) -> bytes:
    """The name of 8 and 3 letters; one that does not fit so is numbered."""
    stem, _, extension = name.rpartition(".") if "." in name else (name, "", "")
    if name == name.upper() and len(stem) <= 8 and len(extension) <= 3 and set(stem + extension) <= _PLAIN:
        return _padded(stem, 8) + _padded(extension, 3)
    plain = "".join(each if each in _PLAIN else "_" for each in stem.upper())[:6]
    ending = "".join(each if each in _PLAIN else "_" for each in extension.upper())[:3]
    for number in range(1, 10):
        short = _padded(f"{plain}~{number}", 8) + _padded(ending, 3)
        if short not in taken:
            return short
    raise TooFull(f"too many names like {name}")


def _long(name: str, short: bytes) -> Iterator[bytes]:
    """The entries that carry the whole name, the last part first; none for one that is short."""
    if "~" not in short.decode("ascii"):
        return
    checksum = 0
    for each in short:
        checksum = (((checksum & 1) << 7) + (checksum >> 1) + each) & 0xFF
    text = name.encode("utf-16-le")
    if len(text) % 26:
        text = (text + b"\0\0").ljust(-(-(len(text) + 2) // 26) * 26, b"\xff")
    parts = [text[at : at + 26] for at in range(0, len(text), 26)]
    for number in range(len(parts), 0, -1):
        part, order = parts[number - 1], number | (0x40 if number == len(parts) else 0)
        yield struct.pack("<B10sBBB12sH4s", order, part[:10], _LONG, 0, checksum, part[10:22], 0, part[22:])
