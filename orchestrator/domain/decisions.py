"""What an event, an operator's command or a deadline means for a service: the new record and what is to be done.

Pure. The engine calls ``receive``, ``command`` or ``fall_due`` inside the transaction that accepts; each returns the record to be
stored. What the beginning and the end of a job do to it is in ``outcomes``.

Facts (``order.*``, ``invoice.*``) always merge, in any order. Commands count once and only with a version newer than the last
one that was carried out; a refused command leaves the version where it was, so that it can be replayed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from orchestrator.domain import archives, cancellations, charges, claims, coming_back, conduct, personal, reactivation
from orchestrator.domain.charges import Charge
from orchestrator.domain.claims import Claim
from orchestrator.domain.deadlines import Action, Deadline
from orchestrator.domain.deadlines.money import period_of
from orchestrator.domain.events import Event, EventType
from orchestrator.domain.intents import (
    CANCELLATION,
    RULE_HOLDS,
    RULE_LIFECYCLE,
    RULE_VOCABULARY,
    Intent,
    IntentKind,
    Nothing,
    Refusal,
)
from orchestrator.domain.outcomes import begin

# Told on from here, where every decision is asked for.
from orchestrator.domain.received import Received as Received
from orchestrator.domain.received import Tell as Tell
from orchestrator.domain.services import Cause, Hold, HoldEffect, HoldReason, Lifecycle, Refund, Service, transition
from orchestrator.domain.terms import NO_TERMS, Terms

# A payment can no longer save the service's data in these states.
GONE = frozenset({Lifecycle.ARCHIVED, Lifecycle.ERASED, Lifecycle.CANCELLED})

# The events that say that something was paid.
PAYMENTS = frozenset({EventType.ORDER_PAID, EventType.INVOICE_PAID, EventType.SERVICE_RENEW})

# What billing says when it was asked about a job; the record knows nothing of it.
ANSWERS = frozenset({EventType.TERMINATION_CONFIRMED, EventType.TERMINATION_REFUSED})

# Where a guest is, or is about to be.
LIVING = frozenset({Lifecycle.PROVISIONING, Lifecycle.ACTIVE})

# So many refunds a service's record knows: a payment that comes after so many more is no late one.
REFUNDS_KEPT = 50

# What billing systems call a debt when they ask for a suspension (spaces and hyphens left out).
DEBT = frozenset({"nonpayment", "overdue", "overdueonpayment", "unpaid"})


def hold_reason(word: str, *, default: HoldReason) -> HoldReason:
    """The hold that a free word of billing or of an operator names; a word we do not know is a manual hold."""
    word = word.strip().lower().replace("-", "").replace("_", "").replace(" ", "")
    if not word:
        return default
    if word in DEBT:
        return HoldReason.NONPAYMENT
    return next((r for r in HoldReason if r.value == word), HoldReason.MANUAL)


def against_debt(event: Event) -> bool:
    """Whether the event asks for what a payment makes pointless, or would undo: a termination, a suspension for nonpayment."""
    if event.type == EventType.SERVICE_SUSPEND:
        return hold_reason(event.reason, default=HoldReason.NONPAYMENT) == HoldReason.NONPAYMENT
    return event.type == EventType.SERVICE_TERMINATE


def paid_only(event: Event, service: Service | None, *, now: datetime) -> Service | None:
    """The record where ``event`` cannot be processed: its payment counts all the same, and nothing moves.

    What it orders is not taken over: it may be what is wrong, and the first that names something wins.
    """
    if event.type not in PAYMENTS:
        return service
    anonymous = Event(
        source=event.source,
        id=event.id,
        type=event.type,
        service_id=event.service_id,
        sent_at=event.sent_at,
        client_id=event.client_id,
        order_id=event.order_id,
        invoice_id=event.invoice_id,
        paid_until=event.paid_until,
    )
    return coming_back.paid(_merge(anonymous, service or _new(event.service_id, now)))


def receive(event: Event, service: Service | None, *, now: datetime, counted: bool = False, terms: Terms = NO_TERMS) -> Received:
    """Merge what ``event`` says into the record and decide what follows. ``now`` aware, UTC; ``terms`` hold for the service.

    ``counted``: its payment was counted before (``paid_only``), and only what it asks for is left to decide.
    """
    if event.type in ANSWERS:
        return Received(service=service, decision=Nothing(reason="an answer to no question"))
    if event.type.is_command:
        return _command_event(event, service, now=now, counted=counted, terms=terms)
    record = _merge(event, service or _new(event.service_id, now), counted=counted)
    if event.type != EventType.ORDER_CANCELLED and _paid_before_named(service, record):
        return _provision(record, reason="it was paid before its order came", who=_who(event))
    match event.type:
        case EventType.ORDER_CREATED:
            return Received(service=record, decision=Nothing(reason="the order is noted; it is provisioned when it is paid"))
        case EventType.ORDER_PAID:
            return _order_paid(event, service, record, now=now, terms=terms)
        case EventType.ORDER_CANCELLED:
            reason = event.reason or "the order was cancelled"
            return _cancel(record, reason=reason, asked_at=min(event.sent_at, now), now=now, terms=terms)
        case EventType.INVOICE_PAID:
            return _paid(event, service, record, now=now, terms=terms)
        case EventType.INVOICE_OVERDUE:
            return Received(service=record, decision=Nothing(reason="the due date is noted; what follows is the policy's"))
        case EventType.DOMAIN_EXPIRED | EventType.DOMAIN_RENEWED:
            return conduct.domain_said(event, record, terms, now=now)
        case _:
            return _money(event, record, now=now, terms=terms)


def _money(event: Event, record: Service, *, now: datetime, terms: Terms) -> Received:
    """What was merged needs no more than words, but for claims."""
    match event.type:
        case EventType.INVOICE_CHARGED_BACK:
            return Received(service=record, decision=Nothing(reason="the chargeback is noted; what follows is the policy's"))
        case EventType.INVOICE_DISPUTED:
            return dispute(record, _claim(event), terms)
        case EventType.INVOICE_DISPUTE_SETTLED:
            return settle(record, event.invoice_id, bool(event.upheld), who=_who(event), at=event.sent_at, terms=terms)
        case EventType.USAGE_TRAFFIC:
            noted, note = charges.with_traffic(
                record, period=event.period, total=event.bytes or 0, calendar=terms.calendar, now=now
            )
            return Received(service=noted, decision=Nothing(reason=note))
        case _:
            return Received(service=record, decision=Nothing(reason="the refund is noted; a refund never terminates"))


def _new(service_id: str, now: datetime) -> Service:
    return Service(id=service_id, client_id="", plan="", created_at=now)


def _later(a: datetime | None, b: datetime | None) -> datetime | None:
    return max((t for t in (a, b) if t is not None), default=None)


def _merge(event: Event, record: Service, *, counted: bool = False) -> Service:
    """What the event tells beyond its command: fills what is unknown; times and counts by the rules of their kind."""
    record = _fill(event, record)
    if counted:
        return record
    match event.type:
        case EventType.ORDER_PAID | EventType.INVOICE_PAID | EventType.SERVICE_RENEW:
            return replace(
                record,
                paid_until=_later(record.paid_until, _bought(event, record)),
                paid_at=record.paid_at if _refunded(event, record) else _later(record.paid_at, event.sent_at),
                purchased_at=_purchased(event, record),
                payments=record.payments + 1,
            )
        case EventType.INVOICE_OVERDUE:
            said = _later(record.overdue_at, event.sent_at)
            return replace(record, due_at=_later(record.due_at, event.due_at), overdue_at=said)
        case EventType.DOMAIN_EXPIRED if conduct.own_domain(event, record):
            return replace(record, domain_expired_at=_later(record.domain_expired_at, event.sent_at))
        case EventType.DOMAIN_RENEWED if conduct.own_domain(event, record):
            return replace(record, domain_renewed_at=_later(record.domain_renewed_at, event.sent_at))
        case EventType.INVOICE_REFUNDED if event.paid_until is not None:
            earlier = event.paid_until if record.paid_until is None else min(record.paid_until, event.paid_until)
            refunds = _with_refund(record.refunds, event.invoice_id, event.paid_until)
            return replace(record, paid_until=earlier, paid_at=None, refunds=refunds)
        case EventType.INVOICE_CHARGED_BACK:
            return _charged_back(event, record)
        case _:
            return record


def _charged_back(event: Event, record: Service) -> Service:
    """As a refund, besides that it is known when; what was paid after that is paid, whichever was told first."""
    record = claims.charge_back(record, invoice_id=event.invoice_id, at=event.sent_at)
    if event.paid_until is None:
        return record
    until = event.paid_until
    paid_at = None if record.paid_at is not None and record.paid_at <= event.sent_at else record.paid_at
    refunds = _with_refund(record.refunds, event.invoice_id, until)
    return replace(record, paid_until=min(record.paid_until or until, until), paid_at=paid_at, refunds=refunds)


def _bought(event: Event, record: Service) -> datetime | None:
    """Until when the payment pays: money that was given back counts as paid all the same, but buys no more than was left."""
    ends = [refund.until for refund in _refunded(event, record)]
    return None if event.paid_until is None else min([event.paid_until, *ends])


def _purchased(event: Event, record: Service) -> datetime | None:
    """When the first payment was said; not known where that one was counted before anybody kept it."""
    if record.purchased_at is None:
        return None if record.payments else event.sent_at
    return min(record.purchased_at, event.sent_at)


def _refunded(event: Event, record: Service) -> list[Refund]:
    """The refunds of the invoice that the payment is for."""
    return [refund for refund in record.refunds if refund.invoice_id == event.invoice_id]


def _with_refund(known: tuple[Refund, ...], invoice_id: str, until: datetime) -> tuple[Refund, ...]:
    """The refunds with this one as the latest, so many at most; one that names no invoice is none of a payment."""
    new = [Refund(invoice_id, until)] if invoice_id else []
    return (*known, *new)[-REFUNDS_KEPT:]


def _fill(event: Event, record: Service, *, override: bool = False) -> Service:
    """Descriptions: the first that names one wins, except a newer ``service.create`` before anything was made."""

    if record.state in (Lifecycle.ARCHIVED, Lifecycle.ERASED):
        return record

    def pick(old: str, new: str) -> str:
        return (new or old) if override else (old or new)

    return replace(
        record,
        client_id=pick(record.client_id, event.client_id),
        plan=pick(record.plan, event.plan),
        order_id=pick(record.order_id, event.order_id),
        domain=pick(record.domain, event.domain),
        hostname=pick(record.hostname, event.hostname),
        template=pick(record.template, event.template),
        zone=pick(record.zone, event.zone),
        password_hash=pick(record.password_hash, event.password_hash),
        ssh_keys=(event.ssh_keys or record.ssh_keys) if override else (record.ssh_keys or event.ssh_keys),
    )


def _who(event: Event) -> str:
    return f"event {event.source}/{event.id}"


def _provision(record: Service, *, reason: str, who: str) -> Received:
    """Provision where nothing was made yet; the state moves now, so that a second paid order makes no second guest."""
    if record.state not in (Lifecycle.ORDERED, Lifecycle.FAILED):
        return Received(service=record, decision=Nothing(reason=f"it is {record.state} already"))
    if not record.plan:
        return Received(service=record, decision=Nothing(reason="no event has named its plan yet: it waits for the order"))
    moved = replace(record, state=transition(record.state, Cause.PROVISION_STARTED))
    return Received(service=moved, decision=Intent.on(IntentKind.PROVISION, moved, reason=reason, who=who))


def _paid_before_named(before: Service | None, record: Service) -> bool:
    """It was paid when nobody knew yet what was ordered, and now it is known: nothing else will provision it."""
    waited = before is not None and not before.plan and before.payments > 0
    return waited and bool(record.plan) and record.state == Lifecycle.ORDERED


def _order_paid(event: Event, before: Service | None, record: Service, *, now: datetime, terms: Terms) -> Received:
    if record.state in (Lifecycle.ORDERED, Lifecycle.FAILED):
        record = record.without_hold(HoldReason.NONPAYMENT)
        return _provision(record, reason=event.reason or "the order is paid", who=_who(event))
    return _paid(event, before, record, now=now, terms=terms)


def _paid(event: Event, before: Service | None, record: Service, *, now: datetime, terms: Terms) -> Received:
    """A payment lifts ``nonpayment`` and nothing else; it stops a termination that has not destroyed anything yet."""
    held = before is not None and (before.stopped or before.suspension_proven_at is not None)
    limited = before is not None and (before.limited or before.limited_proven_at is not None)
    record = record.without_hold(HoldReason.NONPAYMENT)
    if archives.brings_back(record, terms):
        return _reactivate(record, reason=event.reason or "paid", who=_who(event), asks=archives.asks(record))
    if record.state in GONE or record.point_of_no_return is not None:
        note = reactivation.too_late(record, terms)
        return Received(service=record, decision=Nothing(reason=note), note=note)
    note = "the payment stops the termination that is under way" if record.state == Lifecycle.TERMINATING else ""
    if not (held or limited) or record.state not in (LIVING | {Lifecycle.TERMINATING}):
        return Received(service=record, decision=Nothing(reason=note or "the payment is noted"), note=note)
    lift = _resume if held else _widen  # the end of a suspension sees to its limits as well
    lifted = lift(record, hold=HoldReason.NONPAYMENT, reason=event.reason or "paid", who=_who(event), note=note)
    asks = reactivation.consent(before, terms, now=now) if before is not None and isinstance(lifted.decision, Intent) else ""
    return replace(lifted, asks=asks)


def _claim(event: Event) -> Claim:
    return Claim(
        invoice_id=event.invoice_id,
        at=event.sent_at,
        by=_who(event),
        why=event.reason or f"invoice {event.invoice_id} is disputed",
        part=event.part,
        issued_at=event.issued_at,
    )


def dispute(service: Service, claim: Claim, terms: Terms) -> Received:
    """An invoice is disputed; by billing's word, or an operator's."""
    claimed = claims.dispute(service, claim, terms)
    return Received(service=claimed.service, decision=Nothing(reason=claimed.note), note=claimed.note)


def settle(service: Service, invoice_id: str, upheld: bool, *, who: str, at: datetime, terms: Terms) -> Received:
    """A dispute is over. What turns out not to be due is as paid: the hold for nonpayment goes, what it stopped comes back."""
    claimed = claims.settle(service, invoice_id=invoice_id, upheld=upheld, at=at, terms=terms)
    record, note = claimed.service, claimed.note
    noted = Received(service=record, decision=Nothing(reason=note), note=note)
    if not claimed.releases or record.state not in (LIVING | {Lifecycle.TERMINATING}) or record.point_of_no_return is not None:
        return noted
    # As a payment it overtakes what was decided before it.
    held = record.stopped or record.suspension_proven_at is not None
    record = replace(record.without_hold(HoldReason.NONPAYMENT), payments=record.payments + 1)
    if not held:
        return replace(noted, service=record)
    return _resume(record, hold=HoldReason.NONPAYMENT, reason=note, who=who, note=note)


def _resume(record: Service, *, hold: HoldReason, reason: str, who: str, note: str = "") -> Received:
    """Unsuspend, unless another hold still stops the service."""
    if record.stopped:
        still = ", ".join(record.stop_reasons)
        return Received(service=record, decision=Nothing(reason=f"it stays suspended: held for {still}"), note=note)
    return Received(
        service=record,
        decision=Intent.on(IntentKind.UNSUSPEND, record, reason=reason, who=who, arguments={"reason": hold.value}),
        note=note,
    )


def _widen(record: Service, *, hold: HoldReason, reason: str, who: str, note: str = "") -> Received:
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


def _cancel(record: Service, *, reason: str, asked_at: datetime, now: datetime, terms: Terms = NO_TERMS) -> Received:
    if record.state in cancellations.UNMADE:
        return cancellations.withdraw_order(record, terms, reason=reason, asked_at=asked_at, now=now)
    return Received(service=record, decision=Nothing(reason=f"it is {record.state}: cancelling an order ends no service"))


def _refuse(service: Service | None, reason: str, rule: str) -> Received:
    return Received(service=service, decision=Refusal(reason=reason, rule=rule), note=reason)


def _command_event(event: Event, service: Service | None, *, now: datetime, counted: bool, terms: Terms) -> Received:
    """A ``service.*`` event: idempotent by version; a renewal's payment counts even where the command is stale."""
    if event.version is None:
        return _refuse(service, f"{event.type} needs a version", RULE_VOCABULARY)
    creates = event.type in (EventType.SERVICE_CREATE, EventType.SERVICE_RENEW)
    if service is None and not creates:
        return _refuse(None, f"no service {event.service_id} is known", RULE_LIFECYCLE)
    record = service or _new(event.service_id, now)
    if event.version <= record.version:
        late = f"stale: version {event.version} is not newer than {record.version}"
        kept = _merge(event, record, counted=counted) if event.type == EventType.SERVICE_RENEW else service
        return Received(service=kept, decision=Nothing(reason=late), note=late, stale=True)
    received = _carry_out(event, service, replace(record, version=event.version), now=now, counted=counted, terms=terms)
    if isinstance(received.decision, Refusal):
        return replace(received, service=service)
    return received


