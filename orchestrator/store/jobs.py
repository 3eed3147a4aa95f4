"""Job rows and their steps: the truth about jobs that people see. The engine's own tables are never read for it.

Every function runs inside the caller's transaction. Times are aware, UTC.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from orchestrator.domain.errors import NotFound
from orchestrator.domain.intents import IntentKind, JobState, StepState
from orchestrator.domain.jobs import Job, JobStep
from orchestrator.store import access
from orchestrator.store.tables import absences, job_steps, jobs, reservations, service_locks, services

# Made once: making a statement costs more than running it.
_ADD = sa.insert(jobs)
_CHANGE = sa.update(jobs).where(jobs.c.id == sa.bindparam("job"))
_ONE = sa.select(jobs).where(jobs.c.id == sa.bindparam("job"))
_STOP = sa.select(jobs.c.stop_requested).where(jobs.c.id == sa.bindparam("job"))
_EVER = sa.select(jobs.c.id).where(jobs.c.service_id == sa.bindparam("whose"), jobs.c.intent == sa.bindparam("kind"))
_EVER = _EVER.where(jobs.c.state == JobState.DONE.value).limit(1)
_STEPS = sa.select(job_steps).where(job_steps.c.job_id == sa.bindparam("job")).order_by(job_steps.c.position)
_LAY_DOWN = sa.insert(job_steps)
_CLEAR = sa.delete(job_steps).where(job_steps.c.job_id == sa.bindparam("job"))
_STEP = sa.update(job_steps).where(job_steps.c.job_id == sa.bindparam("job"), job_steps.c.position == sa.bindparam("at"))
_BEGIN_STEP = _STEP.values(
    state=StepState.RUNNING.value,
    attempts=sa.bindparam("attempt"),
    error_code="",
    error="",
    run=sa.bindparam("number"),
    outcome=sa.null(),
    started_at=sa.func.coalesce(job_steps.c.started_at, sa.bindparam("now", type_=job_steps.c.started_at.type)),
)
# Only while the job's run holds the lock of its service by that token.
_HELD_STEP = _STEP.where(
    sa.exists().where(
        jobs.c.id == job_steps.c.job_id,
        service_locks.c.service_id == jobs.c.service_id,
        service_locks.c.token == sa.bindparam("held"),
    )
)
UNDER_WAY = tuple(state.value for state in (JobState.QUEUED, JobState.RUNNING, JobState.UNDOING))
FINAL = tuple(state.value for state in JobState if state.final)
# Not as a parameter: who plans before the value is known would not use the indexes. Each for itself: together they are scanned.
_LET_THROUGH = (jobs.c.intent == sa.bindparam("kind"), jobs.c.approval_reason == sa.literal_column("''"))
_LATELY = sa.union(
    *(
        sa.select(jobs.c.id).where(*_LET_THROUGH, lately)
        for lately in (
            jobs.c.created_at >= sa.bindparam("since"),
            jobs.c.started_at >= sa.bindparam("since"),
            jobs.c.state.in_(UNDER_WAY),
        )
    )
)
_RECENT = sa.select(sa.func.count()).select_from(_LATELY.subquery())
# It waits for what it could not reach: not in its line, and before the others of its service all the same.
_WAITS = sa.exists().where(absences.c.job_id == jobs.c.id, absences.c.waits)
_AWAY = sa.select(absences.c.away).where(absences.c.waits)
# Where a service is, or is promised to be.
_PLACE = sa.func.coalesce(sa.func.nullif(services.c.node, ""), reservations.c.node, "")
_PLACE_OF = sa.select(_PLACE).select_from(services.outerjoin(reservations, reservations.c.service_id == services.c.id))
_PLACE_OF = _PLACE_OF.where(services.c.id == sa.bindparam("service"))
_PLACED = jobs.outerjoin(services, services.c.id == jobs.c.service_id)
_PLACED = _PLACED.outerjoin(reservations, reservations.c.service_id == jobs.c.service_id)
_AT = sa.bindparam("place", type_=sa.String) == _PLACE
_BEGUN = (JobState.RUNNING.value, JobState.UNDOING.value)
_BEGUN_AT = sa.select(sa.func.count()).select_from(_PLACED).where(jobs.c.state.in_(_BEGUN), _AT)
_other = jobs.alias("other")
_BEFORE = sa.or_(_other.c.state.in_(_BEGUN), sa.and_(_other.c.state == JobState.QUEUED.value, _other.c.id < jobs.c.id))
_FIRST = ~sa.exists().where(_other.c.service_id == jobs.c.service_id, _BEFORE)
_NEXT_AT = sa.select(jobs).select_from(_PLACED).where(jobs.c.state == JobState.QUEUED.value, _AT, _FIRST, ~_WAITS)
_NEXT_AT = _NEXT_AT.order_by(jobs.c.id).limit(sa.bindparam("left", type_=sa.Integer))
_LINE = (jobs.c.id, jobs.c.run, jobs.c.service_id, jobs.c.state, _PLACE.label("place"), _WAITS.label("waits"))
_IN_LINE = sa.select(*_LINE).select_from(_PLACED).where(jobs.c.state.in_(UNDER_WAY)).order_by(jobs.c.id)
_WAITING = sa.select(jobs).where(
    jobs.c.service_id.in_(sa.bindparam("whose", expanding=True)), jobs.c.state == JobState.WAITING_APPROVAL.value
)
_OPEN = sa.select(jobs).where(jobs.c.state.not_in(FINAL)).order_by(jobs.c.id)
_UNFINISHED = _OPEN.where(jobs.c.service_id == sa.bindparam("whose"))
_UNFINISHED_OF = _OPEN.where(jobs.c.service_id.in_(sa.bindparam("whose", expanding=True)))


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueDepth:
    """Jobs that wait to run, and since when the oldest waits."""

    jobs: int
    oldest: datetime | None


def add(conn: sa.Connection, job: Job) -> None:
    row = {
        "id": job.id,
        "service_id": job.service_id,
        "intent": job.intent.value,
        "playbook": job.playbook,
        "state": job.state.value,
        "reason": job.reason,
        "asked_by": job.asked_by,
        "arguments": dict(job.arguments),
        "payments": job.payments,
        "run": job.run,
        "approval_reason": job.approval_reason,
        "approved_by": job.approved_by,
        "created_at": job.created_at,
    }
    conn.execute(_ADD, row)


def get(conn: sa.Connection, job_id: str) -> Job:
    """The job; raises NotFound."""
    row = conn.execute(_ONE, {"job": job_id}).one_or_none()
    if row is None:
        raise NotFound(f"there is no job {job_id}", job_id=job_id)
    return _job(row)


def list_page(
    conn: sa.Connection, *, limit: int, after: str = "", service_id: str = "", state: JobState | None = None
) -> tuple[tuple[Job, ...], str | None]:
    """Newest first (ids are time-sortable); ``after`` is the last id of the page before."""
    query = sa.select(jobs).order_by(jobs.c.id.desc()).limit(limit + 1)
    if after:
        query = query.where(jobs.c.id < after)
    if service_id:
        query = query.where(jobs.c.service_id == service_id)
    if state is not None:
        query = query.where(jobs.c.state == state.value)
    rows = conn.execute(query).all()
    page = tuple(_job(row) for row in rows[:limit])
    return page, page[-1].id if len(rows) > limit else None


def in_states(
    conn: sa.Connection, states: Iterable[JobState], *, of: Iterable[IntentKind] = tuple(IntentKind)
) -> tuple[Job, ...]:
    """All jobs of these kinds in these states, oldest first: only for what few jobs are at a time."""
    wanted = jobs.c.state.in_([state.value for state in states]), jobs.c.intent.in_([kind.value for kind in of])
    return tuple(_job(row) for row in conn.execute(sa.select(jobs).where(*wanted).order_by(jobs.c.id)))


def in_line(conn: sa.Connection, *, share: int | None = None) -> tuple[tuple[str, int], ...]:
    """(job, run) of what is to be on the queue or under way: of each service the jobs begun, else the oldest that waits.

    ``share``: of those that wait only so many of one place as it has left beside those begun (``place_of``), and none of one
    that a job waits to be reached again; None = all. What itself waits so is not in the line.
    """
    rows = conn.execute(_IN_LINE).all()
    begun = [row for row in rows if row.state != JobState.QUEUED.value]
    first = {row.service_id: row for row in reversed(rows)}
    busy = {row.service_id for row in begun}
    heads = [row for service_id, row in first.items() if service_id not in busy and not row.waits]
    heads.sort(key=lambda row: str(row.id))
    taken = Counter(row.place for row in begun)
    found = list(begun)
    away = frozenset() if share is None else frozenset(conn.scalars(_AWAY))
    for row in heads:
        if share is None or (taken[row.place] < share and row.place not in away):
            taken[row.place] += 1
            found.append(row)
    return tuple((row.id, int(row.run)) for row in found)


def place_of(conn: sa.Connection, service_id: str) -> str:
    """The node, or the machine, that the service's jobs work on; '' = none is chosen yet."""
    return str(conn.execute(_PLACE_OF, {"service": service_id}).scalar_one_or_none() or "")


