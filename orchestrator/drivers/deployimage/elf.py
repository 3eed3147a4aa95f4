"""Which shared libraries a program of 64 bits asks for: DT_NEEDED of the ELF format (elf(5))."""

from __future__ import annotations

import struct

_PT_LOAD, _PT_DYNAMIC, _PT_INTERP = 1, 2, 3
_DT_NEEDED, _DT_STRTAB = 1, 5


def needed(content: bytes) -> tuple[str, ...]:
    """Names of libraries, and the path of its interpreter; () for what is no such program."""
    if content[:5] != b"\x7fELF\x02":
        return ()
    (offset,) = struct.unpack_from("<Q", content, 32)
    size, count = struct.unpack_from("<HH", content, 54)
    headers = [struct.unpack_from("<IIQQQQ", content, offset + each * size) for each in range(count)]
    loads = [(address, at, length) for kind, _, at, address, _, length in headers if kind == _PT_LOAD]
    found = [_text(content, at) for kind, _, at, _, _, _ in headers if kind == _PT_INTERP]
    for kind, _, at, _, _, length in headers:
        if kind == _PT_DYNAMIC:
            entries = [struct.unpack_from("<QQ", content, place) for place in range(at, at + length, 16)]
            strings = next((value for tag, value in entries if tag == _DT_STRTAB), None)
            if strings is not None:
                base = _in_file(loads, strings)
                found += [_text(content, base + value) for tag, value in entries if tag == _DT_NEEDED]
    return tuple(found)


def _in_file(loads: list[tuple[int, int, int]], address: int) -> int:
    return next((at + address - start for start, at, length in loads if start <= address < start + length), address)


def _text(content: bytes, at: int) -> str:
    return content[at : content.index(b"\0", at)].decode("ascii")