def _carry_out(event: Event, before: Service | None, record: Service, *, now: datetime, counted: bool, terms: Terms) -> Received:
    who = _who(event)
    match event.type:
        case EventType.SERVICE_CREATE:
            unmade = record.state in (Lifecycle.ORDERED, Lifecycle.FAILED)
            return _provision(_fill(event, record, override=unmade), reason=event.reason or "billing asked", who=who)
        case EventType.SERVICE_RENEW:
            merged = _merge(event, record, counted=counted)
            if _paid_before_named(before, merged):
                return _provision(merged, reason="it was paid before its order came", who=who)
            return _paid(event, before, merged, now=now, terms=terms)
        case EventType.SERVICE_SUSPEND:
            reason = hold_reason(event.reason, default=HoldReason.NONPAYMENT)
            return _suspend(record, reason, who=who, why=event.reason or reason.value, now=now)
        case EventType.SERVICE_UNSUSPEND:
            return _unsuspend(record, hold_reason(event.reason, default=HoldReason.NONPAYMENT), who=who, why=event.reason)
        case EventType.SERVICE_TERMINATE:
            return _terminate(record, who=who, why=event.reason or "billing asked", terms=terms, now=now)
        case EventType.SERVICE_CANCEL:
            return cancellations.cancel(record, cancellations.asked_by(event, now=now), terms, now=now)
        case EventType.SERVICE_KEEP:
            return cancellations.keep(record, terms, now=now)
        case _:
            return _refuse(record, f"{event.type} is not carried out by this version", RULE_VOCABULARY)


