"""The keys of all repositories as a text that a person can use with nothing but restic. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

_BEGINS = "# The keys of the backups of "
_REST = """\
{provider}, as of {now}. Whoever has this file and reaches a repository reads all that it holds.
# With restic alone, for each of them:
#
#   export RESTIC_REPOSITORY='the location'
#   export RESTIC_PASSWORD='the key'
#   restic snapshots
#   restic restore latest --target /where/it/shall/go
#
# On the machine where a repository lies its directory does, in place of the location: restic needs no server.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class EscrowEntry:
    """One repository. ``location`` '' where its ``target`` is not declared any more."""

    service_id: str
    number: int
    target: str
    location: str
    state: str
    key: str = field(repr=False)


def text(entries: Sequence[EscrowEntry], *, provider: str, now: datetime) -> str:
    """A block for each, empty lines between them."""
    head = _BEGINS + _REST.format(provider=" ".join(provider.split()), now=now.isoformat(timespec="seconds"))
    return "\n".join([head, *(_block(entry) for entry in entries)])


def _block(entry: EscrowEntry) -> str:
    name = f"{entry.service_id}.{entry.number}"
    where = entry.location or f"unknown: the target '{entry.target}' is not declared any more; look there for {name}"
    lines = {
        "service": entry.service_id,
        "generation": str(entry.number),
        "state": entry.state,
        "target": entry.target,
        "location": where,
        "key": entry.key,
    }
    return "".join(f"{word + ':':<12}{value}\n" for word, value in lines.items())


def is_escrow(told: str) -> bool:
    """Whether it begins as such a text does."""
    return told.startswith(_BEGINS)


def repositories(told: str) -> list[dict[str, str]]:
    """The blocks of such a text, by their words; other lines are passed over."""
    lines = (block.splitlines() for block in told.split("\n\n"))
    pairs = ([line.partition(":") for line in block if not line.startswith("#")] for block in lines)
    found = ({word: value.strip() for word, _, value in block if value} for block in pairs)
    return [block for block in found if {"service", "key"} <= block.keys()]
