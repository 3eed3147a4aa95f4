"""Several controllers on one PostgreSQL, with what happens to machines: nothing is lost, and nothing is done twice.

A step's act is atomic in this world, as a hypervisor's own is. What a controller tries once more that was begun under its lease
and ended after it is counted: there can be no more of it than steps were under way.
"""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from orchestrator.domain.errors import OUTCOMES, ConfigError
from orchestrator.engine.lease import EXIT_LOST
from tests.fault.fleet import Fleet, Member, Ordering, fleet, services
from tests.fault.torture import EXIT_AWAY

pytestmark = pytest.mark.timeout(1800)
NEWER = (
    "ALTER TABLE jobs ADD COLUMN newer TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE services ADD COLUMN newer JSON",
    "CREATE TABLE newer (id TEXT PRIMARY KEY)",
    "UPDATE alembic_version SET version_num = '9999'",
)


@pytest.mark.rare
def test_a_controller_that_is_killed_stopped_or_cut_off_is_taken_over_by_the_other(tmp_path: Path) -> None:
    workers, incidents = 4, 0
    with fleet(tmp_path, size=2, workers=workers, seconds=0.1) as made:
        first, second = made.members
        made.wait_for(2)
        coming = Ordering(made, services(120), pause=0.15)
        for strike, member in ((made.strike_dead, first), (made.stop_for_long, second), (made.cut_off, first)):
            time.sleep(2)
            strike(member)
            incidents += 1
            made.wait_for(2)
        made.restart_database()
        ordered = coming.ended()
        made.settled(len(ordered), seconds=120)
        made.check(ordered)
        assert len(made.world.again()) <= incidents * workers
        assert {code for member in made.members for code in member.ends} == {-9, EXIT_LOST}


def test_tables_of_a_newer_version_come_while_a_controller_works_and_it_goes_on(tmp_path: Path) -> None:
    """What a migration of a minor version does: it adds. No controller of the older version is started on the newer tables."""
    with fleet(tmp_path, size=1, seconds=0.1) as made:
        (member,) = made.members
        made.wait_for(1)
        coming = Ordering(made, services(30), pause=0.1)
        time.sleep(1)
        with made.house.db.write() as conn:
            for statement in NEWER:
                conn.exec_driver_sql(statement)
        ordered = coming.ended()
        made.settled(len(ordered), seconds=120)
        made.check(ordered)
        assert member.ends == []
        member.kill()
        member.start()
        member.expect(OUTCOMES[ConfigError.code].exit_code)
        assert "which this version of the software does not know" in member.said


@pytest.mark.rare
@pytest.mark.parametrize("seed", [1, 2])
def test_of_fifteen_hundred_jobs_none_is_lost_and_none_done_twice_whatever_happens(tmp_path: Path, seed: int) -> None:
    chance, workers = random.Random(seed), 8
    with fleet(tmp_path, size=3, workers=workers, seconds=0.1) as made:
        made.wait_for(3)
        coming, incidents = Ordering(made, services(1500), pause=0.04), 0
        while coming.is_alive():
            time.sleep(chance.uniform(0.5, 3.0))
            made.keep_up()
            incidents += happens(made, chance.choice(made.members), chance)
        ordered = coming.ended()
        made.settled(len(ordered), seconds=600)
        made.check(ordered)
        print(f"{incidents} incidents, tried once more: {len(made.world.again())}")
        assert incidents >= 10
        assert len(made.world.again()) <= incidents * workers
        ends = [code for member in made.members for code in member.ends]
        assert set(ends) <= {-9, EXIT_LOST, EXIT_AWAY}


def happens(made: Fleet, member: Member, chance: random.Random) -> int:
    """One thing, to one of them or to the database; how many leases it can have cost."""
    at_work = {each.pid for each in made.there()}
    if member.process is None or member.process.pid not in at_work:
        return 0
    what = chance.choice(("kill", "kill", "long stop", "brief stop", "cut", "database"))
    if what == "kill":
        made.strike_dead(member)
    elif what == "long stop":
        made.stop_for_long(member)
    elif what == "brief stop":
        made.stop_briefly(member)
    elif what == "cut":
        made.cut_off(member)
    else:
        made.restart_database()
        return len(made.members)
    return 1
