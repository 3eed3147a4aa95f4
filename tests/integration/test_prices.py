"""Prices that change between two starts of the controller, on a clock that the test puts forward."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from orchestrator.domain.plans import Plan
from orchestrator.domain.policies import Policy
from orchestrator.store import audit
from tests.fault.house import CALENDAR, House
from tests.integration.test_due import DAY, HOUR, record
from tests.integration.test_money import POLICY, SOLD, TB, Sales, messages, owed, traffic

PLAIN = replace(SOLD, price_per_hour=0)
FREE = replace(PLAIN, traffic_bytes=None)
WIDE = replace(PLAIN, traffic_bytes=2 * TB)
DEAR = replace(PLAIN, traffic_over_per_gb=9_000)


@pytest.fixture
def year(tmp_path: Path) -> Iterator[Sales]:
    """In the first days of a month."""
    made = Sales(tmp_path / "state")
    made.clock.ahead = CALENDAR.month(made.clock.now())[1] + 3 * DAY - made.clock.now()
    yield made
    made.close()


def start(year: Sales, plan: Plan, policy: Policy | None = None) -> House:
    year.plan = plan
    house = year.open(policy)
    year.turn()
    return house


def sold(year: Sales, plan: Plan) -> House:
    house = start(year, plan)
    house.wait(house.order("s1").job_id)
    return house


def period(year: Sales) -> str:
    return f"{CALENDAR.day(year.clock.now()):%Y-%m}"


def used(house: House, year: Sales, total: int = 3 * TB) -> str:
    """So much went through this month."""
    month = period(year)
    traffic(house, month, total, event_id=f"{month}-{total}")
    return month


def sleep_into_next_month(year: Sales) -> None:
    end = CALENDAR.month(year.clock.now())[1]
    year.clock.ahead += end + 3 * DAY - year.clock.now()


def next_month(year: Sales) -> None:
    sleep_into_next_month(year)
    year.turn()


def charged(house: House) -> dict[str, tuple[int, int]]:
    return {charge.id.removeprefix("s1.traffic."): (charge.quantity, charge.amount) for charge in owed(house)}


BY_PLAIN, BY_WIDE, BY_DEAR = (2_000, 10_000_000), (1_000, 5_000_000), (2_000, 18_000_000)


@pytest.mark.parametrize(
    ("was", "becomes", "first", "second", "third"),
    [
        pytest.param(FREE, PLAIN, None, None, BY_PLAIN, id="put on"),
        pytest.param(WIDE, PLAIN, BY_WIDE, BY_WIDE, BY_PLAIN, id="lowered"),
        pytest.param(PLAIN, WIDE, BY_PLAIN, BY_WIDE, BY_WIDE, id="raised"),
        pytest.param(PLAIN, DEAR, BY_PLAIN, BY_PLAIN, BY_DEAR, id="dearer"),
        pytest.param(PLAIN, FREE, BY_PLAIN, None, None, id="taken off"),
    ],
)
def test_other_prices_count_from_when_they_were_adopted_and_for_nothing_that_is_past(
    year: Sales,
    was: Plan,
    becomes: Plan,
    first: tuple[int, int] | None,
    second: tuple[int, int] | None,
    third: tuple[int, int] | None,
) -> None:
    expected: dict[str, tuple[int, int]] = {}
    house = sold(year, was)
    for by in (first, second, third):
        month = used(house, year)
        expected |= {month: by} if by else {}
        next_month(year)
        if by is first and house.catalog.plans[was.name] == was:
            house = start(year, becomes)
            # A larger total of the month before, as the plan was then.
            assert charged(house) == expected
    assert charged(house) == expected
    assert len(messages(house)) == len(expected)


def test_a_larger_total_that_comes_after_the_change_is_charged_by_the_month_s_own_price(year: Sales) -> None:
    house = sold(year, WIDE)
    month = used(house, year)
    next_month(year)
    house = start(year, DEAR)
    traffic(house, month, 4 * TB, event_id="late")
    year.turn()
    assert charged(house) == {month: BY_WIDE, f"{month}.2000": (1_000, 5_000_000)}


@pytest.mark.parametrize(
    ("other", "second"), [pytest.param(WIDE, BY_WIDE, id="milder between"), pytest.param(DEAR, BY_PLAIN, id="dearer between")]
)
def test_two_restarts_with_other_prices_and_back_charge_nothing_that_is_past(
    year: Sales, other: Plan, second: tuple[int, int]
) -> None:
    house = sold(year, PLAIN)
    month = used(house, year)
    next_month(year)
    for plan in (other, PLAIN, PLAIN):
        year.clock.ahead += HOUR
        house = start(year, plan)
        assert charged(house) == {month: BY_PLAIN}
    following = used(house, year)
    next_month(year)
    assert charged(house) == {month: BY_PLAIN, following: second}


@pytest.mark.parametrize(
    ("was", "becomes", "expected"),
    [
        pytest.param(FREE, PLAIN, None, id="put on"),
        pytest.param(WIDE, PLAIN, BY_WIDE, id="lowered"),
        pytest.param(PLAIN, WIDE, BY_PLAIN, id="raised"),
        pytest.param(PLAIN, PLAIN, BY_PLAIN, id="as it was"),
    ],
)
@pytest.mark.parametrize("told", ["before", "after"])
def test_a_controller_that_slept_over_the_month_s_end_charges_by_what_stood_in_it(
    year: Sales, was: Plan, becomes: Plan, expected: tuple[int, int] | None, told: str
) -> None:
    house = sold(year, was)
    month = used(house, year) if told == "before" else period(year)
    year.close()
    sleep_into_next_month(year)
    house = start(year, becomes)
    if told == "after":
        traffic(house, month, 3 * TB, event_id="late")
        year.turn()
    assert charged(house) == ({month: expected} if expected else {})


def test_a_clause_on_traffic_that_the_text_gets_charges_nothing_that_is_past(year: Sales) -> None:
    silent = replace(POLICY, traffic=None)
    house = start(year, PLAIN, silent)
    house.wait(house.order("s1").job_id)
    used(house, year)
    next_month(year)
    house = start(year, PLAIN)
    assert owed(house) == []


def test_a_price_by_the_hour_that_is_put_on_charges_nobody_who_has_ended(year: Sales) -> None:
    house = sold(year, PLAIN)
    house.wait(house.event("service.terminate", "s1", version=1).job_id)
    year.clock.ahead += DAY
    house = start(year, SOLD)
    assert record(house).ended_at is not None
    assert owed(house) == []


def test_what_was_adopted_is_in_the_audit_once(year: Sales) -> None:
    sold(year, FREE)
    start(year, PLAIN)
    house = start(year, PLAIN)
    year.clock.ahead += timedelta(minutes=30)
    year.turn()
    with house.db.read() as conn:
        rows = [row for row in audit.list_page(conn, limit=500)[0] if row.what == "prices adopted"]
    (row,) = rows
    assert row.facts["plans"][PLAIN.name]["traffic_bytes"] == TB
