"""A job as people see it, its steps, and when a failed attempt is tried again. Times are aware, UTC."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from orchestrator.domain.errors import OrchestratorError, StoreUnavailable, TransientDriverError
from orchestrator.domain.intents import IntentKind, JobState, StepState

# Why a job waits when it is not the brakes: 'orchestrator freeze' is in force, and lifting it lets the job go on.
FROZEN_REASON = "frozen"
# The argument of a job that was let on past the point of no return: the payment count at which it was first decided.
DECIDED_AT = "decided_at"

RETRY_AFTER_STORE_SECONDS = 1.0
RETRY_CEILING_SECONDS = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One run of a playbook for a service. ``run`` counts from 1 and grows with each retry; ``workflow`` is its JSON."""

    id: str
    service_id: str
    intent: IntentKind
    playbook: str
    state: JobState
    reason: str
    asked_by: str
    payments: int
    created_at: datetime
    arguments: Mapping[str, object]
    run: int = 1
    workflow: Mapping[str, Any] | None = None
    error_code: str = ""
    error: str = ""
    stop_requested: bool = False
    approval_reason: str = ""
    approved_by: str = ""
    started_at: datetime | None = None
    finished_at: datetime | None = None


def decided_at(job: Job) -> int:
    """The payment count at which the job was decided, whoever has let it go on since, knowing of a payment."""
    first = job.arguments.get(DECIDED_AT)
    return first if isinstance(first, int) else job.payments


@dataclass(frozen=True, slots=True, kw_only=True)
class JobStep:
    """One step of a job. ``applied``: this job began to apply it, so that undoing the job undoes it. ``progress`` 0..1.

    ``run``: of the job, which came to it last. ``outcome``: what its last attempt in that came to, where it did not go well.
    """

    job_id: str
    position: int
    id: str
    step: str
    state: StepState = StepState.PENDING
    args: Mapping[str, Any] | None = None
    facts: Mapping[str, Any] | None = None
    applied: bool = False
    attempts: int = 0
    progress: float = 0.0
    message: str = ""
    error_code: str = ""
    error: str = ""
    started_at: datetime | None = None
    finished_at: datetime | None = None
    run: int = 0
    outcome: Mapping[str, Any] | None = None


def retry_delay(error: OrchestratorError, *, attempt: int, attempts: int) -> float | None:
    """Seconds to wait before the next attempt, or None where trying again is over or would not help.

    ``attempt`` counts from 1. Only what a driver called transient is tried again, and a store that was away: the step
    checks the world before it acts, so repeating it is safe. The wait doubles from the driver's ``retry_after``.
    """
    if attempt >= attempts:
        return None
    if isinstance(error, TransientDriverError):
        first = error.retry_after
    elif isinstance(error, StoreUnavailable):
        first = RETRY_AFTER_STORE_SECONDS
    else:
        return None
    doublings = min(attempt - 1, 16)  # beyond that the ceiling holds anyway
    return float(min(first * 2**doublings, RETRY_CEILING_SECONDS))
