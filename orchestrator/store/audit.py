"""The audit trail: append-only, each row bound to the one before it by a hash.

The chain (``domain.audit_chain``) shows that a row was altered, removed or moved. The last hash is kept a second time in the
settings, so that rows cut off the end show too. Nothing in the database can show that someone with write access to all of it
wrote a whole new chain: for that, keep the last hash somewhere else and hand it to ``verify_chain``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from orchestrator.domain.audit_chain import AuditEntry, ChainCheck, check, digest
from orchestrator.domain.jobs import Job
from orchestrator.store import settings
from orchestrator.store.database import Connection
from orchestrator.store.paging import page
from orchestrator.store.tables import audit

HEAD = "audit-head"
# Made once: making a statement costs more than running it.
_LAST = sa.select(audit.c.seq, audit.c.hash).order_by(audit.c.seq.desc()).limit(1)
_APPEND = sa.insert(audit)


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
    hashed = digest(entry)
    values = {name: getattr(entry, name) for name in AuditEntry.__dataclass_fields__}
    conn.execute(_APPEND, {**values, "hash": hashed})
    settings.put(conn, HEAD, {"seq": entry.seq, "hash": hashed}, now=at)
    return AuditEntry(**{**values, "hash": hashed})


def append_of_job(
    conn: Connection, job: Job, what: str, *, at: datetime, who: str, facts: Mapping[str, Any] | None = None
) -> AuditEntry:
    """As ``append``, about a job and its service."""
    return append(conn, at=at, who=who, what=what, service_id=job.service_id, job_id=job.id, facts=dict(facts or {}))


def list_page(
    conn: Connection, *, limit: int = 100, after: int | None = None, service_id: str | None = None, without: str = ""
) -> tuple[tuple[AuditEntry, ...], int | None]:
    """The trail, the newest first. ``without``: rows that say so are left out."""
    query = sa.select(audit)
    if without:
        query = query.where(audit.c.what != without)
    if service_id is not None:
        query = query.where(audit.c.service_id == service_id)
    return page(conn, query, key=audit.c.seq, limit=limit, after=after, newest_first=True, make=_entry)


def times_of(conn: Connection, what: str, *, since: datetime) -> tuple[datetime, ...]:
    """When that was done since then, the first time first."""
    query = sa.select(audit.c.at).where(audit.c.what == what, audit.c.at >= since).order_by(audit.c.seq)
    return tuple(conn.scalars(query))


def oldest_first(conn: Connection) -> Iterator[AuditEntry]:
    """The whole trail, row for row as it was hashed."""
    for row in conn.execute(sa.select(audit).order_by(audit.c.seq)).yield_per(1000):
        yield _entry(row)


def verify_chain(conn: Connection, *, head: str = "") -> ChainCheck:
    """Read the whole trail and say whether it holds. ``head``: a hash noted earlier, elsewhere, that must be in it."""
    found = check(oldest_first(conn), head=head)
    noted = settings.get(conn, HEAD) or {"seq": 0, "hash": ""}
    if found.at_seq is None and (noted["seq"], noted["hash"]) != (found.entries, found.head):
        sentence = f"the trail ends at row {found.entries}, but row {noted['seq']} was written last"
        return replace(found, problem=sentence, at_seq=found.entries + 1)
    return found


def _entry(row: sa.Row[Any]) -> AuditEntry:
    return AuditEntry(**row._mapping)
