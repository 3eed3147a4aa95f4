"""Restore drills that were made, and how they ended. Every function runs inside the caller's transaction."""

from __future__ import annotations

from dataclasses import asdict
from datetime import date, datetime
from typing import Any

import sqlalchemy as sa

from orchestrator.domain.backups.drills import Drill, DrillState
from orchestrator.domain.backups.words import BackupState
from orchestrator.store.database import Connection
from orchestrator.store.paging import page
from orchestrator.store.tables import backups, drills, services


def add(conn: Connection, drill: Drill) -> None:
    """Write a new one down, with its job."""
    values = asdict(drill) | {"state": drill.state.value, "week": "" if drill.week is None else drill.week.isoformat()}
    conn.execute(sa.insert(drills).values(**values))


def end(conn: Connection, job_id: str, state: DrillState, *, why: str, signature: str, now: datetime) -> None:
    """How its job ended, also where it had ended otherwise before and was tried again."""
    values = {"state": state.value, "why": why, "signature": signature, "ended_at": now}
    conn.execute(sa.update(drills).where(drills.c.id == job_id).values(**values))


def of_week(conn: Connection, node: str, week: date) -> tuple[Drill, ...]:
    """The node's drills of the week that nobody asked for."""
    query = sa.select(drills).where(drills.c.node == node, drills.c.week == week.isoformat())
    return tuple(_drill(row) for row in conn.execute(query.order_by(drills.c.id)))


def list_page(
    conn: Connection, *, limit: int = 100, after: str | None = None, service_id: str | None = None
) -> tuple[tuple[Drill, ...], str | None]:
    """Drills by id, the newest first."""
    query = sa.select(drills)
    if service_id is not None:
        query = query.where(drills.c.service_id == service_id)
    return page(conn, query, key=drills.c.id, limit=limit, after=after, newest_first=True, make=_drill)


def candidates(conn: Connection, node: str) -> tuple[str, ...]:
    """Active services on the node of which a verified backup is known."""
    verified = sa.select(backups.c.service_id).where(backups.c.state == BackupState.VERIFIED.value)
    query = sa.select(services.c.id).where(services.c.node == node, services.c.state == "active", services.c.id.in_(verified))
    return tuple(conn.scalars(query.order_by(services.c.id)))


def counts(conn: Connection) -> dict[DrillState, int]:
    """How many there are in each state."""
    rows = conn.execute(sa.select(drills.c.state, sa.func.count()).group_by(drills.c.state))
    found = {str(state): int(count) for state, count in rows}
    return {state: found.get(state.value, 0) for state in DrillState}


def failed_since(conn: Connection, since: datetime) -> int:
    """How many ended badly since then, and did not end otherwise when they were tried again."""
    query = sa.select(sa.func.count()).where(drills.c.state == DrillState.FAILED.value, drills.c.ended_at >= since)
    return conn.execute(query).scalar_one()


def last_passed(conn: Connection) -> datetime | None:
    """When one last went well."""
    query = sa.select(drills.c.ended_at).where(drills.c.state == DrillState.PASSED.value, drills.c.ended_at.is_not(None))
    found: datetime | None = conn.execute(query.order_by(drills.c.ended_at.desc()).limit(1)).scalar()
    return found


def _drill(row: sa.Row[Any]) -> Drill:
    values = dict(row._mapping)
    week = date.fromisoformat(values["week"]) if values["week"] else None
    return Drill(**values | {"state": DrillState(values["state"]), "week": week})
