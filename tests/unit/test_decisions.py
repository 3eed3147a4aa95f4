"""What each event means in each state, as tables."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from orchestrator.domain.decisions import hold_reason, paid_only, receive
from orchestrator.domain.errors import Refused, WrongState
from orchestrator.domain.events import EventType
from orchestrator.domain.intents import Intent, Nothing, Refusal
from orchestrator.domain.outcomes import begin
from orchestrator.domain.services import Hold, HoldEffect, HoldReason, Lifecycle, Service
from tests.unit.decision_words import CRYPT, MONTH, NOW, E, K, L, event, hold, service


def outcome(kind: EventType, before: Service | None) -> str:
    """``state after: what is decided``, in words that fit a table."""
    given = {"password_hash": CRYPT} if kind == E.SERVICE_RESET_PASSWORD else {}
    received = receive(event(kind, **given), before, now=NOW)
    state = received.service.state.value if received.service is not None else "-"
    decision = received.decision
    what = decision.kind.value if isinstance(decision, Intent) else "nothing" if isinstance(decision, Nothing) else "refused"
    return f"{state}: {what}"


# Rows: events. Columns: no record yet, then each state; a service that is active is not suspended here.
STATES = (None, L.ORDERED, L.PROVISIONING, L.ACTIVE, L.TERMINATING, L.ARCHIVED, L.ERASED, L.CANCELLED, L.FAILED)
SAME = "same: nothing"
REFUSED = "same: refused"
TABLE: dict[EventType, tuple[str, ...]] = {
    E.ORDER_CREATED: ("ordered: nothing", SAME, SAME, SAME, SAME, SAME, SAME, SAME, SAME),
    E.ORDER_PAID: (
        *("provisioning: provision", "provisioning: provision", SAME, SAME, SAME, SAME, SAME, SAME),
        "provisioning: provision",
    ),
    E.ORDER_CANCELLED: ("cancelled: nothing", "cancelled: nothing", SAME, SAME, SAME, SAME, SAME, SAME, "cancelled: nothing"),
    E.INVOICE_OVERDUE: ("ordered: nothing", SAME, SAME, SAME, SAME, SAME, SAME, SAME, SAME),
    E.INVOICE_PAID: ("ordered: nothing", SAME, SAME, SAME, SAME, SAME, SAME, SAME, SAME),
    E.INVOICE_REFUNDED: ("ordered: nothing", SAME, SAME, SAME, SAME, SAME, SAME, SAME, SAME),
    E.TERMINATION_CONFIRMED: ("-: nothing", *[SAME] * 8),
    E.TERMINATION_REFUSED: ("-: nothing", *[SAME] * 8),
    **dict.fromkeys(
        (
            *(E.INVOICE_CHARGED_BACK, E.INVOICE_DISPUTED, E.INVOICE_DISPUTE_SETTLED, E.USAGE_TRAFFIC),
            *(E.DOMAIN_EXPIRED, E.DOMAIN_RENEWED),
        ),
        ("ordered: nothing", SAME, SAME, SAME, SAME, SAME, SAME, SAME, SAME),
    ),
    E.SERVICE_CREATE: (
        *("provisioning: provision", "provisioning: provision", SAME, SAME, SAME, SAME, SAME, SAME),
        "provisioning: provision",
    ),
    E.SERVICE_SUSPEND: (*("-: refused", REFUSED, "same: suspend", "same: suspend", REFUSED, REFUSED, REFUSED, REFUSED, REFUSED),),
    E.SERVICE_UNSUSPEND: ("-: refused", REFUSED, SAME, SAME, REFUSED, REFUSED, REFUSED, REFUSED, REFUSED),
    E.SERVICE_RENEW: ("ordered: nothing", SAME, SAME, SAME, SAME, SAME, SAME, SAME, SAME),
    E.SERVICE_CHANGE_PLAN: ("-: refused", REFUSED, REFUSED, "same: change-plan", *[REFUSED] * 5),
    E.SERVICE_RESET_PASSWORD: ("-: refused", REFUSED, REFUSED, "same: reset-password", *[REFUSED] * 5),
    E.SERVICE_SET_ACCOUNT: ("-: refused", *[REFUSED] * 8),
    E.SERVICE_REINSTALL: ("-: refused", REFUSED, REFUSED, "same: reinstall", *[REFUSED] * 5),
    E.SERVICE_TERMINATE: (
        *("-: refused", "cancelled: nothing", "same: terminate", "same: terminate", SAME, REFUSED, SAME, SAME),
        "same: terminate",
    ),
    E.SERVICE_CANCEL: ("-: refused", "cancelled: nothing", *[SAME] * 6, "cancelled: nothing"),
    E.SERVICE_KEEP: ("-: refused", *[SAME] * 4, *[REFUSED] * 3, SAME),
}


def test_the_table_has_every_event_and_every_state() -> None:
    assert set(TABLE) == set(EventType)
    assert {s for s in STATES if s is not None} == set(Lifecycle)
    assert all(len(row) == len(STATES) for row in TABLE.values())


@pytest.mark.parametrize(
    ("kind", "state", "expected"), [(k, s, x) for k, row in TABLE.items() for s, x in zip(STATES, row, strict=True)]
)
def test_every_event_in_every_state(kind: EventType, state: Lifecycle | None, expected: str) -> None:
    before = service(state) if state is not None else None
    assert outcome(kind, before) == expected.replace("same", state.value if state is not None else "-")


def test_a_paid_order_is_provisioned_once_however_often_it_is_told() -> None:
    first = receive(event(E.ORDER_PAID), None, now=NOW)
    again = receive(event(E.ORDER_PAID), first.service, now=NOW)
    assert isinstance(first.decision, Intent)
    assert first.decision.payments == 1
    assert isinstance(again.decision, Nothing)
    assert again.service is not None
    assert again.service.payments == 2


def test_a_payment_before_anybody_named_the_plan_waits_for_the_order() -> None:
    paid = receive(event(E.ORDER_PAID, plan=""), None, now=NOW)
    assert isinstance(paid.decision, Nothing)
    assert paid.service is not None
    assert paid.service.state == L.ORDERED
    created = receive(event(E.ORDER_CREATED), paid.service, now=NOW)
    assert isinstance(created.decision, Intent)
    assert created.decision.kind == K.PROVISION


@pytest.mark.parametrize("kind", [E.INVOICE_PAID, E.INVOICE_OVERDUE, E.SERVICE_RENEW])
def test_whoever_names_the_plan_of_a_paid_order_first_sets_it_going(kind: EventType) -> None:
    paid = receive(event(E.ORDER_PAID, plan=""), None, now=NOW)
    named = receive(event(kind), paid.service, now=NOW)
    assert isinstance(named.decision, Intent)
    assert named.decision.kind == K.PROVISION
    assert isinstance(receive(event(E.ORDER_CREATED), named.service, now=NOW).decision, Nothing)


def test_a_cancelled_order_is_not_set_going_by_naming_its_plan() -> None:
    paid = receive(event(E.ORDER_PAID, plan=""), None, now=NOW)
    cancelled = receive(event(E.ORDER_CANCELLED), paid.service, now=NOW)
    assert cancelled.service is not None
    assert cancelled.service.state == L.CANCELLED


def test_an_order_that_is_told_again_is_not_provisioned_by_it() -> None:
    ordered = service(L.ORDERED, payments=1)
    assert isinstance(receive(event(E.ORDER_CREATED), ordered, now=NOW).decision, Nothing)


# -- versions ----------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [0, 1, 8, 9])
@pytest.mark.parametrize("kind", [k for k in EventType if k.is_command and k != E.SERVICE_RENEW])
def test_a_stale_command_changes_nothing(kind: EventType, version: int) -> None:
    before = service(L.ACTIVE)
    received = receive(event(kind, version=version), before, now=NOW)
    assert received.service == before
    assert received.stale
    assert isinstance(received.decision, Nothing)


@pytest.mark.parametrize(("kind", "reason"), [(E.SERVICE_SUSPEND, ""), (E.SERVICE_SUSPEND, "overdue"), (E.SERVICE_TERMINATE, "")])
def test_what_was_sent_for_a_debt_before_it_was_paid_and_comes_after_the_payment_does_nothing(
    kind: EventType, reason: str
) -> None:
    paid = service(L.ACTIVE, paid_at=NOW - timedelta(minutes=5))
    for minutes, stale in ((10, True), (5, False), (1, False)):
        told = replace(event(kind, reason=reason), sent_at=NOW - timedelta(minutes=minutes))
        received = receive(told, paid, now=NOW)
        assert (received.stale, isinstance(received.decision, Intent)) == (stale, not stale)
        assert (received.service == paid) is stale
    told = replace(event(kind, reason=reason), sent_at=NOW)
    ahead = replace(paid, paid_at=NOW + timedelta(days=1))
    assert isinstance(receive(told, ahead, now=NOW).decision, Intent), "a payment that is dated ahead hides nothing"


def test_abuse_is_no_debt_that_a_payment_settles() -> None:
    paid = service(L.ACTIVE, paid_at=NOW - timedelta(minutes=5))
    told = replace(event(E.SERVICE_SUSPEND, reason="abuse"), sent_at=NOW - timedelta(minutes=10))
    assert isinstance(receive(told, paid, now=NOW).decision, Intent)


def test_a_command_that_was_carried_out_moves_the_version_and_a_refused_one_does_not() -> None:
    active = service(L.ACTIVE)
    suspended = receive(event(E.SERVICE_SUSPEND), active, now=NOW)
    refused = receive(event(E.SERVICE_SET_ACCOUNT), active, now=NOW)
    assert suspended.service is not None
    assert suspended.service.version == 10
    assert refused.service == active


def test_a_command_without_a_version_is_refused() -> None:
    assert isinstance(receive(event(E.SERVICE_TERMINATE, version=None), service(L.ACTIVE), now=NOW).decision, Refusal)


def test_the_payment_in_a_stale_renewal_counts_and_lifts_nothing() -> None:
    held = service(L.ACTIVE, HoldReason.NONPAYMENT, suspension_proven_at=NOW)
    received = receive(event(E.SERVICE_RENEW, version=3, paid_until=NOW + MONTH), held, now=NOW)
    assert received.stale
    assert received.service == replace(held, payments=2, paid_until=NOW + MONTH, paid_at=NOW)


# -- payments ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [E.ORDER_PAID, E.INVOICE_PAID, E.SERVICE_RENEW])
@pytest.mark.parametrize(
    ("reasons", "left", "resumes"),
    [
        ((HoldReason.NONPAYMENT,), (), True),
        ((HoldReason.NONPAYMENT, HoldReason.ABUSE), (HoldReason.ABUSE,), False),
        ((HoldReason.ABUSE,), (HoldReason.ABUSE,), False),
        ((HoldReason.MANUAL,), (HoldReason.MANUAL,), False),
        ((HoldReason.NONPAYMENT, HoldReason.LEGAL), (HoldReason.LEGAL,), False),
    ],
)
def test_paying_lifts_nonpayment_and_nothing_else(
    kind: EventType, reasons: tuple[HoldReason, ...], left: tuple[HoldReason, ...], resumes: bool
) -> None:
    received = receive(event(kind), service(L.ACTIVE, *reasons, suspension_proven_at=NOW), now=NOW)
    assert received.service is not None
    assert tuple(h.reason for h in received.service.holds) == left
    assert isinstance(received.decision, Intent) is resumes


@pytest.mark.parametrize("kind", [E.ORDER_PAID, E.INVOICE_PAID, E.SERVICE_RENEW])
def test_paying_lifts_nonpayment_also_where_it_limits(kind: EventType) -> None:
    debt, abuse = hold(HoldReason.NONPAYMENT, HoldEffect.LIMIT), hold(HoldReason.ABUSE, HoldEffect.LIMIT)
    alone = receive(event(kind), service(L.ACTIVE, holds=(debt,), limited_proven_at=NOW), now=NOW)
    assert isinstance(alone.decision, Intent)
    assert (alone.decision.kind, alone.service and alone.service.holds) == (K.UNLIMIT, ())
    both = receive(event(kind), service(L.ACTIVE, holds=(debt, abuse), limited_proven_at=NOW), now=NOW)
    assert isinstance(both.decision, Nothing)
    assert both.service is not None
    assert both.service.holds == (abuse,)


def test_paying_for_a_suspended_service_that_is_limited_for_something_else_ends_the_suspension_first() -> None:
    abuse = hold(HoldReason.ABUSE, HoldEffect.LIMIT)
    before = service(L.ACTIVE, holds=(hold(HoldReason.NONPAYMENT), abuse), suspension_proven_at=NOW, limited_proven_at=NOW)
    received = receive(event(E.INVOICE_PAID), before, now=NOW)
    assert isinstance(received.decision, Intent)
    assert (received.decision.kind, received.service and received.service.holds) == (K.UNSUSPEND, (abuse,))
    stopped = service(
        L.ACTIVE, holds=(hold(HoldReason.ABUSE), hold(HoldReason.NONPAYMENT, HoldEffect.LIMIT)), limited_proven_at=NOW
    )
    assert isinstance(receive(event(E.INVOICE_PAID), stopped, now=NOW).decision, Nothing)


def test_a_debt_that_limits_a_service_suspends_it_when_billing_says_so() -> None:
    limited = service(L.ACTIVE, holds=(hold(HoldReason.NONPAYMENT, HoldEffect.LIMIT),), limited_proven_at=NOW)
    received = receive(event(E.SERVICE_SUSPEND), limited, now=NOW)
    assert isinstance(received.decision, Intent)
    assert received.service is not None
    assert received.service.stopped


def test_a_paid_order_lifts_nonpayment_and_nothing_else_also_where_provisioning_failed() -> None:
    received = receive(event(E.ORDER_PAID), service(L.FAILED, HoldReason.NONPAYMENT, HoldReason.ABUSE), now=NOW)
    assert received.service is not None
    assert received.service.state == L.PROVISIONING
    assert [h.reason for h in received.service.holds] == [HoldReason.ABUSE]


def test_a_payment_while_the_suspension_still_runs_resumes_after_it() -> None:
    received = receive(event(E.INVOICE_PAID), service(L.ACTIVE, HoldReason.NONPAYMENT), now=NOW)
    assert isinstance(received.decision, Intent)
    assert received.decision.kind == K.UNSUSPEND


def test_a_payment_while_terminating_counts_for_the_fence_and_resumes_a_suspended_guest() -> None:
    quiet = receive(event(E.INVOICE_PAID), service(L.TERMINATING), now=NOW)
    assert quiet.service is not None
    assert quiet.service.payments == 2
    assert "stops the termination" in quiet.note
    held = receive(event(E.INVOICE_PAID), service(L.TERMINATING, HoldReason.NONPAYMENT, suspension_proven_at=NOW), now=NOW)
    assert isinstance(held.decision, Intent)
    assert held.decision.kind == K.UNSUSPEND


@pytest.mark.parametrize("kind", [E.ORDER_PAID, E.INVOICE_PAID, E.SERVICE_RENEW])
@pytest.mark.parametrize(
    "gone",
    [
        service(L.TERMINATING, point_of_no_return=NOW),
        service(L.TERMINATING, HoldReason.NONPAYMENT, point_of_no_return=NOW),
        service(L.ARCHIVED),
        service(L.ERASED),
        service(L.CANCELLED),
    ],
)
def test_a_payment_past_the_point_of_no_return_is_counted_and_called_too_late(kind: EventType, gone: Service) -> None:
    received = receive(event(kind), gone, now=NOW)
    assert received.service is not None
    assert received.service.payments == gone.payments + 1
    assert received.service.state == gone.state
    assert received.note.startswith("too late")
    assert isinstance(received.decision, Nothing)


def test_paid_until_moves_back_only_by_a_refund() -> None:
    paid = service(L.ACTIVE, paid_until=NOW + MONTH)
    earlier = receive(event(E.INVOICE_PAID, paid_until=NOW), paid, now=NOW).service
    refunded = receive(event(E.INVOICE_REFUNDED, paid_until=NOW), paid, now=NOW).service
    unsaid = receive(event(E.INVOICE_REFUNDED), paid, now=NOW).service
    assert earlier is not None
    assert refunded is not None
    assert earlier.paid_until == NOW + MONTH
    assert refunded.paid_until == NOW
    assert unsaid == paid


def test_what_may_log_in_is_not_noted_of_an_erased_service() -> None:
    received = receive(event(E.ORDER_CREATED, ssh_keys=("ssh-ed25519 AAAA",)), service(L.ERASED), now=NOW)
    assert received.service is not None
    assert received.service.ssh_keys == ()


# -- suspending and terminating -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("", HoldReason.NONPAYMENT),
        ("Overdue on Payment", HoldReason.NONPAYMENT),
        ("non-payment", HoldReason.NONPAYMENT),
        ("abuse", HoldReason.ABUSE),
        ("LEGAL", HoldReason.LEGAL),
        ("the neighbour complained", HoldReason.MANUAL),
    ],
)
def test_the_reason_of_a_suspension_names_its_hold(word: str, reason: HoldReason) -> None:
    received = receive(event(E.SERVICE_SUSPEND, reason=word), service(L.ACTIVE), now=NOW)
    assert received.service is not None
    assert [h.reason for h in received.service.holds] == [reason]
    assert isinstance(received.decision, Intent)
    assert received.decision.arguments == {"reason": reason.value, "holds": [reason.value], "adds": True}
    assert hold_reason(word, default=HoldReason.NONPAYMENT) == reason


def test_a_second_hold_on_a_proven_suspension_is_noted_and_starts_no_job() -> None:
    held = service(L.ACTIVE, HoldReason.NONPAYMENT, suspension_proven_at=NOW)
    received = receive(event(E.SERVICE_SUSPEND, reason="abuse"), held, now=NOW)
    assert received.service is not None
    assert {h.reason for h in received.service.holds} == {HoldReason.NONPAYMENT, HoldReason.ABUSE}
    assert isinstance(received.decision, Nothing)


def test_a_suspension_that_never_took_effect_is_tried_again() -> None:
    received = receive(event(E.SERVICE_SUSPEND), service(L.ACTIVE, HoldReason.NONPAYMENT), now=NOW)
    assert isinstance(received.decision, Intent)


@pytest.mark.parametrize(
    ("reasons", "word", "expected"),
    [
        ((HoldReason.NONPAYMENT,), "", "unsuspend"),
        ((HoldReason.NONPAYMENT, HoldReason.ABUSE), "", "nothing"),
        ((HoldReason.NONPAYMENT, HoldReason.ABUSE), "abuse", "nothing"),
        ((HoldReason.ABUSE,), "", "refused"),
        ((HoldReason.ABUSE,), "abuse", "unsuspend"),
        ((), "", "nothing"),
    ],
)
def test_unsuspending_lifts_the_hold_it_names_and_resumes_when_nothing_else_stops(
    reasons: tuple[HoldReason, ...], word: str, expected: str
) -> None:
    proven = NOW if reasons else None
    received = receive(event(E.SERVICE_UNSUSPEND, reason=word), service(L.ACTIVE, *reasons, suspension_proven_at=proven), now=NOW)
    decision = received.decision
    found = decision.kind.value if isinstance(decision, Intent) else "nothing" if isinstance(decision, Nothing) else "refused"
    assert found == expected


def test_an_unsuspension_that_failed_is_tried_again() -> None:
    left_behind = service(L.ACTIVE, suspension_proven_at=NOW)
    assert isinstance(receive(event(E.SERVICE_UNSUSPEND), left_behind, now=NOW).decision, Intent)


@pytest.mark.parametrize(
    "protection", [hold(HoldReason.LEGAL), hold(HoldReason.LEGAL, HoldEffect.NONE), hold(HoldReason.DISPUTE, HoldEffect.NO_ERASE)]
)
@pytest.mark.parametrize("state", [L.ORDERED, L.PROVISIONING, L.ACTIVE, L.FAILED])
def test_nothing_is_terminated_against_a_hold_that_forbids_erasing(state: Lifecycle, protection: Hold) -> None:
    before = replace(service(state), holds=(protection,))
    received = receive(event(E.SERVICE_TERMINATE), before, now=NOW)
    assert isinstance(received.decision, Refusal)
    assert received.service == before
    with pytest.raises((Refused, WrongState)):
        begin(before, K.TERMINATE)


# -- events that cannot be processed ----------------------------------------------------------------


@pytest.mark.parametrize("kind", list(EventType))
def test_of_an_event_that_cannot_be_processed_only_the_payment_counts_and_that_once(kind: EventType) -> None:
    before = service(L.ACTIVE, HoldReason.NONPAYMENT, plan="")
    dead = event(kind, plan="unknown", paid_until=NOW + MONTH)
    kept = paid_only(dead, before, now=NOW)
    pays = kind in (E.ORDER_PAID, E.INVOICE_PAID, E.SERVICE_RENEW)
    assert kept == (replace(before, payments=2, paid_until=NOW + MONTH, paid_at=NOW) if pays else before)
    replayed = receive(dead, kept, now=NOW, counted=True).service
    assert replayed is not None
    assert replayed.payments == kept.payments


def test_a_payment_for_what_is_not_known_makes_a_record_that_waits_for_its_order() -> None:
    kept = paid_only(event(E.ORDER_PAID, plan="unknown", order_id="o1"), None, now=NOW)
    assert kept is not None
    assert (kept.state, kept.plan, kept.order_id, kept.payments) == (L.ORDERED, "", "o1", 1)
    assert paid_only(event(E.SERVICE_CREATE), None, now=NOW) is None


@pytest.mark.parametrize("kind", [k for k in EventType if k.is_command and k != E.SERVICE_RENEW])
def test_a_stale_command_for_an_unknown_service_makes_no_record(kind: EventType) -> None:
    assert receive(event(kind, version=0), None, now=NOW).service is None
