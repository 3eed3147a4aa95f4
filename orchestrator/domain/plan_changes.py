"""A change of plan: whether it may be made, and the record when it was.

Pure. The plan on the record is the one that is in force: it changes when the job has ended well, and with it what is promised and
charged.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from enum import StrEnum

from orchestrator.domain import account_settings, accounts
from orchestrator.domain.errors import NotFound, Refused, RequestError
from orchestrator.domain.intents import RULE_LIFECYCLE, RULE_VOCABULARY, Intent, IntentKind, Nothing, Refusal
from orchestrator.domain.permissions import RULE_MACHINES
from orchestrator.domain.plans import GuestPlan, HostingPlan, Plan, PlanKind
from orchestrator.domain.received import Received
from orchestrator.domain.services import Lifecycle, Service
from orchestrator.domain.sizes import compared
from orchestrator.domain.terms import Terms

PLAN = "plan"
"""The argument of the job: the name of the plan that it moves to."""
RULE_GUESTS = "guests"
RULE_WINDOWS = "windows"
NOT_AFTER = "not_after"
"""The argument of a window's job: the moment (ISO 8601) after which its restart is not begun any more."""
RESTART = "restart"
"""The argument that says when a guest is restarted into what it cannot get while it runs (``Restart``)."""


class Restart(StrEnum):
    """``never``: not by us; its customer's next stop and start does it. ``window``: in the next window for maintenance of its
    node (``restarts``)."""

    NEVER = "never"
    NOW = "now"
    WINDOW = "window"


UNSAID: Mapping[str, object] = {RESTART: Restart.NEVER.value, NOT_AFTER: ""}
"""Arguments of a job that its playbook asks for, where nobody gave them."""
# Of other kinds no limit can be moved by this version.
_KINDS = frozenset({PlanKind.HOSTING, PlanKind.VPS})


def again(record: Service, given: Mapping[str, object], *, who: str, why: str, terms: Terms) -> Received:
    """Decide an operator's command, also from the arguments of its own job. Raises RequestError where no plan is named."""
    plan = str(given.get(PLAN, ""))
    if not plan:
        raise RequestError("no plan is named", hint='send {"plan": "…"}')
    restart, late = Restart(str(given.get(RESTART, Restart.NEVER))), str(given.get(NOT_AFTER, ""))
    not_after = datetime.fromisoformat(late) if late else None
    return change(record, plan, who=who, why=why, terms=terms, restart=restart, not_after=not_after)


def change(
    record: Service,
    plan: str,
    *,
    who: str,
    why: str,
    terms: Terms,
    restart: Restart = Restart.NEVER,
    not_after: datetime | None = None,
) -> Received:
    """Move the service's limits to those of the plan. What the catalog says of the two is asked before (``against``).

    Also to the plan that it has: another change may be under way (``in_force`` is asked with that known). ``not_after``: from
    then on it is not restarted any more.
    """
    if terms.kind == PlanKind.DEDICATED:
        apart = "another plan of a dedicated machine is another machine: order that one, and let this one go"
        return _refused(record, apart, RULE_MACHINES)
    if terms.kind not in _KINDS:
        return _refused(record, "service.change_plan is not carried out by this version", RULE_VOCABULARY)
    if record.state != Lifecycle.ACTIVE:
        return _refused(record, f"it is {record.state}: only an active service changes its plan", RULE_LIFECYCLE)
    if restart == Restart.WINDOW and terms.kind == PlanKind.VPS and not terms.windows.usable:
        lacks = f"its node {record.node} has no window in which a restart could end: give it one in nodes.yaml"
        return _refused(record, lacks, RULE_WINDOWS)
    same = plan == record.plan
    if same and restart == Restart.NEVER and record.restart is not None:
        restart = Restart.WINDOW  # it stays planned, where it is still needed
    record = settled(record, terms.plan)
    given = _arguments(plan, restart, terms) | ({} if not_after is None else {NOT_AFTER: not_after.isoformat()})
    intent = Intent.on(IntentKind.CHANGE_PLAN, record, reason=why, who=who, arguments=given)
    note = f"its plan is {plan} already: what its node has otherwise is set again" if same else ""
    return Received(service=record, decision=intent, note=note)


def in_force(record: Service, intent: Intent) -> Nothing | None:
    """That nothing is to be done for billing, where no change of plan is under way: it is the plan that it has. For an operator
    it is done all the same: he may have seen that its node has something else."""
    if intent.kind != IntentKind.CHANGE_PLAN or intent.arguments.get(PLAN) != record.plan:
        return None
    if intent.arguments.get(RESTART) in (Restart.NOW, Restart.WINDOW):
        return None  # it may still run with the size of the plan before
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
        raise NotFound(f"there is no plan '{name}'", hint="add it to plans/, restart the controller")
    if new.kind != old.kind:
        return Refusal(reason=f"plan '{name}' is of kind {new.kind}, the service is of kind {old.kind}", rule=RULE_VOCABULARY)
    return _between_guests(old, new) if isinstance(old, GuestPlan) and isinstance(new, GuestPlan) else None


def _between_guests(old: GuestPlan, new: GuestPlan) -> Refusal | None:
    """What a guest has from its making, and no change of plan gives it or takes away."""
    if (old.ipv4, old.ipv6) != (new.ipv4, new.ipv6):
        has, would = (f"{plan.ipv4} IPv4 and {plan.ipv6} IPv6 addresses" for plan in (old, new))
        return Refusal(reason=f"plan '{old.name}' has {has}, plan '{new.name}' {would}: addresses stay", rule=RULE_GUESTS)
    if old.encrypted != new.encrypted:
        which = "an encrypted disk" if new.encrypted else "a disk that is not encrypted"
        reason = f"plan '{new.name}' has {which}, and this disk was made otherwise: order it anew"
        return Refusal(reason=reason, rule=RULE_GUESTS)
    return smaller_disk(old.disk_bytes, new.disk_bytes)


def smaller_disk(found: int, wanted: int) -> Refusal | None:
    """Why a disk of so many bytes cannot become one of so many; None where it can."""
    if wanted >= found:
        return None
    has, plans = compared(found, wanted)
    reason = f"its disk has {has}, and the plan's has {plans}: a disk is not made smaller, its end would be lost"
    return Refusal(reason=reason, rule=RULE_GUESTS)


def _arguments(plan: str, restart: Restart, terms: Terms) -> dict[str, object]:
    return {PLAN: plan} if terms.kind == PlanKind.HOSTING else {PLAN: plan, RESTART: restart.value}


def moved(service: Service, plan: str) -> Service:
    """The record when the limits were moved, and read back."""
    return replace(service, plan=plan) if plan else service


def _refused(record: Service, reason: str, rule: str) -> Received:
    return Received(service=record, decision=Refusal(reason=reason, rule=rule), note=reason)
