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

from orchestrator.domain import (
    account_settings,
    archives,
    cancellations,
    charges,
    claims,
    coming_back,
    commanding,
    conduct,
    kept,
    lapsing,
    merging,
    moving_out,
    own_systems,
    personal,
    plan_changes,
    reactivation,
    recovering,
    restarts,
)
from orchestrator.domain.backups import asking, drills, restoring
from orchestrator.domain.claims import Claim

# Told on from here, where every decision is asked for.
from orchestrator.domain.commanding import LIVING as LIVING
from orchestrator.domain.deadlines import Action, Deadline
from orchestrator.domain.deadlines.money import period_of
from orchestrator.domain.events import Event, EventType
from orchestrator.domain.intents import (
    CANCELLATION,
    RULE_LIFECYCLE,
    RULE_VOCABULARY,
    Intent,
    IntentKind,
    Nothing,
    Refusal,
)
from orchestrator.domain.merging import PAYMENTS as PAYMENTS
from orchestrator.domain.merging import paid_only as paid_only
from orchestrator.domain.received import Received as Received
from orchestrator.domain.received import Tell as Tell
from orchestrator.domain.services import HoldReason, Lifecycle, Service
from orchestrator.domain.terms import NO_TERMS, Terms

# A payment can no longer save the service's data in these states.
GONE = frozenset({Lifecycle.ARCHIVED, Lifecycle.ERASED, Lifecycle.CANCELLED})

# What billing says when it was asked about a job; the record knows nothing of it.
ANSWERS = frozenset({EventType.TERMINATION_CONFIRMED, EventType.TERMINATION_REFUSED})

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


def receive(event: Event, service: Service | None, *, now: datetime, counted: bool = False, terms: Terms = NO_TERMS) -> Received:
    """Merge what ``event`` says into the record and decide what follows. ``now`` aware, UTC; ``terms`` hold for the service.

    ``counted``: its payment was counted before (``paid_only``), and only what it asks for is left to decide.
    """
    if event.type in ANSWERS:
        return Received(service=service, decision=Nothing(reason="an answer to no question"))
    if event.type.is_command:
        return _command_event(event, service, now=now, counted=counted, terms=terms)
    record = merging.merge(event, service or merging.new(event.service_id, now), counted=counted)
    if event.type != EventType.ORDER_CANCELLED and _paid_before_named(service, record):
        return commanding.provision(record, reason="it was paid before its order came", who=_who(event))
    match event.type:
        case EventType.ORDER_CREATED:
            return Received(service=record, decision=Nothing(reason="the order is noted; it is provisioned when it is paid"))
        case EventType.ORDER_PAID:
            return _order_paid(event, service, record, now=now, terms=terms)
        case EventType.ORDER_CANCELLED:
            reason = event.reason or "the order was cancelled"
            return commanding.cancel(record, reason=reason, asked_at=min(event.sent_at, now), now=now, terms=terms)
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


def _who(event: Event) -> str:
    return f"event {event.source}/{event.id}"


def _paid_before_named(before: Service | None, record: Service) -> bool:
    """It was paid when nobody knew yet what was ordered, and now it is known: nothing else will provision it."""
    waited = before is not None and not before.plan and before.payments > 0
    return waited and bool(record.plan) and record.state == Lifecycle.ORDERED


def _order_paid(event: Event, before: Service | None, record: Service, *, now: datetime, terms: Terms) -> Received:
    if record.state in (Lifecycle.ORDERED, Lifecycle.FAILED):
        record = record.without_hold(HoldReason.NONPAYMENT)
        return commanding.provision(record, reason=event.reason or "the order is paid", who=_who(event))
    return _paid(event, before, record, now=now, terms=terms)


