"""What the API answers, as pydantic models (they make the OpenAPI document), and how domain values become them.

Secrets never have a field here. Sizes are bytes, times are UTC.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field

from orchestrator.api.control import Submitted
from orchestrator.api.problems import outcome_of
from orchestrator.api.service_schemas import fields
from orchestrator.domain.absences import Absence
from orchestrator.domain.errors import OUTCOMES, InDoubt, Refused, WrongState
from orchestrator.domain.intents import IntentKind, JobState, StepState
from orchestrator.domain.jobs import Job, JobStep
from orchestrator.domain.plans import Plan, Template, Use
from orchestrator.observe.logs import redact


class StepOut(BaseModel):
    """One step. ``progress`` 0..1; ``message`` is what it says of itself now."""

    position: int
    id: str
    step: str
    state: StepState
    attempts: int
    progress: float
    message: str
    error_code: str
    error: str
    started_at: datetime | None
    finished_at: datetime | None
    facts: dict[str, Any] | None

    @classmethod
    def of(cls, step: JobStep) -> StepOut:
        return cls(
            position=step.position,
            id=step.id,
            step=step.step,
            state=step.state,
            attempts=step.attempts,
            progress=step.progress,
            message=step.message,
            error_code=step.error_code,
            error=step.error,
            started_at=step.started_at,
            finished_at=step.finished_at,
            facts=None if step.facts is None else redact(step.facts),
        )


class AbsenceOut(BaseModel):
    """What a job waits to reach again: a node, a machine, the backup target. ``tries``: how often it has waited since then."""

    away: str
    since: datetime
    until: datetime = Field(description="When it tries again, at the latest.")
    why: str
    tries: int

    @classmethod
    def of(cls, absence: Absence) -> AbsenceOut:
        return cls(away=absence.away, since=absence.since, until=absence.until, why=absence.why, tries=absence.tries)


class JobOut(BaseModel):
    """A job. ``run`` counts its retries from 1; ``approval_reason`` says why it waits for an operator; ``exit_code`` is what
    a command line that waited for it ends with. ``waits_for``: null where it waits for nothing that cannot be reached.
    """

    id: str
    service_id: str
    intent: IntentKind
    playbook: str
    state: JobState
    final: bool
    reason: str
    asked_by: str
    run: int
    error_code: str
    error: str
    exit_code: int
    stop_requested: bool
    approval_reason: str
    approved_by: str
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    waits_for: AbsenceOut | None

    @classmethod
    def of(cls, job: Job, absence: Absence | None) -> JobOut:
        return cls(
            id=job.id,
            service_id=job.service_id,
            intent=job.intent,
            playbook=job.playbook,
            state=job.state,
            final=job.state.final,
            reason=job.reason,
            asked_by=job.asked_by,
            run=job.run,
            error_code=job.error_code,
            error=job.error,
            exit_code=_exit_code(job),
            stop_requested=job.stop_requested,
            approval_reason=job.approval_reason,
            approved_by=job.approved_by,
            created_at=job.created_at,
            started_at=job.started_at,
            finished_at=job.finished_at,
            waits_for=None if absence is None else AbsenceOut.of(absence),
        )


def _exit_code(job: Job) -> int:
    match job.state:
        case JobState.FAILED:
            return outcome_of(job.error_code).exit_code
        case JobState.NEEDS_OPERATOR:
            return OUTCOMES[InDoubt.code].exit_code
        case JobState.WAITING_APPROVAL:
            return OUTCOMES[Refused.code].exit_code
        case JobState.CANCELLED:
            return OUTCOMES[WrongState.code].exit_code
        case _:
            return 0


class JobDetail(JobOut):
    """A job with its resolved workflow (null until it was resolved) and its steps."""

    workflow: dict[str, Any] | None
    steps: list[StepOut]

    @classmethod
    def with_steps(cls, job: Job, steps: tuple[JobStep, ...], absence: Absence | None) -> JobDetail:
        workflow = None if job.workflow is None else redact(job.workflow)
        return cls(**JobOut.of(job, absence).model_dump(), workflow=workflow, steps=[StepOut.of(step) for step in steps])


class VerdictOut(BaseModel):
    """Whether one node could take the guest, and if not, every reason."""

    node: str
    fits: bool
    reasons: list[str]


class Explanation(BaseModel):
    """Why the service is where it is. ``job_id`` is the job that placed it; empty = it was never placed."""

    service_id: str
    node: str
    job_id: str
    placed_at: datetime | None
    verdicts: list[VerdictOut]


class Answer(BaseModel):
    """What became of an act: the job that does it ('' = nothing had to be done), or with dry_run the workflow."""

    outcome: str
    job_id: str = ""
    detail: str = ""
    waits: str = Field(default="", description="Why the job waits for an operator; '' = it does not.")
    workflow: dict[str, Any] | None = Field(default=None, description="Only with dry_run: exactly what would run.")

    @classmethod
    def of(cls, submitted: Submitted) -> Answer:
        outcome = "accepted" if submitted.job_id else "nothing"
        return cls(outcome=outcome, job_id=submitted.job_id, detail=submitted.detail, waits=submitted.waits)


class PlanOut(BaseModel):
    """A plan. A rate of 0, or ``traffic_bytes`` null = not limited; ``cpu_percent`` is per vCPU, of an account all that it has.
    What plans of its kind do not say is null. Prices are whole rupiah.
    """

    name: str
    kind: str
    description: str
    vcpus: int | None = None
    machine_class: str | None = None
    memory_bytes: int | None = None
    disk_bytes: int | None = None
    cpu_percent: int | None = None
    disk_bytes_per_second: int | None = None
    disk_iops: int | None = None
    network_bytes_per_second: int | None = None
    limited_network_bytes_per_second: int | None = None
    traffic_over_bytes_per_second: int | None = None
    encrypted: bool | None = None
    full_copy: bool | None = None
    ipv4: int | None = None
    ipv6: int | None = None
    templates: list[str] | None = None
    default_template: str | None = None
    inodes: int | None = None
    limited_cpu_percent: int | None = None
    tasks: int | None = None
    io_bytes_per_second: int | None = None
    iops: int | None = None
    sites: int | None = None
    databases: int | None = None
    php: list[str] | None = None
    zones: list[str]
    policy: str
    traffic_bytes: int | None
    traffic_over_per_gb: int
    price_per_hour: int
    backups_bought: bool
    backup_cap_bytes: int | None
    backup_cap_inodes: int | None
    forbids: list[Use]

    @classmethod
    def of(cls, plan: Plan) -> PlanOut:
        return cls(**fields(plan, [name for name in cls.model_fields if hasattr(plan, name)]))


class TemplateOut(BaseModel):
    """An OS image. ``size_bytes`` is the virtual size of its volume."""

    name: str
    os: str
    volume: str
    sha256: str
    size_bytes: int
    format: str
    kernel: str
    initrd: str
    kernel_arguments: str
    cloud_init: bool
    agent: bool
    ready: str

    @classmethod
    def of(cls, template: Template) -> TemplateOut:
        return cls(**fields(template, cls.model_fields))
