"""What falls due, as tables: the order of acts, what moves them, and what stands in their way."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from orchestrator.domain.calendar import Calendar, DayKind, Days
from orchestrator.domain.deadlines import Action, Deadline, deadlines, next_due, pending, unpaid_since
from orchestrator.domain.policies import (
    SILENT,
    CancelUnpaid,
    Notices,
    Order,
    Overdue,
    Policy,
    Suspend,
    Terminate,
    TerminateSince,
)
from orchestrator.domain.services import DisputedInvoice, Hold, HoldEffect, HoldReason, Lifecycle, Refund, Service
from orchestrator.domain.terms import Terms

CALENDAR = Calendar(ZoneInfo("Asia/Jakarta"))
DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
DUE = datetime(2026, 3, 10, 5, 0, tzinfo=UTC)
FIRST = f"{DUE.isoformat()}/0-0"  # the occurrence of a debt before anything was paid or given back
SERVICE = Service(id="s1", client_id="c1", plan="p", state=Lifecycle.ACTIVE, due_at=DUE, created_at=DUE - 40 * DAY)
POLICY = Policy(
    name="p",
    provider="P",
    order=Order(cancel_unpaid=CancelUnpaid(clause="1", after=Days(2))),
    overdue=Overdue(
        suspend=Suspend(clause="2", after=Days(2)),
        terminate=Terminate(clause="3", after=Days(7), since=TerminateSince.SUSPENSION),
    ),
)


def hold(reason: HoldReason = HoldReason.NONPAYMENT, *, since: datetime = DUE + 2 * DAY) -> Hold:
    effect = HoldEffect.NONE if reason == HoldReason.DISPUTE else HoldEffect.STOP
    return Hold(reason=reason, effect=effect, by="test", why="", since=since)


def suspended(proven: datetime | None = DUE + 2 * DAY) -> Service:
    return replace(SERVICE, holds=(hold(),), suspension_proven_at=proven)


def found(service: Service, policy: Policy = POLICY, **told: datetime) -> dict[str, datetime]:
    return {d.action.value: d.at for d in all_of(service, policy, **told)}


def all_of(service: Service, policy: Policy = POLICY, **told: datetime) -> tuple[Deadline, ...]:
    known = {(Action(action.replace("_", "-")), FIRST): when for action, when in told.items()}
    return deadlines(service, Terms(policy=policy, calendar=CALENDAR), told=known)


def since(base: TerminateSince, days: int = 7, **options: object) -> Policy:
    rule = Terminate(clause="3", after=Days(days), since=base, **options)  # type: ignore[arg-type] # options are the rule's own
    return replace(POLICY, overdue=replace(POLICY.overdue, terminate=rule))


# -- which moment counts ------------------------------------------------------------


@pytest.mark.parametrize(
    ("due", "paid", "wanted"),
    [
        (None, None, None),
        (DUE, None, DUE),
        (None, DUE, DUE),
        (DUE, DUE - DAY, DUE),
        (DUE, DUE, DUE),
        (DUE, DUE + 30 * DAY, DUE + 30 * DAY),
    ],
)
def test_unpaid_begins_where_neither_the_due_date_nor_a_payment_covers(
    due: datetime | None, paid: datetime | None, wanted: datetime | None
) -> None:
    assert unpaid_since(replace(SERVICE, due_at=due, paid_until=paid)) == wanted


@pytest.mark.parametrize(
    ("due", "overdue_said", "paid_until", "paid_said", "wanted"),
    [
        # Paid without a date after it was said to be overdue: settled, until billing says so again.
        (DUE, DUE + HOUR, None, DUE + 2 * HOUR, None),
        (DUE, DUE + HOUR, DUE, DUE + 2 * HOUR, None),
        (DUE, DUE + 3 * HOUR, DUE, DUE + 2 * HOUR, DUE),
        # Paid afterwards for a period that is over: what comes next is for billing to say.
        (DUE, DUE + HOUR, DUE - 9 * DAY, DUE + 2 * HOUR, None),
        # Paid ahead: late when that ends.
        (DUE, DUE + HOUR, DUE + 30 * DAY, DUE + 2 * HOUR, DUE + 30 * DAY),
        (None, None, DUE, DUE - 30 * DAY, DUE),
        (None, None, None, DUE, None),
    ],
)
def test_a_payment_settles_what_was_overdue_when_it_was_said(
    due: datetime | None,
    overdue_said: datetime | None,
    paid_until: datetime | None,
    paid_said: datetime,
    wanted: datetime | None,
) -> None:
    said = replace(SERVICE, due_at=due, overdue_at=overdue_said, paid_until=paid_until, paid_at=paid_said)
    assert unpaid_since(said) == wanted


# -- nonpayment ------------------------------------------------------------


def test_a_silent_policy_does_nothing() -> None:
    for state in Lifecycle:
        assert all_of(replace(SERVICE, state=state), SILENT) == ()


def test_day_two_suspends_and_nothing_is_terminated_before_the_suspension_is_proven() -> None:
    assert found(SERVICE) == {"suspend": DUE + 2 * DAY}


def test_a_hold_that_is_not_proven_to_be_in_force_leaves_the_suspension_due() -> None:
    assert found(suspended(proven=None)) == {"suspend": DUE + 2 * DAY}


def test_day_nine_is_seven_days_after_the_proven_suspension() -> None:
    late = DUE + 4 * DAY
    assert found(suspended(late)) == {"terminate": late + 7 * DAY}


def test_counted_from_the_due_date_it_waits_for_the_proof_all_the_same() -> None:
    policy = since(TerminateSince.DUE, 9)
    (suspend, terminate) = all_of(SERVICE, policy)
    assert (suspend.action, terminate.action) == (Action.SUSPEND, Action.TERMINATE)
    assert (terminate.at, terminate.waits) == (DUE + 9 * DAY, "its suspension is not proven to be in force")
    (terminate,) = all_of(suspended(), policy)
    assert (terminate.at, terminate.waits) == (DUE + 9 * DAY, "")


def test_where_the_text_knows_no_suspension_nothing_waits_for_one() -> None:
    policy = replace(since(TerminateSince.DUE, 15), overdue=replace(since(TerminateSince.DUE, 15).overdue, suspend=None))
    (terminate,) = all_of(SERVICE, policy)
    assert (terminate.action, terminate.at, terminate.waits) == (Action.TERMINATE, DUE + 15 * DAY, "")


def test_a_suspension_for_something_else_does_not_count_towards_nonpayment() -> None:
    earlier = DUE - 30 * DAY
    abused = replace(SERVICE, holds=(hold(HoldReason.ABUSE, since=earlier),), suspension_proven_at=earlier)
    assert found(abused) == {"suspend": DUE + 2 * DAY}
    both = replace(abused, holds=(*abused.holds, hold(since=DUE + 2 * DAY)))
    assert found(both) == {"terminate": DUE + 9 * DAY}


def test_a_debt_that_only_limits_is_no_suspension_for_nonpayment_whatever_else_stops_the_service() -> None:
    debt = replace(hold(since=DUE + 2 * DAY), effect=HoldEffect.LIMIT)
    abused = replace(SERVICE, holds=(hold(HoldReason.ABUSE, since=DUE), debt), suspension_proven_at=DUE, limited_proven_at=DUE)
    assert found(abused) == {"suspend": DUE + 2 * DAY}


def test_a_payment_moves_everything_to_its_end() -> None:
    paid = replace(SERVICE, paid_until=DUE + 30 * DAY)
    assert found(paid) == {"suspend": DUE + 32 * DAY}


def test_a_dispute_stops_the_clock_and_the_time_it_took_is_not_counted() -> None:
    disputed = replace(SERVICE, holds=(hold(HoldReason.DISPUTE),))
    assert found(disputed) == {}
    lost = DisputedInvoice(invoice_id="i1", raised_at=DUE + DAY, settled_at=DUE + 6 * DAY)
    assert found(replace(SERVICE, disputes=(lost,))) == {"suspend": DUE + 7 * DAY}


def test_a_legal_hold_stops_the_termination_and_says_so() -> None:
    held = replace(suspended(), holds=(hold(), hold(HoldReason.LEGAL)))
    (terminate,) = all_of(held)
    assert terminate.waits == "a hold forbids erasing"


@pytest.mark.parametrize("state", [s for s in Lifecycle if s != Lifecycle.ACTIVE])
def test_only_an_active_service_is_late(state: Lifecycle) -> None:
    assert "suspend" not in found(replace(SERVICE, state=state))


def test_business_days_are_counted_as_such() -> None:
    policy = replace(POLICY, overdue=Overdue(suspend=Suspend(clause="2", after=Days(2, DayKind.BUSINESS))))
    friday = datetime(2026, 3, 13, 5, 0, tzinfo=UTC)
    assert found(replace(SERVICE, due_at=friday), policy) == {"suspend": friday + 4 * DAY}


def test_may_is_handed_on() -> None:
    policy = replace(POLICY, overdue=Overdue(suspend=Suspend(clause="7.3.16", after=Days(0), asks=True)))
    (suspend,) = all_of(SERVICE, policy)
    assert (suspend.asks, suspend.clause, suspend.at) == (True, "7.3.16", DUE)


def test_who_paid_ahead_is_not_terminated_whatever_hold_stands() -> None:
    paid = replace(suspended(DUE - 20 * DAY), paid_until=DUE + 30 * DAY)
    for base in (TerminateSince.SUSPENSION, TerminateSince.DUE):
        assert found(paid, since(base))["terminate"] >= DUE + 32 * DAY
    policy = since(TerminateSince.SUSPENSION)
    assert found(paid, replace(policy, overdue=replace(policy.overdue, suspend=None)))["terminate"] >= DUE + 30 * DAY


def test_a_debt_that_comes_back_by_a_refund_is_another_one() -> None:
    (first,) = all_of(SERVICE)
    (again,) = all_of(replace(SERVICE, payments=1, refunds=(Refund("i1", DUE),)))
    assert (first.action, first.at) == (again.action, again.at)
    assert first.occurrence != again.occurrence


# -- notices ------------------------------------------------------------


def test_the_notice_goes_out_before_and_the_termination_waits_until_billing_took_it() -> None:
    policy = since(TerminateSince.SUSPENSION, 7, notice=Days(3))
    notice, terminate = all_of(suspended(), policy)
    assert (notice.action, notice.at) == (Action.NOTICE_TERMINATE, DUE + 6 * DAY)
    assert (terminate.at, terminate.waits) == (DUE + 9 * DAY, "no notice of it has been taken by billing")


@pytest.mark.parametrize(("taken", "wanted"), [(6, 9), (5, 9), (8, 11), (20, 23)])
def test_no_notice_is_shorter_than_promised(taken: int, wanted: int) -> None:
    policy = since(TerminateSince.SUSPENSION, 7, notice=Days(3))
    (terminate,) = all_of(suspended(), policy, notice_terminate=DUE + taken * DAY)
    assert (terminate.at, terminate.waits) == (DUE + wanted * DAY, "")


def test_each_reminder_comes_once_for_each_due_date() -> None:
    notices = Notices(clause="r", before_suspend=(Days(1), Days(2)), before_terminate=(Days(2),))
    policy = replace(POLICY, notices=notices)
    reminders = [d for d in all_of(SERVICE, policy) if d.action == Action.REMIND_SUSPEND]
    assert [d.at for d in reminders] == [DUE, DUE + DAY]
    assert len({d.occurrence for d in reminders}) == 2
    again = all_of(replace(SERVICE, due_at=DUE + 30 * DAY), policy)
    assert not {d.occurrence for d in reminders} & {d.occurrence for d in again}
    assert found(suspended(), policy)["remind-terminate"] == DUE + 7 * DAY


# -- orders ------------------------------------------------------------


def test_an_order_is_cancelled_when_nobody_paid_it_in_time() -> None:
    ordered = replace(SERVICE, state=Lifecycle.ORDERED, due_at=None)
    assert found(ordered) == {"cancel-order": DUE - 38 * DAY}
    assert found(replace(ordered, payments=1)) == {}


# -- what is looked at when ------------------------------------------------------------


def test_what_was_seen_to_is_not_pending() -> None:
    every = all_of(SERVICE)
    assert pending(every, frozenset()) == every
    assert pending(every, frozenset({(Action.SUSPEND, FIRST)})) == ()
    assert pending(every, frozenset({(Action.SUSPEND, "another")})) == every


def test_the_next_look_is_at_the_next_deadline_and_soon_again_where_one_waits() -> None:
    again = timedelta(minutes=10)
    assert next_due((), now=DUE, again=again) is None
    assert next_due(all_of(SERVICE), now=DUE, again=again) == DUE + 2 * DAY
    assert next_due(all_of(SERVICE), now=DUE + 3 * DAY, again=again) == DUE + 3 * DAY + again
    waiting = all_of(replace(suspended(), holds=(hold(), hold(HoldReason.LEGAL))))
    assert next_due(waiting, now=DUE, again=again) == DUE + 9 * DAY
    assert next_due(waiting, now=DUE + 20 * DAY, again=again) == DUE + 20 * DAY + again
