"""The audit trail as a chain: a hash binds each row to the one before it. Pure, so that a copy is checked without a store."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from orchestrator.domain.canonical import canonical_json


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """Who did what, when, on which service and job, and from which facts. ``hash`` binds it to ``previous_hash``."""

    seq: int
    at: datetime
    who: str
    what: str
    service_id: str = ""
    job_id: str = ""
    facts: dict[str, Any] = field(default_factory=dict)
    previous_hash: str = ""
    hash: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainCheck:
    """``problem`` is empty where the chain holds; else a sentence, and ``at_seq`` where it breaks. ``last_seq``: of the last row
    that holds, 0 = of none."""

    entries: int
    head: str
    problem: str = ""
    at_seq: int | None = None
    last_seq: int = 0

    @property
    def ok(self) -> bool:
        return not self.problem


def digest(entry: AuditEntry) -> str:
    """The hash of a row: of the one before it, and of all that stands in this one."""
    return hashlib.sha256(entry.previous_hash.encode() + canonical_json(_row(entry), floats=True)).hexdigest()


def _row(entry: AuditEntry) -> dict[str, Any]:
    return {
        "seq": entry.seq,
        "at": entry.at.astimezone(UTC).isoformat(timespec="microseconds"),
        "who": entry.who,
        "what": entry.what,
        "service_id": entry.service_id,
        "job_id": entry.job_id,
        "facts": entry.facts,
    }


def check(entries: Iterable[AuditEntry], *, head: str = "") -> ChainCheck:
    """Whether the rows follow from one another, from the first on. ``head``: a hash noted earlier, elsewhere, that must be among
    them."""
    previous, count, seen = "", 0, not head
    for entry in entries:
        count += 1
        problem = ""
        if entry.seq != count:
            return ChainCheck(entries=count, head=previous, problem="a row is missing", at_seq=count, last_seq=count - 1)
        if entry.previous_hash != previous:
            problem = "the row does not follow from the one before it"
        elif digest(entry) != entry.hash:
            problem = "the row was altered after it was written"
        if problem:
            return ChainCheck(entries=count, head=previous, problem=problem, at_seq=entry.seq, last_seq=count - 1)
        previous = entry.hash
        seen = seen or entry.hash == head
    if not seen:
        return ChainCheck(entries=count, head=previous, problem="the hash noted earlier is not in the trail", last_seq=count)
    return ChainCheck(entries=count, head=previous, last_seq=count)


def to_json(entry: AuditEntry) -> dict[str, Any]:
    """As an export has it, one such object a line."""
    return _row(entry) | {"previous_hash": entry.previous_hash, "hash": entry.hash}


def from_json(value: Any) -> AuditEntry:
    """What ``to_json`` gave. Raises ValueError where it is none."""
    names = set(AuditEntry.__dataclass_fields__)
    if not isinstance(value, dict) or set(value) != names:
        raise ValueError(f"a row has the fields {', '.join(sorted(names))}")
    texts = names - {"seq", "facts"}
    if (
        not isinstance(value["seq"], int)
        or not isinstance(value["facts"], dict)
        or not all(isinstance(value[n], str) for n in texts)
    ):
        raise ValueError("a field of the row is of another type")
    at = datetime.fromisoformat(value["at"])
    if at.tzinfo is None:
        raise ValueError("the row's time has no zone")
    return AuditEntry(**{**value, "at": at})