def _paid(event: Event, before: Service | None, record: Service, *, now: datetime, terms: Terms) -> Received:
    """A payment lifts ``nonpayment`` and nothing else; it stops a termination that has not destroyed anything yet."""
    held = before is not None and (before.stopped or before.suspension_proven_at is not None)
    limited = before is not None and (before.limited or before.limited_proven_at is not None)
    record = record.without_hold(HoldReason.NONPAYMENT)
    if archives.brings_back(record, terms):
        return commanding.reactivate(record, reason=event.reason or "paid", who=_who(event), asks=archives.asks(record))
    if record.state in GONE or record.point_of_no_return is not None:
        note = reactivation.too_late(record, terms)
        return Received(service=record, decision=Nothing(reason=note), note=note)
    note = "the payment stops the termination that is under way" if record.state == Lifecycle.TERMINATING else ""
    if not (held or limited) or record.state not in (LIVING | {Lifecycle.TERMINATING}):
        return Received(service=record, decision=Nothing(reason=note or "the payment is noted"), note=note)
    lift = commanding.resume if held else commanding.widen  # the end of a suspension sees to its limits as well
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
    if claimed.releases and record.hold(HoldReason.NONPAYMENT) is not None and archives.brings_back(record, terms):
        back = replace(record, payments=record.payments + 1)
        return commanding.reactivate(back, reason=note, who=who, asks=archives.asks(back.without_hold(HoldReason.NONPAYMENT)))
    if not claimed.releases or record.state not in (LIVING | {Lifecycle.TERMINATING}) or record.point_of_no_return is not None:
        return noted
    # As a payment it overtakes what was decided before it.
    held = record.stopped or record.suspension_proven_at is not None
    record = replace(record.without_hold(HoldReason.NONPAYMENT), payments=record.payments + 1)
    if not held:
        return replace(noted, service=record)
    return commanding.resume(record, hold=HoldReason.NONPAYMENT, reason=note, who=who, note=note)


def _command_event(event: Event, service: Service | None, *, now: datetime, counted: bool, terms: Terms) -> Received:
    """A ``service.*`` event: idempotent by version; a renewal's payment counts even where the command is stale."""
    if event.version is None:
        return commanding.refuse(service, f"{event.type} needs a version", RULE_VOCABULARY)
    creates = event.type in (EventType.SERVICE_CREATE, EventType.SERVICE_RENEW)
    if service is None and not creates:
        return commanding.refuse(None, f"no service {event.service_id} is known", RULE_LIFECYCLE)
    record = service or merging.new(event.service_id, now)
    if event.version <= record.version:
        late = f"stale: version {event.version} is not newer than {record.version}"
        kept = merging.merge(event, record, counted=counted) if event.type == EventType.SERVICE_RENEW else service
        return Received(service=kept, decision=Nothing(reason=late), note=late, stale=True)
    if _paid_since(event, record, now):
        late = f"stale: it was sent at {event.sent_at.isoformat()}, and what was owed is settled since: it needs a new command"
        return Received(service=service, decision=Nothing(reason=late), note=late, stale=True)
    received = _carry_out(event, service, replace(record, version=event.version), now=now, counted=counted, terms=terms)
    if isinstance(received.decision, Refusal):
        return replace(received, service=service)
    return received


def _paid_since(event: Event, record: Service, now: datetime) -> bool:
    """Whether a command against a debt was overtaken on its way by the payment. One that is dated ahead says nothing of that."""
    settled = record.settled_at
    return against_debt(event) and settled is not None and event.sent_at < settled <= now


