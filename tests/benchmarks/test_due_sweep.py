"""What looking at deadlines costs with a hundred thousand services, of which one in a hundred is due; and comparing the looks."""

from __future__ import annotations

import gc
import resource
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from orchestrator import wiring
from orchestrator.domain.brakes import BrakeLimits
from orchestrator.domain.services import Lifecycle, Service
from orchestrator.steps.registry import STEPS
from orchestrator.store import deadlines, services
from orchestrator.store import tables as t
from tests.benchmarks.book import Row, cpu, megabytes, seconds, write
from tests.fault.house import PLAN, House, Options, prepared
from tests.integration.test_due import DAY, POLICY, Wound
from tests.store_files import engine_database

SERVICES = 100_000
ONE_IN = 100
DUE = SERVICES // ONE_IN
IDLE_TURNS = 20
# Each suspension waits for approval: what is measured is the sweep, not the jobs.
HELD = Options(limits=BrakeLimits(suspensions_per_hour=0, terminations_per_hour=0))


@pytest.fixture
def clock() -> Wound:
    return Wound()


@pytest.fixture
def house(tmp_path: Path, clock: Wound) -> Iterator[House]:
    """A controller that looks when it is told to. The services fall due one after the other over the next month; of every
    hundred one was overdue for a day and a half."""
    made = House(
        prepared(tmp_path / "house", engine_database),
        steps=STEPS,
        playbooks=wiring.load_all_playbooks(),
        clock=clock,
        policies={POLICY.name: POLICY},
        options=replace(HELD, due_seconds=timedelta(days=1).total_seconds()),
    )
    _fill(made, clock)
    yield made
    made.close()


def _fill(house: House, clock: Wound) -> None:
    now = clock.now()
    with house.db.write() as conn:
        services.put(conn, Service(id="s0", client_id="c", plan=PLAN.name, state=Lifecycle.ACTIVE), now=now)
        one = dict(conn.execute(sa.select(t.services)).one()._mapping)
        conn.execute(sa.delete(t.services))
        for start in range(0, SERVICES, 5000):
            numbers = range(start, start + 5000)
            late, later = now - 1.5 * DAY, now + 10 * DAY
            rows = [
                one | {"id": f"s{n:06}", "due_at": late if n % ONE_IN == 0 else later + n * timedelta(seconds=26)}
                for n in numbers
            ]
            conn.execute(sa.insert(t.services), rows)


def _peak() -> int:
    """Bytes: the most that this process ever had in memory."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@pytest.mark.timeout(1800)
def test_the_sweep_over_many_services(house: House, clock: Wound) -> None:
    seen: list[int] = []

    def turn() -> None:
        seen.append(house.engine.fall_due())

    with house.db.write() as conn:  # so that the first turn has nothing to tell
        deadlines.look_at_all(conn)
    first = cpu(turn)
    assert seen.pop() == DUE, "a reminder each"
    with house.db.write() as conn:
        conn.execute(sa.delete(t.occurrences))
        conn.execute(sa.delete(t.outbox))
        for number in range(0, SERVICES, ONE_IN):
            deadlines.look_again(conn, f"s{number:06}", clock.now())
    gc.collect()
    before = _peak()
    told = cpu(turn)
    assert seen.pop() == DUE
    clock.ahead += DAY
    held = cpu(turn)
    assert seen.pop() == DUE, "a suspension each"
    idle = sum(cpu(turn) for _ in range(IDLE_TURNS)) / IDLE_TURNS
    assert sum(seen) == 0
    grown = _peak() - before
    compared = house.engine.compare_looks()
    assert compared is not None
    nightly = cpu(house.engine.compare_looks)
    assert (compared.compared, compared.differing) == (SERVICES, 0)
    write(
        "The sweep of deadlines",
        f"{SERVICES:,} services, seconds of CPU. One in {ONE_IN} is due; the suspensions wait for approval, so that no job runs "
        "in between. After a start, with the first turn, every service is looked at. The nightly comparison computes for each "
        "service when it has to be looked at, and found no difference to when it will be. There is no bare thing to compare it "
        "with.",
        [
            Row("a turn in which nothing is due", seconds(idle)),
            Row(f"a turn in which {DUE:,} customers are reminded", seconds(told)),
            Row(f"a turn in which {DUE:,} services are to be suspended", seconds(held)),
            Row("the first turn after a start, with as many reminders", seconds(first)),
            Row("the nightly comparison", seconds(nightly)),
            Row(f"growth of the peak of resident memory over {IDLE_TURNS + 2} turns", megabytes(grown)),
        ],
    )
