"""What restic says in JSON, as values. Fields that are not known are ignored; those that are zero may be missing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

LINE_LIMIT = 4 << 20
"""Bytes of one line; a longer one is passed over."""


@dataclass(frozen=True, slots=True)
class Status:
    """How far a run is. ``fraction`` 0..1 is 0 where restic does not know the end."""

    fraction: float
    files_done: int
    total_files: int
    bytes_done: int
    total_bytes: int


@dataclass(frozen=True, slots=True)
class ItemError:
    """One item that could not be read, stored or restored."""

    item: str
    during: str
    message: str


@dataclass(frozen=True, slots=True)
class ExitError:
    """Why restic gave up."""

    code: int
    message: str


@dataclass(frozen=True, slots=True)
class Summary:
    """The last word of a run; its fields differ by verb."""

    fields: Mapping[str, Any] = field(default_factory=dict)

    def count(self, name: str) -> int:
        value = self.fields.get(name)
        return int(value) if isinstance(value, int | float) and not isinstance(value, bool) else 0

    def text(self, name: str) -> str:
        value = self.fields.get(name)
        return value if isinstance(value, str) else ""


@dataclass(frozen=True, slots=True)
class Plain:
    """A line that is none of the above: words for people, or another verb's own JSON."""

    text: str


Message = Status | ItemError | ExitError | Summary | Plain


def read(line: bytes) -> Message | None:
    """One line of restic's output; None where it is empty or too long."""
    if not line.strip() or len(line) > LINE_LIMIT:
        return None
    text = line.decode("utf-8", "replace")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return Plain(text)
    if not isinstance(value, dict):
        return Plain(text)
    kind = value.get("message_type")
    if kind == "status":
        counted = (_count(value, name) for name in ("files_done", "total_files", "bytes_done", "total_bytes"))
        return Status(min(1.0, max(0.0, _number(value, "percent_done"))), *counted)
    if kind == "error":
        return ItemError(_text(value, "item"), _text(value, "during"), _said(value))
    if kind == "exit_error":
        return ExitError(_count(value, "code"), _text(value, "message").strip())
    if kind == "summary":
        return Summary(value)
    return Plain(text)


def _said(value: Mapping[str, Any]) -> str:
    """``{"error": {"message": …}}``; older restic writes an object of another shape there, and a check ``{"message": …}``."""
    error = value.get("error") or _text(value, "message").strip()
    if isinstance(error, dict):
        return _text(error, "message") or json.dumps(error)[:300]
    return str(error or "")


def _text(value: Mapping[str, Any], name: str) -> str:
    found = value.get(name)
    return found if isinstance(found, str) else ""


def _number(value: Mapping[str, Any], name: str) -> float:
    found = value.get(name)
    return float(found) if isinstance(found, int | float) and not isinstance(found, bool) else 0.0


def _count(value: Mapping[str, Any], name: str) -> int:
    return int(_number(value, name))
