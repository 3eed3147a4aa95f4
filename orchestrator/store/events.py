"""Events as billing sent them: the proof of what was said, and the guard against hearing it twice."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from orchestrator.store import access
from orchestrator.store.database import Connection
from orchestrator.store.paging import page
from orchestrator.store.tables import events


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRecord:
    """One authentic webhook. ``seq`` is given by the store; ``body`` is the text as it was signed, but for what was forgotten
    of it, and ``body_sha256`` of the text as it was signed.

    ``outcome``: accepted, duplicate-command, stale, nothing, refused or dead (cannot be processed: see ``problem``);
    ``detail`` is the sentence that came with it.
    """

    source: str
    id: str
    body_sha256: str
    body: str
    sent_at: datetime
    received_at: datetime
    outcome: str
    type: str = ""
    service_id: str = ""
    version: int | None = None
    problem: str = ""
    detail: str = ""
    job_id: str = ""
    replays: int = 0
    seq: int = 0


# Made once: making a statement costs more than running it.
_ONE = sa.select(events).where(events.c.source == sa.bindparam("sender"), events.c.id == sa.bindparam("event"))
_ADD = sa.insert(events).returning(events.c.seq)
_CHANGE = sa.update(events).where(events.c.seq == sa.bindparam("number"))


def get(conn: Connection, source: str, event_id: str) -> EventRecord | None:
    """The event of that source and webhook-id, or None."""
    row = conn.execute(_ONE, {"sender": source, "event": event_id}).one_or_none()
    return None if row is None else _record(row)


def by_seq(conn: Connection, seq: int) -> EventRecord | None:
    """The event of that number, or None."""
    row = conn.execute(sa.select(events).where(events.c.seq == seq)).one_or_none()
    return None if row is None else _record(row)


def add(conn: Connection, record: EventRecord) -> int:
    """Keep a new event and return its number. Look with ``get`` first, in the same write transaction."""
    values = {name: getattr(record, name) for name in EventRecord.__dataclass_fields__ if name != "seq"}
    return int(conn.execute(_ADD, values).scalar_one())


def set_outcome(conn: Connection, seq: int, *, outcome: str, detail: str, problem: str = "", job_id: str = "") -> None:
    """Say what became of the event."""
    values = {"outcome": outcome, "detail": detail, "problem": problem, "job_id": job_id}
    conn.execute(_CHANGE, {"number": seq, **values})


def forget_password(conn: Connection, seq: int) -> None:
    """Blank the hash of a password in the event's body: its record has what is needed of it. The digest stays the sender's."""
    _blank(conn, events.c.seq == seq, access.PASSWORD)


def forget_access(conn: Connection, service_id: str) -> None:
    """Blank who might log in (keys and hashes of passwords) in the bodies of the service's events."""
    _blank(conn, events.c.service_id == service_id, access.ALL)


def _blank(conn: Connection, which: sa.ColumnElement[bool], blanks: Mapping[str, Any]) -> None:
    for seq, body in conn.execute(sa.select(events.c.seq, events.c.body).where(which)).all():
        said = json.loads(body)
        if (left := access.without(said, blanks)) != said:
            text = json.dumps(left, ensure_ascii=False, separators=(",", ":"))
            conn.execute(sa.update(events).where(events.c.seq == seq).values(body=text))


def count_replay(conn: Connection, seq: int) -> None:
    """An operator had it processed once more."""
    conn.execute(sa.update(events).where(events.c.seq == seq).values(replays=events.c.replays + 1))


def list_page(
    conn: Connection,
    *,
    limit: int = 100,
    after: int | None = None,
    outcome: str | None = None,
    service_id: str | None = None,
) -> tuple[tuple[EventRecord, ...], int | None]:
    """Events, the newest first. ``outcome='dead'`` is the dead-letter list."""
    query = sa.select(events)
    if outcome is not None:
        query = query.where(events.c.outcome == outcome)
    if service_id is not None:
        query = query.where(events.c.service_id == service_id)
    return page(conn, query, key=events.c.seq, limit=limit, after=after, newest_first=True, make=_record)


def count(conn: Connection) -> dict[str, int]:
    """How many kept events there are by outcome."""
    query = sa.select(events.c.outcome, sa.func.count().label("number")).group_by(events.c.outcome)
    return {row.outcome: row.number for row in conn.execute(query)}


def forget(conn: Connection, *, before: datetime, most: int = 1000) -> int:
    """Delete at most ``most`` events received before ``before`` and return how many went.

    Dead ones stay until an operator dealt with them. Senders repeat an id for days: keep at least seven.
    """
    old = sa.select(events.c.seq).where(events.c.received_at < before, events.c.outcome != "dead").limit(most)
    return conn.execute(sa.delete(events).where(events.c.seq.in_(old))).rowcount


def _record(row: sa.Row[Any]) -> EventRecord:
    return EventRecord(**{name: row._mapping[name] for name in EventRecord.__dataclass_fields__})
