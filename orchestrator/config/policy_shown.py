"""A policy as its file would say it: every key by its own name, null where it is silent. Read again it is the same policy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from orchestrator.config.units import size_words
from orchestrator.domain.calendar import Days
from orchestrator.domain.policies import BackupCaps, Migration, Policy

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


def shown(policy: Policy) -> dict[str, Any]:
    """In JSON types, days and sizes as people write them."""
    return _part(policy)


def _part(part: DataclassInstance) -> dict[str, Any]:
    if isinstance(part, BackupCaps):
        return {"clause": part.clause, "size": size_words(part.size_bytes), "inodes": part.inodes}
    if isinstance(part, Migration):
        free = None if part.free_bytes is None else size_words(part.free_bytes)
        return {"clause": part.clause, "free": free, "over_per_gb": part.over_per_gb}
    return {each.name: _value(getattr(part, each.name)) for each in fields(part)}


def _value(value: Any) -> Any:
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, Days | StrEnum | str):
        return str(value)
    if isinstance(value, timedelta):
        return f"{int(value.total_seconds() // 3600)} h"
    if isinstance(value, Mapping):
        return {key: _value(each) for key, each in value.items()}
    if isinstance(value, frozenset):
        return [_value(each) for each in sorted(value)] or None  # none of them means all, which a file says by saying nothing
    if isinstance(value, tuple):
        return [_value(each) for each in value]
    return _part(value)
