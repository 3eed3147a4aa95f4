"""Bytes in sentences. What is sent as JSON stays in bytes."""

from __future__ import annotations


def size(number: int) -> str:
    """Exact below 1 KiB, else three digits with a binary unit."""
    for unit, step in (("TiB", 2**40), ("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if number >= step:
            return f"{number / step:.3g} {unit}" if number < 999.5 * step else f"{number / step:.0f} {unit}"
    return f"{number} B"
