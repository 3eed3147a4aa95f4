"""Amounts as people write them: sizes, rates and durations, to base units (bytes, bytes per second, seconds).

Decimal units are powers of 10 and binary ones powers of 2 (IEC 80000-13): 1 GB = 10^9 bytes, 1 GiB = 2^30 bytes. A bit
rate is an eighth of it in bytes. No unit is guessed.
"""

from __future__ import annotations

import re
from datetime import timedelta
from fractions import Fraction

from orchestrator.domain import sizes

_BYTES = sizes.BYTES | {"KB": 10**3}
_BITS = sizes.BITS | {"Kbit": 10**3}
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}

_AMOUNT = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,6})?) ?([A-Za-z]+)")
_RATE = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,6})?) ?([A-Za-z]+)/s")
_DURATION = re.compile(r"(?:[0-9]{1,9}[smhd])+")
_LARGEST = 2**63 - 1  # what the store's and libvirt's integers hold

SIZE_PATTERN = r"^[0-9]+(\.[0-9]+)? ?(B|kB|KB|MB|GB|TB|KiB|MiB|GiB|TiB)$"
RATE_PATTERN = r"^[0-9]+(\.[0-9]+)? ?(B|kB|KB|MB|GB|TB|KiB|MiB|GiB|TiB|bit|kbit|Kbit|Mbit|Gbit|Kibit|Mibit|Gibit)/s$"
DURATION_PATTERN = r"^([0-9]+[smhd])+$"


def parse_size(value: object) -> int:
    """``"10 GB"`` -> 10^10, ``"4 GiB"`` -> 2^32, a plain whole number is bytes. Raises ValueError with a sentence."""
    if isinstance(value, int) and not isinstance(value, bool):
        return _bounded(Fraction(value), value)
    match = _AMOUNT.fullmatch(value) if isinstance(value, str) else None
    if match is None or match[2] not in _BYTES:
        raise ValueError(
            f"{_quote(value)} is no size: write a number with a unit, such as '20 GB' (10^9 bytes each) or '4 GiB' (2^30)"
        )
    return _bounded(Fraction(match[1]) * _BYTES[match[2]], value)


def parse_rate(value: object) -> int:
    """Bytes per second of ``"100 Mbit/s"`` or ``"50 MB/s"``; the whole number 0 = no limit. Raises ValueError."""
    if value == 0 and isinstance(value, int) and not isinstance(value, bool):
        return 0
    match = _RATE.fullmatch(value) if isinstance(value, str) else None
    if match is None or match[2] not in _BYTES | _BITS:
        raise ValueError(f"{_quote(value)} is no rate: write such as '100 Mbit/s' or '50 MB/s', or 0 for no limit")
    per_second = Fraction(match[1]) * (_BYTES[match[2]] if match[2] in _BYTES else Fraction(_BITS[match[2]], 8))
    return _bounded(per_second, value)


def parse_duration(value: object) -> timedelta:
    """``"24h"``, ``"1h30m"``, ``"5m"``, ``"90s"``, ``"7d"`` (a day is 24 hours). Raises ValueError."""
    if not isinstance(value, str) or not _DURATION.fullmatch(value):
        raise ValueError(f"{_quote(value)} is no duration: write such as '90s', '5m', '24h', '7d' or '1h30m'")
    seconds = sum(int(number) * _SECONDS[unit] for number, unit in re.findall(r"([0-9]+)([smhd])", value))
    if seconds > 3660 * 86400:
        raise ValueError(f"{_quote(value)} is longer than ten years")
    return timedelta(seconds=seconds)


def size_words(count: int) -> str | int:
    """Bytes as they are written in files: in the unit, decimal or binary, that makes the shortest whole number of them."""
    return "{} {}".format(*sizes.shortest(count, sizes.BYTES)) if count else 0


def rate_words(per_second: int) -> str | int:
    """The same for a rate in bytes per second; 0 = no limit."""
    return sizes.rate_words(per_second) if per_second else 0


def duration_words(duration: timedelta) -> str:
    """``"24h"`` -> ``"1d"``: whole days, hours, minutes and seconds."""
    left, words = int(duration.total_seconds()), ""
    for unit, seconds in sorted(_SECONDS.items(), key=lambda item: -item[1]):
        number, left = divmod(left, seconds)
        words += f"{number}{unit}" if number else ""
    return words or "0s"


def _bounded(amount: Fraction, value: object) -> int:
    if amount < 0 or amount > _LARGEST:
        raise ValueError(f"{_quote(value)} is out of range: it must lie between 0 and 2^63-1 bytes")
    if amount.denominator != 1:
        raise ValueError(f"{_quote(value)} is not a whole number of bytes")
    return int(amount)


def _quote(value: object) -> str:
    text = str(value)
    return f"'{text[:40]}…'" if len(text) > 40 else f"'{text}'"
