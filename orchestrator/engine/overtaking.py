"""A payment, or a dispute, ends what waits for somebody and is pointless now. Called in the transaction that takes it."""

from __future__ import annotations

from orchestrator.domain import archives
from orchestrator.domain.confirmation import DEADLINE
from orchestrator.domain.deadlines import Action
from orchestrator.domain.intents import CANCELLATION, IntentKind, JobState
from orchestrator.domain.jobs import Job
from orchestrator.domain.outcomes import SETS
from orchestrator.domain.services import HoldReason, Lifecycle, Service
from orchestrator.engine.endings import Endings
from orchestrator.store import jobs as job_store
from orchestrator.store.database import Connection

# States in which a job waits for a person.
RESTING = (JobState.WAITING_APPROVAL, JobState.NEEDS_OPERATOR)


# Deadlines that end a service for something other than what it owes.
_NO_DEBT = frozenset({Action.END.value, Action.TERMINATE_CONDUCT.value})


def call_off(conn: Connection, endings: Endings, after: Service | None, *, by: str, paid: bool) -> tuple[str, ...]:
    """End what is pointless now: a termination, the erasure of what comes back, and a suspension or a limit for nonpayment;
    which jobs these were. What fell due is asked for again should it fall due again, by a refund for instance.

    ``paid``: else a dispute stopped the clock of nonpayment. Of a payment the fence knows, so that only what waits for somebody
    has to be ended here; of a dispute it knows nothing, and what runs, or is about to, is stopped too. A dispute says nothing
    against an end that was asked for by a cancellation, or for conduct.
    """
    if after is None or after.point_of_no_return is not None:
        return ()
    ended = []
    for job in job_store.unfinished(conn, after.id):
        if (job.state in RESTING and _pointless(conn, job, after, paid=paid)) or (not paid and _for_debt(job)):
            endings.call_off(conn, job, by=by)
            ended.append(job.id)
    return tuple(ended)


def call_off_return(conn: Connection, endings: Endings, after: Service, *, by: str) -> tuple[str, ...]:
    """The payment that was to bring an archived service back was itself taken back: what waits to do so is ended."""
    if after.archived_at is None or after.state != Lifecycle.ARCHIVED or archives.settled(after, since=after.archived_at):
        return ()
    waiting = [job for job in job_store.waiting_for_approval(conn, [after.id]) if job.intent == IntentKind.REACTIVATE]
    for job in waiting:
        endings.call_off(conn, job, by=by)
    return tuple(job.id for job in waiting)


def _pointless(conn: Connection, job: Job, after: Service, *, paid: bool) -> bool:
    if job.intent == IntentKind.TERMINATE:
        return paid or _for_debt(job)
    disputed = after.hold(HoldReason.DISPUTE) is not None
    owed = (after.hold(HoldReason.NONPAYMENT) is not None and not disputed) or (
        job.arguments.get("reason") != HoldReason.NONPAYMENT
    )
    back = job.intent == IntentKind.ERASE and comes_back(conn, after.id)
    return back or (job.intent in SETS and not owed)


def _for_debt(job: Job) -> bool:
    """It terminates, and neither a cancellation nor a deadline of anything but nonpayment asked for that."""
    if job.intent != IntentKind.TERMINATE or job.arguments.get(CANCELLATION):
        return False
    made_for = job.arguments.get(DEADLINE)
    return not (isinstance(made_for, list) and made_for[0] in _NO_DEBT)


def comes_back(conn: Connection, service_id: str) -> bool:
    """A job brings the archived service back, or will."""
    return any(job.intent == IntentKind.REACTIVATE for job in job_store.unfinished(conn, service_id))


def counts_as_paid(before: Service | None, after: Service | None) -> bool:
    """It is as if something was paid: a payment, or a dispute that was won."""
    return after is not None and after.payments > (0 if before is None else before.payments)


def overtaken(before: Service | None, after: Service | None) -> bool:
    """It is as if something was paid, or the clock of nonpayment was stopped."""
    if after is None:
        return False
    stood = before is not None and before.hold(HoldReason.DISPUTE) is not None
    return counts_as_paid(before, after) or (after.hold(HoldReason.DISPUTE) is not None and not stood)
