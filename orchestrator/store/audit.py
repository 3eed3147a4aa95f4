"""The audit trail: append-only, each row bound to the one before it by a hash.

The chain shows that a row was altered, removed or moved. The last hash is kept a second time in the settings, so that
rows cut off the end show too. Nothing in the database can show that someone with write access to all of it wrote a whole new
chain: for that, keep the last hash somewhere else and hand it to ``verify_chain``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from orchestrator.domain.canonical import canonical_json
from orchestrator.domain.jobs import Job
from orchestrator.store import settings
from orchestrator.store.database import Connection
from orchestrator.store.paging import page
from orchestrator.store.tables import audit

HEAD = "audit-head"
# Made once: making a statement costs more than running it.
_LAST = sa.select(audit.c.seq, audit.c.hash).order_by(audit.c.seq.desc()).limit(1)
_APPEND = sa.insert(audit)


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
    """``problem`` is empty where the chain holds; else a sentence, and ``at_seq`` where it breaks."""

    entries: int
    head: str
    problem: str = ""
    at_seq: int | None = None

    @property
    def ok(self) -> bool:
        return not self.problem


def append(
    conn: Connection,
    *,
    at: datetime,
    who: str,
    what: str,
    service_id: str = "",
    job_id: str = "",
    facts: dict[str, Any] | None = None,
) -> AuditEntry:
    """Add one row. Needs a write transaction; ``facts`` are plain JSON and hold no secret."""
    last = conn.execute(_LAST).one_or_none()
    entry = AuditEntry(
        seq=1 if last is None else last.seq + 1,
        at=at.astimezone(UTC),
        who=who,
        what=what,
        service_id=service_id,
        job_id=job_id,
        facts=facts or {},
        previous_hash="" if last is None else last.hash,
    )
    digest = _hash(entry)
    values = {name: getattr(entry, name) for name in AuditEntry.__dataclass_fields__}
    conn.execute(_APPEND, {**values, "hash": digest})
    settings.put(conn, HEAD, {"seq": entry.seq, "hash": digest}, now=at)
    return AuditEntry(**{**values, "hash": digest})


def append_of_job(
    conn: Connection, job: Job, what: str, *, at: datetime, who: str, facts: Mapping[str, Any] | None = None
) -> AuditEntry:
    """As ``append``, about a job and its service."""
    return append(conn, at=at, who=who, what=what, service_id=job.service_id, job_id=job.id, facts=dict(facts or {}))


def list_page(
    conn: Connection, *, limit: int = 100, after: int | None = None, service_id: str | None = None
) -> tuple[tuple[AuditEntry, ...], int | None]:
    """The trail, the newest first."""
    query = sa.select(audit)
    if service_id is not None:
        query = query.where(audit.c.service_id == service_id)
    return page(conn, query, key=audit.c.seq, limit=limit, after=after, newest_first=True, make=_entry)


def times_of(conn: Connection, what: str, *, since: datetime) -> tuple[datetime, ...]:
    """When that was done since then, the first time first."""
    query = sa.select(audit.c.at).where(audit.c.what == what, audit.c.at >= since).order_by(audit.c.seq)
    return tuple(conn.scalars(query))


def verify_chain(conn: Connection, *, head: str = "") -> ChainCheck:
    """Read the whole trail and say whether it holds. ``head``: a hash noted earlier, elsewhere, that must be in it."""
    previous, count, seen = "", 0, not head
    for row in conn.execute(sa.select(audit).order_by(audit.c.seq)).yield_per(1000):
        entry = _entry(row)
        count += 1
        if entry.seq != count:
            return _broken(count, previous, "a row is missing", count)
        if entry.previous_hash != previous:
            return _broken(count, previous, "the row does not follow from the one before it", entry.seq)
        if _hash(entry) != entry.hash:
            return _broken(count, previous, "the row was altered after it was written", entry.seq)
        previous = entry.hash
        seen = seen or entry.hash == head
    noted = settings.get(conn, HEAD) or {"seq": 0, "hash": ""}
    if (noted["seq"], noted["hash"]) != (count, previous):
        return _broken(count, previous, f"the trail ends at row {count}, but row {noted['seq']} was written last", count + 1)
    if not seen:
        return _broken(count, previous, "the hash noted earlier is not in the trail", None)
    return ChainCheck(entries=count, head=previous)


def _broken(entries: int, head: str, problem: str, at_seq: int | None) -> ChainCheck:
    return ChainCheck(entries=entries, head=head, problem=problem, at_seq=at_seq)


def _hash(entry: AuditEntry) -> str:
    row = {
        "seq": entry.seq,
        "at": entry.at.astimezone(UTC).isoformat(timespec="microseconds"),
        "who": entry.who,
        "what": entry.what,
        "service_id": entry.service_id,
        "job_id": entry.job_id,
        "facts": entry.facts,
    }
    return hashlib.sha256(entry.previous_hash.encode() + canonical_json(row, floats=True)).hexdigest()


def _entry(row: sa.Row[Any]) -> AuditEntry:
    return AuditEntry(**row._mapping)
