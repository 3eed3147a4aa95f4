"""Cancelling a service, confirming that, taking it back; and what billing is told of it.

Pure. When a cancelled service ends is in ``leaving``; that it does, in ``deadlines.leaving``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime

from orchestrator.domain import lapsing, leaving
from orchestrator.domain.events import Event
from orchestrator.domain.intents import RULE_LIFECYCLE, Nothing
from orchestrator.domain.policies import MoneyBackSince
from orchestrator.domain.received import Received, Tell, refused
from orchestrator.domain.services import Cancellation, CancellationKind, Cause, Lifecycle, Service, transition
from orchestrator.domain.terms import Terms

RULE_CANCELLATIONS = "cancellations"
NOTED = "cancellation.noted"
REFUND_DUE = "refund.due"
REFUND_BACK = "refund.taken_back"
UNMADE = frozenset({Lifecycle.ORDERED, Lifecycle.FAILED})
ENDED = frozenset({Lifecycle.ARCHIVED, Lifecycle.ERASED, Lifecycle.CANCELLED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """``confirmed``: the customer has confirmed it. ``on``: the day that an operator gives, as the moment in which it ends."""

    asked_at: datetime
    by: str
    why: str
    kind: CancellationKind = CancellationKind.CUSTOMER
    confirmed: bool = False
    on: datetime | None = None


def asked_by(event: Event, *, now: datetime) -> Asked:
    """What billing passes on. It counts from when it was said, which may be long before it is heard."""
    return Asked(
        asked_at=min(event.sent_at, now),
        by=f"event {event.source}/{event.id}",
        why=event.reason or "the customer cancelled",
        kind=CancellationKind.MONEY_BACK if event.money_back else CancellationKind.CUSTOMER,
        confirmed=event.confirmed,
    )


def cancel(service: Service, asked: Asked, terms: Terms, *, now: datetime) -> Received:
    """Note that the service is to end; asked for once more, it confirms that or gives it another day."""
    if service.state in UNMADE:
        return _unmade(service, asked, terms, now=now)
    if service.state in ENDED:
        return Received(service=lapsing.withdrawn(service), decision=Nothing(reason=f"it is {service.state} already"))
    if asked.on is not None and asked.on < now:
        return refused(service, f"{_time(asked.on)} has passed: give a day to come", RULE_CANCELLATIONS)
    standing = service.cancellation
    hindered = _hindered(service, asked, terms)
    if hindered is not None:
        return hindered
    wanted = _noted(service, asked) if standing is None else _again(standing, service, asked)
    record = replace(service, cancellation=wanted)
    found = _said(record, terms)
    if wanted == standing:
        return Received(service=record, decision=Nothing(reason=f"that is noted already; {found}"), note=found)
    what = _what(standing, wanted)
    record, refund = _money_back(record, wanted, terms, now=now)
    tells = (_note(record, wanted, terms, what=what, now=now), *refund)
    return Received(service=record, decision=Nothing(reason=found), note=found, tells=tells)


def keep(service: Service, terms: Terms, *, now: datetime) -> Received:
    """Take a cancellation back, as long as nothing was destroyed."""
    standing = service.cancellation
    if service.point_of_no_return is not None or service.state in ENDED:
        return refused(service, f"it is {service.state} and cannot be kept any more", RULE_LIFECYCLE)
    if standing is None:
        return Received(service=service, decision=Nothing(reason="it is not cancelled"))
    record = replace(service, cancellation=None)
    tells = (_note(service, standing, terms, what="withdrawn", now=now), *_refund_back(service, standing, terms))
    return Received(service=record, decision=Nothing(reason="it is kept: its cancellation is taken back"), tells=tells)


def undeliverable(service: Service, terms: Terms, *, asked_at: datetime) -> tuple[Tell, ...]:
    """What billing is told of a paid order that could not be made, and is given up."""
    rule, asked = terms.policy.undeliverable, service.cancellation
    if rule is None or not service.payments or service.activated_at is not None:
        return ()
    if asked is not None and asked.refund_at is not None:  # it was told of the same money already
        return ()
    data = {
        "refund_id": f"{service.id}.undeliverable",
        "reason": "undeliverable",
        "policy": terms.policy.name,
        "clause": rule.clause,
        "setup_fees": True,
        "asked_at": asked_at.isoformat(),
        "by": terms.calendar.add(asked_at, rule.refund_within).isoformat(),
    }
    return (Tell(kind=REFUND_DUE, key="undeliverable", data=data),)


def withdraw_order(service: Service, terms: Terms, *, reason: str, asked_at: datetime, now: datetime) -> Received:
    """End an order of which nothing was made."""
    record = replace(service, state=transition(service.state, Cause.ORDER_CANCELLED), ended_at=now)
    tells = undeliverable(service, terms, asked_at=asked_at)
    return Received(service=record, decision=Nothing(reason=reason), tells=tells)


def _unmade(service: Service, asked: Asked, terms: Terms, *, now: datetime) -> Received:
    """There is nothing to end but the order."""
    rule = terms.policy.cancellation
    if rule is not None and rule.needs_confirmation and not asked.confirmed and asked.kind != CancellationKind.WITHOUT_CAUSE:
        return refused(service, "its customer has to confirm that first", terms.cite(rule))
    ended = withdraw_order(service, terms, reason=f"the order is cancelled: {asked.why}", asked_at=asked.asked_at, now=now)
    if asked.kind != CancellationKind.MONEY_BACK or ended.tells:
        return ended
    refusal = _no_money_back(service, terms, asked_at=asked.asked_at)
    if refusal is not None:
        return refusal
    wanted = _noted(service, asked)
    return replace(ended, tells=_refund(replace(wanted, refund_at=now), service, terms))


def _hindered(service: Service, asked: Asked, terms: Terms) -> Received | None:
    standing = service.cancellation
    if asked.kind == CancellationKind.MONEY_BACK and (standing is None or standing.kind != asked.kind):
        refusal = _no_money_back(service, terms, asked_at=asked.asked_at)
        if refusal is not None:
            return refusal
    if standing is None or CancellationKind.WITHOUT_CAUSE not in (standing.kind, asked.kind) or standing.kind == asked.kind:
        return None
    reason = f"it is cancelled already ({standing.kind}, {standing.why}): keep it first, then cancel it anew"
    return refused(service, reason, RULE_CANCELLATIONS)


def _no_money_back(service: Service, terms: Terms, *, asked_at: datetime) -> Received | None:
    """Why no money is given back; None where it is."""
    rule, name = terms.policy.money_back, terms.policy.name
    if rule is None:
        return refused(service, f"policy {name} gives no money back", f"{name}: money_back is null")
    if rule.kinds and terms.kind not in rule.kinds:
        return refused(
            service, f"money is given back for {', '.join(sorted(rule.kinds))} only, not for {terms.kind}", terms.cite(rule)
        )
    window = leaving.money_back_window(service, terms)
    since = "activation" if rule.since == MoneyBackSince.ACTIVATION else "purchase"
    if window is None:
        return refused(
            service, f"money is given back within {rule.within} of the {since}, and when that was is not known", terms.cite(rule)
        )
    if asked_at > window[1]:
        reason = f"money is given back within {rule.within} of the {since}: from {_time(window[0])} until {_time(window[1])}"
        return refused(service, f"{reason}; it was asked for at {_time(asked_at)}", terms.cite(rule))
    return None


def _noted(service: Service, asked: Asked) -> Cancellation:
    return Cancellation(
        asked_at=asked.asked_at,
        by=asked.by,
        why=asked.why,
        kind=asked.kind,
        confirmed_at=asked.asked_at if asked.confirmed else None,
        paid_until=service.paid_until,
        at=asked.on,
    )


def _again(standing: Cancellation, service: Service, asked: Asked) -> Cancellation:
    """What was said first stays; a confirmation and a day are added, and money back overtakes an end that is to come."""
    if asked.kind == CancellationKind.MONEY_BACK and standing.kind == CancellationKind.CUSTOMER:
        return _noted(service, replace(asked, confirmed=asked.confirmed or standing.confirmed_at is not None))
    wanted = standing if asked.on is None else replace(standing, at=asked.on)
    if not asked.confirmed or standing.confirmed_at is not None:
        return wanted
    confirmed_at = max(asked.asked_at, standing.asked_at)
    return replace(wanted, confirmed_at=confirmed_at, paid_until=service.paid_until)


def _what(standing: Cancellation | None, wanted: Cancellation) -> str:
    if standing is None or standing.kind != wanted.kind:
        return "asked"
    return "dated" if standing.at != wanted.at else "confirmed"


def _said(service: Service, terms: Terms) -> str:
    found = leaving.leave(service, terms)
    if found is None:
        return ""
    clause = f" [{terms.policy.name}: {found.clause}]" if found.clause else ""
    return f"it ends at {_time(found.at)}: {found.why}{clause}" if found.at is not None else f"{found.why}{clause}"


def _note(service: Service, wanted: Cancellation, terms: Terms, *, what: str, now: datetime) -> Tell:
    found = leaving.leave(service, terms)
    data = {
        "what": what,
        "kind": wanted.kind.value,
        "asked_at": wanted.asked_at.isoformat(),
        "why": wanted.why,
        "effective_at": None if found is None or found.at is None or what == "withdrawn" else found.at.isoformat(),
        "needs": "" if found is None else found.needs,
        "sentence": "it is kept" if found is None or what == "withdrawn" else found.why,
        "policy": terms.policy.name,
        "clause": "" if found is None else found.clause,
    }
    return Tell(kind=NOTED, key=f"{now.isoformat()}.{what}", data=data)


def _money_back(service: Service, wanted: Cancellation, terms: Terms, *, now: datetime) -> tuple[Service, tuple[Tell, ...]]:
    """Told once for each cancellation, as soon as it is sure; with the record that knows of it."""
    told = wanted.kind != CancellationKind.MONEY_BACK or wanted.refund_at is not None
    if told or leaving.effective(service, terms) is None:
        return service, ()
    known = replace(wanted, refund_at=now)
    tells = _refund(known, service, terms)
    return (replace(service, cancellation=known), tells) if tells else (service, ())


def _refund(wanted: Cancellation, service: Service, terms: Terms) -> tuple[Tell, ...]:
    rule, window = terms.policy.money_back, leaving.money_back_window(service, terms)
    if rule is None or window is None or wanted.refund_at is None:
        return ()
    key = _refund_key(wanted.refund_at)
    data = {
        "refund_id": f"{service.id}.{key}",
        "reason": "money-back",
        "policy": terms.policy.name,
        "clause": rule.clause,
        "setup_fees": rule.setup_fees,
        "asked_at": wanted.asked_at.isoformat(),
        "since": window[0].isoformat(),
        "until": window[1].isoformat(),
    }
    return (Tell(kind=REFUND_DUE, key=key, data=data),)


def _refund_back(service: Service, standing: Cancellation, terms: Terms) -> tuple[Tell, ...]:
    """What billing was told to give back is not due; where the service is cancelled once more that is another refund."""
    if standing.refund_at is None:
        return ()
    key, rule = _refund_key(standing.refund_at), terms.policy.money_back
    data = {
        "refund_id": f"{service.id}.{key}",
        "reason": "money-back",
        "policy": terms.policy.name,
        "clause": "" if rule is None else rule.clause,
        "why": "the service is kept: its cancellation is taken back",
    }
    return (Tell(kind=REFUND_BACK, key=key, data=data),)


def _refund_key(told_at: datetime) -> str:
    return f"money-back.{told_at.astimezone(UTC):%Y%m%dT%H%M%S.%fZ}"


def _time(moment: datetime) -> str:
    return moment.isoformat(timespec="minutes")
