"""Facts about the whole installation, by name; above all whether it is frozen."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from orchestrator.store.database import Connection
from orchestrator.store.tables import settings

FREEZE = "freeze"
# {why, since}: no deadline terminates anything until an operator releases it.
TERMINATIONS_WAIT = "terminations wait"
# When the deadlines were last looked at.
LOOKED_AT = "deadlines looked at"


@dataclass(frozen=True, slots=True, kw_only=True)
class Freeze:
    """A freeze in force: nothing suspends or destroys."""

    by: str
    why: str
    since: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class TerminationsWait:
    """No deadline terminates anything until an operator releases it."""

    why: str
    since: datetime


def get(conn: Connection, name: str) -> Any | None:
    """The JSON value, or None."""
    return conn.execute(sa.select(settings.c.value).where(settings.c.name == name)).scalar_one_or_none()


def put(conn: Connection, name: str, value: Any, *, now: datetime) -> None:
    """Set the value."""
    changed = conn.execute(sa.update(settings).where(settings.c.name == name).values(value=value, changed_at=now))
    if changed.rowcount == 0:
        conn.execute(sa.insert(settings).values(name=name, value=value, changed_at=now))


def remove(conn: Connection, name: str) -> None:
    """Forget the value; absent = success."""
    conn.execute(sa.delete(settings).where(settings.c.name == name))


def freeze(conn: Connection) -> Freeze | None:
    """The freeze in force, or None."""
    value = get(conn, FREEZE)
    if value is None:
        return None
    return Freeze(by=value["by"], why=value["why"], since=datetime.fromisoformat(value["since"]))


def terminations_wait(conn: Connection) -> TerminationsWait | None:
    """Why no deadline terminates anything, or None where they do."""
    value = get(conn, TERMINATIONS_WAIT)
    return None if value is None else TerminationsWait(why=value["why"], since=datetime.fromisoformat(value["since"]))


def set_freeze(conn: Connection, *, by: str, why: str, now: datetime) -> Freeze:
    """Freeze, or return the freeze already in force (the first one's reason stands)."""
    standing = freeze(conn)
    if standing is not None:
        return standing
    put(conn, FREEZE, {"by": by, "why": why, "since": now.isoformat()}, now=now)
    return Freeze(by=by, why=why, since=now)


def lift_freeze(conn: Connection) -> None:
    """Lift the freeze; none in force = success."""
    remove(conn, FREEZE)
