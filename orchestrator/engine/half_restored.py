"""An account whose restore in place has begun and is not over is opened to nobody: what is in it is half what it was and half the
backup. It waits for a person, closed, whatever becomes of its holds meanwhile."""

from __future__ import annotations

from orchestrator.domain.errors import Refused
from orchestrator.domain.intents import IntentKind
from orchestrator.domain.jobs import Job
from orchestrator.domain.kept import HOME, ROLE
from orchestrator.store import jobs as job_store
from orchestrator.store.database import Connection

RULE = "half a home is shown to nobody"


def restoring(conn: Connection, service_id: str) -> Job | None:
    """The restore in place that has done something to the account, and is neither carried to its end nor called off."""
    for job in job_store.unfinished(conn, service_id):
        in_place = job.intent == IntentKind.RESTORE and job.arguments.get(ROLE) == HOME
        if in_place and any(step.applied for step in job_store.steps(conn, job.id)):
            return job
    return None


def require_whole(conn: Connection, job: Job) -> None:
    """Raises Refused where the job would open such an account. The end of the restore asks for it anew (``Endings``)."""
    half = restoring(conn, job.service_id) if job.intent == IntentKind.UNSUSPEND else None
    if half is not None:
        raise Refused(
            f"it stays closed though no hold stops it: restore {half.id} has written half of it and is {half.state} [{RULE}]",
            rule=RULE,
            hint=f"orchestrator job retry {half.id}, or job cancel {half.id}; then it opens by itself",
        )
