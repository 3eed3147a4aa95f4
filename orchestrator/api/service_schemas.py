"""What the API answers about a service, as pydantic models, and how its record becomes them. Times are UTC."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal

from pydantic import BaseModel

from orchestrator.domain import specs
from orchestrator.domain.absences import Absence
from orchestrator.domain.backups.outlook import Outlook
from orchestrator.domain.charges import ChargeKind
from orchestrator.domain.complaints import Closed, Complaint, ComplaintKind
from orchestrator.domain.deadlines import Action, Deadline
from orchestrator.domain.intents import IntentKind, JobState
from orchestrator.domain.jobs import Job
from orchestrator.domain.kept_volumes import KeptKind, KeptVolume
from orchestrator.domain.plans import GuestPlan, Plan
from orchestrator.domain.policies import Effect
from orchestrator.domain.services import (
    Cancellation,
    CancellationKind,
    DisputedInvoice,
    Hold,
    HoldEffect,
    HoldReason,
    Lifecycle,
    Service,
    ServiceFacts,
)
from orchestrator.domain.traffic import GuestTraffic
from orchestrator.observe.logs import redact
from orchestrator.store.charges import ChargeRecord
from orchestrator.store.nodes import NodeRecord

# Guests that run are read once a minute: one that was not in two readings in a row does not.
_RUNS_FOR = timedelta(minutes=2, seconds=30)


class HoldOut(BaseModel):
    reason: HoldReason
    effect: HoldEffect
    by: str
    why: str
    since: datetime
    evidence: str
    until: datetime | None
    complaint: str

    @classmethod
    def of(cls, hold: Hold) -> HoldOut:
        return cls(**fields(hold, cls.model_fields))


class ComplaintOut(BaseModel):
    """A complaint. ``effect`` is what follows from it, ``held_at`` since when its hold stands; ``closed`` is null while open."""

    id: str
    kind: ComplaintKind
    received_at: datetime
    by: str
    why: str
    what: str
    effect: Effect
    evidence: str
    held_at: datetime | None
    closed: Closed | None
    closed_at: datetime | None
    closed_by: str
    closed_why: str
    closed_evidence: str

    @classmethod
    def of(cls, complaint: Complaint) -> ComplaintOut:
        return cls(**fields(complaint, cls.model_fields))


class ServiceOut(BaseModel):
    """A service. ``suspended``: some hold stops it; ``limited``: some hold limits it. ``due_settled``: what was due at
    ``due_at`` was paid since. ``node`` is empty before it was placed.
    ``databases_full``: of a hosting account, whose databases take no more until its disk has room again."""

    id: str
    client_id: str
    plan: str
    state: Lifecycle
    suspended: bool
    limited: bool
    holds: list[HoldOut]
    version: int
    order_id: str
    domain: str
    hostname: str
    template: str
    zone: str
    ssh_keys: list[str]
    password_set: bool
    due_at: datetime | None
    due_settled: bool
    paid_until: datetime | None
    payments: int
    created_at: datetime | None
    point_of_no_return: datetime | None
    suspension_proven_at: datetime | None
    limited_proven_at: datetime | None
    archived_at: datetime | None
    purchased_at: datetime | None
    activated_at: datetime | None
    ended_at: datetime | None
    forgotten_at: datetime | None
    cancellation: CancellationOut | None
    databases_full: bool
    node: str

    @classmethod
    def of(cls, service: Service, *, node: str) -> ServiceOut:
        return cls(
            id=service.id,
            client_id=service.client_id,
            plan=service.plan,
            state=service.state,
            suspended=service.stopped,
            limited=service.limited,
            holds=[HoldOut.of(hold) for hold in service.holds],
            version=service.version,
            order_id=service.order_id,
            domain=service.domain,
            hostname=service.hostname,
            template=service.template,
            zone=service.zone,
            ssh_keys=list(service.ssh_keys),
            password_set=bool(service.password_hash),
            due_at=service.due_at,
            due_settled=service.due_settled,
            paid_until=service.paid_until,
            payments=service.payments,
            created_at=service.created_at,
            point_of_no_return=service.point_of_no_return,
            suspension_proven_at=service.suspension_proven_at,
            limited_proven_at=service.limited_proven_at,
            archived_at=service.archived_at,
            purchased_at=service.purchased_at,
            activated_at=service.activated_at,
            ended_at=service.ended_at,
            forgotten_at=service.forgotten_at,
            cancellation=None if service.cancellation is None else CancellationOut.of(service.cancellation),
            databases_full=service.databases_full,
            node=node,
        )


class CancellationOut(BaseModel):
    """That a service is to end, as it was asked for. ``at``: the day that an operator gave."""

    asked_at: datetime
    by: str
    why: str
    kind: CancellationKind
    confirmed_at: datetime | None
    at: datetime | None

    @classmethod
    def of(cls, cancellation: Cancellation) -> CancellationOut:
        return cls(**fields(cancellation, cls.model_fields))


class DeadlineOut(BaseModel):
    """An act to come. ``asks``: it waits for an operator's approval, because the text says "may" or because it destroys
    and no billing system can be asked. ``confirms``: billing is asked first, and a person decides only where it does not answer.
    ``waits``: what else keeps it from being done at its time; '' = nothing. ``job_id``: the job that is to do it, where that is
    there and waits; ``waits`` then says for what."""

    action: Action
    at: datetime
    reason: str
    clause: str
    asks: bool
    confirms: bool
    waits: str
    job_id: str

    @classmethod
    def of(cls, deadline: Deadline, *, asks_billing: bool) -> DeadlineOut:
        return cls(
            action=deadline.action,
            at=deadline.at,
            reason=deadline.reason,
            clause=deadline.clause,
            asks=deadline.asks,
            confirms=deadline.action.destroys and asks_billing and not deadline.job,
            waits=deadline.waits,
            job_id=deadline.job,
        )


class ChargeNote(BaseModel):
    """A charge in a few words; ``/v1/charges`` has all of it. ``open``: it stands."""

    id: str
    kind: ChargeKind
    amount: int
    reason: str
    made_at: datetime
    open: bool


class JobNote(BaseModel):
    """A job that is not over, in a few words; ``/v1/jobs`` has all of it. ``waits``: why it waits for somebody, or for
    what it cannot reach."""

    id: str
    intent: IntentKind
    state: JobState
    waits: str

    @classmethod
    def of(cls, job: Job, absence: Absence | None) -> JobNote:
        waits = job.approval_reason if absence is None else str(absence).removeprefix("waits ")
        return cls(id=job.id, intent=job.intent, state=job.state, waits=waits)


class DisputeOut(BaseModel):
    """The dispute of one invoice. ``late``: raised too late. ``upheld`` null: not settled. ``pay_by``: by the policy's rule."""

    invoice_id: str
    raised_at: datetime | None
    part: bool
    late: bool
    settled_at: datetime | None
    upheld: bool | None
    pay_by: datetime | None

    @classmethod
    def of(cls, dispute: DisputedInvoice) -> DisputeOut:
        return cls(
            invoice_id=dispute.invoice_id,
            raised_at=dispute.raised_at,
            part=dispute.part,
            late=dispute.late,
            settled_at=dispute.settled_at,
            upheld=None if dispute.settled_at is None else dispute.upheld,
            pay_by=dispute.pay_by,
        )


