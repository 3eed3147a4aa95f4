"""What a request about repositories may hold, beside the repository itself."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from agents.node import arguments as a
from agents.node.arguments import Field, parse
from agents.node.protocol import AgentError
from agents.node.restic.argv import COMPRESSIONS, Limits
from agents.node.restic.gate import NO_CAP
from agents.node.restic.repository import repository

_ID = re.compile(r"[0-9a-f]{64}")
_TAG = re.compile(r"[A-Za-z0-9_.=:@/-]{1,128}")
_PATHS = 256
_IDS = 1000

DAY = 24 * 3600

_LIMITS = {
    "upload_kib": Field(a.count(0, 1 << 30), 0),
    "download_kib": Field(a.count(0, 1 << 30), 0),
    "niceness": Field(a.count(0, 19), 10),
    "io_priority": Field(a.count(-1, 7), 7),
    "read_concurrency": Field(a.count(0, 64), 0),
    "pack_size_mib": Field(a.count(0, 128), 0),
    "compression": Field(a.one_of(*COMPRESSIONS), "auto"),
}


def limits(value: Any) -> Limits:
    """The checked field ``limits``. Raises ValueError."""
    if not isinstance(value, Mapping):
        raise ValueError("is not an object")
    try:
        return Limits(**parse(_LIMITS, value))
    except AgentError as exc:
        raise ValueError(f"cannot be used: {exc.message}") from None


def snapshot_id(value: Any) -> str:
    if not isinstance(value, str) or not _ID.fullmatch(value):
        raise ValueError("is not the whole id of a snapshot: 64 lower-case hexadecimal digits")
    return value


def snapshot_ids(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or len(value) > _IDS:
        raise ValueError(f"is not a list of at most {_IDS} ids")
    return tuple(snapshot_id(each) for each in value)


def tags(value: Any) -> tuple[str, ...]:
    """``service=vps-1``, ``job=…``: no comma, which restic would take for a second tag."""
    if not isinstance(value, list) or len(value) > 16 or not all(isinstance(t, str) and _TAG.fullmatch(t) for t in value):
        raise ValueError("is not a list of at most 16 tags of letters, digits and _ . = : @ / -")
    return tuple(value)


def paths(value: Any) -> tuple[str, ...]:
    """Absolute, from the root of the snapshot."""
    if not isinstance(value, list) or len(value) > _PATHS:
        raise ValueError(f"is not a list of at most {_PATHS} paths")
    return tuple(a.path(each) for each in value)


def seconds(value: Any) -> int:
    checked: int = a.count(1, 30 * DAY)(value)
    return checked


REPOSITORY = Field(repository)
LIMITS = Field(limits, Limits())
SECONDS = Field(seconds)
"""After which the call gives up by itself."""

FLAG = Field(a.flag, False)
MOST = Field(a.count(0, NO_CAP), NO_CAP)

SNAPSHOT = Field(snapshot_id)
DIRECTORY = Field(a.path)
