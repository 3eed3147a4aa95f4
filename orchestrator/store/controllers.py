"""Leases of controllers. Every time here is the database's: the clocks of the controllers' machines need not agree.

Whoever may still go on is said by one row, and a lease that ran out is never renewed: what a controller does after that is
refused at its first write. The functions run inside the caller's transaction.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from orchestrator.store.controller_tables import controllers
from orchestrator.store.postgres import session_name

WORKS, STOPPED, LOST, REPLACED = "", "stopped", "lost", "replaced"


@dataclass(frozen=True, slots=True, kw_only=True)
class ControllerRecord:
    """``ending``: '' while it works, stopped (by itself), lost (it was not heard of until its lease ran out) or replaced (another
    process was started in its place). ``leads``: it does what only one of them does."""

    id: str
    hostname: str
    pid: int
    version: str
    started_at: datetime
    heartbeat_at: datetime
    expires_at: datetime
    ended_at: datetime | None = None
    ending: str = WORKS
    place: str = ""
    keys: str = ""
    leads: bool = False

    @property
    def works(self) -> bool:
        return self.ended_at is None


def now(conn: sa.Connection) -> datetime:
    """The moment, not that of the transaction's beginning."""
    if conn.dialect.name == "sqlite":
        return datetime.now(UTC)
    found: datetime = conn.execute(sa.select(sa.func.clock_timestamp())).scalar_one()
    return found


def join(
    conn: sa.Connection,
    controller_id: str,
    *,
    hostname: str,
    pid: int,
    version: str,
    place: str,
    keys: str,
    lease: timedelta,
) -> None:
    """Begin a lease; who was in the same place before has ended without a word."""
    moment = now(conn)
    before = sa.and_(controllers.c.place == place, controllers.c.ended_at.is_(None))
    conn.execute(sa.update(controllers).where(before).values(ended_at=moment, ending=REPLACED))
    conn.execute(
        sa.insert(controllers).values(
            id=controller_id,
            hostname=hostname,
            pid=pid,
            version=version,
            place=place,
            keys=keys,
            started_at=moment,
            heartbeat_at=moment,
            expires_at=moment + lease,
        )
    )


def renew(conn: sa.Connection, controller_id: str, *, lease: timedelta) -> bool:
    """Go on for so long from now; False where the lease ran out before, or was ended. On SQLite it cannot run out."""
    mine = sa.and_(controllers.c.id == controller_id, controllers.c.ended_at.is_(None))
    if conn.dialect.name == "sqlite":
        moment = now(conn)
        kept = conn.execute(sa.update(controllers).where(mine).values(heartbeat_at=moment, expires_at=moment + lease))
        return kept.rowcount == 1
    # The clock is asked once the row's lock was had: whoever ended it meanwhile is not overlooked.
    asked = sa.text(
        "UPDATE controllers SET heartbeat_at = clock_timestamp(), expires_at = clock_timestamp() + make_interval(secs => :length)"
        " WHERE id = :id AND ended_at IS NULL AND expires_at > clock_timestamp()"
    )
    return conn.execute(asked, {"id": controller_id, "length": lease.total_seconds()}).rowcount == 1


_HOLDS = "SELECT 1 FROM controllers WHERE id = %s AND ended_at IS NULL AND expires_at > clock_timestamp()"


def holds(connection: Any, controller_id: str) -> bool:
    """Whether its lease stands, on PostgreSQL. ``connection``: the driver's (psycopg), as each write begins with the question.
    Raises psycopg.Error."""
    return connection.execute(_HOLDS, (controller_id,), prepare=True).fetchone() is not None


def leave(conn: sa.Connection, controller_id: str, *, within: timedelta) -> None:
    """It stops by itself; with ``within`` more than nothing it is over only then, for what it still does meanwhile."""
    moment = now(conn)
    mine = sa.and_(controllers.c.id == controller_id, controllers.c.ended_at.is_(None))
    values: dict[str, Any] = {"ending": STOPPED, "expires_at": moment + within}
    conn.execute(sa.update(controllers).where(mine).values(values if within else values | {"ended_at": moment}))