def _suspend(record: Service, reason: HoldReason, *, who: str, why: str, now: datetime) -> Received:
    if record.state not in LIVING:
        return _refuse(record, f"it is {record.state}: only a provisioned service can be suspended", RULE_LIFECYCLE)
    proven = record.stopped and record.suspension_proven_at is not None
    adds = record.hold(reason) is None
    record = record.with_hold(Hold(reason=reason, effect=HoldEffect.STOP, by=who, why=why, since=now))
    standing = record.hold(reason)
    if standing is None or standing.effect != HoldEffect.STOP:
        return _refuse(record, f"a hold for {reason} with another effect stands: lift it first", RULE_HOLDS)
    if proven:
        return Received(service=record, decision=Nothing(reason=f"it is suspended already; held for {reason} too"))
    # Whoever cancels the job takes back the hold that this decision added, and no other.
    arguments = {"reason": reason.value, "holds": record.stop_reasons, "adds": adds}
    return Received(service=record, decision=Intent.on(IntentKind.SUSPEND, record, reason=why, who=who, arguments=arguments))


def _unsuspend(record: Service, reason: HoldReason, *, who: str, why: str) -> Received:
    if record.state not in LIVING:
        return _refuse(record, f"it is {record.state}: only a provisioned service can be unsuspended", RULE_LIFECYCLE)
    hindered = conduct.standing_domain(record, reason)
    if hindered is not None:
        return hindered
    hold = record.hold(reason)
    held = record.stopped or record.suspension_proven_at is not None
    if hold is None and record.stopped:
        return _refuse(record, f"it is not held for {reason} but for {', '.join(record.stop_reasons)}", RULE_HOLDS)
    if hold is not None and hold.effect != HoldEffect.STOP:
        return _refuse(record, f"its hold for {reason} does not stop it: there is nothing to unsuspend", RULE_HOLDS)
    if not held:
        return Received(service=record, decision=Nothing(reason="it is not suspended"))
    return _resume(record.without_hold(reason), hold=reason, reason=why or f"the hold for {reason} is lifted", who=who)


