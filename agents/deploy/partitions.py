"""Room for the seed at the end of a disk that an image was written to: a further partition, in GPT (UEFI 2.10, 5) or in an MBR.

An image is smaller than the disk, so a GPT's second copy lies in the middle: it is moved to the end, where firmware looks for it.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

SECTOR = 512
HEAD = 1 << 20
"""Bytes from the disk's beginning that are looked at: tables lie before the first megabyte's end."""
TAIL_SECTORS = 33
"""A GPT's second copy: 32 sectors of entries and its header."""
ALIGNED = 2048  # sectors: a megabyte
_SIGNATURE = b"EFI PART"
_HEADER = "<8sIIIIQQQQ16sQIII"
_HEADER_BYTES = 92
_BASIC_DATA = bytes.fromhex("a2a0d0ebe5b9334487c068b6b72699c7")
_FAT16_LBA, _PROTECTIVE = 0x0E, 0xEE
_MBR_ENTRIES = range(446, 510, 16)


class NoRoom(Exception):
    """There can be no seed on this disk; the sentence says why."""


@dataclass(frozen=True)
class Plan:
    """Where the file system of the seed goes, in bytes, and what has to be written where for it to be a partition."""

    start: int
    patches: tuple[tuple[int, bytes], ...]


def plan(head: bytes, *, disk_bytes: int, seed_bytes: int, guid: bytes) -> Plan:
    """``head``: the disk's first HEAD bytes; ``guid``: 16 random bytes. Raises NoRoom."""
    sectors = disk_bytes // SECTOR
    if head[510:512] != b"\x55\xaa":
        raise NoRoom("the image has no partition table: there is no place on the disk for a seed")
    start = (sectors - TAIL_SECTORS - 1 - seed_bytes // SECTOR) // ALIGNED * ALIGNED
    if head[SECTOR : SECTOR + 8] == _SIGNATURE:
        return _gpt(head, sectors, start, seed_bytes // SECTOR, guid)
    return _mbr(head, start, seed_bytes // SECTOR)


def _gpt(head: bytes, sectors: int, start: int, count: int, guid: bytes) -> Plan:
    fields = list(struct.unpack_from(_HEADER, head, SECTOR))
    entries_at, number, size = fields[10], fields[11], fields[12]
    length = number * size
    if entries_at * SECTOR + length > len(head) or length > (TAIL_SECTORS - 1) * SECTOR or size < 128:
        raise NoRoom("the image's partition table is larger than any that is known here")
    entries = bytearray(head[entries_at * SECTOR : entries_at * SECTOR + length])
    if zlib.crc32(entries) != fields[13] or _checksum(fields) != fields[3]:
        raise NoRoom("the image's partition table does not hold: its checksum is another")
    free = None
    for at in range(0, length, size):
        kind, _, _, last = struct.unpack_from("<16s16sQQ", entries, at)
        if kind == bytes(16):
            free = at if free is None else free
        elif last >= start:
            raise NoRoom("the disk is too small for the image and a seed behind it")
    if free is None:
        raise NoRoom("the image's partition table is full")
    name = "cidata".encode("utf-16-le").ljust(72, b"\0")
    struct.pack_into("<16s16sQQQ72s", entries, free, _BASIC_DATA, guid, start, start + count - 1, 0, name)
    fields[8], fields[13] = sectors - TAIL_SECTORS - 1, zlib.crc32(entries)
    first = _header(fields, own=1, other=sectors - 1, entries=entries_at)
    second = _header(fields, own=sectors - 1, other=1, entries=sectors - TAIL_SECTORS)
    protective = bytearray(head[:SECTOR])
    for at in _MBR_ENTRIES:
        if protective[at + 4] == _PROTECTIVE:
            struct.pack_into("<I", protective, at + 12, min(sectors - 1, 0xFFFFFFFF))
    return Plan(
        start * SECTOR,
        (
            (0, bytes(protective)),
            (SECTOR, first),
            (entries_at * SECTOR, bytes(entries)),
            ((sectors - TAIL_SECTORS) * SECTOR, bytes(entries)),
            ((sectors - 1) * SECTOR, second),
        ),
    )


def _header(fields: list[int], *, own: int, other: int, entries: int) -> bytes:
    made = [*fields]
    made[5], made[6], made[10] = own, other, entries
    made[3] = _checksum(made)
    return struct.pack(_HEADER, *made).ljust(SECTOR, b"\0")


def _checksum(fields: list[int]) -> int:
    """Of the header, its own place counted as nothing."""
    return zlib.crc32(struct.pack(_HEADER, *fields[:3], 0, *fields[4:]))


def _mbr(head: bytes, start: int, count: int) -> Plan:
    table = bytearray(head[:SECTOR])
    free, used = None, False
    for at in _MBR_ENTRIES:
        kind, first, length = table[at + 4], *struct.unpack_from("<II", table, at + 8)
        if not kind:
            free = at if free is None else free
            continue
        used = True
        if first + length > start:
            raise NoRoom("the disk is too small for the image and a seed behind it")
    if not used:
        raise NoRoom("the image has no partition table: there is no place on the disk for a seed")
    if free is None:
        raise NoRoom("the image's partition table is full")
    if start + count > 0xFFFFFFFF:
        raise NoRoom("the disk is larger than an MBR can say: use an image with a GPT")
    struct.pack_into("<B3sB3sII", table, free, 0, b"\xfe\xff\xff", _FAT16_LBA, b"\xfe\xff\xff", start, count)
    return Plan(start * SECTOR, ((0, bytes(table)),))
