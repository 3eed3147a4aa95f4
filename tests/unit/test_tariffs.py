"""What is charged where a plan's prices changed: by what it said when it was used, worked out by hand."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain import charges
from orchestrator.domain.deadlines import Action, deadlines
from orchestrator.domain.policies import Policy
from orchestrator.domain.services import Lifecycle, Service, Traffic
from orchestrator.domain.tariffs import Prices, Tariff, by_the_hour, followed, mildest, tariff
from orchestrator.domain.terms import Terms
from tests.unit.test_charges import GB, HOUR, NOVEMBER_ENDS, POLICY, SERVICE, TB, TERMS

# Days of November in Jakarta, where the month begins seven hours before it does in UTC.
BEGINS = datetime(2026, 10, 31, 17, tzinfo=UTC)
BEFORE = BEGINS - timedelta(days=40)
WITHIN = datetime(2026, 11, 20, 12, tzinfo=UTC)
AFTER = NOVEMBER_ENDS + timedelta(days=2)
PRICES = Prices(traffic_bytes=TB, traffic_over_per_gb=5_000, per_hour=1_000)
SILENT_TEXT = replace(POLICY, traffic=None, hourly=None)


def told(since: datetime, prices: Prices, policy: Policy = POLICY) -> Tariff:
    return tariff(policy, prices, since=since)


def owed(*tariffs: Tariff, total: int = 3 * TB) -> tuple[int, int] | None:
    """Gigabytes and rupiah of November by these tariffs; the declared prices would always charge."""
    terms = replace(TERMS, tariffs=tariffs)
    record = replace(SERVICE, traffic=(Traffic("2026-11", total),))
    after, charge = charges.traffic(record, "2026-11", terms)
    due = [d for d in deadlines(record, terms, told={}) if d.action == Action.CHARGE_TRAFFIC]
    assert len(due) == (charge is not None)
    assert charges.traffic(after, "2026-11", terms)[1] is None
    return None if charge is None else (charge.quantity, charge.amount)


FREE = Prices(per_hour=1_000)
WIDE = replace(PRICES, traffic_bytes=2 * TB)
DEAR = replace(PRICES, traffic_over_per_gb=9_000)


@pytest.mark.parametrize("change", [NOVEMBER_ENDS, AFTER])
@pytest.mark.parametrize(
    ("was", "becomes", "expected"),
    [
        (FREE, PRICES, None),
        (WIDE, PRICES, (1_000, 5_000_000)),
        (PRICES, WIDE, (2_000, 10_000_000)),
        (PRICES, DEAR, (2_000, 10_000_000)),
        (DEAR, PRICES, (2_000, 18_000_000)),
        (PRICES, FREE, (2_000, 10_000_000)),
    ],
)
def test_a_month_that_was_over_is_charged_by_what_stood_in_it(
    was: Prices, becomes: Prices, expected: tuple[int, int] | None, change: datetime
) -> None:
    assert owed(told(BEFORE, was), told(change, becomes)) == expected


@pytest.mark.parametrize(
    ("was", "becomes", "expected"),
    [
        (FREE, PRICES, None),
        (PRICES, FREE, None),
        (WIDE, PRICES, (1_000, 5_000_000)),
        (PRICES, WIDE, (1_000, 5_000_000)),
        (PRICES, DEAR, (2_000, 10_000_000)),
        (DEAR, PRICES, (2_000, 10_000_000)),
        (replace(WIDE, traffic_over_per_gb=9_000), PRICES, (1_000, 5_000_000)),
    ],
)
def test_a_month_in_which_it_changed_has_the_largest_allowance_and_the_lowest_price_of_it(
    was: Prices, becomes: Prices, expected: tuple[int, int] | None
) -> None:
    assert owed(told(BEFORE, was), told(WITHIN, becomes)) == expected


@pytest.mark.parametrize("change", [BEGINS, BEGINS - HOUR])
def test_what_was_changed_before_the_month_holds_in_all_of_it(change: datetime) -> None:
    assert owed(told(BEFORE, FREE), told(change, PRICES)) == (2_000, 10_000_000)


def test_a_clause_that_the_text_gets_later_charges_nothing_that_was_over_either() -> None:
    assert owed(told(BEFORE, PRICES, SILENT_TEXT), told(AFTER, PRICES)) is None
    assert owed(told(BEFORE, PRICES, SILENT_TEXT), told(WITHIN, PRICES)) is None


def test_a_clause_that_is_taken_out_of_the_text_is_cited_for_the_months_in_which_it_stood() -> None:
    terms = replace(TERMS, policy=SILENT_TEXT, tariffs=(told(BEFORE, PRICES), told(AFTER, PRICES, SILENT_TEXT)))
    _, charge = charges.traffic(replace(SERVICE, traffic=(Traffic("2026-11", 2 * TB),)), "2026-11", terms)
    assert charge is not None
    assert (charge.clause, charge.policy) == ("7.3.8", "herza")


def test_a_month_before_the_plan_was_known_costs_nothing_and_the_one_in_which_it_came_does() -> None:
    assert owed(told(AFTER, PRICES)) is None
    assert owed(told(NOVEMBER_ENDS, PRICES)) is None
    assert owed(told(WITHIN, PRICES)) == (2_000, 10_000_000)


def test_what_stood_for_no_time_at_all_counts_for_nothing() -> None:
    assert owed(told(BEFORE, PRICES), told(WITHIN, FREE), told(WITHIN, PRICES)) == (2_000, 10_000_000)
    assert owed(told(BEGINS, FREE), told(BEGINS, PRICES)) == (2_000, 10_000_000)


def test_the_same_prices_again_are_nothing_new_and_a_clock_that_went_back_puts_none_before_another() -> None:
    known = followed((), told(WITHIN, PRICES))
    assert followed(known, told(AFTER, PRICES)) == known
    back = followed(known, told(BEFORE, WIDE))
    assert [each.since for each in back] == [WITHIN, WITHIN]
    assert mildest(back, BEGINS, NOVEMBER_ENDS) == back[-1]


prices = st.builds(
    Prices, st.one_of(st.none(), st.integers(0, 3).map(lambda tb: tb * TB)), st.integers(0, 3).map(lambda k: k * 1_000)
)
moments = st.integers(-60, 60).map(lambda days: WITHIN + timedelta(days=days))


@given(st.lists(st.tuples(moments, prices), min_size=1, max_size=5), prices, st.integers(0, 30))
def test_no_later_change_makes_a_month_that_is_over_cost_another_amount(
    changes: list[tuple[datetime, Prices]], later: Prices, days: int
) -> None:
    known: tuple[Tariff, ...] = ()
    for since, given_prices in sorted(changes, key=lambda change: change[0]):
        known = followed(known, told(since, given_prices))
    change = max(NOVEMBER_ENDS, known[-1].since) + timedelta(days=days)
    assert owed(*followed(known, told(change, later))) == owed(*known)


@given(st.lists(st.tuples(moments, prices), min_size=1, max_size=5))
def test_a_month_costs_no_more_than_by_any_tariff_that_stood_in_it(changes: list[tuple[datetime, Prices]]) -> None:
    known: tuple[Tariff, ...] = ()
    for since, given_prices in sorted(changes, key=lambda change: change[0]):
        known = followed(known, told(since, given_prices))
    ends = [*(each.since for each in known[1:]), NOVEMBER_ENDS + timedelta(days=365)]
    stood = [k for k, end in zip(known, ends, strict=True) if k.since < min(end, NOVEMBER_ENDS) and end > BEGINS]
    for each in stood:
        alone = owed(replace(each, since=BEFORE))
        assert (owed(*known) or (0, 0))[1] <= (alone or (0, 0))[1]


# -- hours ------------------------------------------------------------------------------------------------

ENDED = replace(SERVICE, state=Lifecycle.ERASED, activated_at=WITHIN, ended_at=WITHIN + 10 * HOUR)


def hours(*tariffs: Tariff, service: Service = ENDED) -> tuple[int, int] | None:
    charge = charges.hours(service, replace(TERMS, tariffs=tariffs))
    return None if charge is None else (charge.quantity, charge.amount)


def hourly(since: datetime, price: int) -> Tariff:
    return told(since, Prices(per_hour=price))


def test_an_hour_costs_what_the_plan_said_when_it_began() -> None:
    assert hours(hourly(BEFORE, 1_000), hourly(WITHIN + 4 * HOUR, 2_000)) == (10, 4 * 1_000 + 6 * 2_000)
    assert hours(hourly(BEFORE, 1_000), hourly(WITHIN + 4 * HOUR + timedelta(seconds=1), 2_000)) == (10, 5 * 1_000 + 5 * 2_000)
    assert hours(hourly(BEFORE, 0), hourly(WITHIN + 4 * HOUR, 2_000)) == (6, 6 * 2_000)
    assert hours(hourly(BEFORE, 1_000), hourly(WITHIN + 4 * HOUR, 0)) == (4, 4 * 1_000)
    assert hours(hourly(BEFORE, 1_000), hourly(BEGINS, 2_000)) == (10, 10 * 2_000)


def test_a_price_by_the_hour_that_is_put_on_later_charges_nobody_who_has_ended() -> None:
    assert hours(hourly(BEFORE, 0), hourly(WITHIN + 10 * HOUR, 1_000)) is None
    assert hours(hourly(AFTER, 1_000)) is None
    assert hours(told(BEFORE, PRICES, SILENT_TEXT), told(AFTER, PRICES)) is None


def test_a_price_that_is_changed_or_taken_off_after_the_end_changes_nothing() -> None:
    assert hours(hourly(BEFORE, 1_000), hourly(AFTER, 9_000)) == (10, 10_000)
    assert hours(hourly(BEFORE, 1_000), hourly(AFTER, 0)) == (10, 10_000)


def test_hours_before_the_plan_was_known_cost_what_it_said_first() -> None:
    assert hours(hourly(WITHIN + 5 * HOUR, 1_000)) == (10, 10_000)


def test_what_is_missing_to_the_minimum_costs_what_the_plan_said_last() -> None:
    short = replace(ENDED, ended_at=WITHIN + timedelta(minutes=5))
    assert hours(hourly(BEFORE, 1_000), hourly(WITHIN, 3_000), service=short) == (2, 6_000)
    assert hours(hourly(BEFORE, 1_000), hourly(AFTER, 3_000), service=replace(short, ended_at=WITHIN)) == (2, 2_000)


def test_the_reason_names_each_price() -> None:
    charge = charges.hours(ENDED, replace(TERMS, tariffs=(hourly(BEFORE, 1_000), hourly(WITHIN + 4 * HOUR, 2_000))))
    assert charge is not None
    assert charge.reason.endswith(", 4 at Rp 1,000 and 6 at Rp 2,000")


@given(st.lists(st.tuples(st.integers(-20, 30), st.integers(0, 3)), min_size=1, max_size=5), st.integers(0, 1_500))
def test_every_started_hour_is_charged_once_by_the_tariff_in_which_it_began(changes: list[tuple[int, int]], minutes: int) -> None:
    known: tuple[Tariff, ...] = ()
    for hour, price in sorted(changes):
        known = followed(known, replace(hourly(WITHIN + hour * HOUR, price), minimum_hours=0))
    end = WITHIN + timedelta(minutes=minutes)
    expected = 0
    for number in range(-(-minutes // 60)):
        began = WITHIN + number * HOUR
        expected += ([each for each in known if each.since <= began] or [known[0]])[-1].per_hour
    found = by_the_hour(known, WITHIN, end)
    assert sum(count * each.per_hour for each, count in found) == (0 if end < known[0].since else expected)


def test_without_a_history_the_declared_prices_hold_as_if_they_always_had() -> None:
    assert Terms(policy=POLICY, prices=PRICES).costs == (tariff(POLICY, PRICES),)
    record = replace(SERVICE, traffic=(Traffic("2026-11", TB + GB),))
    assert charges.traffic_over(record.traffic[0], TERMS) == 1