def _limit(record: Service, reason: HoldReason, *, who: str, why: str, now: datetime) -> Received:
    if record.state not in LIVING:
        return _refuse(record, f"it is {record.state}: only a provisioned service can be limited", RULE_LIFECYCLE)
    adds = record.hold(reason) is None
    record = record.with_hold(Hold(reason=reason, effect=HoldEffect.LIMIT, by=who, why=why, since=now))
    standing = record.hold(reason)
    if standing is None or standing.effect != HoldEffect.LIMIT:
        return _refuse(record, f"a hold for {reason} with another effect stands: lift it first", RULE_HOLDS)
    if record.stopped:
        waits = f"it is suspended, held for {', '.join(record.stop_reasons)}: it is limited when it comes back"
        return Received(service=record, decision=Nothing(reason=waits))
    if record.limited_proven_at is not None:
        return Received(service=record, decision=Nothing(reason=f"it is limited already; held for {reason} too"))
    arguments = {"reason": reason.value, "limits": record.limit_reasons, "adds": adds}
    return Received(service=record, decision=Intent.on(IntentKind.LIMIT, record, reason=why, who=who, arguments=arguments))


def _unlimit(record: Service, reason: HoldReason, *, who: str, why: str) -> Received:
    if record.state not in LIVING:
        return _refuse(record, f"it is {record.state}: only a provisioned service can be limited or not", RULE_LIFECYCLE)
    hold = record.hold(reason)
    if hold is None and record.limited:
        return _refuse(record, f"it is not limited for {reason} but for {', '.join(record.limit_reasons)}", RULE_HOLDS)
    if hold is not None and hold.effect != HoldEffect.LIMIT:
        return _refuse(record, f"its hold for {reason} does not limit it: there is nothing to unlimit", RULE_HOLDS)
    if not record.limited and record.limited_proven_at is None:
        return Received(service=record, decision=Nothing(reason="it is not limited"))
    return _widen(record.without_hold(reason), hold=reason, reason=why or f"the hold for {reason} is lifted", who=who)