def next_of(conn: sa.Connection, place: str, *, share: int) -> tuple[Job, ...]:
    """The oldest jobs that wait for the place, of each service the first, as many as its share leaves beside those begun; none
    where a job waits for the place to be reached again."""
    if place and place in conn.scalars(_AWAY).all():
        return ()
    left = share - int(conn.execute(_BEGUN_AT, {"place": place}).scalar_one())
    if left <= 0:
        return ()
    return tuple(_job(row) for row in conn.execute(_NEXT_AT, {"place": place, "left": left}))


def recent(conn: sa.Connection, *, intent: IntentKind, since: datetime) -> int:
    """How many jobs of the intent were let through to run since then: what the brakes count.

    A job may have waited long before it was let through, so that when it was made says little: what is under way counts,
    and what began since.
    """
    return int(conn.execute(_RECENT, {"kind": intent.value, "since": since}).scalar_one())


def at_work(conn: sa.Connection, intent: IntentKind) -> dict[str, int]:
    """How many jobs of the intent run, or are to run, by the node of their service."""
    query = sa.select(services.c.node, sa.func.count()).join(services, services.c.id == jobs.c.service_id)
    query = query.where(jobs.c.intent == intent.value, jobs.c.state.in_(UNDER_WAY)).group_by(services.c.node)
    return {node: int(number) for node, number in conn.execute(query)}


