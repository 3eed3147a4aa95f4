"""/v1/jobs: what is being done, what was done, and what waits for an operator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse

from orchestrator.api.callers import Operator, Reader
from orchestrator.api.context import Context
from orchestrator.api.once import Keep, OnceOnly
from orchestrator.api.paging import After, Limit, Page, Word
from orchestrator.api.schemas import JobDetail, JobOut
from orchestrator.api.vocabulary import CONTROLS
from orchestrator.domain.intents import JobState
from orchestrator.store import absences, jobs
from orchestrator.store.database import Connection

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])


class JobAct(BaseModel):
    """What an operator says of an act on a job; the body may be left out."""

    model_config = ConfigDict(extra="forbid")

    why: str = Field(default="", max_length=255, pattern=f"^[^{CONTROLS}]*$", description="Goes into the audit.")


_UNSAID = JobAct()

JobId = Annotated[str, Path(pattern=r"^[A-Za-z0-9._-]{1,64}$")]


@router.get("")
def list_jobs(
    _caller: Reader,
    context: Context,
    limit: Limit = 100,
    after: After = "",
    service_id: Word = "",
    state: Annotated[JobState | None, Query(description="Only jobs in this state.")] = None,
) -> Page[JobOut]:
    """Jobs, the newest first."""
    with context.db.read() as conn:
        found, following = jobs.list_page(conn, limit=limit, after=after, service_id=service_id, state=state)
        waiting = absences.waiting(conn, [job.id for job in found])
    return Page(items=[JobOut.of(job, waiting.get(job.id)) for job in found], next=following)


@router.get("/{job_id}")
def get_job(_caller: Reader, context: Context, job_id: JobId) -> JobDetail:
    """One job with its workflow and the progress of its steps."""
    with context.db.read() as conn:
        return _detail(conn, job_id)


@router.post("/{job_id}/approve", response_model=JobDetail)
def approve_job(caller: Operator, context: Context, once: OnceOnly, job_id: JobId, request: JobAct = _UNSAID) -> JSONResponse:
    """Let a job run that waits for an operator."""

    return once.run(lambda keep: context.engine.approve(job_id, caller.name, why=request.why, beside=_shown(job_id, keep)))


@router.post("/{job_id}/cancel", response_model=JobDetail)
def cancel_job(caller: Operator, context: Context, once: OnceOnly, job_id: JobId, request: JobAct = _UNSAID) -> JSONResponse:
    """Stop a job: at once where it has not begun, before its next step where it runs; what it made is undone."""

    return once.run(lambda keep: context.engine.cancel(job_id, caller.name, why=request.why, beside=_shown(job_id, keep)))


@router.post("/{job_id}/retry", response_model=JobDetail)
def retry_job(caller: Operator, context: Context, once: OnceOnly, job_id: JobId, request: JobAct = _UNSAID) -> JSONResponse:
    """Run a job again that failed or that needs an operator; its steps check before they act."""

    return once.run(lambda keep: context.engine.retry(job_id, caller.name, why=request.why, beside=_shown(job_id, keep)))


def _shown(job_id: str, keep: Keep) -> Callable[[Connection, None], None]:
    """Answers with the job as the act leaves it."""
    return lambda conn, _: keep(conn, _detail(conn, job_id))


def _detail(conn: Connection, job_id: str) -> JobDetail:
    absence = absences.waiting(conn, [job_id]).get(job_id)
    return JobDetail.with_steps(jobs.get(conn, job_id), jobs.steps(conn, job_id), absence)
