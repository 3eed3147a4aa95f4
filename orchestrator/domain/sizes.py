"""Bytes and rates in sentences, as people write them. JSON has them in bytes.

Decimal units are powers of 10 and binary ones powers of 2 (IEC 80000-13): 1 GB = 10^9 bytes, 1 GiB = 2^30 bytes. A bit
rate is an eighth of it in bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

BYTES = {
    "B": 1,
    "kB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
    "TiB": 2**40,
}
BITS = {"bit": 1, "kbit": 10**3, "Mbit": 10**6, "Gbit": 10**9, "Kibit": 2**10, "Mibit": 2**20, "Gibit": 2**30}
_RATES = {f"{unit}/s": Fraction(size) for unit, size in BYTES.items()} | {
    f"{unit}/s": Fraction(size, 8) for unit, size in BITS.items()
}
_ROUNDED = ("TiB", "GiB", "MiB", "KiB")
# A whole number longer than this says less than a rounded one.
_SHORT = 10_000


def size_words(number: int) -> str:
    """Exact where a unit makes it whole (``20 GB``, ``4 GiB``), the shorter of both; else three digits with a binary unit."""
    whole, unit = shortest(number, BYTES)
    if whole < _SHORT:
        return f"{whole} {unit}"
    return _rounded(number, next(unit for unit in _ROUNDED if number >= BYTES[unit]))


def compared(found: int, wanted: int) -> tuple[str, str]:
    """Both in the unit in which the second is written, so that they can be compared by eye; in bytes where they read alike and
    are not."""
    words = size_words(wanted)
    unit = words.rpartition(" ")[2]
    said = size_words(found) if 10 * found < BYTES[unit] or found % BYTES[unit] == 0 else _rounded(found, unit)
    return (said, words) if found == wanted or said != words else (f"{found:,} bytes", f"{wanted:,} bytes")


def rate_words(per_second: int) -> str:
    """Bytes per second, exact, in the unit of bytes or of bits that makes the shortest number; 0 = no limit."""
    return "{} {}".format(*shortest(per_second, _RATES)) if per_second else "no limit"


def shortest(amount: int, units: Mapping[str, int] | Mapping[str, Fraction]) -> tuple[int, str]:
    """The shortest whole number of one of these units, with it; one of them has to go into all."""
    parts = ((amount / Fraction(size), unit) for unit, size in units.items())
    return min(((int(part), unit) for part, unit in parts if part.denominator == 1), key=lambda found: len(str(found[0])))


def _rounded(number: int, unit: str) -> str:
    value = number / BYTES[unit]
    return f"{value:.3g} {unit}" if value < 999.5 else f"{value:.0f} {unit}"
