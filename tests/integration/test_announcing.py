"""Maintenance of a node that is announced: who hears of it, when, and that it is taken back. By the controller's own clock."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from orchestrator.domain.errors import NotFound, RequestError, WrongState
from orchestrator.domain.planned import Announced
from orchestrator.domain.terms import Windows
from orchestrator.store import audit, nodes
from tests.fault.house import House, Options
from tests.integration.test_due import DAY, HOUR, Year

OPTIONS = Options(windows={"n1": Windows(notice=DAY, tells=True)})
KIND, BACK = "notice.notice-maintenance", "maintenance.called_off"


@pytest.fixture
def year(tmp_path: Path) -> Iterator[Year]:
    made = Year(tmp_path / "state")
    house = made.open(options=OPTIONS)
    house.wait(house.order("s1").job_id)
    made.turn()
    yield made
    made.close()


def standing(year: Year) -> House:
    assert year.house is not None
    return year.house


def announce(year: Year, begins: timedelta, *, node: str = "n1", length: timedelta = 2 * HOUR) -> datetime:
    now = year.clock.now()
    wanted = Announced(node=node, at=now + begins, until=now + begins + length, announced_at=now, who="anna", why="a new kernel")
    standing(year).engine.announcing.announce(wanted, beside=lambda _conn, _record: None)
    return wanted.at


def call_off(year: Year) -> None:
    standing(year).engine.announcing.call_off("n1", who="anna", why="not needed", beside=lambda _conn, _record: None)


def told(year: Year, kind: str) -> list[dict[str, Any]]:
    bodies = [json.loads(each["body"]) for each in standing(year).world.read()["deliveries"]]
    return [body["data"] for body in bodies if body["type"] == kind]


def shown(year: Year) -> Announced | None:
    with standing(year).db.read() as conn:
        record = nodes.get(conn, "n1")
    assert record is not None
    return record.announced


def test_customers_are_told_a_day_before_once_and_it_is_over_when_it_is_over(year: Year) -> None:
    at = announce(year, 3 * DAY)
    year.later(DAY)
    assert told(year, KIND) == []
    year.later(at - DAY - year.clock.now() + timedelta(minutes=10))
    (notice,) = told(year, KIND)
    assert (notice["service_id"], notice["client_id"]) == ("s1", "c1")
    assert notice["reason"].endswith(": a new kernel")
    year.later(DAY + HOUR)
    assert shown(year) is not None
    year.later(2 * HOUR)
    assert (shown(year), len(told(year, KIND))) == (None, 1)
    assert told(year, BACK) == []
    announce(year, DAY)  # room for another one


def test_what_begins_soon_is_told_at_once_and_who_comes_later_hears_of_it_too(year: Year) -> None:
    house = standing(year)
    announce(year, 2 * HOUR)
    year.turn()
    assert [each["service_id"] for each in told(year, KIND)] == ["s1"]
    house.wait(house.order("s2").job_id)
    year.turn()
    assert [each["service_id"] for each in told(year, KIND)] == ["s1", "s2"]


def test_called_off_it_is_taken_back_from_those_who_were_told_and_can_be_announced_again(year: Year) -> None:
    at = announce(year, 3 * DAY)
    call_off(year)
    year.later(3 * DAY)
    assert (told(year, KIND), told(year, BACK), shown(year)) == ([], [], None)
    at = announce(year, 2 * HOUR)
    year.turn()
    call_off(year)
    year.turn()
    (back,) = told(year, BACK)
    assert (back["service_id"], back["at"], back["why"]) == ("s1", at.isoformat(), "not needed")
    announce(year, 2 * HOUR)
    year.turn()
    assert len(told(year, KIND)) == 2
    with standing(year).db.read() as conn:
        trail = [row.what for row in audit.list_page(conn, limit=50)[0] if row.what.startswith("maintenance")]
    assert trail[::-1] == ["maintenance announced", "maintenance called off"] * 2 + ["maintenance announced"]


def test_a_controller_that_is_started_again_knows_of_it(year: Year) -> None:
    announce(year, 2 * DAY)
    year.later(HOUR)
    year.close()
    year.open(options=OPTIONS)
    year.later(DAY)
    assert len(told(year, KIND)) == 1


def test_what_cannot_be_meant_is_refused(year: Year) -> None:
    with pytest.raises(RequestError, match="later than now"):
        announce(year, -HOUR)
    with pytest.raises(RequestError, match="a week at most"):
        announce(year, HOUR, length=8 * DAY)
    with pytest.raises(NotFound):
        announce(year, HOUR, node="elsewhere")
    with pytest.raises(WrongState, match="no maintenance of n1 is announced"):
        call_off(year)
    announce(year, HOUR)
    with pytest.raises(WrongState, match="is announced already"):
        announce(year, 2 * HOUR)
