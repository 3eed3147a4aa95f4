"""What lets somebody log in, found by its key in JSON that is kept, and what stands there once it is forgotten."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

PASSWORD: Mapping[str, Any] = {"password_hash": ""}
ALL: Mapping[str, Any] = {"password_hash": "", "ssh_keys": [], "old_keys": []}


def without(value: Any, blanks: Mapping[str, Any] = ALL) -> Any:
    """The same JSON with the blank in place of each of these keys' values, however deep they stand."""
    if isinstance(value, list):
        return [without(item, blanks) for item in value]
    if isinstance(value, dict):
        return {key: blanks[key] if key in blanks else without(item, blanks) for key, item in value.items()}
    return value
