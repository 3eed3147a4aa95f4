"""Bytes in sentences."""

from __future__ import annotations


def size_words(number: int) -> str:
    """Bytes for a reader: exact below 1 KiB, else three digits with a binary unit."""
    for unit, step in (("TiB", 2**40), ("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if number >= step:
            return f"{number / step:.3g} {unit}" if number < 1000 * step else f"{number // step} {unit}"
    return f"{number} B"