def ever_done(conn: sa.Connection, service_id: str, intent: IntentKind) -> bool:
    """Whether a job of that intent ever went well for the service."""
    return conn.execute(_EVER, {"whose": service_id, "kind": intent.value}).first() is not None


def last_done(conn: sa.Connection, service_id: str, intent: IntentKind) -> Job | None:
    """The latest job of that intent that went well for the service."""
    wanted = (jobs.c.service_id == service_id, jobs.c.intent == intent.value, jobs.c.state == JobState.DONE.value)
    row = conn.execute(sa.select(jobs).where(*wanted).order_by(jobs.c.id.desc()).limit(1)).one_or_none()
    return None if row is None else _job(row)


def last_of(conn: sa.Connection, service_id: str, intent: IntentKind) -> Job | None:
    """The latest job of that intent for the service, however it went."""
    wanted = (jobs.c.service_id == service_id, jobs.c.intent == intent.value)
    row = conn.execute(sa.select(jobs).where(*wanted).order_by(jobs.c.id.desc()).limit(1)).one_or_none()
    return None if row is None else _job(row)


def waiting_for_approval(conn: sa.Connection, service_ids: Sequence[str]) -> tuple[Job, ...]:
    """The jobs of these services that wait for approval."""
    return tuple(_job(row) for row in conn.execute(_WAITING, {"whose": list(service_ids)}))


def unfinished(conn: sa.Connection, service_id: str) -> tuple[Job, ...]:
    """The service's jobs that run, or wait for their turn or for somebody, oldest first."""
    return tuple(_job(row) for row in conn.execute(_UNFINISHED, {"whose": service_id}))


def unfinished_of(conn: sa.Connection, service_ids: Sequence[str]) -> dict[str, tuple[Job, ...]]:
    """The same for each of these services."""
    found: dict[str, tuple[Job, ...]] = dict.fromkeys(service_ids, ())
    for row in conn.execute(_UNFINISHED_OF, {"whose": list(service_ids)}):
        found[row.service_id] = (*found[row.service_id], _job(row))
    return found


