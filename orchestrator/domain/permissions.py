"""Whether a customer may have something done to a service now: what its state, its holds and its policy say of it.

Pure. It says what is refused; that nothing is, is no promise that the act exists in this version.
"""

from __future__ import annotations

from enum import StrEnum

from orchestrator.domain.intents import RULE_HOLDS, RULE_LIFECYCLE, Refusal
from orchestrator.domain.plans import Plan, PlanKind
from orchestrator.domain.policies import Act
from orchestrator.domain.services import HoldReason, Lifecycle, Service
from orchestrator.domain.terms import Terms


class Ask(StrEnum):
    """What may be asked for. The first four are acts that a policy may forbid."""

    BACKUP = "backup"
    RESTORE = "restore"
    DOWNGRADE = "downgrade"
    SHORTER_TERM = "shorter-term"
    START = "start"
    REBOOT = "reboot"
    STOP = "stop"


_ENDED = frozenset({Lifecycle.TERMINATING, Lifecycle.ARCHIVED, Lifecycle.ERASED})
_POWER = frozenset({Ask.START, Ask.REBOOT, Ask.STOP})
_COPIES = frozenset({Ask.BACKUP, Ask.RESTORE})
RULE_MACHINES = "dedicated machines"


def may(act: Ask, service: Service, terms: Terms) -> Refusal | None:
    """Why the act is refused, and by which rule; None where nothing is against it."""
    returned = terms.policy.nothing_returned
    if act == Ask.RESTORE and service.state in _ENDED and returned is not None:
        return Refusal(reason="restore refused: whose service has ended gets no data back", rule=terms.cite(returned))
    if act in _POWER and terms.kind == PlanKind.HOSTING:
        return Refusal(reason=no_switch(act), rule=RULE_LIFECYCLE)
    if act in _COPIES and terms.kind == PlanKind.DEDICATED:
        return Refusal(reason=no_copies(act), rule=RULE_MACHINES)
    if service.state != Lifecycle.ACTIVE:
        return Refusal(reason=f"{act} refused: it is {service.state}, not active", rule=RULE_LIFECYCLE)
    rule = None if act in _POWER else terms.policy.forbids(Act(act.value))
    if rule is not None and service.hold(HoldReason.NONPAYMENT) is not None:
        return Refusal(reason=f"{act} refused while suspended for late payment", rule=terms.cite(rule))
    only = terms.policy.backup.only_bought
    if act == Ask.BACKUP and only is not None and not terms.backups.bought:
        return Refusal(reason="backup refused: only a service that has bought backups gets them", rule=terms.cite(only))
    if act in _POWER and service.stopped:
        return Refusal(reason=f"{act} refused: it is suspended, held for {', '.join(service.stop_reasons)}", rule=RULE_HOLDS)
    return None


def no_switch(act: str) -> str:
    """Why an account is neither started nor stopped."""
    return f"{act} is for guests: an account has no power switch"


def no_copies(act: str) -> str:
    """Why nothing of a machine is backed up."""
    return f"{act} refused: a machine is its customer's alone, nothing of ours runs on it and no backups are made of it"


def no_throttle(kind: str) -> Refusal | None:
    """Why a service of this kind cannot be limited; None where it can be."""
    if kind != PlanKind.DEDICATED:
        return None
    reason = "a machine cannot be limited: its network is not behind anything of ours; suspend it, or note the hold only"
    return Refusal(reason=reason, rule=RULE_MACHINES)


def besides(act: Ask, terms: Terms) -> str:
    """What the customer has to know who is allowed it; '' where the policy says nothing more."""
    rule, checked = terms.policy.downgrade, terms.policy.backup.verified
    if act in (Ask.BACKUP, Ask.RESTORE) and checked is not None:
        promise = "each backup is checked" if checked.promised else "that backups were checked is not promised"
        return f"{promise} [{terms.cite(checked)}]"
    if act != Ask.DOWNGRADE or rule is None:
        return ""
    return f"what was paid too much is {'' if rule.refund else 'not '}given back [{terms.cite(rule)}]"


def change_of_plan(service: Service, old: Plan | None, new: Plan | None, terms: Terms) -> Refusal | None:
    """Why the change is refused as a downgrade; None where it is none, or where downgrades are not refused now."""
    if old is None or new is None or not new.smaller_than(old):
        return None
    rule = terms.policy.forbids(Act.DOWNGRADE)
    if rule is None or service.hold(HoldReason.NONPAYMENT) is None:
        return None
    return may(Ask.DOWNGRADE, service, terms)
