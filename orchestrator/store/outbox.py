"""What billing is to be told, kept until it was taken, and the record of every attempt to tell it.

Every function runs inside the caller's transaction. A message waits until it is taken. One that was not taken for too long is
dead: it is posted no more by itself, stays what it is, and can be posted again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from orchestrator.domain.decisions import GONE
from orchestrator.store.database import Connection
from orchestrator.store.inserting import insert_new
from orchestrator.store.paging import MOST
from orchestrator.store.tables import deliveries, occurrences, outbox, services


class MessageState(StrEnum):
    WAITING = "waiting"
    TAKEN = "taken"
    DEAD = "dead"


# Made once: making a statement costs more than running it.
_COLUMNS = ("id", "type", "service_id", "body", "created_at", "next_attempt_at")
_ADD = insert_new(outbox, _COLUMNS, known=outbox.c.id == sa.bindparam("id"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message to billing. ``body`` is the JSON text that is signed and posted, unchanged over all attempts.

    ``attempts`` counts all of them; ``tries`` and ``tried_since`` those since it was new, or since an operator had it posted
    again.
    """

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
    tries: int
    tried_since: datetime | None
    dead_at: datetime | None

    @property
    def state(self) -> MessageState:
        if self.taken_at is not None:
            return MessageState.TAKEN
        return MessageState.WAITING if self.dead_at is None else MessageState.DEAD


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryRecord:
    """One attempt: when it began, what was answered (``status`` 0 = nothing), and how long that took, in milliseconds."""

    at: datetime
    status: int
    problem: str
    milliseconds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """Which messages; '' and None = any."""

    state: MessageState | None = None
    kind: str = ""
    service_id: str = ""


def add(conn: Connection, *, message_id: str, kind: str, service_id: str, data: Mapping[str, Any], now: datetime) -> None:
    """Put a message in; the same id again changes nothing, so that a replayed act tells billing once."""
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


def get(conn: Connection, message_id: str) -> Message | None:
    """The message of that id, or None."""
    row = conn.execute(sa.select(outbox).where(outbox.c.id == message_id)).one_or_none()
    return None if row is None else _message(row)


# -- posting ----------------------------------------


def new(conn: Connection, *, now: datetime, limit: int) -> tuple[Message, ...]:
    """The oldest messages that were not tried yet (since they were new, or since somebody had them posted again)."""
    wanted = sa.and_(outbox.c.next_attempt_at <= now, outbox.c.tries == 0)
    rows = conn.execute(sa.select(outbox).where(wanted).order_by(outbox.c.created_at, outbox.c.id).limit(limit))
    return tuple(_message(row) for row in rows)


def again(conn: Connection, *, now: datetime, limit: int) -> tuple[Message, ...]:
    """Messages that were tried and whose next attempt is due, the longest overdue first: each gets its turn."""
    wanted = sa.and_(outbox.c.next_attempt_at <= now, outbox.c.tries > 0)
    rows = conn.execute(sa.select(outbox).where(wanted).order_by(outbox.c.next_attempt_at, outbox.c.id).limit(limit))
    return tuple(_message(row) for row in rows)


def note_delivery(conn: Connection, message_id: str, record: DeliveryRecord) -> None:
    """Write an attempt down. Say with ``mark_taken``, ``mark_failed`` or ``mark_dead`` what became of the message."""
    values = {"at": record.at, "status": record.status, "problem": record.problem, "milliseconds": record.milliseconds}
    conn.execute(sa.insert(deliveries).values(message_id=message_id, **values))


def mark_taken(conn: Connection, message_id: str, *, status: int, now: datetime) -> None:
    _mark(conn, message_id, status=status, problem="", taken_at=now, next_attempt_at=None, dead_at=None)


def mark_failed(
    conn: Connection, message_id: str, *, status: int, problem: str, tried_since: datetime, next_attempt_at: datetime
) -> None:
    _mark(conn, message_id, status=status, problem=problem, tried_since=tried_since, next_attempt_at=next_attempt_at)


def mark_dead(conn: Connection, message_id: str, *, status: int, problem: str, now: datetime) -> None:
    """It is posted no more by itself, and counts as not taken as before."""
    _mark(conn, message_id, status=status, problem=problem, next_attempt_at=None, dead_at=now)


