"""Services that share a transaction of the sweep: what happens to one is not to happen to the others."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from orchestrator import wiring
from orchestrator.domain.intents import IntentKind
from orchestrator.domain.services import Lifecycle, Service
from orchestrator.engine.due import AGAIN
from orchestrator.steps.registry import STEPS
from orchestrator.store import audit, services
from orchestrator.store import tables as t
from tests.benchmarks.test_due_sweep import HELD
from tests.fault.house import PLAN, House, prepared
from tests.integration.test_due import DAY, POLICY, Wound, acts, record
from tests.store_files import engine_database

ALL = ("s1", "s2", "s3")


class Killed(BaseException):
    """The process ended there."""


class Points:
    """Raises when the sweep comes to a service's end for the so-maniest time; each service comes by in the order of its id."""

    def __init__(self) -> None:
        self.raising: dict[int, BaseException] = {}
        self.passed = 0

    def at(self, point: str) -> None:
        if point == "due/before":
            self.passed += 1
            if self.passed in self.raising:
                raise self.raising[self.passed]


@pytest.fixture
def points() -> Points:
    return Points()


@pytest.fixture
def house(tmp_path: Path, points: Points) -> Iterator[House]:
    """Nothing runs in it; three services were to be suspended an hour ago, and are held back by the brakes."""
    clock = Wound()
    made = House(
        prepared(tmp_path / "house", engine_database),
        steps=STEPS,
        playbooks=wiring.load_all_playbooks(),
        clock=clock,
        at=points.at,
        policies={POLICY.name: replace(POLICY, notices=None)},
        options=replace(HELD, due_seconds=DAY.total_seconds()),
    )
    late = clock.now() - 1.05 * DAY
    with made.db.write() as conn:
        for service_id in ALL:
            service = Service(id=service_id, client_id="c", plan=PLAN.name, state=Lifecycle.ACTIVE, due_at=late)
            services.put(conn, service, now=late)
    assert made.engine.fall_due() == 0
    clock.ahead += DAY
    yield made
    made.close()


def suspended(house: House) -> list[str]:
    """Those of which all is written that belongs to a suspension, once; fails where one has half of it."""
    with house.db.read() as conn:
        assert audit.verify_chain(conn).ok
        trail = audit.list_page(conn)[0]
        messages = list(conn.scalars(sa.select(t.outbox.c.service_id)))
        noted = list(conn.scalars(sa.select(t.occurrences.c.service_id)))
    found = []
    for service_id in ALL:
        whole = [
            acts(house, service_id) == [IntentKind.SUSPEND],
            record(house, service_id).stop_reasons == ["nonpayment"],
            [row.service_id for row in trail if row.what == "deadline suspend"].count(service_id) == 1,
            messages.count(service_id) == 1,
            noted.count(service_id) == 1,
        ]
        nothing = service_id not in (*messages, *noted) and not acts(house, service_id) and not record(house, service_id).holds
        assert all(whole) or nothing, service_id
        found += [service_id] * all(whole)
    return found


def test_three_that_nothing_hinders_have_theirs_in_one_turn_and_no_second_one(house: House) -> None:
    assert house.engine.fall_due() == 3
    assert suspended(house) == [*ALL]
    assert house.engine.fall_due() == 0


def test_one_that_cannot_be_seen_to_takes_nothing_from_the_others_and_has_its_turn_later(
    house: House, points: Points, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    points.raising = {2: RuntimeError("of three"), 4: RuntimeError("alone")}
    assert house.engine.fall_due() == 2
    assert suspended(house) == ["s1", "s3"]
    assert [line.getMessage() for line in caplog.records if "could not be seen to" in line.getMessage()] == [
        "the deadlines of service s2 could not be seen to: alone"
    ]
    waiting = [line for line in caplog.records if "waiting approval" in line.getMessage()]
    assert len(waiting) == 2, "what was not written is not told"
    assert house.engine.fall_due() == 0
    assert isinstance(house.clock, Wound)
    house.clock.ahead += AGAIN
    assert house.engine.fall_due() == 1
    assert suspended(house) == [*ALL]


def test_a_record_that_cannot_be_read_keeps_nobody_else_from_theirs(house: House) -> None:
    def refunds(value: object) -> None:
        with house.db.write() as conn:
            conn.execute(sa.update(t.services).where(t.services.c.id == "s2").values(refunds=value, next_due_at=services.AT_ONCE))

    refunds([1])
    assert house.engine.fall_due() == 2
    refunds([])
    assert suspended(house) == ["s1", "s3"]
    assert house.engine.fall_due() == 1
    assert suspended(house) == [*ALL]


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_controller_that_ends_among_them_has_written_nothing_and_does_each_once_when_it_is_back(
    house: House, points: Points, number: int
) -> None:
    points.raising = {number: Killed()}
    with pytest.raises(Killed):
        house.engine.fall_due()
    assert suspended(house) == []
    assert house.engine.fall_due() == 3
    assert suspended(house) == [*ALL]
