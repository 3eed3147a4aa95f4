"""The workflow of a job, as things stand when it begins: the playbook against what is wanted and what is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from orchestrator.domain import account_settings, archives, asides, lost_nodes, own_systems, plan_changes, wanted
from orchestrator.domain import workflow as workflows
from orchestrator.domain.backups import promised
from orchestrator.domain.errors import ConfigError, NotFound
from orchestrator.domain.intents import IntentKind
from orchestrator.domain.jobs import Job
from orchestrator.domain.kept import of_old_copy
from orchestrator.domain.playbooks import Playbook, Workflow
from orchestrator.domain.services import Service, ServiceFacts
from orchestrator.engine.settings import Catalog
from orchestrator.store import nodes, services
from orchestrator.store.database import Connection

_MAKES_COPIES = frozenset({IntentKind.BACKUP, IntentKind.MOVE})


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSeen:
    """``power``: what the BMC of the service's machine told last while nobody held it; ``lost``: whether its node is lost."""

    power: str = ""
    lost: bool = False


_NOTHING_SEEN = NodeSeen()


def resolved(
    playbooks: Mapping[str, Playbook],
    catalog: Catalog,
    *,
    service: Service,
    facts: ServiceFacts,
    job: Job,
    others: Sequence[Job] = (),
    seen: NodeSeen = _NOTHING_SEEN,
    now: datetime,
) -> Workflow:
    """The workflow of the job as things stand. Raises PreconditionError, RequestError or ConfigError where it cannot be had.
    ``others``: the service's jobs that are not over."""
    playbook = playbooks.get(job.playbook)
    if playbook is None:
        raise ConfigError(f"there is no playbook {job.playbook}", hint="look into the playbooks directory")
    known = {"node": facts.node, "nodes_ever": list(facts.nodes_ever), **facts.values}
    keeps = bool(job.arguments.get(archives.KEEPS))
    about = {
        **(promised.for_backup(catalog.terms_of(service)) if keeps or job.intent in _MAKES_COPIES else {}),
        **({archives.KEEPS: False, "archive_until": ""} if job.intent == IntentKind.TERMINATE else {}),
        **(plan_changes.UNSAID if job.intent == IntentKind.CHANGE_PLAN else {}),
        **job.arguments,
        "id": job.id,
        "service_id": job.service_id,
        "intent": job.intent.value,
        "reason": job.reason,
        "asked_by": job.asked_by,
        "approved_by": job.approved_by,
        "payments": job.payments,
        "client_id": service.client_id,
        "provider": catalog.provider,
        "kept": [each.name for each in service.kept],
        "machine_power": seen.power,
        "lost": seen.lost,
        **asides.underway(others),
    }
    if job.intent in account_settings.SETTING:
        about["before"] = wanted_spec(catalog, service)
        service = account_settings.moved(service, job.arguments, catalog.plans.get(service.plan))
    if job.intent == IntentKind.CHANGE_PLAN:
        name = str(job.arguments.get(plan_changes.PLAN, ""))
        service = plan_changes.moving(service, name, old=catalog.plans.get(service.plan), new=catalog.plans.get(name))
    if job.intent == IntentKind.SET_KEYS:
        about["old_keys"] = list(service.ssh_keys)
    if of_old_copy(job.arguments):  # what it boots with is not known any more of one that has ended
        about["known"] = {step: made for step, made in known.items() if step == "define"}
    service = own_systems.moving(service, job.intent, job.arguments)
    if keeps:
        end = archives.kept_until(now, service, catalog.terms_of(service))
        about["archive_until"] = "" if end is None else end.isoformat()
    return workflows.resolve(playbook, service_id=service.id, spec=wanted_spec(catalog, service), facts=known, job=about)


def wanted_spec(catalog: Catalog, service: Service) -> dict[str, Any]:
    """What ``$spec`` refers to; empty where plan or template are not declared any more (ending a service needs none)."""
    plan = catalog.plans.get(service.plan)
    if plan is None:
        return {}
    try:
        return wanted.spec(service, plan, catalog.templates)
    except NotFound:  # its template
        return {}


def why_lost(conn: Connection, catalog: Catalog, service_id: str, kind: IntentKind) -> str:
    """Why a job of this kind can do nothing for the service, because its node is lost; '' = it can."""
    node = nodes.lost_of(conn, service_id)
    return "" if node is None else hindered(conn, catalog, service_id, kind, node)


def hindered(conn: Connection, catalog: Catalog, service_id: str, kind: IntentKind, node: nodes.NodeRecord) -> str:
    """The same of a service whose node is lost."""
    service = services.get(conn, service_id)
    return "" if service is None else lost_nodes.hinders(kind, catalog.kind_of(service), node.name, node.lost)
