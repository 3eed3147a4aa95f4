"""/v1/services: what customers have, why it is where it is, and the acts on it."""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse

from orchestrator.api import outlook
from orchestrator.api.callers import Actor, Reader
from orchestrator.api.context import ApiContext, Context
from orchestrator.api.known import known
from orchestrator.api.once import Keep, OnceOnly, kept_answer
from orchestrator.api.paging import After, Limit, Page, Word, text_after
from orchestrator.api.schemas import Answer, Explanation, VerdictOut
from orchestrator.api.service_schemas import DeadlineOut, JobNote, ServiceDetail, ServiceOut, Whereabouts
from orchestrator.api.usage_schemas import GuestUsageOut, UsageOut
from orchestrator.api.vocabulary import CONTROLS
from orchestrator.domain import traffic, usage, workflow
from orchestrator.domain.backups.outlook import outlook as outlook_of
from orchestrator.domain.errors import NotFound, RequestError
from orchestrator.domain.intents import IntentKind, JobState
from orchestrator.domain.jobs import Job, JobStep
from orchestrator.domain.outcomes import KEEPS_HOLDS
from orchestrator.domain.plans import PlanKind
from orchestrator.domain.services import SERVICE_ID, HoldReason, Lifecycle, Service
from orchestrator.observe.logs import redact
from orchestrator.store import absences, account_usage, backups, charges, guest_traffic, jobs, nodes, overview, services
from orchestrator.store.database import Connection

router = APIRouter(prefix="/v1/services", tags=["services"])

ServiceId = Annotated[str, Path(pattern=f"^{SERVICE_ID.pattern}$", description="The service's id, as billing gave it.")]
# Jobs of one service that are looked through for the one that placed it.
_LOOK_BACK = 500
# The acts to come that are told with a service: so many, and no later than that.
_NEXT_ACTS = 5
_CHARGES = 5
_AHEAD = timedelta(days=366)


# What decides on a node: the newer ones of a service that has one already count once they are done.
_PLACES = (IntentKind.PROVISION, IntentKind.REACTIVATE)
_PLACES_ANEW = (IntentKind.MOVE, IntentKind.RECOVER)
_NEED_A_REASON = (IntentKind.SUSPEND, IntentKind.LIMIT, IntentKind.TERMINATE, IntentKind.TIDY)


class Action(StrEnum):
    """What an operator may ask for a service."""

    PROVISION = IntentKind.PROVISION
    START = IntentKind.START
    STOP = IntentKind.STOP
    REBOOT = IntentKind.REBOOT
    SUSPEND = IntentKind.SUSPEND
    UNSUSPEND = IntentKind.UNSUSPEND
    LIMIT = IntentKind.LIMIT
    UNLIMIT = IntentKind.UNLIMIT
    TERMINATE = IntentKind.TERMINATE
    REACTIVATE = IntentKind.REACTIVATE
    CHECK = IntentKind.CHECK
    BACKUP = IntentKind.BACKUP
    TIDY = IntentKind.TIDY


class ActionRequest(BaseModel):
    """``reason`` is a sentence for the audit, needed to suspend, to limit, to terminate and to tidy; ``hold`` is the hold that
    suspend and limit set, and unsuspend and unlimit lift.
    """

    model_config = ConfigDict(extra="forbid")

    reason: str = Field(default="", max_length=255, pattern=f"^[^{CONTROLS}]*$")
    hold: HoldReason = HoldReason.MANUAL


@router.get("")
def list_services(
    _caller: Reader,
    context: Context,
    limit: Limit = 100,
    after: After = "",
    state: Annotated[Lifecycle | None, Query(description="Only services in this state.")] = None,
    plan: Word = "",
    node: Word = "",
    client_id: Word = "",
    hold: Annotated[HoldReason | None, Query(description="Only services with this hold.")] = None,
    suspended: Annotated[bool | None, Query(description="Only services that a hold stops, or only those that none does.")] = None,
    limited: Annotated[bool | None, Query(description="Only services that a hold limits, or only those that none does.")] = None,
) -> Page[ServiceOut]:
    """Services by id, with their holds."""
    with context.db.read() as conn:
        found, following = services.list_page(
            conn,
            limit=limit,
            after=text_after(after),
            state=None if state is None else str(state),
            plan=plan or None,
            node=node or None,
            client_id=client_id or None,
            hold=None if hold is None else hold.value,
            suspended=suspended,
            limited=limited,
        )
        where = overview.nodes_of(conn, [service.id for service in found])
    return Page(items=[ServiceOut.of(service, node=where.get(service.id, "")) for service in found], next=following)


