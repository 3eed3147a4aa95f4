"""An order that nobody paid in time, and a payment that comes after all."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from orchestrator.domain import decisions
from orchestrator.domain.calendar import Days
from orchestrator.domain.cancellations import Asked, cancel
from orchestrator.domain.deadlines import Action, deadlines
from orchestrator.domain.events import Event, EventType
from orchestrator.domain.intents import Intent, IntentKind, Nothing
from orchestrator.domain.policies import CancelUnpaid, Order, Policy
from orchestrator.domain.received import Received
from orchestrator.domain.reconciliation import BillingState, Entry, paid_further, payment
from orchestrator.domain.services import Lifecycle, Service
from orchestrator.domain.terms import Terms
from tests.unit.decision_words import NOW, E, L, event

TERMS = Terms(policy=Policy(name="p", provider="P", order=Order(cancel_unpaid=CancelUnpaid(clause="1", after=Days(2)))))
LATER = NOW + timedelta(days=3)
ASKED = Asked(asked_at=NOW, by="anna", why="x", confirmed=True)


def receive(given: Event, service: Service | None) -> Received:
    return decisions.receive(given, service, now=LATER, terms=TERMS)


def after(received: Received) -> Service:
    assert received.service is not None
    return received.service


def lapsed() -> Service:
    ordered = replace(after(receive(event(E.ORDER_CREATED, order_id="o1"), None)), created_at=NOW)
    (due,) = deadlines(ordered, TERMS, told={})
    assert due.action == Action.CANCEL_ORDER
    ended = after(decisions.fall_due(due, ordered, terms=TERMS, now=LATER))
    assert (ended.state, ended.lapsed_at, ended.ended_at) == (L.CANCELLED, LATER, LATER)
    return ended


@pytest.mark.parametrize("kind", [E.ORDER_PAID, E.SERVICE_CREATE])
def test_a_payment_or_a_command_to_make_it_brings_a_lapsed_order_to_life(kind: EventType) -> None:
    received = receive(event(kind), lapsed())
    assert isinstance(received.decision, Intent)
    made = after(received)
    assert (received.decision.kind, made.state) == (IntentKind.PROVISION, L.PROVISIONING)
    assert (made.lapsed_at, made.ended_at, made.payments) == (None, None, 1 if kind == E.ORDER_PAID else 0)


@pytest.mark.parametrize("kind", [E.INVOICE_PAID, E.SERVICE_RENEW])
def test_another_payment_makes_it_an_order_again_that_waits_and_does_not_lapse(kind: EventType) -> None:
    again = after(receive(event(kind, paid_until=LATER), lapsed()))
    assert (again.state, again.payments, deadlines(again, TERMS, told={})) == (L.ORDERED, 1, ())
    assert isinstance(receive(event(E.ORDER_PAID), again).decision, Intent)


def test_a_stale_renewal_counts_as_much() -> None:
    assert after(receive(event(E.SERVICE_RENEW, version=1), replace(lapsed(), version=5))).state == L.ORDERED


def test_an_operator_may_have_it_made() -> None:
    received = decisions.command(IntentKind.PROVISION, lapsed(), who="anna", why="a friend", now=LATER, arguments={}, terms=TERMS)
    assert isinstance(received.decision, Intent)


def withdrawn(how: str, service: Service) -> Service:
    match how:
        case "billing":
            return after(receive(event(E.ORDER_CANCELLED), service))
        case "customer":
            return after(receive(event(E.SERVICE_CANCEL), service))
        case "letter":
            return after(cancel(service, Asked(asked_at=LATER, by="anna", why="x"), TERMS, now=LATER))
        case _:
            kind = IntentKind.TERMINATE
            return after(decisions.command(kind, service, who="anna", why="x", now=LATER, arguments={}, terms=TERMS))


@pytest.mark.parametrize("how", ["billing", "customer", "letter", "operator"])
@pytest.mark.parametrize("first", [True, False])
def test_an_order_that_somebody_withdrew_stays_so_also_where_it_had_lapsed_before(how: str, first: bool) -> None:
    ordered = after(receive(event(E.ORDER_CREATED), None))
    over = withdrawn(how, ordered if first else lapsed())
    assert (over.state, over.lapsed_at) == (L.CANCELLED, None)
    received = receive(event(E.ORDER_PAID), over)
    assert isinstance(received.decision, Nothing)
    assert after(received).state == L.CANCELLED
    assert isinstance(receive(event(E.SERVICE_CREATE), over).decision, Nothing)


def test_of_what_is_forgotten_nothing_is_made() -> None:
    assert after(receive(event(E.ORDER_PAID), replace(lapsed(), forgotten_at=LATER))).state == L.CANCELLED


@pytest.mark.parametrize("state", [L.PROVISIONING, L.ACTIVE, L.FAILED, L.TERMINATING])
def test_what_was_made_before_it_was_paid_does_not_lapse(state: Lifecycle) -> None:
    made = Service(id="s1", client_id="c1", plan="small", state=state, created_at=NOW)
    assert [d.action for d in deadlines(made, TERMS, told={}) if d.action == Action.CANCEL_ORDER] == []


def test_a_made_service_whose_cancellation_ends_it_as_an_order_has_not_lapsed() -> None:
    failed = after(cancel(Service(id="s1", client_id="c1", plan="p", state=L.PROVISIONING), ASKED, TERMS, now=NOW))
    (due,) = deadlines(replace(failed, state=L.FAILED), TERMS, told={})
    ended = after(decisions.fall_due(due, replace(failed, state=L.FAILED), terms=TERMS, now=LATER))
    assert (ended.state, ended.lapsed_at) == (L.CANCELLED, None)


def test_billing_s_list_brings_it_to_life_unless_billing_has_put_it_behind() -> None:
    def entry(word: BillingState) -> Entry:
        return Entry(service_id="s1", paid_until=LATER, state=word)

    found = {word: paid_further(lapsed(), entry(word)) for word in BillingState}
    assert {word for word, lost in found.items() if not lost} == {BillingState.TERMINATED, BillingState.CANCELLED}
    lost = payment(lapsed(), entry(BillingState.ACTIVE), source="own list", event_id="e", now=LATER)
    assert lost.type == E.ORDER_PAID
    assert isinstance(receive(lost, lapsed()).decision, Intent)
