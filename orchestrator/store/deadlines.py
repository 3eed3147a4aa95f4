"""What fell due and was seen to, and when the deadlines of which service are to be looked at next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from orchestrator.domain.deadlines import Action, Waiting
from orchestrator.domain.intents import JobState
from orchestrator.store.database import Connection
from orchestrator.store.services import AT_ONCE
from orchestrator.store.tables import jobs, occurrences, outbox, services

# A job that ended so did not do what fell due; one that a person cancelled is that person's decision. One that was overtaken is
# no occurrence's any more (``not_seen_to``).
UNDONE = (JobState.FAILED.value,)
_WAITS = JobState.WAITING_APPROVAL.value
# Made once: these run with every service that is looked at, and making a statement costs more than running it.
_LOOK = sa.update(services).where(services.c.id == sa.bindparam("service")).values(next_due_at=sa.bindparam("look"))
_WHOSE = occurrences.c.service_id.in_(sa.bindparam("whose", expanding=True))
_SEEN = (
    sa.select(
        occurrences.c.service_id,
        occurrences.c.action,
        occurrences.c.occurrence,
        occurrences.c.attempts,
        occurrences.c.last_at,
        occurrences.c.message_id,
        outbox.c.taken_at,
        jobs.c.id,
        jobs.c.state,
        jobs.c.approval_reason,
    )
    .outerjoin(outbox, outbox.c.id == occurrences.c.message_id)
    .outerjoin(jobs, jobs.c.id == occurrences.c.job_id)
    .where(_WHOSE)
)
_AGAIN = (
    sa.update(occurrences)
    .where(
        occurrences.c.service_id == sa.bindparam("whose"),
        occurrences.c.action == sa.bindparam("what"),
        occurrences.c.occurrence == sa.bindparam("which"),
    )
    .values(
        attempts=occurrences.c.attempts + 1,
        last_at=sa.bindparam("last_at"),
        job_id=sa.bindparam("job_id"),
        message_id=sa.bindparam("message_id"),
    )
)
_FIRST = sa.insert(occurrences)


@dataclass(frozen=True, slots=True)
class Seen:
    """``told``: when billing took what was to be told, by action and occurrence. ``settled``: what is done or under way.
    ``tried``: how often each was tried, and when last. ``waiting``: of what is settled that whose job waits for somebody: that
    job, and why.
    """

    told: dict[tuple[Action, str], datetime]
    settled: frozenset[tuple[Action, str]]
    tried: dict[tuple[Action, str], tuple[int, datetime]] = field(default_factory=dict)
    waiting: dict[tuple[Action, str], Waiting] = field(default_factory=dict)


def due(conn: Connection, *, now: datetime, limit: int) -> tuple[str, ...]:
    """The services whose deadlines are to be looked at, the longest overdue first."""
    query = sa.select(services.c.id).where(services.c.next_due_at <= now)
    return tuple(conn.scalars(query.order_by(services.c.next_due_at, services.c.id).limit(limit)))


def look_again(conn: Connection, service_id: str, at: datetime | None) -> None:
    """When to look at the service's deadlines next; None: when its record changes."""
    conn.execute(_LOOK, {"service": service_id, "look": at})


def look_again_all(conn: Connection, looks: Mapping[str, datetime | None]) -> None:
    """The same for many services at once."""
    if looks:
        conn.execute(_LOOK, [{"service": service_id, "look": at} for service_id, at in looks.items()])


def look_sooner(conn: Connection, node: str, *, now: datetime, within: timedelta) -> int:
    """Have the services of the node that would be looked at within so long looked at in the next turn; returns how many."""
    soon = sa.and_(services.c.node == node, services.c.next_due_at > now, services.c.next_due_at <= now + within)
    return conn.execute(sa.update(services).where(soon).values(next_due_at=now)).rowcount


def look_at_node(conn: Connection, node: str, *, now: datetime) -> None:
    """Have every service of the node looked at in the next turn."""
    conn.execute(sa.update(services).where(services.c.node == node).values(next_due_at=now))


def told_of(conn: Connection, action: Action, occurrence: str) -> tuple[str, ...]:
    """The services of which that was told, whether or not billing has taken it yet."""
    mine = (occurrences.c.action == action.value, occurrences.c.occurrence == occurrence)
    return tuple(conn.scalars(sa.select(occurrences.c.service_id).where(*mine).order_by(occurrences.c.service_id)))


def look_at_all(conn: Connection) -> int:
    """Have the deadlines of every service looked at in the next turns, as after a change of policy; returns how many."""
    return conn.execute(sa.update(services).values(next_due_at=AT_ONCE)).rowcount


def next_looks(conn: Connection, service_ids: Sequence[str] | None = None) -> Mapping[str, datetime | None]:
    """When each service (each of these) is looked at next, for the comparison with what its record says."""
    query = sa.select(services.c.id, services.c.next_due_at)
    if service_ids is not None:
        query = query.where(services.c.id.in_(service_ids))
    return {row.id: row.next_due_at for row in conn.execute(query)}


def seen_to(conn: Connection, service_ids: Sequence[str]) -> dict[str, Seen]:
    """What was done about the deadlines of each of these services. One query for a whole page."""
    rows: dict[str, list[Any]] = {service_id: [] for service_id in service_ids}
    for row in conn.execute(_SEEN, {"whose": list(service_ids)}):
        rows[row.service_id].append(row)
    return {service_id: _seen(found) if found else Seen({}, frozenset()) for service_id, found in rows.items()}


def _seen(rows: Sequence[Any]) -> Seen:
    found = {(Action(row.action), row.occurrence): row for row in rows}
    return Seen(
        told={key: row.taken_at for key, row in found.items() if row.taken_at is not None},
        settled=frozenset(key for key, row in found.items() if row.message_id or row.state not in (None, *UNDONE)),
        tried={key: (row.attempts, row.last_at) for key, row in found.items()},
        waiting={key: Waiting(row.id, row.approval_reason) for key, row in found.items() if row.state == _WAITS},
    )


def note(
    conn: Connection, service_id: str, action: Action, occurrence: str, *, now: datetime, job_id: str = "", message_id: str = ""
) -> None:
    """Write down that it was seen to, once more."""
    seen = {"job_id": job_id, "message_id": message_id, "last_at": now}
    key = {"whose": service_id, "what": action.value, "which": occurrence}
    if conn.execute(_AGAIN, {**key, **seen}).rowcount:
        return
    first = {"service_id": service_id, "action": action.value, "occurrence": occurrence, "attempts": 1, "first_at": now}
    conn.execute(_FIRST, {**first, **seen})


def not_come(conn: Connection, service_id: str, action: Action, *, now: datetime) -> None:
    """Forget what was done about occurrences later than ``now``: a clock was ahead. Of an action that occurs at moments."""
    mine = (occurrences.c.service_id == service_id, occurrences.c.action == action.value)
    known = conn.scalars(sa.select(occurrences.c.occurrence).where(*mine)).all()
    ahead = [occurrence for occurrence in known if datetime.fromisoformat(occurrence) > now]
    if ahead:
        conn.execute(sa.delete(occurrences).where(*mine, occurrences.c.occurrence.in_(ahead)))


def not_seen_to(conn: Connection, service_id: str, *, job_id: str) -> None:
    """What the job was made for was not done, and is to be done should it be due again; how often it was tried is kept."""
    mine = (occurrences.c.service_id == service_id, occurrences.c.job_id == job_id)
    conn.execute(sa.update(occurrences).where(*mine).values(job_id=""))