def end_expired(conn: sa.Connection) -> tuple[ControllerRecord, ...]:
    """End the leases that ran out; those, as they are now."""
    moment = now(conn)
    over = sa.and_(controllers.c.ended_at.is_(None), controllers.c.expires_at <= moment)
    ids = conn.execute(sa.select(controllers.c.id).where(over).with_for_update()).scalars().all()
    word = sa.case((controllers.c.ending == STOPPED, STOPPED), else_=LOST)
    conn.execute(sa.update(controllers).where(over, controllers.c.id.in_(ids)).values(ended_at=moment, ending=word))
    rows = conn.execute(sa.select(controllers).where(controllers.c.id.in_(ids), controllers.c.ended_at.is_not(None)))
    return tuple(_record(row) for row in rows)


def to_take_over(conn: sa.Connection) -> tuple[str, ...]:
    """Those that have ended and that jobs may still be left with."""
    left = sa.and_(controllers.c.ended_at.is_not(None), controllers.c.taken_over_at.is_(None))
    return tuple(conn.execute(sa.select(controllers.c.id).where(left).order_by(controllers.c.ended_at)).scalars())


def taken_over(conn: sa.Connection, ids: Collection[str]) -> None:
    conn.execute(sa.update(controllers).where(controllers.c.id.in_(ids)).values(taken_over_at=now(conn)))


def end_sessions(conn: sa.Connection, controller_id: str) -> bool:
    """End what it still has open to PostgreSQL, and wait for that; False where something is open yet."""
    asked = sa.text(
        "SELECT coalesce(bool_and(pg_terminate_backend(pid, 5000)), true) FROM pg_stat_activity"
        " WHERE application_name = :name AND datname = current_database()"
    )
    return bool(conn.execute(asked, {"name": session_name(controller_id)}).scalar_one())


def all_known(conn: sa.Connection) -> tuple[ControllerRecord, ...]:
    """The first to have started first; the first of those that work leads."""
    rows = conn.execute(sa.select(controllers).order_by(controllers.c.started_at, controllers.c.id)).all()
    leader = leads(conn)
    return tuple(_record(row, leads=row.id == leader) for row in rows)


def leads(conn: sa.Connection) -> str | None:
    """The controller that has been there the longest."""
    there = sa.and_(controllers.c.ended_at.is_(None), controllers.c.ending == WORKS, controllers.c.expires_at > now(conn))
    first = sa.select(controllers.c.id).where(there).order_by(controllers.c.started_at, controllers.c.id).limit(1)
    return conn.execute(first).scalar()


def others(conn: sa.Connection, controller_id: str = "") -> tuple[ControllerRecord, ...]:
    """Those that work beside it."""
    there = sa.and_(controllers.c.ended_at.is_(None), controllers.c.id != controller_id, controllers.c.expires_at > now(conn))
    return tuple(_record(row) for row in conn.execute(sa.select(controllers).where(there).order_by(controllers.c.started_at)))


def lost_since(conn: sa.Connection, since: datetime) -> int:
    """How many were lost since then."""
    lost = sa.and_(controllers.c.ending == LOST, controllers.c.ended_at >= since)
    return int(conn.execute(sa.select(sa.func.count()).select_from(controllers).where(lost)).scalar_one())


def forget(conn: sa.Connection, *, before: datetime) -> None:
    """Those that ended before then, and left nothing."""
    old = sa.and_(controllers.c.ended_at < before, controllers.c.taken_over_at.is_not(None))
    conn.execute(sa.delete(controllers).where(old))


def _record(row: sa.Row[Any], *, leads: bool = False) -> ControllerRecord:
    values = dict(row._mapping)
    values.pop("taken_over_at")
    return ControllerRecord(**values, leads=leads)