def _mark(conn: Connection, message_id: str, *, status: int, problem: str, **values: Any) -> None:
    counted = {"attempts": outbox.c.attempts + 1, "tries": outbox.c.tries + 1}
    said = {"last_status": status, "last_problem": problem}
    conn.execute(sa.update(outbox).where(outbox.c.id == message_id).values(values | counted | said))


def post_again(conn: Connection, message_id: str, *, now: datetime) -> None:
    """Have a message that was not taken posted at once, with all its time before it. Its id, body and records stay."""
    values = {"next_attempt_at": now, "tries": 0, "tried_since": None, "dead_at": None}
    conn.execute(sa.update(outbox).where(outbox.c.id == message_id, outbox.c.taken_at.is_(None)).values(values))


# -- looking ----------------------------------------


def waiting(conn: Connection) -> tuple[int, datetime | None]:
    """How many messages wait to be taken, and since when the oldest does. The dead ones are not among them."""
    query = sa.select(sa.func.count(), sa.func.min(outbox.c.created_at)).where(outbox.c.next_attempt_at.is_not(None))
    count, oldest = conn.execute(query).one()
    return int(count), oldest


def list_page(
    conn: Connection,
    filters: Filters,
    *,
    limit: int,
    after: tuple[datetime, str] | None = None,
    told: bool = True,
) -> tuple[tuple[Message, ...], tuple[datetime, str] | None]:
    """Messages, the newest first, and where the next page begins: behind the one made then and of that id.

    ``told`` False: nobody is told at present, and so whatever was not taken waits, and nothing is dead.
    """
    limit = max(1, min(limit, MOST))
    query = sa.select(outbox)
    if filters.state is not None:
        query = query.where((_IN_STATE if told else _IN_STATE_UNTOLD)[filters.state])
    if filters.kind:
        query = query.where(outbox.c.type == filters.kind)
    if filters.service_id:
        query = query.where(outbox.c.service_id == filters.service_id)
    if after is not None:
        made, message_id = after
        earlier = sa.and_(outbox.c.created_at == made, outbox.c.id < message_id)
        query = query.where(sa.or_(outbox.c.created_at < made, earlier))
    rows = conn.execute(query.order_by(outbox.c.created_at.desc(), outbox.c.id.desc()).limit(limit + 1)).all()
    page = tuple(_message(row) for row in rows[:limit])
    return page, (page[-1].created_at, page[-1].id) if len(rows) > limit else None


_IN_STATE = {
    MessageState.WAITING: outbox.c.next_attempt_at.is_not(None),
    MessageState.TAKEN: outbox.c.taken_at.is_not(None),
    MessageState.DEAD: outbox.c.dead_at.is_not(None),
}
_IN_STATE_UNTOLD = _IN_STATE | {MessageState.WAITING: outbox.c.taken_at.is_(None), MessageState.DEAD: sa.false()}


def records(conn: Connection, message_id: str) -> tuple[DeliveryRecord, ...]:
    """Every attempt at the message, the first first."""
    query = sa.select(deliveries.c.at, deliveries.c.status, deliveries.c.problem, deliveries.c.milliseconds)
    rows = conn.execute(query.where(deliveries.c.message_id == message_id).order_by(deliveries.c.seq))
    return tuple(DeliveryRecord(**row._mapping) for row in rows)


# -- keeping ----------------------------------------


def forget(conn: Connection, *, before: datetime, most: int = 1000) -> int:
    """Delete at most ``most`` messages that were taken before ``before``, with their records; returns how many went.

    What was not taken stays. So does what told of a deadline of a service that is still there: that it was taken is what a
    termination may wait for, however long a hold keeps it.
    """
    still_there = sa.exists().where(
        occurrences.c.service_id == outbox.c.service_id,
        occurrences.c.message_id == outbox.c.id,
        services.c.id == occurrences.c.service_id,
        services.c.state.not_in([state.value for state in GONE]),
    )
    old = sa.select(outbox.c.id).where(outbox.c.taken_at < before, ~still_there).limit(most)
    ids = list(conn.scalars(old))
    conn.execute(sa.delete(deliveries).where(deliveries.c.message_id.in_(ids)))
    return conn.execute(sa.delete(outbox).where(outbox.c.id.in_(ids))).rowcount


def _message(row: sa.Row[Any]) -> Message:
    return Message(**row._mapping)
