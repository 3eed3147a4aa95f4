"""A change of plan: whether it may be made, and the record when it was.

Pure. The plan on the record is the one that is in force: it changes when the job has ended well, and with it what is promised and
charged.
"""

from __future__ import annotations

from dataclasses import replace

from orchestrator.domain import account_settings, accounts
from orchestrator.domain.errors import NotFound, Refused
from orchestrator.domain.intents import RULE_LIFECYCLE, RULE_VOCABULARY, Intent, IntentKind, Nothing, Refusal
from orchestrator.domain.permissions import RULE_MACHINES
from orchestrator.domain.plans import HostingPlan, Plan, PlanKind
from orchestrator.domain.received import Received
from orchestrator.domain.services import Lifecycle, Service
from orchestrator.domain.terms import Terms

PLAN = "plan"
"""The argument of the job: the name of the plan that it moves to."""

# Of other kinds no limit can be moved by this version.
_KINDS = frozenset({PlanKind.HOSTING})


def change(record: Service, plan: str, *, who: str, why: str, terms: Terms) -> Received:
    """Move the service's limits to those of the plan. What the catalog says of the two is asked before (``against``).

    Also to the plan that it has: another change may be under way (``in_force`` is asked with that known).
    """
    if terms.kind == PlanKind.DEDICATED:
        apart = "another plan of a dedicated machine is another machine: order that one, and let this one go"
        return _refused(record, apart, RULE_MACHINES)
    if terms.kind not in _KINDS:
        return _refused(record, "service.change_plan is not carried out by this version", RULE_VOCABULARY)
    if record.state != Lifecycle.ACTIVE:
        return _refused(record, f"it is {record.state}: only an active service changes its plan", RULE_LIFECYCLE)
    record = settled(record, terms.plan)
    intent = Intent.on(IntentKind.CHANGE_PLAN, record, reason=why, who=who, arguments={PLAN: plan})
    return Received(service=record, decision=intent)


def in_force(record: Service, intent: Intent) -> Nothing | None:
    """That nothing is to be done, where no change of plan is under way: it is the plan that it has."""
    if intent.kind != IntentKind.CHANGE_PLAN or intent.arguments.get(PLAN) != record.plan:
        return None
    return Nothing(reason=f"its plan is {record.plan} already")


def settled(service: Service, plan: Plan | None) -> Service:
    """With what its account was made with on its record: by another plan that would be something else, such as another PHP."""
    if service.account is not None or not isinstance(plan, HostingPlan):
        return service
    return replace(service, account=accounts.settings_of(service, plan))


def moving(service: Service, name: str, *, old: Plan | None, new: Plan | None) -> Service:
    """The service that the job makes of it. Raises Refused where something was set since that the plan does not have."""
    service = settled(service, old)
    refusal = account_settings.hinders(service, new)
    if refusal is not None:
        raise Refused(refusal.reason, rule=refusal.rule)
    return moved(service, name)


def against(old: Plan | None, new: Plan | None, name: str) -> Refusal | None:
    """Why the two plans are none between which a service can change. Raises NotFound where the new one is not declared."""
    if old is None or old.kind not in _KINDS:
        return None
    if new is None:
        raise NotFound(f"there is no plan '{name}'", hint="add it to configs/plans, restart the controller")
    if new.kind != old.kind:
        return Refusal(reason=f"plan '{name}' is of kind {new.kind}, the service is of kind {old.kind}", rule=RULE_VOCABULARY)
    return None


def moved(service: Service, plan: str) -> Service:
    """The record when the limits were moved, and read back."""
    return replace(service, plan=plan) if plan else service


def _refused(record: Service, reason: str, rule: str) -> Received:
    return Received(service=record, decision=Refusal(reason=reason, rule=rule), note=reason)
