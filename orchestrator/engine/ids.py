"""Job ids: sortable by time, short enough for volume names, and never the same twice."""

from __future__ import annotations

import secrets
import threading
from datetime import datetime

# Crockford's base 32, small: no letter that reads like a digit.
_DIGITS = "0123456789abcdefghjkmnpqrstvwxyz"
_TIME_DIGITS = 9  # milliseconds since 1970, good until the year 3084
_RANDOM_DIGITS = 6


class JobIds:
    """Ids of one controller; those it gives are strictly growing, also within a millisecond or when the clock steps back."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._last = 0

    def new(self, now: datetime) -> str:
        with self._guard:
            milliseconds = max(int(now.timestamp() * 1000), self._last + 1)
            self._last = milliseconds
        return "j" + _base32(milliseconds, _TIME_DIGITS) + _base32(secrets.randbits(5 * _RANDOM_DIGITS), _RANDOM_DIGITS)


def _base32(number: int, digits: int) -> str:
    text = ""
    for _ in range(digits):
        number, digit = divmod(number, 32)
        text = _DIGITS[digit] + text
    return text
