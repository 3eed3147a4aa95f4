"""The nightly comparison of when services are looked at with what their records say."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from orchestrator.domain.services import Lifecycle, Service
from orchestrator.store import deadlines, services, settings
from orchestrator.store.settings import Compared
from tests.fault.house import PLAN, House
from tests.integration.test_due import DAY, HOUR, Year, overdue
from tests.integration.test_reconciliation import trail


@pytest.fixture
def year(tmp_path: Path) -> Iterator[Year]:
    made = Year(tmp_path / "state")
    yield made
    made.close()


def look_at(house: House, service_id: str, at: datetime | None) -> None:
    with house.db.write() as conn:
        deadlines.look_again(conn, service_id, at)


def compared(house: House) -> tuple[int, int]:
    found = house.engine.compare_looks()
    assert found is not None
    with house.db.read() as conn:
        assert settings.compared(conn) == found
    return found.compared, found.differing


def test_through_the_whole_life_of_a_debt_nothing_differs(year: Year) -> None:
    house = year.open()
    overdue(house, year)
    with house.db.write() as conn:
        services.put(conn, Service(id="good", client_id="c", plan=PLAN.name, state=Lifecycle.ACTIVE), now=year.clock.now())
    for _ in range(12):
        assert compared(house) == (2, 0)
        year.later(DAY)
        assert compared(house) == (2, 0)
    assert trail(house, "looks differ") == []


@pytest.mark.parametrize("late", [None, timedelta(hours=1)])
def test_a_service_that_would_be_looked_at_too_late_is_found_told_and_looked_at(year: Year, late: timedelta | None) -> None:
    house = year.open()
    due = overdue(house, year)
    year.turn()
    look_at(house, "s1", None if late is None else due + DAY + late)
    assert compared(house) == (1, 1)
    (told,) = trail(house, "looks differ")
    assert told.facts == {"compared": 1, "differing": 1, "services": ["s1"]}
    assert compared(house) == (1, 0)
    year.turn()
    with house.db.read() as conn:
        assert deadlines.next_looks(conn) == {"s1": due + DAY}


def test_a_look_that_comes_too_early_is_no_difference(year: Year) -> None:
    house = year.open()
    due = overdue(house, year)
    year.turn()
    look_at(house, "s1", due + HOUR)
    assert compared(house) == (1, 0)


def test_it_is_done_by_itself_once_a_night(year: Year) -> None:
    def last(house: House) -> Compared:
        with house.db.read() as conn:
            found = settings.compared(conn)
        assert found is not None
        return found

    house = year.open()
    house.engine.compare_looks()
    first = last(house)
    house.engine.compare_at_night()
    assert last(house) == first
    year.clock.ahead += DAY
    house.engine.compare_at_night()
    second = last(house)
    assert second.at - first.at >= DAY
    house.engine.compare_at_night()
    assert last(house) == second


def test_a_night_that_is_still_to_come_by_the_clock_keeps_nobody_from_comparing(year: Year) -> None:
    house = year.open()
    with house.db.write() as conn:
        settings.set_compared(conn, Compared(year.clock.now() + 300 * DAY, 0, 0))
    house.engine.compare_at_night()
    with house.db.read() as conn:
        found = settings.compared(conn)
    assert found is not None
    assert found.at <= year.clock.now()
