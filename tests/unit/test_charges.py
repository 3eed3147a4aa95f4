"""What a customer owes for operations: amounts and days worked out by hand."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import permutations
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.config.policies import load_policies
from orchestrator.domain import charges, coming_back, decisions
from orchestrator.domain.calendar import Days
from orchestrator.domain.charges import Charge, Free, WantedRestore, restore_terms
from orchestrator.domain.deadlines import Action, deadlines
from orchestrator.domain.events import Event
from orchestrator.domain.forecast import forecast
from orchestrator.domain.intents import IntentKind, JobState, Refusal
from orchestrator.domain.outcomes import finish
from orchestrator.domain.policies import (
    Hourly,
    Overdue,
    Policy,
    Reactivation,
    ReactivationFees,
    Restore,
    Rule,
    Suspend,
    Terminate,
    TerminateSince,
)
from orchestrator.domain.services import Hold, HoldEffect, HoldReason, Lifecycle, Service, Traffic
from orchestrator.domain.terms import Prices, Terms
from tests.unit.decision_words import E, event
from tests.unit.test_deadlines import CALENDAR

GB, TB = 10**9, 10**12
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
# November in Jakarta ends seven hours before it does in UTC.
NOVEMBER_ENDS = datetime(2026, 11, 30, 17, tzinfo=UTC)
POLICY = Policy(
    name="herza",
    provider="P",
    traffic=Rule(clause="7.3.8"),
    hourly=Hourly(clause="9", minimum_hours=2),
    restore=Restore(clause="10", per_month=1, over_per_gb=100_000),
    reactivation=Reactivation(fees=ReactivationFees(clause="3", kinds={"vps": 50_000, "full-rack": 2_500_000})),
)
TERMS = Terms(policy=POLICY, calendar=CALENDAR, prices=Prices(traffic_bytes=TB, traffic_over_per_gb=5_000, per_hour=1_200))
SERVICE = Service(id="s1", client_id="c1", plan="small", state=Lifecycle.ACTIVE, payments=1)


# -- traffic ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("total", "quantity", "amount"),
    [
        (0, 0, 0),
        (TB, 0, 0),
        (TB + 1, 1, 5_000),
        (TB + GB, 1, 5_000),
        (TB + GB + 1, 2, 10_000),
        (3 * TB, 2_000, 10_000_000),
    ],
)
def test_a_started_gigabyte_over_the_allowance_counts_whole(total: int, quantity: int, amount: int) -> None:
    _, charge = charges.traffic(replace(SERVICE, traffic=(Traffic("2026-11", total),)), "2026-11", TERMS)
    assert (quantity, amount) == (0, 0) if charge is None else (charge.quantity, charge.amount) == (quantity, amount)


def test_a_month_is_charged_when_it_has_ended_where_the_provider_is() -> None:
    (due,) = deadlines(replace(SERVICE, traffic=(Traffic("2026-11", TB + 1),)), TERMS, told={})
    assert (due.action, due.at, due.clause) == (Action.CHARGE_TRAFFIC, NOVEMBER_ENDS, "7.3.8")


def test_a_later_and_larger_total_is_charged_for_the_difference_under_an_id_of_its_own() -> None:
    record, first = charges.traffic(replace(SERVICE, traffic=(Traffic("2026-11", TB + 3 * GB),)), "2026-11", TERMS)
    record, none = charges.traffic(record, "2026-11", TERMS)
    record, _ = charges.with_traffic(record, period="2026-11", total=TB + 10 * GB, calendar=CALENDAR, now=NOW)
    record, more = charges.traffic(record, "2026-11", TERMS)
    assert none is None
    assert first is not None
    assert more is not None
    assert [(c.id, c.quantity, c.amount) for c in (first, more)] == [
        ("s1.traffic.2026-11", 3, 15_000),
        ("s1.traffic.2026-11.10", 7, 35_000),
    ]
    assert deadlines(record, TERMS, told={}) == ()


@pytest.mark.parametrize(
    "terms",
    [
        replace(TERMS, policy=replace(POLICY, traffic=None)),
        replace(TERMS, prices=Prices(None, 5_000)),
        replace(TERMS, prices=Prices(TB, 0)),
    ],
)
def test_without_a_rule_an_allowance_or_a_price_no_traffic_is_charged(terms: Terms) -> None:
    assert deadlines(replace(SERVICE, traffic=(Traffic("2026-11", 9 * TB),)), terms, told={}) == ()


def test_traffic_of_a_month_that_has_not_begun_or_is_long_past_is_not_noted() -> None:
    later, said = charges.with_traffic(SERVICE, period="2027-01", total=1, calendar=CALENDAR, now=NOW)
    assert (later, said) == (SERVICE, "2027-01 has not begun: its traffic is not noted")
    full = replace(SERVICE, traffic=tuple(Traffic(f"{2025 + m // 12}-{m % 12 + 1:02}", 1) for m in range(-1, 23)))
    assert charges.with_traffic(full, period="2024-01", total=1, calendar=CALENDAR, now=NOW)[0] == full
    moved, _ = charges.with_traffic(full, period="2026-12", total=1, calendar=CALENDAR, now=NOVEMBER_ENDS)
    assert (len(moved.traffic), moved.traffic[0].period, moved.traffic[-1].period) == (24, "2025-01", "2026-12")


@pytest.mark.parametrize(
    ("noted", "counted", "kept"),
    [
        (0, TB, 0),
        (0, TB + 1, TB + 1),
        (TB + 1, TB + 10**9, TB + 1),
        (TB + 1, TB + 10**9 + 1, TB + 10**9 + 1),
        (3 * TB, 2 * TB, 3 * TB),
    ],
)
def test_what_a_node_counted_is_noted_where_a_gigabyte_more_may_be_charged(noted: int, counted: int, kept: int) -> None:
    before = replace(SERVICE, traffic=(Traffic("2026-11", noted),) if noted else ())
    after = charges.with_metered(before, {"2026-11": counted}, terms=TERMS, now=NOW)
    assert sum(month.bytes for month in after.traffic) == kept
    assert charges.with_metered(before, {"2026-11": counted}, terms=Terms(), now=NOW) == before, "nothing is charged"


def test_the_traffic_of_a_service_that_has_ended_is_charged_all_the_same() -> None:
    ended = replace(SERVICE, state=Lifecycle.ERASED, traffic=(Traffic("2026-11", 2 * TB),))
    assert [d.action for d in deadlines(ended, TERMS, told={})] == [Action.CHARGE_TRAFFIC]


@given(
    st.lists(st.integers(0, 3 * TB), min_size=1, max_size=6).flatmap(
        lambda totals: st.tuples(st.just(totals), st.permutations([*totals, *totals[:2]]))
    ),
    st.integers(0, 6),
)
def test_in_whatever_order_totals_come_a_month_costs_what_its_largest_does(
    given_totals: tuple[list[int], list[int]], charged_after: int
) -> None:
    totals, told = given_totals
    record = SERVICE
    made: list[Charge] = []
    for number, total in enumerate(told):
        record, _ = charges.with_traffic(record, period="2026-11", total=total, calendar=CALENDAR, now=NOW)
        if number >= charged_after:  # the month has ended by then
            record, charge = charges.traffic(record, "2026-11", TERMS)
            made += [charge] if charge else []
    record, charge = charges.traffic(record, "2026-11", TERMS)
    made += [charge] if charge else []
    assert sum(c.amount for c in made) == 5_000 * charges.gigabytes(max(totals) - TB)
    assert len({c.id for c in made}) == len(made)


# -- hours ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("used", "count"),
    [
        (timedelta(0), 2),
        (HOUR, 2),
        (2 * HOUR, 2),
        (2 * HOUR + timedelta(seconds=1), 3),
        (30 * DAY, 720),
    ],
)
def test_started_hours_count_whole_and_at_least_the_minimum(used: timedelta, count: int) -> None:
    ended = replace(SERVICE, state=Lifecycle.ERASED, activated_at=NOW, ended_at=NOW + used)
    charge = charges.hours(ended, TERMS)
    assert charge is not None
    assert (charge.id, charge.quantity, charge.amount) == (f"s1.hours.{NOW:%Y%m%dT%H%M%SZ}", count, count * 1_200)


def test_a_second_life_out_of_the_archive_is_charged_besides_the_first() -> None:
    first = charges.hours(replace(SERVICE, state=Lifecycle.ARCHIVED, activated_at=NOW, ended_at=NOW + HOUR), TERMS)
    second = charges.hours(replace(SERVICE, state=Lifecycle.ERASED, activated_at=NOW + DAY, ended_at=NOW + 2 * DAY), TERMS)
    assert first is not None
    assert second is not None
    assert first.id != second.id


def test_a_service_by_the_hour_is_charged_once_it_has_ended_and_not_before() -> None:
    running = replace(SERVICE, activated_at=NOW)
    assert deadlines(running, TERMS, told={}) == ()
    over = replace(running, state=Lifecycle.ERASED, ended_at=NOW + HOUR)
    assert [(d.action, d.at) for d in deadlines(over, TERMS, told={})] == [(Action.CHARGE_HOURS, NOW + HOUR)]
    assert deadlines(over, replace(TERMS, prices=Prices()), told={}) == ()
    assert deadlines(over, replace(TERMS, policy=replace(POLICY, hourly=None)), told={}) == ()


def test_hours_count_from_the_first_time_it_was_made_to_the_end_of_its_termination() -> None:
    made = finish(replace(SERVICE, state=Lifecycle.PROVISIONING), IntentKind.PROVISION, JobState.DONE, "", now=NOW)
    failed = finish(replace(SERVICE, state=Lifecycle.PROVISIONING), IntentKind.PROVISION, JobState.FAILED, "x", now=NOW)
    ended = finish(replace(made, state=Lifecycle.TERMINATING), IntentKind.TERMINATE, JobState.DONE, "", now=NOW + DAY)
    assert (made.activated_at, failed.activated_at) == (NOW, None)
    assert (ended.activated_at, ended.ended_at) == (NOW, NOW + DAY)


# -- reactivation ------------------------------------------------------------------------------------------------

CUT = datetime(2026, 11, 10, 3, 4, 5, tzinfo=UTC)


def held(*reasons: HoldReason) -> Service:
    holds = tuple(Hold(reason=r, effect=HoldEffect.STOP, by="test", why="", since=CUT - HOUR) for r in reasons)
    return replace(SERVICE, holds=holds, suspension_proven_at=CUT)


CUT_OFF = held(HoldReason.NONPAYMENT)


def told(start: Service, events: list[Event], terms: Terms = TERMS) -> tuple[Service, list[Charge]]:
    record = start
    made: list[Charge] = []
    for each in events:
        received = decisions.with_fee(record, decisions.receive(each, record, now=NOW, terms=terms), terms)
        assert received.service is not None
        record = received.service
        made += received.charges
    return record, made


def test_a_payment_that_ends_a_proven_suspension_costs_the_fee_of_its_kind_once() -> None:
    record, made = told(CUT_OFF, [event(E.INVOICE_PAID), event(E.INVOICE_PAID), event(E.ORDER_PAID)])
    assert [(c.id, c.amount, c.clause, c.policy) for c in made] == [("s1.reactivation.20261110T030405Z", 50_000, "3", "herza")]
    assert (record.cut_off_at, record.cut_off_paid) == (None, False)


@pytest.mark.parametrize(
    ("service", "terms"),
    [
        (replace(CUT_OFF, suspension_proven_at=None), TERMS),
        (held(HoldReason.ABUSE), TERMS),
        (SERVICE, TERMS),
        (replace(CUT_OFF, state=Lifecycle.ERASED), TERMS),
        (CUT_OFF, replace(TERMS, kind="hosting")),
        (CUT_OFF, replace(TERMS, policy=replace(POLICY, reactivation=Reactivation()))),
    ],
)
def test_without_a_cut_off_in_force_or_a_fee_for_the_kind_a_payment_costs_nothing(service: Service, terms: Terms) -> None:
    assert told(service, [event(E.INVOICE_PAID)], terms)[1] == []


def test_whichever_of_payment_and_liftings_comes_first_the_fee_is_due_once_when_it_is_paid_and_free() -> None:
    lifts = [
        event(E.INVOICE_PAID),
        event(E.SERVICE_UNSUSPEND, version=11, reason="nonpayment"),
        event(E.SERVICE_UNSUSPEND, version=12, reason="abuse"),
    ]
    for order in permutations(lifts):
        versioned = [replace(e, version=10 + n) if e.version else e for n, e in enumerate(order, 1)]
        _, made = told(held(HoldReason.NONPAYMENT, HoldReason.ABUSE), versioned)
        assert [c.id for c in made] == ["s1.reactivation.20261110T030405Z"], order


def test_a_payment_of_what_another_hold_still_stops_costs_nothing_yet() -> None:
    record, made = told(held(HoldReason.NONPAYMENT, HoldReason.ABUSE), [event(E.INVOICE_PAID)])
    assert (made, record.cut_off_at, record.cut_off_paid) == ([], CUT, True)


def test_a_suspension_that_a_dispute_ends_costs_nothing_neither_then_nor_with_the_next_payment() -> None:
    events = [event(E.INVOICE_DISPUTED, invoice_id="i"), event(E.INVOICE_DISPUTE_SETTLED, invoice_id="i", upheld=True)]
    record, made = told(CUT_OFF, [*events, event(E.INVOICE_PAID)])
    assert (record.holds, made) == ((), [])


def test_a_payment_that_was_only_counted_costs_the_fee_once_its_event_is_replayed() -> None:
    dead = event(E.INVOICE_PAID)
    counted = decisions.paid_only(dead, CUT_OFF, now=NOW)
    assert counted is not None
    again = decisions.receive(dead, counted, now=NOW, counted=True, terms=TERMS)
    assert [c.amount for c in decisions.with_fee(counted, again, TERMS).charges] == [50_000]


def test_each_suspension_has_a_fee_of_its_own() -> None:
    _, first = told(CUT_OFF, [event(E.INVOICE_PAID)])
    _, second = told(replace(CUT_OFF, suspension_proven_at=CUT + 30 * DAY), [event(E.INVOICE_PAID)])
    assert len({c.id for c in first + second}) == 2


def test_the_fees_of_the_documents() -> None:
    policies = load_policies(Path(__file__).parents[2] / "configs" / "policies")
    amounts = {}
    for kind in ("vps", "dedicated", "colocation", "half-rack", "full-rack", "hosting"):
        terms = replace(TERMS, policy=policies["herza"], kind=kind)
        charge = charges.reactivation("s1", CUT, terms, why="x")
        amounts[kind] = None if charge is None else charge.amount
    assert amounts == {
        "vps": 50_000,
        "dedicated": 150_000,
        "colocation": 300_000,
        "half-rack": 1_000_000,
        "full-rack": 2_500_000,
        "hosting": None,
    }


def test_a_gone_service_forgets_what_was_to_be_charged_for_coming_back() -> None:
    gone = replace(SERVICE, state=Lifecycle.ERASED, cut_off_at=CUT, cut_off_paid=True)
    assert coming_back.fee(gone, gone, TERMS) == (replace(gone, cut_off_at=None, cut_off_paid=False), None)


# -- restores ------------------------------------------------------------------------------------------------


def wanted(size: int, at: datetime = NOW) -> WantedRestore:
    return WantedRestore(id="r1", service_id="s1", size_bytes=size, at=at)


def test_a_restore_within_the_month_s_is_free_and_one_beyond_is_refused_with_its_price() -> None:
    terms = replace(TERMS, policy=replace(POLICY, name="tnet"))
    assert restore_terms(terms, wanted(GB), used_this_month=0, pay=False) == Free("0 of 1 used in November 2026")
    refused = restore_terms(terms, wanted(GB), used_this_month=1, pay=False)
    assert refused == Refusal(
        reason="restore refused: 1 of 1 used in November 2026, policy tnet; more at Rp 100,000 per GB: --pay",
        rule="tnet: 10",
    )


@pytest.mark.parametrize(("size", "amount"), [(1, 100_000), (GB, 100_000), (GB + 1, 200_000), (10 * GB, 1_000_000)])
def test_a_paid_restore_costs_each_started_gigabyte(size: int, amount: int) -> None:
    charge = restore_terms(TERMS, wanted(size), used_this_month=1, pay=True)
    assert isinstance(charge, Charge)
    assert (charge.id, charge.amount) == ("s1.restore.r1", amount)


def test_the_month_of_a_restore_is_the_provider_s() -> None:
    assert restore_terms(TERMS, wanted(GB, NOVEMBER_ENDS), used_this_month=0, pay=False) == Free("0 of 1 used in December 2026")


def test_where_the_text_has_no_price_no_money_buys_a_restore_and_where_it_is_silent_all_are_free() -> None:
    unpriced = replace(TERMS, policy=replace(POLICY, restore=Restore(clause="10", per_month=1)))
    refused = restore_terms(unpriced, wanted(GB), used_this_month=1, pay=True)
    assert isinstance(refused, Refusal)
    assert refused.reason == "restore refused: 1 of 1 used in November 2026, policy herza"
    silent = replace(TERMS, policy=replace(POLICY, restore=None))
    assert isinstance(restore_terms(silent, wanted(GB), used_this_month=9, pay=False), Free)


# -- ahead ------------------------------------------------------------------------------------------------


def test_the_forecast_shows_what_will_be_charged() -> None:
    overdue = Overdue(
        suspend=Suspend(clause="a", after=Days(2)),
        terminate=Terminate(clause="b", after=Days(7), since=TerminateSince.SUSPENSION),
    )
    late = replace(SERVICE, due_at=NOW, activated_at=NOW - DAY, traffic=(Traffic("2026-11", 2 * TB),))
    terms = replace(TERMS, policy=replace(POLICY, overdue=overdue))
    acts = forecast(late, terms, now=NOW, until=NOW + 30 * DAY, told={})
    assert [(a.action, a.at) for a in acts] == [
        (Action.SUSPEND, NOW + 2 * DAY),
        (Action.TERMINATE, NOW + 9 * DAY),
        (Action.CHARGE_HOURS, NOW + 9 * DAY),
        (Action.CHARGE_TRAFFIC, NOVEMBER_ENDS),
    ]
