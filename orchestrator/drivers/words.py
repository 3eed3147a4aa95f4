"""Words that a node says, made safe to keep and to show: whatever writes them down must be able to."""

from __future__ import annotations

import json
import re
from math import isfinite
from typing import Any, NoReturn

# Surrogates cannot be encoded (RFC 3629 section 3), the controls but tab and line feed steer a terminal.
_UNFIT = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def plain(text: str) -> str:
    r"""``text`` with every surrogate and every control character but \n and \t written as an escape (``\x1b``, ``\udcff``)."""
    return _UNFIT.sub(lambda found: _escape(ord(found[0])), text)


def plain_json(text: str | bytes) -> Any:
    """The JSON value with all its strings plain, names of fields too.

    Raises ValueError where it is no JSON, also where it holds a number that JSON has none for (NaN, infinity), and
    RecursionError where it is nested too deeply.
    """
    return _plain(json.loads(text, parse_constant=_no_number, parse_float=_finite))


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return plain(value)
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, dict):
        return {plain(key): _plain(each) for key, each in value.items()}
    return value


def _escape(code: int) -> str:
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def _no_number(word: str) -> NoReturn:
    raise ValueError(f"{word} is no number of JSON")


def _finite(digits: str) -> float:
    value = float(digits)
    if not isfinite(value):
        raise ValueError("a number is too large")
    return value
