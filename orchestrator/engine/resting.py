"""The log line of a job that has come to rest: over, or waiting for a person."""

from __future__ import annotations

import logging
from datetime import datetime

from orchestrator.domain.intents import JobState
from orchestrator.domain.jobs import Job
from orchestrator.store.database import Connection, after_commit

_log = logging.getLogger(__name__)
# What somebody should look at; the rest of the resting states is as it should be, or an operator's own doing.
_LEVELS = {JobState.FAILED: logging.WARNING, JobState.NEEDS_OPERATOR: logging.WARNING, JobState.WAITING_APPROVAL: logging.WARNING}
_EVENT = "event "


def event_of(job: Job) -> str:
    """SOURCE/ID of the event that asked for it, '' where a person did."""
    return job.asked_by.removeprefix(_EVENT) if job.asked_by.startswith(_EVENT) else ""


def tell_rest(conn: Connection, job: Job, state: JobState, *, now: datetime, code: str = "", reason: str = "") -> None:
    """Log, once the transaction has held, that the job rests in ``state``.

    ``seconds`` is since the job first began to run, None where it never did.
    """
    facts = {
        "job_id": job.id,
        "service_id": job.service_id,
        "event_id": event_of(job),
        "intent": job.intent.value,
        "state": state.value,
        "code": code,
        "reason": reason,
        "seconds": round((now - job.started_at).total_seconds(), 3) if job.started_at is not None else None,
    }
    level = _LEVELS.get(state, logging.INFO)
    words = f"{state.value.replace('_', ' ')}: {reason}" if reason else state.value.replace("_", " ")
    after_commit(
        conn, lambda: _log.log(level, "job %s: %s of %s %s", job.id, job.intent.value, job.service_id, words, extra=facts)
    )
