"""What an event tells, merged into the record: in any order, late and twice.

Pure. Facts always count; descriptions are filled in where nothing is known yet. What is done about it is for ``decisions``.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from orchestrator.domain import claims, coming_back, conduct, lapsing
from orchestrator.domain.events import Event, EventType
from orchestrator.domain.services import Lifecycle, Refund, Service

# The events that say that something was paid.
PAYMENTS = frozenset({EventType.ORDER_PAID, EventType.INVOICE_PAID, EventType.SERVICE_RENEW})

# So many refunds a service's record knows: a payment that comes after so many more is no late one.
REFUNDS_KEPT = 50


def new(service_id: str, now: datetime) -> Service:
    return Service(id=service_id, client_id="", plan="", created_at=now)


def _later(a: datetime | None, b: datetime | None) -> datetime | None:
    return max((t for t in (a, b) if t is not None), default=None)


def merge(event: Event, record: Service, *, counted: bool = False) -> Service:
    """What the event tells beyond its command: fills what is unknown; times and counts by the rules of their kind."""
    record = fill(event, record)
    if counted:
        return record
    match event.type:
        case EventType.ORDER_PAID | EventType.INVOICE_PAID | EventType.SERVICE_RENEW:
            record = lapsing.revived(record)
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


def fill(event: Event, record: Service, *, override: bool = False) -> Service:
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
    return coming_back.paid(merge(anonymous, service or new(event.service_id, now)))
