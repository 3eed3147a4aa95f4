"""Money that was given back: what its refund takes stays taken, in whatever order the two are told."""

from __future__ import annotations

from datetime import datetime

import pytest

from orchestrator.domain.decisions import paid_only, receive
from orchestrator.domain.events import Event, EventType
from orchestrator.domain.merging import REFUNDS_KEPT
from orchestrator.domain.services import HoldReason, Refund, Service
from tests.unit.decision_words import MONTH, NOW, E, L, event, service

PAYMENTS = [E.ORDER_PAID, E.INVOICE_PAID, E.SERVICE_RENEW]


def told(before: Service | None, *events: Event) -> Service:
    record = before
    for each in events:
        record = receive(each, record, now=NOW).service
    assert record is not None
    return record


def refund(invoice_id: str, until: datetime | None) -> Event:
    return event(E.INVOICE_REFUNDED, invoice_id=invoice_id, paid_until=until)


def payment(kind: EventType, invoice_id: str, until: datetime | None) -> Event:
    return event(kind, invoice_id=invoice_id, paid_until=until)


# What it was paid until before, what the payment says, what the refund says, and what it is paid until after both.
PAIRS: list[tuple[datetime | None, datetime | None, datetime | None, datetime]] = [
    (None, NOW + MONTH, NOW, NOW),
    (NOW, NOW + MONTH, NOW, NOW),
    (NOW + 2 * MONTH, NOW + MONTH, NOW, NOW),
    (NOW, NOW + 2 * MONTH, NOW + MONTH, NOW + MONTH),  # a part of it was given back
    (NOW, NOW + MONTH, None, NOW + MONTH),  # a refund that says nothing of time takes none
    (NOW, None, NOW, NOW),
]


@pytest.mark.parametrize("kind", PAYMENTS)
@pytest.mark.parametrize(("before", "paid", "refunded", "after"), PAIRS)
def test_a_payment_and_its_refund_leave_the_same_record_in_both_orders(
    kind: EventType, before: datetime | None, paid: datetime | None, refunded: datetime | None, after: datetime
) -> None:
    active = service(L.ACTIVE, HoldReason.NONPAYMENT, paid_until=before, version=9)
    one = told(active, payment(kind, "i1", paid), refund("i1", refunded))
    other = told(active, refund("i1", refunded), payment(kind, "i1", paid))
    assert one == other
    assert one.paid_until == after
    assert (one.payments, one.holds) == (2, ())


def test_an_invoice_refunded_twice_ends_at_the_earlier_of_both() -> None:
    refunded = told(service(L.ACTIVE), refund("i1", NOW), refund("i1", NOW + MONTH))
    assert told(refunded, payment(E.INVOICE_PAID, "i1", NOW + 2 * MONTH)).paid_until == NOW


@pytest.mark.parametrize("kind", PAYMENTS)
def test_the_payment_of_a_refunded_invoice_that_is_told_again_buys_no_time(kind: EventType) -> None:
    taken = told(service(L.ACTIVE), payment(kind, "i1", NOW + MONTH), refund("i1", NOW))
    again = told(taken, event(kind, invoice_id="i1", paid_until=NOW + MONTH, version=11 if kind.is_command else None))
    assert again.paid_until == NOW


@pytest.mark.parametrize("kind", PAYMENTS)
def test_the_payment_of_another_invoice_buys_its_time_as_ever(kind: EventType) -> None:
    refunded = told(service(L.ACTIVE), refund("i1", NOW))
    assert told(refunded, payment(kind, "i2", NOW + MONTH)).paid_until == NOW + MONTH
    assert told(refunded, payment(kind, "", NOW + MONTH)).paid_until == NOW + MONTH


def test_a_refund_that_names_no_invoice_speaks_of_none() -> None:
    refunded = told(service(L.ACTIVE), refund("", NOW))
    assert (refunded.paid_until, refunded.refunds) == (NOW, ())


def test_the_payment_of_a_refunded_invoice_in_a_stale_or_dead_event_buys_no_time_either() -> None:
    refunded = told(service(L.ACTIVE), refund("i1", NOW))
    assert told(refunded, event(E.SERVICE_RENEW, version=3, invoice_id="i1", paid_until=NOW + MONTH)).paid_until == NOW
    dead = paid_only(event(E.ORDER_PAID, invoice_id="i1", paid_until=NOW + MONTH), refunded, now=NOW)
    assert dead is not None
    assert (dead.paid_until, dead.payments) == (NOW, 2)


def test_only_the_latest_refunds_are_remembered() -> None:
    record = told(service(L.ACTIVE), *(refund(f"i{number}", NOW) for number in range(REFUNDS_KEPT + 2)))
    assert record.refunds == tuple(Refund(f"i{number}", NOW) for number in range(2, REFUNDS_KEPT + 2))
