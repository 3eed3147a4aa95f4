"""What a customer has done to the operating system of his guest or machine from outside of it: it is installed anew.

Pure. What is asked for stands in the job's arguments, and on the record only when the job has ended well.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from orchestrator.domain import wanted
from orchestrator.domain.errors import NotFound, RequestError
from orchestrator.domain.intents import RULE_HOLDS, RULE_LIFECYCLE, Intent, IntentKind
from orchestrator.domain.plans import InstalledPlan, MachinePlan, Plan, PlanKind, Template
from orchestrator.domain.received import Received, refused
from orchestrator.domain.services import HoldEffect, HoldReason, Lifecycle, Service
from orchestrator.domain.terms import Terms

# The arguments of a job: the template that it is installed from ('' = the one it has), and whether all disks of a machine are
# erased first.
TEMPLATE = "template"
ALL_DISKS = "all_disks"


def reinstall(record: Service, given: Mapping[str, object], *, who: str, why: str, terms: Terms) -> Received:
    """Install its system anew. That the template is declared and sold with its plan is asked for besides (``installable``)."""
    every = bool(given.get(ALL_DISKS))
    hindered = _hindered(IntentKind.REINSTALL, record, terms)
    if hindered is not None:
        return hindered
    if not record.erasable:
        names = ", ".join(sorted(hold.reason.value for hold in record.holds if _keeps(hold.effect, hold.reason)))
        return refused(record, f"its data may not be destroyed: held for {names}", RULE_HOLDS)
    if every and terms.kind != PlanKind.DEDICATED:
        return refused(record, "a guest has one disk: it is made anew, and nothing else is there to erase", RULE_LIFECYCLE)
    arguments = {TEMPLATE: str(given.get(TEMPLATE, "")), ALL_DISKS: every, "limited": record.throttled}
    return Received(service=record, decision=Intent.on(IntentKind.REINSTALL, record, reason=why, who=who, arguments=arguments))


def installable(service: Service, plan: Plan | None, templates: Mapping[str, Template]) -> None:
    """Return where the service, as it is to become, can be installed.

    Raises NotFound where plan or template are not declared, RequestError where they do not go together.
    """
    if not isinstance(plan, InstalledPlan):
        raise NotFound(f"there is no plan '{service.plan}' any more", hint="add it to configs/plans, restart the controller")
    wanted.spec(service, plan, templates)
    template = wanted.template_of(service, plan, templates)
    if isinstance(plan, MachinePlan) and template.format != "raw":
        raise RequestError(
            f"template {template.name} is {template.format}: a machine is written from a raw image",
            hint="qemu-img convert -O raw, and declare that file under another name",
        )


def moving(service: Service, kind: IntentKind, arguments: Mapping[str, object]) -> Service:
    """The service that a job of the kind makes of it."""
    name = arguments.get(TEMPLATE, "")
    return replace(service, template=str(name)) if kind == IntentKind.REINSTALL and name else service


def after_job(service: Service, kind: IntentKind, arguments: Mapping[str, object], *, ended_well: bool) -> Service:
    """The record when the job is over; the same job's again changes nothing."""
    return moving(service, kind, arguments) if ended_well else service


def _hindered(kind: IntentKind, record: Service, terms: Terms) -> Received | None:
    """Why it is not done to a service of this kind, or in this state."""
    if terms.kind == PlanKind.HOSTING:
        return refused(
            record, f"{kind} is for guests and machines: an account has no operating system of its own", RULE_LIFECYCLE
        )
    if record.state != Lifecycle.ACTIVE:
        return refused(record, f"it is {record.state}: {kind} needs an active service", RULE_LIFECYCLE)
    if record.stopped:
        return refused(record, f"it is suspended, held for {', '.join(record.stop_reasons)}", RULE_HOLDS)
    return None


def _keeps(effect: HoldEffect, reason: HoldReason) -> bool:
    return effect == HoldEffect.NO_ERASE or reason == HoldReason.LEGAL