def _terminate(
    record: Service, *, who: str, why: str, terms: Terms, now: datetime, arguments: Mapping[str, object] | None = None
) -> Received:
    """``arguments``: of them only the cancellation that it carries out is kept."""
    if record.state in (Lifecycle.ERASED, Lifecycle.CANCELLED, Lifecycle.TERMINATING):
        return Received(service=record, decision=Nothing(reason=f"it is {record.state} already"))
    if not record.erasable:
        names = ", ".join(sorted(h.reason.value for h in record.holds if h.effect == HoldEffect.NO_ERASE or _legal(h)))
        return _refuse(record, f"its data may not be destroyed: held for {names}", RULE_HOLDS)
    if record.state == Lifecycle.ORDERED:
        return _cancel(record, reason=why, asked_at=now, now=now)
    if record.state == Lifecycle.ARCHIVED:
        return _refuse(record, archives.not_again(record, terms), RULE_LIFECYCLE)
    keeps = {} if record.state == Lifecycle.FAILED else archives.keeping(terms)
    # While it is being provisioned the job waits behind that one, and ``begin`` moves the state.
    if record.state != Lifecycle.PROVISIONING:
        record = begin(record, IntentKind.TERMINATE)
    carried = {CANCELLATION: arguments[CANCELLATION]} if arguments and CANCELLATION in arguments else {}
    intent = Intent.on(IntentKind.TERMINATE, record, reason=why, who=who, arguments={**keeps, **carried})
    return Received(service=record, decision=intent)


