"""What fell due and was seen to, and when the deadlines of which service are to be looked at next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import sqlalchemy as sa

from orchestrator.domain.deadlines import Action, Waiting
from orchestrator.domain.intents import JobState
from orchestrator.store.database import Connection
from orchestrator.store.services import AT_ONCE
from orchestrator.store.tables import jobs, occurrences, outbox, services

# A job that ended so did not do what fell due; one that a person cancelled is that person's decision. One that was overtaken is
# no occurrence's any more (``not_seen_to``).
UNDONE = (JobState.FAILED.value,)
# Made once: these run with every service that is looked at, and making a statement costs more than running it.
_LOOK = sa.update(services).where(services.c.id == sa.bindparam("service")).values(next_due_at=sa.bindparam("look"))
_WHOSE = occurrences.c.service_id.in_(sa.bindparam("whose", expanding=True))
_TOLD = (
    sa.select(occurrences.c.service_id, occurrences.c.action, occurrences.c.occurrence, outbox.c.taken_at)
    .join(outbox, outbox.c.id == occurrences.c.message_id)
    .where(_WHOSE, outbox.c.taken_at.is_not(None))
)
_DONE = (
    sa.select(
        occurrences.c.service_id,
        occurrences.c.action,
        occurrences.c.occurrence,
        jobs.c.id,
        jobs.c.state,
        jobs.c.approval_reason,
    )
    .outerjoin(jobs, jobs.c.id == occurrences.c.job_id)
    .where(_WHOSE)
    .where(sa.or_(occurrences.c.message_id != "", jobs.c.state.not_in(UNDONE)))
)
_OF_ONE = sa.select(occurrences).where(occurrences.c.service_id == sa.bindparam("service"))
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

    ``waiting``: of these the ones whose job waits for somebody: that job, and why.
    """

    told: dict[tuple[Action, str], datetime]
    settled: frozenset[tuple[Action, str]]
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
    """What was done about the deadlines of each of these services. Two queries for a whole page."""
    whose = {"whose": list(service_ids)}
    taken: dict[str, dict[tuple[Action, str], datetime]] = {service_id: {} for service_id in service_ids}
    for service_id, action, occurrence, taken_at in conn.execute(_TOLD, whose):
        taken[service_id][Action(action), occurrence] = taken_at
    done: dict[str, set[tuple[Action, str]]] = {service_id: set() for service_id in service_ids}
    waiting: dict[str, dict[tuple[Action, str], Waiting]] = {service_id: {} for service_id in service_ids}
    for service_id, action, occurrence, job_id, state, reason in conn.execute(_DONE, whose):
        done[service_id].add((Action(action), occurrence))
        if state == JobState.WAITING_APPROVAL.value:
            waiting[service_id][Action(action), occurrence] = Waiting(job_id, reason)
    return {one: Seen(taken[one], frozenset(done[one]), waiting[one]) for one in service_ids}


def attempts(conn: Connection, service_id: str) -> dict[tuple[Action, str], tuple[int, datetime]]:
    """How often each was tried, and when last."""
    rows = conn.execute(_OF_ONE, {"service": service_id})
    return {(Action(row.action), row.occurrence): (row.attempts, row.last_at) for row in rows}


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


def not_seen_to(conn: Connection, service_id: str, *, job_id: str) -> None:
    """What the job was made for was not done, and is to be done should it be due again; how often it was tried is kept."""
    mine = (occurrences.c.service_id == service_id, occurrences.c.job_id == job_id)
    conn.execute(sa.update(occurrences).where(*mine).values(job_id=""))
