"""Where a qcow2 image keeps what opens it: header, mapping tables and the LUKS header (QEMU's docs/interop/qcow2.txt)."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

_MAGIC = b"QFI\xfb"
_LUKS_MAGIC = b"LUKS\xba\xbe"
_CRYPT_LUKS = 2
_EXTENSION_END = 0
_EXTENSION_LUKS = 0x0537BE77
_DATA_FILE_BIT = 1 << 2
_V2 = struct.Struct(">4sIQIIQIIQQIIQ")
_V3 = struct.Struct(">QQQII")
_LUKS_LIMIT = 64 * 1024 * 1024
_TABLE_LIMIT = 32 * 1024 * 1024
_HEADER_LIMIT = 64 * 1024

ReadAt = Callable[[int, int], bytes]
"""Called with offset and length; returns fewer bytes only at the end of the file."""


class NotEncrypted(ValueError):
    """Not a qcow2 image with LUKS inside, or one whose data lies elsewhere; the message says which."""


@dataclass(frozen=True, slots=True)
class KeyMaterial:
    """(offset, length) pairs in the image, in bytes: the LUKS header with all key slots, the first cluster, the L1 table."""

    luks: tuple[int, int]
    header: tuple[int, int]
    l1_table: tuple[int, int]

    @property
    def ranges(self) -> tuple[tuple[int, int], ...]:
        return (self.luks, self.header, self.l1_table)


def key_material(read_at: ReadAt) -> KeyMaterial:
    """Find it. Raises NotEncrypted where the image is not what it should be; guesses nothing."""
    head = read_at(0, _HEADER_LIMIT)
    if len(head) < _V2.size or head[:4] != _MAGIC:
        raise NotEncrypted("it is not a qcow2 image")
    _, version, _, _, cluster_bits, _, crypt, l1_size, l1_offset, *_ = _V2.unpack_from(head, 0)
    if version not in (2, 3) or not 9 <= cluster_bits <= 21:
        raise NotEncrypted(f"its qcow2 header is of version {version} with clusters of 2^{cluster_bits} bytes")
    if crypt != _CRYPT_LUKS:
        raise NotEncrypted("its qcow2 header names no LUKS encryption")
    start = _V2.size
    if version == 3:
        if len(head) < _V2.size + _V3.size:
            raise NotEncrypted("its qcow2 header is cut off")
        incompatible, _, _, _, start = _V3.unpack_from(head, _V2.size)
        if incompatible & _DATA_FILE_BIT:
            raise NotEncrypted("its data lies in another file")
    luks = _luks_extension(head, start)
    if not 0 < luks[1] <= _LUKS_LIMIT or read_at(luks[0], len(_LUKS_MAGIC)) != _LUKS_MAGIC:
        raise NotEncrypted("there is no LUKS header where its qcow2 header says")
    if l1_size * 8 > _TABLE_LIMIT:
        raise NotEncrypted("its L1 table is larger than QEMU allows")
    return KeyMaterial(luks=luks, header=(0, 1 << cluster_bits), l1_table=(l1_offset, l1_size * 8))


def _luks_extension(head: bytes, start: int) -> tuple[int, int]:
    while start + 8 <= len(head):
        kind, length = struct.unpack_from(">II", head, start)
        if kind == _EXTENSION_LUKS and length == 16 and start + 24 <= len(head):
            offset, size = struct.unpack_from(">QQ", head, start + 8)
            return offset, size
        if kind == _EXTENSION_END:
            break
        start += 8 + (length + 7) // 8 * 8
    raise NotEncrypted("its qcow2 header does not say where the LUKS header is")
