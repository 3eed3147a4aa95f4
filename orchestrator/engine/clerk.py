"""What was decided, written: the record, its job, what billing is told, in one transaction. Acts of operators besides."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from orchestrator.domain import decisions, own_systems, plan_changes
from orchestrator.domain.charges import Charge, ChargeKind
from orchestrator.domain.decisions import Received
from orchestrator.domain.errors import NotFound, Refused, WrongState
from orchestrator.domain.intents import RULE_LIFECYCLE, Intent, IntentKind, JobState, Nothing, Refusal
from orchestrator.domain.jobs import Job
from orchestrator.domain.moving_out import RULE_MOVES, TO
from orchestrator.domain.playbooks import Workflow
from orchestrator.domain.received import refused
from orchestrator.domain.services import Lifecycle, Service
from orchestrator.domain.terms import Terms
from orchestrator.engine.acts import Works
from orchestrator.engine.orders import Orders
from orchestrator.engine.settings import Beside
from orchestrator.engine.telling import tell, tell_changed
from orchestrator.store import audit, charges, forgetting, services
from orchestrator.store import jobs as job_store
from orchestrator.store.database import Connection

Decide = Callable[[Service, Terms, datetime], Received]
"""What an act means for a service as it is, by its terms, at this moment."""


# What brings a guest to another node.
_ELSEWHERE = (IntentKind.MOVE, IntentKind.RECOVER)


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitted:
    """``job_id`` '' = nothing had to be done, and ``detail`` says why; ``waits``: why the job waits for approval."""

    job_id: str
    detail: str
    waits: str = ""


class Clerk:
    """Raises what the store raises; a refusal is raised as Refused before anything is written."""

    def __init__(self, works: Works, *, orders: Orders, wake: Callable[[], None]) -> None:
        self._works = works
        self._orders = orders
        self._wake = wake

    def act(
        self,
        service_id: str,
        decide: Decide,
        *,
        who: str,
        what: str,
        facts: Mapping[str, object],
        beside: Beside[Submitted],
        keeps: bool = False,
    ) -> Submitted:
        """An operator's act on one service, with one row of audit. ``keeps``: the record keeps what it says, so that it is taken
        also for a service whose node is lost; its job then waits. Raises NotFound, Refused, WrongState, StoreUnavailable."""
        now = self._works.clock.now()
        with self._works.db.write() as conn:
            service, received = self._decided(conn, service_id, decide, now)
            decision = received.decision
            if isinstance(decision, Refusal):
                raise Refused(f"{decision.reason} [{decision.rule}]", rule=decision.rule)
            if isinstance(decision, Intent) and not keeps:
                self._orders.require_node(conn, service, decision.kind, decision.arguments)
            job = self.carry(conn, service, received, now=now)
            job_id = job.id if job else ""
            audit.append(conn, at=now, who=who, what=what, service_id=service_id, job_id=job_id, facts=dict(facts))
            detail = decision.reason if isinstance(decision, Nothing) else received.note
            submitted = Submitted(job_id=job_id, detail=detail, waits=job.approval_reason if job else "")
            beside(conn, submitted)
        self._wake()
        return submitted

    def dry_run(self, service_id: str, decide: Decide) -> Workflow:
        """What the act would write down now. Raises as ``act``, and WrongState where nothing is to be done."""
        with self._works.db.read() as conn:
            _, received = self._decided(conn, service_id, decide, self._works.clock.now())
            decision, record = received.decision, received.service
            if isinstance(decision, Refusal):
                raise Refused(f"{decision.reason} [{decision.rule}]", rule=decision.rule)
            if isinstance(decision, Nothing) or record is None:
                raise WrongState(f"nothing is to be done: {decision.reason}")
            self._orders.require_node(conn, record, decision.kind, decision.arguments)
            return self._orders.dry_run(conn, decision, record)

    def carry(
        self, conn: Connection, before: Service | None, received: Received, *, now: datetime, waits: str = ""
    ) -> Job | None:
        """Write a decision; its job, if it makes one. A refusal writes nothing. ``waits``: as ``received.asks``, and before it.

        Raises what keeps a job of it from beginning, with nothing written.
        """
        decision = received.decision
        if isinstance(decision, Refusal):
            return None
        if received.service is not None:
            received = decisions.with_fee(before, received, self._orders.terms(received.service))
        after = received.service
        playbook = self._orders.playbook(decision, after)
        if after is not None and before is None:
            services.add(conn, after, now=now)
        elif after is not None and after != before:
            services.put(conn, after, now=now, before=before)
        if after is not None:
            tell_changed(conn, before, after, now=now)
            tell(conn, after, received.tells, now=now)
            if received.forgets:
                forgetting.forget(conn, after.id, received.forgets)
        job = None
        if isinstance(decision, Intent):
            job = self._orders.submit(conn, decision, playbook=playbook, now=now, waits=waits or received.asks)
        charge(conn, received.charges, job=job, now=now)
        return job

    def _decided(self, conn: Connection, service_id: str, decide: Decide, now: datetime) -> tuple[Service, Received]:
        service = services.get(conn, service_id)
        if service is None:
            raise NotFound(f"there is no service {service_id}", service_id=service_id)
        return service, once(conn, service, decide(service, self._orders.terms(service), now), by_hand=True)


def charge(conn: Connection, owed: Iterable[Charge], *, job: Job | None, now: datetime) -> None:
    """Charge it, each once; with the job that does what it is for, which takes it back where that fails."""
    for each in owed:
        doing = [job] if job is not None else []
        if not doing and each.kind == ChargeKind.REACTIVATION:
            doing = [other for other in job_store.unfinished(conn, each.service_id) if other.intent == IntentKind.UNSUSPEND]
        charges.make(conn, each, job_id=doing[-1].id if doing else "", now=now)


def once(conn: Connection, before: Service | None, received: Received, *, by_hand: bool = False) -> Received:
    """What was decided, unless a job does it already, or will: of jobs that have not begun the record knows nothing.

    ``before``: the record that it was decided on; ``by_hand``: by an operator. A termination that a payment has overtaken since
    is not taken for a new one.
    """
    decision, service = received.decision, received.service
    if before is None or service is None or not isinstance(decision, Intent):
        return received
    if service.state == Lifecycle.ARCHIVED:
        return _once_archived(conn, service, received, decision)
    if decision.kind == IntentKind.CHANGE_PLAN:
        changes = any(job.intent == IntentKind.CHANGE_PLAN for job in job_store.unfinished(conn, service.id))
        nothing = None if changes or by_hand else plan_changes.in_force(before, decision)
        return received if nothing is None else replace(received, decision=nothing, note="")
    if decision.kind in own_systems.ON_SYSTEMS or decision.kind in _ELSEWHERE:
        return _once_on_its_system(conn, service, received, decision)
    if decision.kind not in (IntentKind.TERMINATE, IntentKind.PROVISION):
        return received
    for job in job_store.unfinished(conn, service.id):
        if job.intent == IntentKind.TERMINATE and job.payments == decision.payments and not job.stop_requested:
            # What is to be terminated is not made before that.
            unmoved = replace(service, state=before.state)
            return replace(received, service=unmoved, decision=Nothing(reason=_ends(job, service)), note="")
    return received


def _once_on_its_system(conn: Connection, service: Service, received: Received, decision: Intent) -> Received:
    """Nobody wants the same done to his system twice at once, and what is not in rescue has nothing to leave."""
    under_way = job_store.unfinished(conn, service.id)
    rescues = any(job.intent == IntentKind.RESCUE for job in under_way)
    rescued = rescues or own_systems.RESCUED in services.facts(conn, service.id).values
    if decision.kind == IntentKind.LEAVE_RESCUE and not rescued:
        return replace(received, decision=Nothing(reason="it is in no rescue system"), note="")
    for job in under_way:
        same = job.arguments == decision.arguments or decision.kind in _ELSEWHERE  # it cannot go to two nodes
        both = job.intent == decision.kind and decision.kind in _ELSEWHERE
        if both and decision.arguments[TO] not in ("", job.arguments[TO]):
            where = str(job.arguments[TO]) or "where placement chooses"
            return refused(service, f"{job.intent} refused: job {job.id} brings it to {where}, and is {job.state}", RULE_MOVES)
        if job.intent == decision.kind and same and not job.stop_requested:
            return replace(received, decision=Nothing(reason=f"job {job.id} does it, and is {job.state}"), note="")
    return received


def _once_archived(conn: Connection, service: Service, received: Received, decision: Intent) -> Received:
    for job in job_store.unfinished(conn, service.id):
        if job.intent == decision.kind and not job.stop_requested:
            return replace(received, decision=Nothing(reason=f"job {job.id} does it: {job.intent}"), note="")
        if decision.kind == IntentKind.ERASE and job.intent == IntentKind.REACTIVATE:
            return refused(service, f"job {job.id} brings it back: cancel that first", RULE_LIFECYCLE)
    return received


def _ends(job: Job, service: Service) -> str:
    if job.state == JobState.WAITING_APPROVAL:
        return f"job {job.id} terminates it, and waits: {job.approval_reason}"
    return f"job {job.id} terminates it" + (" once it is provisioned" if service.state == Lifecycle.PROVISIONING else "")
