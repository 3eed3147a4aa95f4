"""What billing is to be told, kept until it was taken. Every function runs inside the caller's transaction."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from orchestrator.store.tables import outbox

# Made once: making a statement costs more than running it.
_KNOWN = sa.select(outbox.c.id).where(outbox.c.id == sa.bindparam("message"))
_ADD = sa.insert(outbox)


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message to billing. ``body`` is the JSON text that is signed and posted, unchanged over all attempts."""

    id: str
    type: str
    service_id: str
    body: str
    created_at: datetime
    attempts: int
    next_attempt_at: datetime | None
    taken_at: datetime | None
    last_status: int
    last_problem: str


def add(conn: sa.Connection, *, message_id: str, kind: str, service_id: str, data: Mapping[str, Any], now: datetime) -> None:
    """Put a message in; the same id again changes nothing, so that a replayed act tells billing once."""
    if conn.execute(_KNOWN, {"message": message_id}).scalar() is not None:
        return
    body = {"type": kind, "id": message_id, "timestamp": now.isoformat(), "data": dict(data)}
    row = {
        "id": message_id,
        "type": kind,
        "service_id": service_id,
        "body": json.dumps(body, sort_keys=True, separators=(",", ":")),
        "created_at": now,
        "next_attempt_at": now,
    }
    conn.execute(_ADD, row)


def due(conn: sa.Connection, *, now: datetime, limit: int) -> tuple[Message, ...]:
    """The oldest messages whose next attempt is due."""
    wanted = sa.and_(outbox.c.taken_at.is_(None), outbox.c.next_attempt_at <= now)
    rows = conn.execute(sa.select(outbox).where(wanted).order_by(outbox.c.created_at, outbox.c.id).limit(limit))
    return tuple(_message(row) for row in rows)


def mark_taken(conn: sa.Connection, message_id: str, *, status: int, now: datetime) -> None:
    values = {
        "taken_at": now,
        "next_attempt_at": None,
        "last_status": status,
        "last_problem": "",
        "attempts": outbox.c.attempts + 1,
    }
    conn.execute(sa.update(outbox).where(outbox.c.id == message_id).values(values))


def mark_failed(conn: sa.Connection, message_id: str, *, status: int, problem: str, next_attempt_at: datetime) -> None:
    values = {
        "next_attempt_at": next_attempt_at,
        "last_status": status,
        "last_problem": problem[:500],
        "attempts": outbox.c.attempts + 1,
    }
    conn.execute(sa.update(outbox).where(outbox.c.id == message_id).values(values))


def waiting(conn: sa.Connection) -> tuple[int, datetime | None]:
    """How many messages are not taken yet, and since when the oldest waits."""
    query = sa.select(sa.func.count(), sa.func.min(outbox.c.created_at)).where(outbox.c.taken_at.is_(None))
    count, oldest = conn.execute(query).one()
    return int(count), oldest


def list_page(conn: sa.Connection, *, limit: int, after: str = "") -> tuple[tuple[Message, ...], str | None]:
    """Messages by id (time-sortable, as job ids are), and where the next page begins."""
    rows = conn.execute(sa.select(outbox).where(outbox.c.id > after).order_by(outbox.c.id).limit(limit + 1)).all()
    page = tuple(_message(row) for row in rows[:limit])
    return page, page[-1].id if len(rows) > limit else None


def _message(row: sa.Row[Any]) -> Message:
    return Message(**row._mapping)