def _carry_out(event: Event, before: Service | None, record: Service, *, now: datetime, counted: bool, terms: Terms) -> Received:
    who = _who(event)
    match event.type:
        case EventType.SERVICE_CREATE:
            unmade = record.state in (Lifecycle.ORDERED, Lifecycle.FAILED)
            return commanding.provision(
                merging.fill(event, record, override=unmade), reason=event.reason or "billing asked", who=who
            )
        case EventType.SERVICE_RENEW:
            merged = merging.merge(event, record, counted=counted)
            if _paid_before_named(before, merged):
                return commanding.provision(merged, reason="it was paid before its order came", who=who)
            return _paid(event, before, merged, now=now, terms=terms)
        case EventType.SERVICE_SUSPEND:
            reason = hold_reason(event.reason, default=HoldReason.NONPAYMENT)
            return commanding.suspend(record, reason, who=who, why=event.reason or reason.value, now=now)
        case EventType.SERVICE_UNSUSPEND:
            return commanding.unsuspend(
                record, hold_reason(event.reason, default=HoldReason.NONPAYMENT), who=who, why=event.reason
            )
        case EventType.SERVICE_TERMINATE:
            return commanding.terminate(record, who=who, why=event.reason or "billing asked", terms=terms, now=now)
        case EventType.SERVICE_CANCEL:
            return cancellations.cancel(record, cancellations.asked_by(event, now=now), terms, now=now)
        case EventType.SERVICE_KEEP:
            return cancellations.keep(record, terms, now=now)
        case _:
            return _change(event, record, who=who, why=event.reason or "billing asked", terms=terms)


def _change(event: Event, record: Service, *, who: str, why: str, terms: Terms) -> Received:
    """A command by which the service becomes another than was ordered."""
    if event.type == EventType.SERVICE_CHANGE_PLAN:
        restart = plan_changes.Restart(event.restart or plan_changes.Restart.NEVER)
        return plan_changes.change(record, event.plan, who=who, why=why, terms=terms, restart=restart)
    if event.type == EventType.SERVICE_SET_ACCOUNT and event.account is not None:
        return account_settings.change(record, event.account, who=who, why=why, terms=terms)
    if event.type == EventType.SERVICE_REINSTALL:
        return own_systems.reinstall(record, {own_systems.TEMPLATE: event.template}, who=who, why=why, terms=terms)
    if event.type == EventType.SERVICE_RESET_PASSWORD:
        given = {own_systems.PASSWORD: event.password_hash}
        return own_systems.reset_password(record, given, who=who, why=why, terms=terms)
    return commanding.refuse(record, f"{event.type} is not carried out by this version", RULE_VOCABULARY)


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
            return commanding.provision(service, reason=why, who=who)
        case IntentKind.SUSPEND:
            return commanding.suspend(service, reason, who=who, why=why or reason.value, now=now)
        case IntentKind.UNSUSPEND:
            return commanding.unsuspend(service, reason, who=who, why=why)
        case IntentKind.LIMIT:
            return commanding.limit(service, reason, who=who, why=why or reason.value, now=now, terms=terms)
        case IntentKind.UNLIMIT:
            return commanding.unlimit(service, reason, who=who, why=why)
        case IntentKind.TERMINATE:
            return commanding.terminate(service, who=who, why=why, terms=terms, now=now, arguments=arguments)
        case IntentKind.REACTIVATE | IntentKind.ERASE:
            act = commanding.reactivate if kind == IntentKind.REACTIVATE else commanding.erase
            return act(service, reason=why, who=who)
        case IntentKind.START | IntentKind.STOP | IntentKind.REBOOT | IntentKind.CHECK:
            return commanding.power(kind, service, who=who, why=why, terms=terms)
        case IntentKind.BACKUP:
            return asking.requested(service, who=who, why=why, terms=terms, now=now)
        case _:
            return _copies(kind, service, arguments, who=who, why=why, terms=terms)