class TrafficOut(BaseModel):
    """A calendar month's largest total, and the gigabytes over the plan's allowance that were charged."""

    period: str
    bytes: int
    charged_gb: int


class KeptVolumeOut(BaseModel):
    """A volume that stands beside the disk until its time is over. ``job_id``: the restore that left it."""

    name: str
    kind: KeptKind
    node: str
    path: str
    job_id: str
    kept_at: datetime
    until: datetime

    @classmethod
    def of(cls, volume: KeptVolume) -> KeptVolumeOut:
        return cls(**fields(volume, cls.model_fields))


class LastBackup(BaseModel):
    """The newest verified backup that stands: what a restore takes."""

    id: str
    made_at: datetime | None
    verified_at: datetime | None
    size_bytes: int


class BackupsNote(BaseModel):
    """``last``: null = there is none. ``next_slot``: of the schedule; one that has passed is caught up; null = none is made
    unasked, and ``left_out`` says why. ``restores_…``: in this calendar month; null = the policy counts none."""

    last: LastBackup | None
    next_slot: datetime | None
    left_out: str
    restores_used: int
    restores_included: int | None
    restores_left: int | None

    @classmethod
    def of(cls, found: Outlook) -> BackupsNote:
        last = None if found.last is None else LastBackup(**fields(found.last, LastBackup.model_fields))
        return cls(**fields(found, cls.model_fields) | {"last": last})


