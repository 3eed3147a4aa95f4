"""A payment, or a dispute, ends what waits for somebody and is pointless now. Called in the transaction that takes it."""

from __future__ import annotations

from orchestrator.domain.intents import IntentKind, JobState
from orchestrator.domain.outcomes import SETS
from orchestrator.domain.services import HoldReason, Service
from orchestrator.engine.endings import Endings
from orchestrator.store import jobs as job_store
from orchestrator.store.database import Connection

# States in which a job waits for a person.
RESTING = (JobState.WAITING_APPROVAL, JobState.NEEDS_OPERATOR)


def call_off(conn: Connection, endings: Endings, after: Service | None, *, by: str) -> None:
    """End what the fence would stop only once somebody let it run: a termination, the erasure of what comes back, and a
    suspension or a limit for nonpayment."""
    if after is None or after.point_of_no_return is not None:
        return
    for job in job_store.unfinished(conn, after.id):
        disputed = after.hold(HoldReason.DISPUTE) is not None
        owed = (after.hold(HoldReason.NONPAYMENT) is not None and not disputed) or (
            job.arguments.get("reason") != HoldReason.NONPAYMENT
        )
        back = job.intent == IntentKind.ERASE and comes_back(conn, after.id)
        pointless = job.intent == IntentKind.TERMINATE or back or (job.intent in SETS and not owed)
        if pointless and job.state in RESTING:
            endings.call_off(conn, job, by=by)


def comes_back(conn: Connection, service_id: str) -> bool:
    """A job brings the archived service back, or will."""
    return any(job.intent == IntentKind.REACTIVATE for job in job_store.unfinished(conn, service_id))


def overtaken(before: Service | None, after: Service | None) -> bool:
    """It is as if something was paid, or the clock of nonpayment was stopped."""
    if after is None:
        return False
    paid = after.payments > (0 if before is None else before.payments)
    stood = before is not None and before.hold(HoldReason.DISPUTE) is not None
    return paid or (after.hold(HoldReason.DISPUTE) is not None and not stood)
