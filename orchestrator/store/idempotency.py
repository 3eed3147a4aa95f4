"""Answers kept under the caller's Idempotency-Key, so that a repeated request gets the first one's answer."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from orchestrator.domain.errors import EventConflict
from orchestrator.store.database import Connection
from orchestrator.store.tables import idempotency_keys

KEPT = timedelta(hours=24)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptAnswer:
    """The answer to the first request under a key."""

    status: int
    answer: Any


class Answered(Exception):
    """Another controller has answered a request under this key meanwhile: what this one was about to do is to be undone."""


def get(conn: Connection, *, who: str, key: str, request_sha256: str, now: datetime) -> KeptAnswer | None:
    """The kept answer, or None where the key is new or older than a day.

    Raises EventConflict where the key came before with another request.
    """
    row = conn.execute(
        sa.select(idempotency_keys).where(
            idempotency_keys.c.who == who, idempotency_keys.c.key == key, idempotency_keys.c.created_at > now - KEPT
        )
    ).one_or_none()
    if row is None:
        return None
    if row.request_sha256 != request_sha256:
        raise EventConflict("this Idempotency-Key was used for another request", hint="use a new key for a new request")
    return KeptAnswer(status=row.status, answer=row.answer)


def put(conn: Connection, *, who: str, key: str, request_sha256: str, kept: KeptAnswer, now: datetime) -> None:
    """Keep the answer, in the transaction that did what was asked. A key older than a day is taken over.

    Raises Answered, and EventConflict as ``get`` does.
    """
    if get(conn, who=who, key=key, request_sha256=request_sha256, now=now) is not None:
        raise Answered
    conn.execute(sa.delete(idempotency_keys).where(idempotency_keys.c.created_at <= now - KEPT))
    conn.execute(
        sa.insert(idempotency_keys).values(
            who=who, key=key, request_sha256=request_sha256, status=kept.status, answer=kept.answer, created_at=now
        )
    )