class MailOut(BaseModel):
    """``said_by``: its plan, or a word on the service itself."""

    open: bool
    said_by: Literal["plan", "service"]

    @classmethod
    def of(cls, service: Service, plan: Plan | None) -> MailOut | None:
        if not isinstance(plan, GuestPlan):
            return None
        return cls(open=specs.mail_out(service, plan), said_by="plan" if service.mail_out is None else "service")


class Whereabouts(BaseModel):
    """What was seen last of a service's node and of its guest. ``node_problem``: why nothing can be done on its node; '' = it
    answers. ``ran_at``: when its guest was seen to run last; null = never, or it is no guest. ``runs``: whether that is so now;
    null = nobody can say."""

    node_problem: str
    ran_at: datetime | None
    runs: bool | None

    @classmethod
    def of(cls, node: NodeRecord | None, counted: GuestTraffic | None, *, now: datetime) -> Whereabouts:
        ran_at = None if counted is None or node is None or counted.node != node.name else counted.at
        problem = "" if node is None else node.trouble
        runs = None if ran_at is None or problem else now - ran_at < _RUNS_FOR
        return cls(node_problem=problem, ran_at=ran_at, runs=runs)


class ServiceDetail(ServiceOut):
    """A service with what its jobs made, where it ever was, the jobs that are not over, the next acts that its policy brings,
    its newest charges, the volumes that are kept beside its disk, and what it has of backups. ``outgoing_mail``: whether its
    guest may send to port 25 of others, and who says so; null = it is no guest. ``failed_job``: of a service that is failed, the
    job that failed to make it; "" = it is not."""

    nodes_ever: list[str]
    facts: dict[str, Any]
    jobs: list[JobNote]
    deadlines: list[DeadlineOut]
    charges: list[ChargeNote]
    disputes: list[DisputeOut]
    traffic: list[TrafficOut]
    charged_back_at: datetime | None
    complaints: list[ComplaintOut]
    domain_expired_at: datetime | None
    domain_renewed_at: datetime | None
    kept: list[KeptVolumeOut]
    backups: BackupsNote
    outgoing_mail: MailOut | None
    where: Whereabouts
    failed_job: str

    @classmethod
    def with_facts(
        cls,
        service: Service,
        facts: ServiceFacts,
        jobs: Sequence[JobNote],
        deadlines: Sequence[DeadlineOut],
        charges: Sequence[ChargeRecord],
        backups: Outlook,
        *,
        plan: Plan | None,
        where: Whereabouts,
        failed_job: str = "",
    ) -> ServiceDetail:
        base = ServiceOut.of(service, node=facts.node)
        return cls(
            **base.model_dump(),
            nodes_ever=list(facts.nodes_ever),
            facts=redact(facts.values),
            jobs=list(jobs),
            deadlines=list(deadlines),
            charges=[ChargeNote(**fields(charge, ChargeNote.model_fields)) for charge in charges],
            disputes=[DisputeOut.of(dispute) for dispute in service.disputes],
            traffic=[TrafficOut(**fields(month, TrafficOut.model_fields)) for month in service.traffic],
            charged_back_at=service.charged_back_at,
            complaints=[ComplaintOut.of(complaint) for complaint in service.complaints],
            domain_expired_at=service.domain_expired_at,
            domain_renewed_at=service.domain_renewed_at,
            kept=[KeptVolumeOut.of(volume) for volume in service.kept],
            backups=BackupsNote.of(backups),
            outgoing_mail=MailOut.of(service, plan),
            where=where,
            failed_job=failed_job,
        )


def fields(value: object, names: Iterable[str]) -> dict[str, Any]:
    """The attributes of a domain value that a model names alike; tuples as lists."""
    read = {name: getattr(value, name) for name in names}
    return {name: list(v) if isinstance(v, tuple) else v for name, v in read.items()}