def _copies(kind: IntentKind, service: Service, arguments: Mapping[str, object], *, who: str, why: str, terms: Terms) -> Received:
    """A command on what is made of backups, or with their help."""
    match kind:
        case IntentKind.RESTORE:
            return restoring.again(service, arguments, who=who, why=why, terms=terms)
        case IntentKind.DRILL:
            return drills.again(service, arguments, who=who, why=why)
        case IntentKind.SET_ACCOUNT | IntentKind.IMPORT | IntentKind.ADOPT:
            return account_settings.again(service, kind, arguments, who=who, why=why, terms=terms)
        case IntentKind.MOVE:
            return moving_out.decide(service, arguments, who=who, why=why, terms=terms)
        case IntentKind.RECOVER:
            return recovering.again(service, arguments, who=who, why=why, terms=terms)
        case IntentKind.CHANGE_PLAN:
            return plan_changes.again(service, arguments, who=who, why=why, terms=terms)
        case IntentKind.TIDY if arguments.get(kept.LEFT):
            return kept.tidy_left(service, str(arguments[kept.LEFT]), who=who, why=why)
        case IntentKind.TIDY:
            return kept.tidy(service, kept.named(arguments), who=who, why=why)
        case kind if kind in own_systems.ON_SYSTEMS:
            return own_systems.again(service, kind, arguments, who=who, why=why, terms=terms)
        case _:
            return commanding.refuse(service, f"{kind} is not carried out by this version", RULE_VOCABULARY)


def fall_due(deadline: Deadline, service: Service, *, terms: Terms, now: datetime) -> Received:
    """Decide what a deadline asks for, its time having come. What only tells decides nothing."""
    policy = terms.policy.name
    who, why = f"policy {policy}", f"{deadline.reason} [{policy}: {deadline.clause}]"
    match deadline.action:
        case Action.SUSPEND | Action.CHARGEBACK:
            return commanding.suspend(service, HoldReason.NONPAYMENT, who=who, why=why, now=now)
        case Action.TERMINATE | Action.CHARGEBACK_TERMINATE | Action.TERMINATE_CONDUCT:
            return commanding.terminate(service, who=who, why=why, terms=terms, now=now)
        case Action.END:
            carried = {CANCELLATION: service.cancellation.token} if service.cancellation is not None else {}
            return commanding.terminate(service, who=who, why=why, terms=terms, now=now, arguments=carried)
        case Action.FORGET:
            return personal.forget(service, terms, now=now, reason=why)
        case Action.ERASE:
            return commanding.erase(service, reason=why, who=who)
        case Action.CHARGE_TRAFFIC | Action.CHARGE_HOURS:
            return _charged(deadline, service, terms, why)
        case Action.LIFT_HOLD | Action.LIMIT_CONDUCT:
            return conduct.fall_due(deadline, service, terms=terms, now=now, why=why)
        case Action.TIDY | Action.BACKUP | Action.RESTART:
            return _its_turn(deadline, service, who=who, why=why, terms=terms, now=now)
        case Action.CANCEL_ORDER:
            ended = commanding.cancel(service, reason=why, asked_at=deadline.at, now=now, terms=terms)
            return lapsing.lapsed(ended, now=now) if service.state == Lifecycle.ORDERED else ended
        case _:
            return Received(service=service, decision=Nothing(reason=why))


def _its_turn(deadline: Deadline, service: Service, *, who: str, why: str, terms: Terms, now: datetime) -> Received:
    if deadline.action == Action.RESTART:
        return restarts.fall_due(service, who=who, why=why, terms=terms, now=now)
    due = kept.due if deadline.action == Action.TIDY else asking.scheduled
    return due(service, deadline.occurrence, who=who, why=why)


def _charged(deadline: Deadline, service: Service, terms: Terms, why: str) -> Received:
    if deadline.action == Action.CHARGE_TRAFFIC:
        record, charge = charges.traffic(service, period_of(deadline), terms)
    else:
        record, charge = service, charges.hours(service, terms)
    return Received(service=record, decision=Nothing(reason=why), charges=() if charge is None else (charge,))


def with_fee(before: Service | None, received: Received, terms: Terms) -> Received:
    """What was decided, with the fee for coming back where it brings the service back."""
    if received.service is None or isinstance(received.decision, Refusal):
        return received
    record, charge = coming_back.fee(before, received.service, terms)
    if isinstance(received.decision, Intent) and received.decision.kind == IntentKind.REACTIVATE:
        charge = None if coming_back.not_owed(before, record) else coming_back.fee_out_of_the_archive(record, terms)
    return replace(received, service=record, charges=received.charges if charge is None else (*received.charges, charge))
