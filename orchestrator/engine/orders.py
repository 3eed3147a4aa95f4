"""Jobs out of intents: which playbook, past the brakes or not, and onto the line."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from orchestrator.domain import account_settings, lost_nodes, moving_out, outcomes, own_systems, permissions, plan_changes
from orchestrator.domain.brakes import brake
from orchestrator.domain.confirmation import Confirmation
from orchestrator.domain.errors import ConfigError
from orchestrator.domain.intents import Intent, IntentKind, JobState, Nothing, Refusal
from orchestrator.domain.jobs import FROZEN_REASON, Job
from orchestrator.domain.kept import LEFT, of_old_copy
from orchestrator.domain.playbooks import Playbook, Workflow
from orchestrator.domain.sales import sellable
from orchestrator.domain.services import Service
from orchestrator.domain.terms import Terms
from orchestrator.engine.acts import Works, destroyed
from orchestrator.engine.durable import Durable
from orchestrator.engine.ids import JobIds
from orchestrator.engine.line import line_up
from orchestrator.engine.resolving import NodeSeen, resolved, why_lost
from orchestrator.engine.resting import tell_rest
from orchestrator.engine.settings import Catalog
from orchestrator.store import jobs as job_store
from orchestrator.store import machines, nodes, services, settings
from orchestrator.store.database import Connection

_log = logging.getLogger(__name__)


class Orders:
    """Makes jobs, inside the transaction that decided them."""

    def __init__(self, works: Works, durable: Durable, *, playbooks: Mapping[str, Playbook], catalog: Catalog) -> None:
        self._works = works
        self._durable = durable
        self._playbooks = playbooks
        self._catalog = catalog
        self._ids = JobIds()

    def braked(self, conn: Connection, kind: IntentKind, *, now: datetime) -> str:
        """Why a job of this kind has to wait now; '' = it may run."""
        if not kind.destructive:
            return ""
        if settings.freeze(conn) is not None:
            return FROZEN_REASON
        since = now - timedelta(hours=1)
        counted = IntentKind.SUSPEND if kind == IntentKind.SUSPEND else IntentKind.TERMINATE  # each kind counts for itself
        recent = {counted: job_store.recent(conn, intent=counted, since=since)}
        return brake(
            kind,
            recent_suspensions=recent.get(IntentKind.SUSPEND, 0),
            recent_terminations=recent.get(IntentKind.TERMINATE, 0),
            limits=self._works.settings.limits,
            frozen=False,
        )

    def require_node(self, conn: Connection, service: Service, kind: IntentKind, arguments: Mapping[str, object]) -> None:
        """Raises NodeLost where a job of this kind can do nothing for it, because its node is lost, or that of its old copy."""
        why = why_lost(conn, self._catalog, service.id, kind)
        if why:
            raise lost_nodes.refused(kind, self._catalog.kind_of(service), service.id, service.node, why)
        there = nodes.get(conn, str(arguments[LEFT])) if of_old_copy(arguments) else None
        if there is not None and there.lost is not None:
            raise lost_nodes.refused_there(kind, there.name, there.lost)

    def still_held(self, conn: Connection, job: Job) -> str:
        """Why a job whose reason to wait is over has to wait on; '' = it may run."""
        if job.started_at or job.approved_by or destroyed(conn, job):
            return ""
        held = self.braked if Confirmation.in_job(job) is None else self.held
        return held(conn, job.intent, now=self._works.clock.now())

    def held(self, conn: Connection, kind: IntentKind, *, now: datetime) -> str:
        """As ``braked``, for what a deadline asks for and billing has confirmed: terminations may wait for something besides."""
        wait = settings.terminations_wait(conn)
        if wait is not None and settings.freeze(conn) is None:
            return f"terminations wait: {wait.why}"
        return self.braked(conn, kind, now=now)

    def submit(self, conn: Connection, intent: Intent, *, playbook: str, now: datetime, waits: str = "") -> Job:
        """The job row, and its enqueueing unless the brakes hold it. ``waits``: why it waits for approval whatever they say."""
        waits = waits or self.braked(conn, intent.kind, now=now)
        waits = waits or why_lost(conn, self._catalog, intent.service_id, intent.kind)
        job = self._job(self._ids.new(now), intent, playbook=playbook, now=now, waits=waits)
        job_store.add(conn, job)
        if waits:
            tell_rest(conn, job, JobState.WAITING_APPROVAL, now=now, reason=waits)
        else:
            line_up(conn, self._durable, job.service_id)
        return job

    def terms(self, service: Service | None, *, plan: str = "") -> Terms:
        """What is promised for the service; for one that has no record, or none of a plan yet, by the plan that is named."""
        known = service or Service(id="", client_id="", plan=plan)
        return self._catalog.terms_of(known if known.plan else replace(known, plan=plan))

    def refused_change(self, service: Service, plan: str, terms: Terms) -> Refusal | None:
        """Why the service's plan may not become this one now."""
        plans = self._catalog.plans
        apart = plan_changes.against(plans.get(service.plan), plans.get(plan), plan)
        apart = apart or account_settings.hinders(plan_changes.settled(service, plans.get(service.plan)), plans.get(plan))
        return apart or permissions.change_of_plan(service, plans.get(service.plan), plans.get(plan), terms)

    def playbook(self, decision: Intent | Nothing, service: Service | None) -> str:
        """The playbook the intent asks for, once it is sure that a job of it can begin."""
        if isinstance(decision, Nothing) or service is None:
            return ""
        if decision.kind == IntentKind.PROVISION:
            sellable(
                service,
                plans=self._catalog.plans,
                templates=self._catalog.templates,
                nodes=self._catalog.nodes,
                machines=self._catalog.machines,
            )
        if decision.kind == IntentKind.REINSTALL:
            moved = own_systems.moving(service, decision.kind, decision.arguments)
            own_systems.installable(moved, self._catalog.plans.get(service.plan), self._catalog.templates)
        if decision.kind in (IntentKind.MOVE, IntentKind.RECOVER):
            to, nodes = str(decision.arguments[moving_out.TO]), {node.name: node for node in self._catalog.nodes}
            if decision.kind == IntentKind.MOVE:
                moving_out.require(service, to, nodes)
            else:
                moving_out.require_place(service, to, nodes, what="restore elsewhere")
        # A service outlives the plan it was sold under: it can still be suspended and ended.
        name = f"{self._catalog.kind_of(service).playbooks}-{decision.kind.value}"
        if name not in self._playbooks:
            raise ConfigError(f"there is no playbook {name}", hint="mend the playbooks directory, restart the controller")
        return name

    def follow(self, conn: Connection, intent: Intent) -> Job | None:
        """Make the job of an intent that another job's end leaves to do; None where none can do it."""
        service = services.get(conn, intent.service_id)
        try:
            playbook = self.playbook(intent, service)
        except ConfigError as exc:  # the job that ends is not to fail for it
            _log.error("service %s is to be %s, and no job can do it: %s", intent.service_id, intent.kind, exc)
            return None
        return self.submit(conn, intent, playbook=playbook, now=self._works.clock.now())

    def dry_run(self, conn: Connection, intent: Intent, service: Service) -> Workflow:
        """The workflow that a job of the intent would write down now. Raises what keeps it from beginning."""
        now = self._works.clock.now()
        job = self._job("dry-run", intent, playbook=self.playbook(intent, service), now=now)
        begun = outcomes.begin(service, intent.kind, old_copy=of_old_copy(intent.arguments))
        facts = services.facts(conn, service.id)
        others = job_store.unfinished(conn, service.id)
        seen = NodeSeen(power=machines.own_power(conn, facts.node), lost=nodes.is_lost(conn, facts.node))
        return resolved(self._playbooks, self._catalog, service=begun, facts=facts, job=job, others=others, seen=seen, now=now)

    def _job(self, job_id: str, intent: Intent, *, playbook: str, now: datetime, waits: str = "") -> Job:
        return Job(
            id=job_id,
            service_id=intent.service_id,
            intent=intent.kind,
            playbook=playbook,
            state=JobState.WAITING_APPROVAL if waits else JobState.QUEUED,
            reason=intent.reason,
            asked_by=intent.asked_by,
            payments=intent.payments,
            arguments=intent.arguments,
            created_at=now,
            approval_reason=waits,
        )
