"""What the validation library found, in our words: the one place, for configuration files, requests and webhooks alike."""

from __future__ import annotations

import inspect
import json
import typing
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from orchestrator.config.problems import Path, did_you_mean

LONGEST_SHOWN = 40
_NUMBER = "must be a whole number"
_REAL = "must be a number"
_TRUTH = "must be true or false"
_TEXT = "must be a text"
_MAPPING = "must be a mapping of keys to values"
_MOMENT = "must be a time with its zone, such as 2026-11-30T12:00:00Z"
_SENTENCES = {
    "missing": "'{key}' is missing",
    "model_type": _MAPPING,
    "model_attributes_type": _MAPPING,
    "dict_type": _MAPPING,
    "list_type": "must be a list",
    "int_type": _NUMBER,
    "int_parsing": _NUMBER,
    "int_from_float": _NUMBER,
    "int_parsing_size": "is far too large a number",
    "float_type": _REAL,
    "float_parsing": _REAL,
    "finite_number": "must be a finite number",
    "bool_type": _TRUTH,
    "bool_parsing": _TRUTH,
    "string_type": _TEXT,
    "string_too_short": "must not be empty",
    "string_too_long": "may have at most {max_length} characters",
    "string_unicode": "must be a text in UTF-8",
    "string_pattern_mismatch": "has characters that are not allowed in it",
    "too_short": "must have at least {min_length}, and has {actual_length}",
    "too_long": "may have at most {max_length}, and has {actual_length}",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "literal_error": "must be {expected}",
    "enum": "must be {expected}",
    "datetime_type": _MOMENT,
    "datetime_parsing": _MOMENT,
    "datetime_from_date_parsing": _MOMENT,
    "datetime_object_invalid": _MOMENT,
    "timezone_aware": _MOMENT,
    "json_invalid": "this is not JSON: {error}",
    "json_type": "this is not JSON",
    "value_error": "{error}",
}
_SHORT_TEXT = "must have at least {min_length} characters"
# Where what was given helps to see the fault. Not with texts: they can be long, and secret.
_GOT = frozenset({_NUMBER, _REAL, _TRUTH, "must be {expected}", "must be at least {ge}", "must be at most {le}", _MOMENT})


def sentence(detail: ErrorDetails, *, known: Iterable[str] = (), noun: str = "field") -> str:
    """One fault in a sentence that goes behind its path. ``known``: what an unknown ``noun`` there could have been."""
    kind, context = detail["type"], detail.get("ctx", {})
    key = str(detail["loc"][-1]) if detail["loc"] else "body"
    if kind == "extra_forbidden":
        return f"unknown {noun} '{_short(key)}'{did_you_mean(key, known)}"
    pattern = _SHORT_TEXT if kind == "string_too_short" and context.get("min_length", 1) > 1 else _SENTENCES.get(kind)
    if pattern is None:
        return f"is not what is expected here ({kind.replace('_', ' ')})"
    return pattern.format(key=key, **context) + (_got(detail) if pattern in _GOT else "")


def dotted(path: Path) -> str:
    """Where in a request: ``data.ssh_keys.0``; the body itself where it is no part of it."""
    return ".".join(_short(str(part)) for part in path) or "body"


def known_keys(model: type[BaseModel], path: Path) -> list[str]:
    """The keys that the mapping at ``path`` may have, as they are spelled; none where it is free in its keys."""
    current = model
    for part in path:
        if isinstance(part, int):
            continue
        field = next((f for name, f in current.model_fields.items() if (f.alias or name) == part), None)
        found = inner_model(field.annotation) if field else None
        if found is None:
            return []
        current = found
    return [field.alias or name for name, field in current.model_fields.items()]


def inner_model(annotation: Any) -> type[BaseModel] | None:
    """The model inside ``list[Model]``, ``Model | None`` or ``Model``."""
    if inspect.isclass(annotation) and typing.get_origin(annotation) is None:
        return annotation if issubclass(annotation, BaseModel) else None
    return next((found for part in typing.get_args(annotation) if (found := inner_model(part))), None)


def _got(detail: ErrorDetails) -> str:
    value = detail.get("input")
    if isinstance(value, Mapping):
        return ", got a mapping"
    if isinstance(value, list):
        return ", got a list"
    if not (value is None or isinstance(value, str | int | float)):
        return ""
    shown = f"'{_short(value)}'" if isinstance(value, str) else json.dumps(value)
    return f", got {shown}" if len(shown) <= LONGEST_SHOWN else ""


def _short(text: str) -> str:
    # What comes from outside cannot act on a terminal.
    plain = "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text[: LONGEST_SHOWN + 1])
    return plain if len(plain) <= LONGEST_SHOWN else f"{plain[:LONGEST_SHOWN]}…"
