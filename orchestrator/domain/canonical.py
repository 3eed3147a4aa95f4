"""One way to write a JSON value as bytes, so that hashes and signatures of equal values are equal."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any


def canonical_json(value: Any, *, floats: bool = False) -> bytes:
    """UTF-8 JSON with sorted keys and no white space.

    Raises TypeError for what is not plain JSON: keys that are no strings, and floats unless ``floats`` (their text form differs
    between languages, so nothing that others verify may hold one). Raises ValueError for NaN and infinities, and for text
    that is not valid Unicode.
    """
    _refuse_foreign(value, floats=floats)
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8")


def digest(value: Any) -> str:
    """SHA-256 of the canonical JSON, hexadecimal."""
    return hashlib.sha256(canonical_json(value)).hexdigest()


def _refuse_foreign(value: Any, *, floats: bool) -> None:
    if value is None or isinstance(value, bool | int | str):
        return
    if isinstance(value, float):
        if not floats:
            raise TypeError("canonical JSON holds no floats")
    elif isinstance(value, Mapping):
        for key, item in value.items():
            if not isinstance(key, str):
                raise TypeError(f"canonical JSON has text keys only, not {type(key).__name__}")
            _refuse_foreign(item, floats=floats)
    elif isinstance(value, Sequence) and not isinstance(value, bytes | bytearray | memoryview):
        for item in value:
            _refuse_foreign(item, floats=floats)
    else:
        raise TypeError(f"canonical JSON cannot hold a {type(value).__name__}")