def change(conn: sa.Connection, job_id: str, **values: Any) -> None:
    """Set columns of the job's row; enumeration members are stored by value."""
    conn.execute(_CHANGE, {"job": job_id, **_plain(values)})


def stop_requested(conn: sa.Connection, job_id: str) -> bool:
    return bool(conn.execute(_STOP, {"job": job_id}).scalar())


def counts(conn: sa.Connection) -> dict[tuple[str, str], int]:
    """How many jobs there are by (playbook, state)."""
    query = sa.select(jobs.c.playbook, jobs.c.state, sa.func.count()).group_by(jobs.c.playbook, jobs.c.state)
    return {(playbook, state): int(count) for playbook, state, count in conn.execute(query)}


def queue_depth(conn: sa.Connection) -> QueueDepth:
    """Without those that wait for what they could not reach."""
    query = sa.select(sa.func.count(), sa.func.min(jobs.c.created_at)).where(jobs.c.state == JobState.QUEUED.value, ~_WAITS)
    count, oldest = conn.execute(query).one()
    return QueueDepth(jobs=int(count), oldest=oldest)


def steps(conn: sa.Connection, job_id: str) -> tuple[JobStep, ...]:
    return tuple(_step(row) for row in conn.execute(_STEPS, {"job": job_id}))


def clear_steps(conn: sa.Connection, job_id: str) -> None:
    """For a job whose workflow is to be resolved anew."""
    conn.execute(_CLEAR, {"job": job_id})


def lay_down_steps(conn: sa.Connection, job_id: str, wanted: Iterable[JobStep]) -> None:
    """Those of a freshly resolved workflow, of a job that has none."""
    rows = [
        {
            "job_id": job_id,
            "position": step.position,
            "id": step.id,
            "step": step.step,
            "state": step.state.value,
            "args": None if step.args is None else dict(step.args),
            "message": step.message,
            "attempts": step.attempts,
            "started_at": step.started_at,
            "run": step.run,
        }
        for step in wanted
    ]
    if rows:
        conn.execute(_LAY_DOWN, rows)


def change_step(conn: sa.Connection, job_id: str, position: int, **values: Any) -> None:
    """Set columns of one step's row; enumeration members are stored by value."""
    conn.execute(_STEP, {"job": job_id, "at": position, **_plain(values)})


def change_held_step(conn: sa.Connection, job_id: str, position: int, *, token: str, **values: Any) -> bool:
    """As ``change_step``; False, and nothing changed, where the token is not the one that holds the lock of the job's service."""
    return conn.execute(_HELD_STEP, {"job": job_id, "at": position, "held": token, **_plain(values)}).rowcount == 1


def begin_step(conn: sa.Connection, job_id: str, position: int, *, run: int, attempt: int, now: datetime) -> None:
    """The step's attempt begins in that run of the job. ``now`` is when it started, where it had not before."""
    conn.execute(_BEGIN_STEP, {"job": job_id, "at": position, "number": run, "attempt": attempt, "now": now})


def forget_access(conn: sa.Connection, service_id: str) -> None:
    """Blank who might log in (keys, hashes of passwords) in what the service's jobs were asked for, resolved to and did."""
    mine = sa.select(jobs.c.id, jobs.c.workflow, jobs.c.arguments).where(jobs.c.service_id == service_id)
    for job_id, *known in conn.execute(mine).all():
        if (blank := [access.without(value) for value in known]) != known:
            change(conn, job_id, workflow=blank[0], arguments=blank[1])
        steps_of = sa.select(job_steps.c.position, job_steps.c.args, job_steps.c.facts).where(job_steps.c.job_id == job_id)
        for position, *kept in conn.execute(steps_of).all():
            if (left := [access.without(value) for value in kept]) != kept:
                change_step(conn, job_id, position, args=left[0], facts=left[1])


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value.value if isinstance(value, (JobState, StepState)) else value for key, value in values.items()}


def _job(row: sa.Row[Any]) -> Job:
    values = dict(row._mapping)
    return Job(**values | {"intent": IntentKind(values["intent"]), "state": JobState(values["state"])})


def _step(row: sa.Row[Any]) -> JobStep:
    values = dict(row._mapping)
    return JobStep(**values | {"state": StepState(values["state"])})
