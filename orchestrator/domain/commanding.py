"""What can be asked for a service: each act, whether it may begin as the record is, and the record with which it does.

Pure. Who asks (billing, an operator, the clock) and when is for ``decisions``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from orchestrator.domain import archives, cancellations, conduct, lapsing
from orchestrator.domain.intents import CANCELLATION, RULE_HOLDS, RULE_LIFECYCLE, Intent, IntentKind, Nothing, Refusal
from orchestrator.domain.permissions import no_switch, no_throttle
from orchestrator.domain.plans import PlanKind
from orchestrator.domain.received import Received
from orchestrator.domain.services import Cause, Hold, HoldEffect, HoldReason, Lifecycle, Service, transition
from orchestrator.domain.terms import NO_TERMS, Terms

# Where a guest is, or is about to be.
LIVING = frozenset({Lifecycle.PROVISIONING, Lifecycle.ACTIVE})


def provision(record: Service, *, reason: str, who: str) -> Received:
    """Provision where nothing was made yet; the state moves now, so that a second paid order makes no second guest."""
    record = lapsing.revived(record)
    if record.state not in (Lifecycle.ORDERED, Lifecycle.FAILED):
        return Received(service=record, decision=Nothing(reason=f"it is {record.state} already"))
    if not record.plan:
        return Received(service=record, decision=Nothing(reason="no event has named its plan yet: it waits for the order"))
    moved = replace(record, state=transition(record.state, Cause.PROVISION_STARTED))
    return Received(service=moved, decision=Intent.on(IntentKind.PROVISION, moved, reason=reason, who=who))


def resume(record: Service, *, hold: HoldReason, reason: str, who: str, note: str = "") -> Received:
    """Unsuspend, unless another hold still stops the service."""
    if record.stopped:
        still = ", ".join(record.stop_reasons)
        return Received(service=record, decision=Nothing(reason=f"it stays suspended: held for {still}"), note=note)
    return Received(
        service=record,
        decision=Intent.on(IntentKind.UNSUSPEND, record, reason=reason, who=who, arguments={"reason": hold.value}),
        note=note,
    )


def widen(record: Service, *, hold: HoldReason, reason: str, who: str, note: str = "") -> Received:
    """Unlimit, unless another hold still limits the service, or one stops it: then it waits for the end of the suspension."""
    why = f"it stays limited: held for {', '.join(record.limit_reasons)}" if record.limited else ""
    if record.stopped and not why:
        why = f"it stays suspended, held for {', '.join(record.stop_reasons)}; it is not limited when it comes back"
    if why:
        return Received(service=record, decision=Nothing(reason=why), note=note)
    return Received(
        service=record,
        decision=Intent.on(IntentKind.UNLIMIT, record, reason=reason, who=who, arguments={"reason": hold.value}),
        note=note,
    )


def cancel(record: Service, *, reason: str, asked_at: datetime, now: datetime, terms: Terms = NO_TERMS) -> Received:
    if record.state in cancellations.UNMADE:
        return cancellations.withdraw_order(record, terms, reason=reason, asked_at=asked_at, now=now)
    reason = f"it is {record.state}: cancelling an order ends no service"
    return Received(service=lapsing.withdrawn(record), decision=Nothing(reason=reason))


def refuse(service: Service | None, reason: str, rule: str) -> Received:
    return Received(service=service, decision=Refusal(reason=reason, rule=rule), note=reason)


def suspend(record: Service, reason: HoldReason, *, who: str, why: str, now: datetime) -> Received:
    if record.state not in LIVING:
        return refuse(record, f"it is {record.state}: only a provisioned service can be suspended", RULE_LIFECYCLE)
    proven = record.stopped and record.suspension_proven_at is not None
    adds = record.hold(reason) is None
    record = record.with_hold(Hold(reason=reason, effect=HoldEffect.STOP, by=who, why=why, since=now))
    standing = record.hold(reason)
    if standing is None or standing.effect != HoldEffect.STOP:
        return refuse(record, f"a hold for {reason} with another effect stands: lift it first", RULE_HOLDS)
    if proven:
        return Received(service=record, decision=Nothing(reason=f"it is suspended already; held for {reason} too"))
    # Whoever cancels the job takes back the hold that this decision added, and no other.
    arguments = {"reason": reason.value, "holds": record.stop_reasons, "adds": adds}
    return Received(service=record, decision=Intent.on(IntentKind.SUSPEND, record, reason=why, who=who, arguments=arguments))


def unsuspend(record: Service, reason: HoldReason, *, who: str, why: str) -> Received:
    if record.state not in LIVING:
        return refuse(record, f"it is {record.state}: only a provisioned service can be unsuspended", RULE_LIFECYCLE)
    hindered = conduct.standing_domain(record, reason)
    if hindered is not None:
        return hindered
    hold = record.hold(reason)
    held = record.stopped or record.suspension_proven_at is not None
    if hold is None and record.stopped:
        others = ", ".join(record.stop_reasons)
        return refuse(record, f"it is not held for {reason} but for {others}: say which hold is to be lifted", RULE_HOLDS)
    if hold is not None and hold.effect != HoldEffect.STOP:
        return refuse(record, f"its hold for {reason} does not stop it: there is nothing to unsuspend", RULE_HOLDS)
    if not held:
        return Received(service=record, decision=Nothing(reason="it is not suspended"))
    return resume(record.without_hold(reason), hold=reason, reason=why or f"the hold for {reason} is lifted", who=who)


def limit(record: Service, reason: HoldReason, *, who: str, why: str, now: datetime, terms: Terms = NO_TERMS) -> Received:
    apart = no_throttle(terms.kind)
    if apart is not None:
        return refuse(record, apart.reason, apart.rule)
    if record.state not in LIVING:
        return refuse(record, f"it is {record.state}: only a provisioned service can be limited", RULE_LIFECYCLE)
    adds = record.hold(reason) is None
    record = record.with_hold(Hold(reason=reason, effect=HoldEffect.LIMIT, by=who, why=why, since=now))
    standing = record.hold(reason)
    if standing is None or standing.effect != HoldEffect.LIMIT:
        return refuse(record, f"a hold for {reason} with another effect stands: lift it first", RULE_HOLDS)
    if record.stopped:
        waits = f"it is suspended, held for {', '.join(record.stop_reasons)}: it is limited when it comes back"
        return Received(service=record, decision=Nothing(reason=waits))
    if record.limited_proven_at is not None:
        return Received(service=record, decision=Nothing(reason=f"it is limited already; held for {reason} too"))
    arguments = {"reason": reason.value, "limits": record.limit_reasons, "adds": adds}
    return Received(service=record, decision=Intent.on(IntentKind.LIMIT, record, reason=why, who=who, arguments=arguments))


def unlimit(record: Service, reason: HoldReason, *, who: str, why: str) -> Received:
    if record.state not in LIVING:
        return refuse(record, f"it is {record.state}: only a provisioned service can be limited or not", RULE_LIFECYCLE)
    hold = record.hold(reason)
    if hold is None and record.limited:
        return refuse(record, f"it is not limited for {reason} but for {', '.join(record.limit_reasons)}", RULE_HOLDS)
    if hold is not None and hold.effect != HoldEffect.LIMIT:
        return refuse(record, f"its hold for {reason} does not limit it: there is nothing to unlimit", RULE_HOLDS)
    if not record.limited and record.limited_proven_at is None:
        return Received(service=record, decision=Nothing(reason="it is not limited"))
    return widen(record.without_hold(reason), hold=reason, reason=why or f"the hold for {reason} is lifted", who=who)


def terminate(
    record: Service, *, who: str, why: str, terms: Terms, now: datetime, arguments: Mapping[str, object] | None = None
) -> Received:
    """The job moves the state when it begins (``outcomes.begin``): until then the service goes on as it is.

    ``arguments``: of them only the cancellation that it carries out is kept.
    """
    if record.state in (Lifecycle.ERASED, Lifecycle.CANCELLED, Lifecycle.TERMINATING):
        return Received(service=lapsing.withdrawn(record), decision=Nothing(reason=f"it is {record.state} already"))
    if not record.erasable:
        names = ", ".join(sorted(h.reason.value for h in record.holds if h.effect == HoldEffect.NO_ERASE or _legal(h)))
        return refuse(record, f"its data may not be destroyed: held for {names}", RULE_HOLDS)
    if record.state == Lifecycle.ORDERED:
        return cancel(record, reason=why, asked_at=now, now=now)
    if record.state == Lifecycle.ARCHIVED:
        return refuse(record, archives.not_again(record, terms), RULE_LIFECYCLE)
    keeps = {} if record.state == Lifecycle.FAILED else archives.keeping(terms)
    carried = {CANCELLATION: arguments[CANCELLATION]} if arguments and CANCELLATION in arguments else {}
    intent = Intent.on(IntentKind.TERMINATE, record, reason=why, who=who, arguments={**keeps, **carried})
    return Received(service=record, decision=intent)


def reactivate(record: Service, *, reason: str, who: str, asks: str = "") -> Received:
    record, decided = archives.reactivate(record, reason=reason, who=who)
    note = decided.reason if isinstance(decided, Refusal) else "it is brought back out of its archive"
    return Received(service=record, decision=decided, note=note, asks=asks)


def erase(record: Service, *, reason: str, who: str) -> Received:
    decided = archives.erase(record, reason=reason, who=who)
    return Received(service=record, decision=decided, note=decided.reason if isinstance(decided, Refusal) else "")


def _legal(hold: Hold) -> bool:
    return hold.reason == HoldReason.LEGAL


def power(kind: IntentKind, service: Service, *, who: str, why: str, terms: Terms = NO_TERMS) -> Received:
    if terms.kind == PlanKind.HOSTING and kind != IntentKind.CHECK:
        return refuse(service, no_switch(kind), RULE_LIFECYCLE)
    if service.state != Lifecycle.ACTIVE:
        return refuse(service, f"it is {service.state}: {kind} needs an active service", RULE_LIFECYCLE)
    if service.stopped and kind != IntentKind.CHECK:
        return refuse(service, f"it is suspended, held for {', '.join(service.stop_reasons)}", RULE_HOLDS)
    seen = {"holds": service.stop_reasons, "limited": service.throttled}
    arguments = seen if kind == IntentKind.CHECK else {}
    return Received(service=service, decision=Intent.on(kind, service, reason=why, who=who, arguments=arguments))