def _reactivate(record: Service, *, reason: str, who: str, asks: str = "") -> Received:
    record, decided = archives.reactivate(record, reason=reason, who=who)
    note = decided.reason if isinstance(decided, Refusal) else "it is brought back out of its archive"
    return Received(service=record, decision=decided, note=note, asks=asks)


def _erase(record: Service, *, reason: str, who: str) -> Received:
    decided = archives.erase(record, reason=reason, who=who)
    return Received(service=record, decision=decided, note=decided.reason if isinstance(decided, Refusal) else "")


def _legal(hold: Hold) -> bool:
    return hold.reason == HoldReason.LEGAL


def command(
    kind: IntentKind,
    service: Service,
    *,
    who: str,
    why: str,
    now: datetime,
    arguments: Mapping[str, object],
    terms: Terms = NO_TERMS,
) -> Received:
    """Decide an operator's command. ``arguments``: ``reason`` (a hold) for what sets or lifts one; ``manual`` unless given."""
    word = arguments.get("reason", "")
    reason = hold_reason(word if isinstance(word, str) else "", default=HoldReason.MANUAL)
    match kind:
        case IntentKind.PROVISION:
            return _provision(service, reason=why, who=who)
        case IntentKind.SUSPEND:
            return _suspend(service, reason, who=who, why=why or reason.value, now=now)
        case IntentKind.UNSUSPEND:
            return _unsuspend(service, reason, who=who, why=why)
        case IntentKind.LIMIT:
            return _limit(service, reason, who=who, why=why or reason.value, now=now)
        case IntentKind.UNLIMIT:
            return _unlimit(service, reason, who=who, why=why)
        case IntentKind.TERMINATE:
            return _terminate(service, who=who, why=why, terms=terms, now=now, arguments=arguments)
        case IntentKind.REACTIVATE:
            return _reactivate(service, reason=why, who=who)
        case IntentKind.ERASE:
            return _erase(service, reason=why, who=who)
        case IntentKind.START | IntentKind.STOP | IntentKind.REBOOT | IntentKind.CHECK:
            return _power(kind, service, who=who, why=why)
        case _:
            return _refuse(service, f"{kind} is not carried out by this version", RULE_VOCABULARY)


