"""What an older version left in the middle of its work, as its own code wrote it, is finished by this one.

``tests/data/stores/REVISION.sql`` is a whole store, written by the version whose newest tables those were and whose process was
killed where no job had ended: before the first step, in the second, after it was recorded, before the end; two more waited.
``REVISION.things.json`` is what its jobs had made in the world by then.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.domain.errors import ConfigError
from orchestrator.drivers.local.clock import SystemClock
from orchestrator.drivers.local.keys import init_keys
from orchestrator.store import audit, jobs, moving
from orchestrator.store.database import Database
from tests.fault.house import House
from tests.fault.torture import STEPS, World, house_of
from tests.store_files import KINDS, NOTE, POSTGRESQL, drop_house, fresh_database, house_database

STORES = Path(__file__).parents[1] / "data" / "stores"
REVISIONS = sorted(file.stem for file in STORES.glob("*.sql"))
SERVICES = [f"s{number}" for number in range(6)]


class Left:
    """A state directory and a world as the older version left them."""

    def __init__(self, directory: Path, revision: str) -> None:
        self.home = directory / "home"
        self.home.mkdir()
        init_keys(self.home)
        file = self.home / "orchestrator.sqlite"
        file.touch(mode=0o600)
        with sqlite3.connect(file) as made:
            made.executescript((STORES / f"{revision}.sql").read_text())
        made.close()
        self.world = World(directory / "world")
        self.world.prepare()
        self.made: dict[str, str] = json.loads((STORES / f"{revision}.things.json").read_text())
        for name, job_id in self.made.items():
            (self.world.directory / "things" / name).write_text(f"{job_id} 1")

    def house(self) -> House:
        return house_of(self.home, self.world, workers=2, seconds=0)


@pytest.fixture(params=REVISIONS)
def left(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Left]:
    made = Left(tmp_path, str(request.param))
    yield made
    drop_house(made.home)


@pytest.mark.parametrize("left", REVISIONS[:1], indirect=True)  # the youngest may have this version's tables
def test_nobody_works_on_it_before_it_is_migrated(left: Left) -> None:
    house = left.house()
    try:
        with pytest.raises(ConfigError, match="the tables of an older version"):
            house.engine.start()
    finally:
        house.close()


@pytest.mark.parametrize("kind", KINDS)
def test_its_jobs_are_finished_and_nothing_is_made_twice(left: Left, kind: str) -> None:
    db = house_database(left.home)
    db.migrate()
    with db.read() as conn:
        open_jobs = dict(jobs.in_line(conn))
        assert (len(open_jobs), audit.verify_chain(conn).ok) == (len(SERVICES), True)
    if kind == POSTGRESQL:
        moved(left, db)
    db.close()
    house = left.house()
    try:
        house.engine.start()
        ended = [house.wait(job_id, seconds=60) for job_id in open_jobs]
        assert {(job.service_id, job.state.value) for job in ended} == {(service, "done") for service in SERVICES}
        rows = [step for job_id in open_jobs for step in house.steps(job_id)]
        assert {(row.state.value, row.finished_at is not None, (row.facts or {}).get("by") == row.job_id) for row in rows} == {
            ("done", True, True)
        }
        with house.db.read() as conn:
            assert audit.verify_chain(conn).ok
    finally:
        house.close()
    made = left.world.things()
    assert set(made) == {f"{service}.{step}" for service in SERVICES for step in STEPS}
    assert left.made.items() <= made.items()
    assert left.world.again() == []


def moved(left: Left, source: Database) -> None:
    target = fresh_database(left.home, kind=POSTGRESQL)
    moving.move(source, target, who="anna", now=SystemClock().now())
    (left.home / NOTE).write_text(target.url.render_as_string(hide_password=False))
    target.close()