@router.get("/{service_id}")
def get_service(_caller: Reader, context: Context, service_id: ServiceId) -> ServiceDetail:
    """One service with its facts, its jobs that are not over, the next acts that its policy brings, its charges and backups."""
    with context.db.read() as conn:
        service = known(conn, service_id)
        at = outlook.moment(conn, now=context.clock.now(), ahead=_AHEAD)
        acts = outlook.of_one(conn, context.catalog, service, at)[:_NEXT_ACTS]
        next_acts = [DeadlineOut.of(act, asks_billing=context.catalog.asks_billing) for act in acts]
        owed = charges.latest(conn, service_id, limit=_CHARGES)
        open_jobs = jobs.unfinished(conn, service_id)
        waiting = absences.waiting(conn, [job.id for job in open_jobs])
        under_way = [JobNote.of(job, waiting.get(job.id)) for job in open_jobs]
        rows = backups.of_service(conn, service_id), backups.generations(conn, service_id), backups.restores_of(conn, service_id)
        kept = outlook_of(service, context.catalog.terms_of(service), *rows, now=at.now)
        facts, plan = services.facts(conn, service_id), context.catalog.plans.get(service.plan)
        where = Whereabouts.of(nodes.get(conn, facts.node), guest_traffic.get(conn, service_id), now=at.now)
        return ServiceDetail.with_facts(
            service, facts, under_way, next_acts, owed, kept, plan=plan, where=where, failed_job=_failed(conn, service)
        )


def _failed(conn: Connection, service: Service) -> str:
    """The job for which it is failed; '' where it is not."""
    if service.state != Lifecycle.FAILED:
        return ""
    made, _ = jobs.list_page(conn, limit=_LOOK_BACK, service_id=service.id)
    return next((job.id for job in made if job.intent == IntentKind.PROVISION), "")


@router.get("/{service_id}/usage")
def get_usage(_caller: Reader, context: Context, service_id: ServiceId) -> UsageOut | GuestUsageOut:
    """What a hosting account uses, or what went through a guest's network, as last read from its node."""
    with context.db.read() as conn:
        service = known(conn, service_id)
        metered, counted = account_usage.get(conn, service_id), guest_traffic.get(conn, service_id)
    plan = context.catalog.plans.get(service.plan)
    month = usage.month_of(context.clock.now(), context.catalog.calendar)
    if counted is not None:
        return GuestUsageOut.of(counted, plan, month, throttled=traffic.ours(service) is not None)
    if metered is None:
        raise _unread(service, context.catalog.kind_of(service))
    return UsageOut.of(metered, plan, month, full=service.databases_full)


def _unread(service: Service, kind: PlanKind) -> NotFound:
    if service.state != Lifecycle.ACTIVE:
        return NotFound(f"{service.id} is {service.state}: nothing of it is read")
    if kind == PlanKind.DEDICATED:
        return NotFound(f"what {service.id} uses is not read", hint="accounts and guests are read, dedicated machines are not")
    read = "accounts are read every 15 minutes" if kind == PlanKind.HOSTING else "guests that run are read every minute"
    again = f"{read}; where it stays so, look at its node with `orchestrator node doctor NODE`"
    return NotFound(f"what {service.id} uses was not read yet", hint=again)


@router.get("/{service_id}/explain")
def explain_service(_caller: Reader, context: Context, service_id: ServiceId) -> Explanation:
    """Why this node, and why not the others: as written down when the service was placed."""
    with context.db.read() as conn:
        known(conn, service_id)
        node = services.facts(conn, service_id).node
        placed = _placement(conn, service_id)
    if placed is None:
        return Explanation(service_id=service_id, node=node, job_id="", placed_at=None, verdicts=[])
    job, step = placed
    verdicts = [
        VerdictOut(node=str(v["node"]), fits=bool(v["fits"]), reasons=[str(reason) for reason in v["reasons"]])
        for v in (step.facts or {}).get("verdicts", [])
    ]
    return Explanation(service_id=service_id, node=node, job_id=job.id, placed_at=step.finished_at, verdicts=verdicts)


@router.post("/{service_id}/{action}", response_model=Answer, responses={202: {"model": Answer}})
def act_on_service(
    caller: Actor,
    context: Context,
    once: OnceOnly,
    service_id: ServiceId,
    action: Action,
    request: ActionRequest | None = None,
    dry_run: Annotated[bool, Query(description="Answer with what would run, and change nothing.")] = False,
) -> JSONResponse:
    """Have it done: 202 with the job that does it, 200 where nothing had to be done or with dry_run."""
    kind = IntentKind(action.value)
    asked = request or ActionRequest()
    if not dry_run and not asked.reason and kind in _NEED_A_REASON:
        raise RequestError(f"{kind} needs a reason", hint='send {"reason": "…"}')
    arguments: dict[str, object] = {"reason": asked.hold.value} if kind in KEEPS_HOLDS else {}
    if dry_run:
        return once.look(lambda: _dry_run(context, kind, service_id, arguments))

    def act(keep: Keep) -> None:
        context.engine.command(
            kind,
            service_id,
            who=caller.name,
            why=asked.reason,
            arguments=arguments,
            beside=kept_answer(keep),
        )

    return once.run(act)


def _dry_run(context: ApiContext, kind: IntentKind, service_id: str, arguments: dict[str, object]) -> Answer:
    resolved = context.engine.dry_run(kind, service_id, arguments)
    return Answer(outcome="dry-run", workflow=redact(workflow.to_json(resolved)))


def _placement(conn: Connection, service_id: str) -> tuple[Job, JobStep] | None:
    """The newest step of the service's jobs that decided on a node: its facts hold the verdicts."""
    found, _ = jobs.list_page(conn, limit=_LOOK_BACK, service_id=service_id)
    for job in found:
        if job.intent not in _PLACES and not (job.intent in _PLACES_ANEW and job.state == JobState.DONE):
            continue
        for step in jobs.steps(conn, job.id):
            if step.facts is not None and "verdicts" in step.facts:
                return job, step
    return None