def _power(kind: IntentKind, service: Service, *, who: str, why: str) -> Received:
    if service.state != Lifecycle.ACTIVE:
        return _refuse(service, f"it is {service.state}: {kind} needs an active service", RULE_LIFECYCLE)
    if service.stopped and kind != IntentKind.CHECK:
        return _refuse(service, f"it is suspended, held for {', '.join(service.stop_reasons)}", RULE_HOLDS)
    seen = {"holds": service.stop_reasons, "limited": service.throttled}
    arguments = seen if kind == IntentKind.CHECK else {}
    return Received(service=service, decision=Intent.on(kind, service, reason=why, who=who, arguments=arguments))


def fall_due(deadline: Deadline, service: Service, *, terms: Terms, now: datetime) -> Received:
    """Decide what a deadline asks for, its time having come. What only tells decides nothing."""
    policy = terms.policy.name
    who, why = f"policy {policy}", f"{deadline.reason} [{policy}: {deadline.clause}]"
    match deadline.action:
        case Action.SUSPEND | Action.CHARGEBACK:
            return _suspend(service, HoldReason.NONPAYMENT, who=who, why=why, now=now)
        case Action.TERMINATE | Action.CHARGEBACK_TERMINATE | Action.TERMINATE_CONDUCT:
            return _terminate(service, who=who, why=why, terms=terms, now=now)
        case Action.END:
            carried = {CANCELLATION: service.cancellation.token} if service.cancellation is not None else {}
            return _terminate(service, who=who, why=why, terms=terms, now=now, arguments=carried)
        case Action.FORGET:
            return personal.forget(service, terms, now=now, reason=why)
        case Action.ERASE:
            return _erase(service, reason=why, who=who)
        case Action.CHARGE_TRAFFIC:
            record, charge = charges.traffic(service, period_of(deadline), terms)
            return _owed(record, charge, why)
        case Action.CHARGE_HOURS:
            return _owed(service, charges.hours(service, terms), why)
        case Action.LIFT_HOLD | Action.LIMIT_CONDUCT:
            return conduct.fall_due(deadline, service, terms=terms, now=now, why=why)
        case Action.CANCEL_ORDER:
            return _cancel(service, reason=why, asked_at=deadline.at, now=now, terms=terms)
        case _:
            return Received(service=service, decision=Nothing(reason=why))


def _owed(record: Service, charge: Charge | None, why: str) -> Received:
    return Received(service=record, decision=Nothing(reason=why), charges=() if charge is None else (charge,))


def with_fee(before: Service | None, received: Received, terms: Terms) -> Received:
    """What was decided, with the fee for coming back where it brings the service back."""
    if received.service is None or isinstance(received.decision, Refusal):
        return received
    record, charge = coming_back.fee(before, received.service, terms)
    if isinstance(received.decision, Intent) and received.decision.kind == IntentKind.REACTIVATE:
        charge = coming_back.fee_out_of_the_archive(record, terms)
    return replace(received, service=record, charges=received.charges if charge is None else (*received.charges, charge))
