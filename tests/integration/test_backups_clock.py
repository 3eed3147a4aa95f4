"""The controller's clock is set back: no slot is doubled, nothing is forgotten wrongly, and the newest is what was made last.

The playbook that is shipped, on simulated nodes and repositories.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from orchestrator.domain.backups.offer import NodeBackups
from orchestrator.domain.backups.overwrite import last_share
from orchestrator.domain.backups.words import Backup, BackupState
from orchestrator.domain.calendar import Days
from orchestrator.domain.errors import PermanentDriverError
from orchestrator.domain.intents import IntentKind, JobState
from orchestrator.domain.jobs import Job
from orchestrator.domain.policies import SILENT, BackupSchedule
from orchestrator.domain.policies import Backup as BackupPolicy
from orchestrator.domain.policies.data import BackupsKept
from orchestrator.store import backups as store
from tests.fault.house import House, Options
from tests.integration.test_backups_due import backups as jobs_of
from tests.integration.test_backups_due import slots
from tests.integration.test_due import DAY, HOUR, Year, record
from tests.integration.test_reconciliation import trail

SCHEDULE = BackupSchedule(clause="VPS 5", every={"vps": Days(7)})


class Kept(Year):
    def begin(self, *, keep: int = 1) -> House:
        """The controller comes up, with one service."""
        backup = BackupPolicy(schedule=SCHEDULE, kept=BackupsKept(clause="VPS 7", count=keep))
        policy = replace(SILENT, name="default", backup=backup)
        house = self.open(policy, Options(backups={"n1": NodeBackups(target="main")}))
        assert house.wait(house.order("s1").job_id).state == JobState.DONE
        return house

    def back_up(self) -> Job:
        assert self.house is not None
        asked = self.house.engine.command(IntentKind.BACKUP, "s1", who="anna", why="x", arguments={})
        job = self.house.wait(asked.job_id)
        assert (job.state, job.error) == (JobState.DONE, "")
        return job

    def counting(self) -> list[Backup]:
        assert self.house is not None
        with self.house.db.read() as conn:
            return [each for each in store.of_service(conn, "s1") if each.state == BackupState.VERIFIED]


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    made = Kept(tmp_path / "state")
    yield made
    made.close()


def held(house: House) -> set[str]:
    """The snapshots that the repositories hold."""
    return {str(each) for kept in house.world.read()["repositories"].values() for each in kept["snapshots"]}


@pytest.mark.parametrize("keep", [1, 2])
def test_what_is_kept_is_what_was_made_last_and_not_what_the_clock_calls_the_newest(kept: Kept, keep: int) -> None:
    house = kept.begin(keep=keep)
    made = [kept.back_up().id]
    for number in (1, 2, 3):
        kept.clock.step = -number * 3 * DAY
        made.append(kept.back_up().id)
        standing = kept.counting()
        assert [each.job_id for each in standing] == made[-keep:]
        assert held(house) == {each.snapshot_id for each in standing}
    with house.db.read() as conn:
        last = store.last_good(conn)["s1"]
        assert last.job_id == made[-1]
        assert str(last_share(store.of_service(conn, "s1"), 1)) == "4/13", "each run reads the next share"


def test_a_slot_that_comes_again_makes_no_second_backup(kept: Kept) -> None:
    house = kept.begin()
    first, second, *_ = slots(house)
    kept.later(first - kept.clock.now() + HOUR)
    (job,) = jobs_of(house)
    seen = record(house).backups_seen_to
    assert job.state == JobState.DONE
    kept.clock.step = -2 * DAY
    kept.later(3 * DAY)
    assert [each.id for each in jobs_of(house)] == [job.id]
    assert (record(house).backups_seen_to, len(kept.counting())) == (seen, 1)
    kept.later(second - kept.clock.now() + HOUR)
    assert [each.arguments["slot"] for each in jobs_of(house)] == [first.isoformat(), second.isoformat()]
    assert [each.job_id for each in kept.counting()] == [jobs_of(house)[-1].id]


def test_a_backup_that_failed_before_the_clock_was_set_back_is_tried_again_soon(kept: Kept) -> None:
    """And not when the clock shows again what it showed then."""
    house = kept.begin()
    first, *_ = slots(house)
    house.world.fault("repositories.create", error=PermanentDriverError("the disk is ill"), nth=0)
    kept.later(first - kept.clock.now() + timedelta(minutes=5))
    assert {each.state for each in jobs_of(house)} == {JobState.FAILED}
    house.world.clear_faults()
    kept.clock.step = -HOUR * 2
    kept.later(2 * HOUR + timedelta(minutes=30))
    assert jobs_of(house)[-1].state == JobState.DONE


def test_a_clock_that_was_far_ahead_and_is_right_again_costs_no_slot(kept: Kept, caplog: pytest.LogCaptureFixture) -> None:
    house = kept.begin()
    first, second, third, *_ = slots(house)
    kept.later(first - kept.clock.now() - 2 * HOUR)
    kept.clock.step = 300 * DAY
    kept.later(15 * DAY)  # of the wrong clock: the slots of these weeks are done, as far as it goes
    ahead = record(house).backups_seen_to
    made = len(jobs_of(house))
    assert ahead is not None
    assert ahead > third + 290 * DAY
    kept.clock.step = -15 * DAY
    with caplog.at_level("WARNING", logger="orchestrator.engine.misdated"):
        kept.later(timedelta(minutes=5))
    assert (record(house).backups_seen_to or ahead) <= kept.clock.now()
    (said,) = [each.getMessage() for each in caplog.records if each.name == "orchestrator.engine.misdated"]
    assert said.startswith("the last scheduled backup of s1 is dated ")
    assert [row.facts["said"] for row in trail(house, "backups misdated")] == [ahead.isoformat(timespec="seconds")]
    kept.later(second - kept.clock.now() + HOUR)
    assert [each.arguments["slot"] for each in jobs_of(house)[made:]] == [first.isoformat(), second.isoformat()]


def test_a_slot_that_was_done_ahead_of_its_time_is_done_again_when_it_comes(kept: Kept) -> None:
    house = kept.begin()
    number = slots(house, number=9)
    kept.later(number[0] - kept.clock.now() - 2 * HOUR)
    kept.clock.step = 15 * DAY  # two slots and a day ahead
    kept.later(8 * DAY)
    made = [each.arguments["slot"] for each in jobs_of(house)]
    assert made[-1] == number[3].isoformat()
    kept.clock.step = -8 * DAY
    kept.later(number[3] - kept.clock.now() + HOUR)
    assert [each.arguments["slot"] for each in jobs_of(house)][len(made) :] == [slot.isoformat() for slot in number[:4]]
    assert {each.state for each in jobs_of(house)} == {JobState.DONE}


def test_a_backup_that_failed_while_the_clock_was_far_ahead_is_tried_again_in_its_slot(kept: Kept) -> None:
    house = kept.begin()
    first, *_ = slots(house)
    kept.later(first - kept.clock.now() + timedelta(minutes=1) - HOUR)
    house.world.fault("repositories.create", error=PermanentDriverError("the disk is ill"), nth=0)
    kept.clock.step = 300 * DAY
    kept.turn()
    assert [(each.state, each.arguments["slot"]) for each in jobs_of(house)] == [(JobState.FAILED, first.isoformat())]
    house.world.clear_faults()
    kept.clock.step = timedelta(0)
    kept.later(HOUR)
    assert (jobs_of(house)[-1].state, jobs_of(house)[-1].arguments["slot"]) == (JobState.DONE, first.isoformat())
