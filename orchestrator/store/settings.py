"""Facts about the whole installation, by name; above all whether it is frozen."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from orchestrator.domain.guards import Wait, WaitReason, said
from orchestrator.store.database import Connection
from orchestrator.store.tables import settings

FREEZE = "freeze"
# {reason: {why, since, until, count, services}}, absent where none stands; up to version 0.1 a single {why, since}.
TERMINATIONS_WAIT = "terminations wait"
# When the deadlines were last looked at, and in how many turns they were in all.
LOOKED_AT = "deadlines looked at"
TURNS = "deadline turns"
# {policies: {name: text}, plans: {plan: policy}}: by what deadlines were computed with everybody's consent.
ADOPTED = "policies adopted"
# {plan: [tariff, ...]}: what each plan cost since when, the latest last.
TARIFFS = "tariffs"
# {at, compared, differing}: the last comparison of the looks with the records.
COMPARED = "looks compared"
# {at, counts: {kind: number}, unseen: [node]}: what differed between the records and the nodes when that was last measured.
DRIFTED = "drift"
# Made once: these are asked for with every service that is looked at, and making a statement costs more than running it.
_GET = sa.select(settings.c.value).where(settings.c.name == sa.bindparam("key"))
_PUT = sa.update(settings).where(settings.c.name == sa.bindparam("key"))
_PUT = _PUT.values(value=sa.bindparam("value"), changed_at=sa.bindparam("changed_at"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Freeze:
    """A freeze in force: nothing suspends or destroys."""

    by: str
    why: str
    since: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class TerminationsWait:
    """Why no deadline terminates anything, all reasons in one line, and since when."""

    why: str
    since: datetime


@dataclass(frozen=True, slots=True)
class Compared:
    """How many services were compared with when they are looked at next, and how many of them too late."""

    at: datetime
    compared: int
    differing: int


@dataclass(frozen=True, slots=True)
class Drifted:
    """How many things differed, by their kind, and the nodes that did not answer."""

    at: datetime
    counts: Mapping[str, int]
    unseen: tuple[str, ...] = ()


def get(conn: Connection, name: str) -> Any | None:
    """The JSON value, or None."""
    return conn.execute(_GET, {"key": name}).scalar_one_or_none()


def put(conn: Connection, name: str, value: Any, *, now: datetime) -> None:
    """Set the value."""
    changed = conn.execute(_PUT, {"key": name, "value": value, "changed_at": now})
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


def waits(conn: Connection) -> dict[WaitReason, Wait]:
    """Every reason for which no deadline terminates anything, by its name; the oldest first."""
    value = get(conn, TERMINATIONS_WAIT) or {}
    by_name = {WaitReason.DOWNTIME.value: value} if "why" in value else value
    found = (_wait(WaitReason(name), kept) for name, kept in by_name.items())
    return {wait.reason: wait for wait in sorted(found, key=lambda wait: (wait.since, wait.reason))}


def put_waits(conn: Connection, standing: Iterable[Wait], *, now: datetime) -> None:
    """Set them all; none = deadlines terminate."""
    kept = {
        wait.reason.value: {
            "why": wait.why,
            "since": wait.since.isoformat(),
            "until": None if wait.until is None else wait.until.isoformat(),
            "count": wait.count,
            "services": list(wait.services),
        }
        for wait in standing
    }
    if kept:
        put(conn, TERMINATIONS_WAIT, kept, now=now)
    else:
        remove(conn, TERMINATIONS_WAIT)


def _wait(reason: WaitReason, kept: Mapping[str, Any]) -> Wait:
    until = kept.get("until")
    return Wait(
        reason=reason,
        why=kept["why"],
        since=datetime.fromisoformat(kept["since"]),
        until=None if until is None else datetime.fromisoformat(until),
        count=kept.get("count"),
        services=tuple(kept.get("services", ())),
    )


def terminations_wait(conn: Connection) -> TerminationsWait | None:
    """Why no deadline terminates anything, or None where they do."""
    standing = tuple(waits(conn).values())
    return TerminationsWait(why=said(standing), since=standing[0].since) if standing else None


def compared(conn: Connection) -> Compared | None:
    """The last comparison of the looks with the records, or None before the first."""
    value = get(conn, COMPARED)
    return None if value is None else Compared(datetime.fromisoformat(value["at"]), value["compared"], value["differing"])


def set_compared(conn: Connection, found: Compared) -> None:
    """Keep the last one."""
    value = {"at": found.at.isoformat(), "compared": found.compared, "differing": found.differing}
    put(conn, COMPARED, value, now=found.at)


def drifted(conn: Connection) -> Drifted | None:
    """The last measurement of drift, or None before the first."""
    value = get(conn, DRIFTED)
    return None if value is None else Drifted(datetime.fromisoformat(value["at"]), value["counts"], tuple(value["unseen"]))


def set_drifted(conn: Connection, found: Drifted) -> None:
    """Keep the last one."""
    value = {"at": found.at.isoformat(), "counts": dict(found.counts), "unseen": list(found.unseen)}
    put(conn, DRIFTED, value, now=found.at)


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
