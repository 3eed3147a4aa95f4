"""Billing's list against our records: which difference is told, which is mended, and what no list ever does."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain.decisions import Received, receive
from orchestrator.domain.events import EventType
from orchestrator.domain.intents import Intent, IntentKind
from orchestrator.domain.reconciliation import BillingState, Entry, Kind, compare, differences, paid_further, payment, uncovered
from orchestrator.domain.services import Hold, HoldEffect, HoldReason, Lifecycle, Service

NOW = datetime(2026, 11, 20, tzinfo=UTC)
DAY = timedelta(days=1)
JAN = datetime(2027, 1, 1, tzinfo=UTC)
FEB = datetime(2027, 2, 1, tzinfo=UTC)


def hold(reason: HoldReason = HoldReason.NONPAYMENT, effect: HoldEffect = HoldEffect.STOP) -> Hold:
    return Hold(reason=reason, effect=effect, by="billing", why="", since=NOW)


def ours(state: Lifecycle = Lifecycle.ACTIVE, paid_until: datetime | None = JAN, *holds: Hold, service_id: str = "s1") -> Service:
    return Service(id=service_id, client_id="c1", plan="small", state=state, paid_until=paid_until, holds=holds)


def theirs(state: BillingState = BillingState.ACTIVE, paid_until: datetime | None = JAN, *, service_id: str = "s1") -> Entry:
    return Entry(service_id=service_id, paid_until=paid_until, state=state)


def kinds(service: Service | None, entry: Entry | None) -> list[Kind]:
    return [one.kind for one in differences(service, entry)]


@pytest.mark.parametrize(
    ("known", "listed", "kind"),
    [
        (None, None, []),
        (JAN, JAN, []),
        (None, JAN, [Kind.PAID_FURTHER]),
        (JAN, FEB, [Kind.PAID_FURTHER]),
        (FEB, JAN, [Kind.PAID_LESS]),
        (JAN, None, [Kind.PAID_LESS]),
    ],
)
def test_until_when_it_is_paid(known: datetime | None, listed: datetime | None, kind: list[Kind]) -> None:
    assert kinds(ours(paid_until=known), theirs(paid_until=listed)) == kind


AGREED = {
    (Lifecycle.ORDERED, "pending"),
    (Lifecycle.PROVISIONING, "pending"),
    (Lifecycle.FAILED, "pending"),
    (Lifecycle.PROVISIONING, "active"),
    (Lifecycle.ACTIVE, "active"),
    *((state, word) for state in ("terminating", "archived", "erased", "cancelled") for word in ("terminated", "cancelled")),
}


@pytest.mark.parametrize("state", list(Lifecycle))
@pytest.mark.parametrize("word", list(BillingState))
def test_the_states_that_agree(state: Lifecycle, word: BillingState) -> None:
    assert kinds(ours(state), theirs(word)) == ([] if (state, word) in AGREED else [Kind.STATE])


@pytest.mark.parametrize(
    ("holds", "word", "agrees"),
    [
        ([hold()], "suspended", True),
        ([hold(HoldReason.ABUSE)], "suspended", True),
        ([hold()], "active", False),
        ([], "suspended", False),
        ([hold(HoldReason.DISPUTE, HoldEffect.NO_ERASE)], "active", True),
    ],
)
def test_suspended_is_what_a_hold_stops(holds: list[Hold], word: str, agrees: bool) -> None:
    found = differences(ours(Lifecycle.ACTIVE, JAN, *holds), theirs(BillingState(word)))
    assert [one.kind for one in found] == ([] if agrees else [Kind.STATE])


def test_a_difference_names_both_sides() -> None:
    further, state = differences(ours(Lifecycle.ACTIVE, JAN, hold()), theirs(BillingState.TERMINATED, FEB))
    assert (further.ours, further.theirs) == (JAN.isoformat(), FEB.isoformat())
    assert (state.ours, state.theirs) == ("active, suspended", "terminated")
    assert (further.mends, state.mends) == (True, False)


@pytest.mark.parametrize("state", list(Lifecycle))
def test_a_service_that_the_list_lacks_is_told_while_there_is_something_to_lose(state: Lifecycle) -> None:
    over = state in (Lifecycle.ERASED, Lifecycle.CANCELLED)
    assert kinds(ours(state), None) == ([] if over else [Kind.NOT_IN_LIST])


@pytest.mark.parametrize("word", list(BillingState))
def test_a_service_that_only_billing_has_is_told_unless_it_is_closed_there(word: BillingState) -> None:
    closed = word in (BillingState.TERMINATED, BillingState.CANCELLED)
    assert kinds(None, theirs(word)) == ([] if closed else [Kind.UNKNOWN_HERE])


def test_what_is_over_on_both_sides_is_no_difference_whatever_was_paid() -> None:
    assert kinds(ours(Lifecycle.ERASED, FEB), theirs(BillingState.TERMINATED, None)) == []
    assert kinds(ours(Lifecycle.ERASED, FEB), theirs(BillingState.ACTIVE, None)) == [Kind.PAID_LESS, Kind.STATE]


def test_the_whole_comparison_has_what_is_mended_first() -> None:
    services = [ours(service_id="a"), ours(service_id="gone"), ours(service_id="z", paid_until=None)]
    found = compare(services, [theirs(service_id="z"), theirs(service_id="new"), theirs(BillingState.SUSPENDED, service_id="a")])
    assert [(one.kind, one.service_id) for one in found] == [
        (Kind.PAID_FURTHER, "z"),
        (Kind.STATE, "a"),
        (Kind.UNKNOWN_HERE, "new"),
        (Kind.NOT_IN_LIST, "gone"),
    ]
    assert uncovered(found) == 1


def mended(service: Service, entry: Entry) -> Received:
    event = payment(service, entry, source="list", event_id="digest.s1", now=NOW)
    return receive(event, service, now=NOW)


def test_a_suspended_service_that_is_paid_further_runs_again() -> None:
    received = mended(ours(Lifecycle.ACTIVE, JAN, hold()), theirs(BillingState.ACTIVE, FEB))
    assert received.service is not None
    assert (received.service.holds, received.service.paid_until, received.service.payments) == ((), FEB, 1)
    assert isinstance(received.decision, Intent)
    assert (received.decision.kind, received.decision.reason) == (IntentKind.UNSUSPEND, "paid, as billing's list says")


def test_other_holds_stay() -> None:
    received = mended(ours(Lifecycle.ACTIVE, JAN, hold(), hold(HoldReason.ABUSE)), theirs(BillingState.ACTIVE, FEB))
    assert received.service is not None
    assert received.service.stop_reasons == ["abuse"]
    assert not isinstance(received.decision, Intent)


@pytest.mark.parametrize(
    ("state", "word", "kind"),
    [
        (Lifecycle.ORDERED, BillingState.ACTIVE, EventType.ORDER_PAID),
        (Lifecycle.ORDERED, BillingState.PENDING, EventType.INVOICE_PAID),
        (Lifecycle.ACTIVE, BillingState.ACTIVE, EventType.INVOICE_PAID),
        (Lifecycle.FAILED, BillingState.ACTIVE, EventType.INVOICE_PAID),
    ],
)
def test_an_order_that_billing_calls_active_is_made(state: Lifecycle, word: BillingState, kind: EventType) -> None:
    service, entry = ours(state, None), theirs(word, FEB)
    assert payment(service, entry, source="list", event_id="x", now=NOW).type == kind
    wanted = IntentKind.PROVISION if kind == EventType.ORDER_PAID else None
    decision = mended(service, entry).decision
    assert (decision.kind if isinstance(decision, Intent) else None) == wanted


moments = st.none() | st.integers(0, 60).map(lambda days: NOW + days * DAY)
holds = st.lists(
    st.builds(hold, st.sampled_from(HoldReason), st.sampled_from(HoldEffect)), max_size=3, unique_by=lambda one: one.reason
)
records = st.builds(
    lambda state, paid_until, standing, count, proven, destroyed: Service(
        id="s1",
        client_id="c1",
        plan="small",
        state=state,
        paid_until=paid_until,
        holds=tuple(standing),
        payments=count,
        suspension_proven_at=proven,
        point_of_no_return=destroyed,
    ),
    st.sampled_from(Lifecycle),
    moments,
    holds,
    st.integers(0, 3),
    moments,
    moments,
)
rows = st.builds(lambda state, paid_until: theirs(state, paid_until), st.sampled_from(BillingState), moments)


@given(service=records, entry=rows)
def test_mending_counts_one_payment_moves_nothing_back_destroys_nothing_and_is_done_once(service: Service, entry: Entry) -> None:
    if not paid_further(service, entry):
        assert not any(one.mends for one in differences(service, entry))
        return
    received = mended(service, entry)
    after = received.service
    assert after is not None
    assert after.payments == service.payments + 1, "what was decided before is behind the fence"
    assert after.paid_until == entry.paid_until
    assert service.paid_until is None or (after.paid_until is not None and after.paid_until > service.paid_until)
    if isinstance(received.decision, Intent):
        assert received.decision.kind in (IntentKind.UNSUSPEND, IntentKind.UNLIMIT, IntentKind.PROVISION)
        assert received.decision.payments == after.payments
    assert after.state in (service.state, Lifecycle.PROVISIONING)
    assert set(after.holds) <= set(service.holds)
    assert {one.reason for one in set(service.holds) - set(after.holds)} <= {HoldReason.NONPAYMENT}
    assert not any(one.mends for one in differences(after, entry)), "a second time there is nothing to mend"
