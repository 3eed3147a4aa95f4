"""What holds for all events in any order."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.domain.decisions import receive
from orchestrator.domain.events import Event, EventType
from orchestrator.domain.intents import Intent
from orchestrator.domain.services import HoldReason, Lifecycle, Service
from tests.unit.decision_words import NOW, E, K, L, event, service

times = st.datetimes(datetime(2026, 1, 1), datetime(2028, 1, 1)).map(lambda t: t.replace(tzinfo=UTC))  # noqa: DTZ001
descriptions = st.fixed_dictionaries(
    {},
    optional={"plan": st.just("small"), "order_id": st.just("o1"), "hostname": st.just("a.example"), "client_id": st.just("c1")},
)


@st.composite
def facts(draw: st.DrawFn) -> Event:
    """A fact that says the same wherever it says anything. No refund: money given back after a payment is the later word."""
    kind = draw(st.sampled_from([E.ORDER_CREATED, E.ORDER_PAID, E.INVOICE_PAID, E.INVOICE_OVERDUE]))
    known = {"plan": "", "client_id": "", **draw(descriptions)}
    return event(kind, **known, due_at=draw(st.none() | times), paid_until=draw(st.none() | times))


def told(events: list[Event]) -> tuple[Service | None, list[Intent]]:
    record: Service | None = None
    intents = []
    for each in events:
        received = receive(each, record, now=NOW)
        record = received.service
        if isinstance(received.decision, Intent):
            intents.append(received.decision)
    return record, intents


@given(st.lists(facts(), min_size=1, max_size=8).flatmap(lambda events: st.tuples(st.just(events), st.permutations(events))))
def test_facts_in_any_order_make_the_same_record(orders: tuple[list[Event], list[Event]]) -> None:
    (one, _), (other, _) = told(orders[0]), told(orders[1])
    assert one is not None
    assert other is not None
    assert replace(one, state=L.ORDERED) == replace(other, state=L.ORDERED)


@given(st.lists(facts(), min_size=1, max_size=8), st.data())
def test_a_fact_told_twice_changes_nothing_but_the_count_of_payments(events: list[Event], data: st.DataObject) -> None:
    again = data.draw(st.sampled_from(events))
    (once, _), (twice, _) = told(events), told([*events, again])
    assert once is not None
    assert twice is not None
    assert twice.payments >= once.payments
    assert replace(twice, payments=0, state=L.ORDERED) == replace(once, payments=0, state=L.ORDERED)


@settings(max_examples=400)
@given(st.lists(facts(), max_size=6), st.permutations([0, 1]))
def test_a_paid_and_named_order_is_provisioned_exactly_once_in_any_order(others: list[Event], order: list[int]) -> None:
    pair = [event(E.ORDER_CREATED), event(E.ORDER_PAID, plan="")]
    record, intents = told([pair[order[0]], *others, pair[order[1]]])
    assert record is not None
    assert record.state == L.PROVISIONING
    assert [i.kind for i in intents] == [K.PROVISION]


@given(
    st.lists(facts() | st.builds(lambda t: event(E.INVOICE_REFUNDED, paid_until=t), st.none() | times), max_size=8),
    st.sampled_from(list(L)),
)
def test_facts_alone_never_suspend_or_terminate(events: list[Event], state: Lifecycle) -> None:
    record: Service | None = service(state, HoldReason.NONPAYMENT)
    for each in events:
        received = receive(each, record, now=NOW)
        record = received.service
        assert not (isinstance(received.decision, Intent) and received.decision.kind.destructive)


@given(st.lists(st.sampled_from(list(EventType)), max_size=12), st.lists(st.integers(1, 12), min_size=12, max_size=12))
def test_payments_and_versions_only_grow(kinds: list[EventType], versions: list[int]) -> None:
    record: Service | None = service(L.ACTIVE, version=0)
    for kind, version in zip(kinds, versions, strict=False):
        before = record
        values = {"version": version} if kind.is_command else {}
        record = receive(event(kind, **values), before, now=NOW).service
        assert before is not None
        assert record is not None
        assert record.payments >= before.payments
        assert record.version >= before.version


@given(
    st.lists(st.sampled_from(list(EventType)), min_size=1, max_size=12),
    st.sampled_from([state for state in L if state != L.TERMINATING]),
)
def test_no_decision_moves_a_service_to_terminating_before_its_job_begins(kinds: list[EventType], state: Lifecycle) -> None:
    record: Service | None = service(state, version=0)
    for number, kind in enumerate(kinds, start=1):
        values = {"version": number} if kind.is_command else {}
        record = receive(event(kind, **values), record, now=NOW).service
        assert record is not None
        assert record.state != L.TERMINATING
