"""Backups as the controller makes jobs of them: in their slots, caught up once, and no more at a time than the node works on.

The playbook is one of these tests: it looks at the volumes and makes nothing, for when it is run is all that is asked here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, time, timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from orchestrator import wiring
from orchestrator.api.outlook import late
from orchestrator.domain.backups.offer import Hours, NodeBackups
from orchestrator.domain.backups.schedule import slots_after
from orchestrator.domain.calendar import Days
from orchestrator.domain.deadlines import Action
from orchestrator.domain.errors import PermanentDriverError, Refused
from orchestrator.domain.intents import IntentKind, JobState
from orchestrator.domain.jobs import Job
from orchestrator.domain.playbooks import Playbook
from orchestrator.domain.policies import SILENT, Backup, BackupOnRequest, BackupSchedule
from orchestrator.store import deadlines as store
from tests.fault.house import CALENDAR, House, Options
from tests.integration.test_due import DAY, HOUR, Year, record

WEEKLY = replace(
    SILENT,
    name="default",
    backup=Backup(
        schedule=BackupSchedule(clause="VPS 5", every={"vps": Days(7)}),
        on_request=BackupOnRequest(clause="VPS 6", at_most_every=Days(7)),
    ),
)
TARGET = NodeBackups(target="main")


class Weeks(Year):
    policy = WEEKLY
    backups: NodeBackups | None = TARGET

    def begin(self) -> House:
        """The controller comes up, with this target and these hours."""
        return self.open(options=Options(backups={} if self.backups is None else {"n1": self.backups}))


@pytest.fixture
def weeks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Weeks]:
    books = dict(wiring.load_all_playbooks())
    first = next(step for step in books["vps-check"].steps if step.step == "volume.check")
    books["vps-backup"] = Playbook(name="vps-backup", description="Looks at the volumes.", for_="vps", steps=(first,))
    monkeypatch.setattr(wiring, "load_all_playbooks", lambda: books)
    made = Weeks(tmp_path / "state")
    yield made
    made.close()


def running(weeks: Weeks, *service_ids: str) -> House:
    house = weeks.begin()
    for service_id in service_ids:
        assert house.wait(house.order(service_id).job_id).state == JobState.DONE
    return house


def backups(house: House, service_id: str = "s1") -> list[Job]:
    return [job for job in house.jobs(service_id) if job.intent == IntentKind.BACKUP]


def slots(house: House, service_id: str = "s1", number: int = 4) -> list[datetime]:
    """The slots of the service since its activation."""
    service = record(house, service_id)
    assert service.activated_at is not None
    found = slots_after(service_id, service.activated_at, house.catalog.terms_of(service))
    return [next(found) for _ in range(number)]


def test_each_slot_makes_one_backup(weeks: Weeks) -> None:
    house = running(weeks, "s1")
    first, second, *_ = slots(house)
    weeks.later(first - weeks.clock.now() - HOUR)
    assert backups(house) == []
    weeks.later(2 * HOUR)
    (job,) = backups(house)
    assert (job.state, job.arguments["slot"]) == (JobState.DONE, first.isoformat())
    assert job.reason == "a backup is made every 7 days [default: VPS 5]"
    assert timedelta(0) <= job.created_at - first <= 2 * HOUR
    weeks.later(second - weeks.clock.now() + HOUR)
    assert [job.arguments["slot"] for job in backups(house)] == [first.isoformat(), second.isoformat()]


def test_slots_that_were_missed_are_caught_up_once(weeks: Weeks) -> None:
    house = running(weeks, "s1")
    first, *_ = slots(house)
    weeks.close()
    weeks.clock.ahead += 31 * DAY
    house = weeks.begin()
    weeks.later(2 * HOUR)
    (job,) = backups(house)
    assert job.arguments["slot"] == first.isoformat()
    following = next(slot for slot in slots(house, number=9) if slot > job.created_at)
    weeks.later(following - weeks.clock.now() + HOUR)
    assert [job.arguments["slot"] for job in backups(house)] == [first.isoformat(), following.isoformat()]


def test_what_fails_is_tried_again_until_it_is_made(weeks: Weeks) -> None:
    house = running(weeks, "s1")
    first, second, *_ = slots(house)
    house.world.fault("volumes.volumes", error=PermanentDriverError("the disk is full"), nth=0)
    weeks.later(first - weeks.clock.now() + 3 * HOUR)
    failed = backups(house)
    assert len(failed) >= 2
    assert {job.state for job in failed} == {JobState.FAILED}
    assert {job.arguments["slot"] for job in failed} == {first.isoformat()}
    assert record(house).backups_seen_to is None
    house.world.clear_faults()
    weeks.later(7 * HOUR)
    assert [job.state for job in backups(house)] == [*(JobState.FAILED for _ in failed), JobState.DONE]
    seen = record(house).backups_seen_to
    assert seen is not None
    assert first < seen < second


def test_who_is_suspended_is_left_out_and_catches_up_afterwards(weeks: Weeks) -> None:
    house = running(weeks, "s1")
    suspend = house.engine.command(IntentKind.SUSPEND, "s1", who="anna", why="x", arguments={})
    assert house.wait(suspend.job_id).state == JobState.DONE
    weeks.later(15 * DAY)
    assert backups(house) == []
    lift = house.engine.command(IntentKind.UNSUSPEND, "s1", who="anna", why="x", arguments={})
    assert house.wait(lift.job_id).state == JobState.DONE
    weeks.later(2 * HOUR)
    assert len(backups(house)) == 1


def test_a_node_works_on_no_more_at_a_time_than_it_says(weeks: Weeks) -> None:
    house = running(weeks, "s1", "s2", "s3")
    weeks.close()
    weeks.clock.ahead += 8 * DAY
    house = weeks.begin()
    for _ in range(6):
        house.engine.fall_due()
        under_way = [job for each in ("s1", "s2", "s3") for job in backups(house, each) if not job.state.final]
        assert len(under_way) <= 1
        weeks.rest()
    made = sorted((job for each in ("s1", "s2", "s3") for job in backups(house, each)), key=lambda job: job.created_at)
    assert [job.state for job in made] == [JobState.DONE] * 3  # whoever waited began when the one before had ended
    for before, after in pairwise(made):
        assert before.finished_at is not None
        assert before.finished_at <= after.created_at


def test_what_was_missed_is_caught_up_inside_the_hours_only(weeks: Weeks) -> None:
    weeks.backups = NodeBackups(target="main", hours=Hours(opens=time(1), closes=time(5)))
    house = running(weeks, "s1")
    weeks.close()
    local = (weeks.clock.now() + 8 * DAY).astimezone(CALENDAR.zone).replace(hour=12)
    weeks.clock.ahead += local - weeks.clock.now()
    house = weeks.begin()
    weeks.later(12 * HOUR)
    assert backups(house) == []
    weeks.later(3 * HOUR)
    (job,) = backups(house)
    assert time(1) <= job.created_at.astimezone(CALENDAR.zone).time() < time(5)


def test_where_the_node_has_no_target_nothing_falls_due(weeks: Weeks) -> None:
    weeks.backups = None
    house = running(weeks, "s1")
    weeks.later(15 * DAY)
    assert [job.intent for job in house.jobs("s1")] == [IntentKind.PROVISION]
    with house.db.read() as conn:
        assert store.next_looks(conn)["s1"] is None
    with pytest.raises(Refused, match="its node has no target for backups"):
        house.engine.command(IntentKind.BACKUP, "s1", who="anna", why="", arguments={})


def test_one_that_is_asked_for_is_made_at_once_and_the_next_too_soon_is_refused(weeks: Weeks) -> None:
    house = running(weeks, "s1")
    asked = house.engine.command(IntentKind.BACKUP, "s1", who="anna", why="before an update", arguments={})
    assert house.wait(asked.job_id).state == JobState.DONE
    assert record(house).backups_seen_to is None
    with pytest.raises(Refused, match="at most one in 7 days"):
        house.engine.command(IntentKind.BACKUP, "s1", who="anna", why="again", arguments={})
    first, *_ = slots(house)
    weeks.later(first - weeks.clock.now() + HOUR)
    assert [job.arguments.get("slot") for job in backups(house)] == [None, first.isoformat()]


def test_what_waits_for_its_turn_is_not_late(weeks: Weeks) -> None:
    house = running(weeks, "s1")
    weeks.close()
    weeks.clock.ahead += 8 * DAY
    local = weeks.clock.now().astimezone(CALENDAR.zone)
    weeks.backups = NodeBackups(target="main", hours=Hours(opens=time((local.hour + 6) % 24), closes=time((local.hour + 9) % 24)))
    house = weeks.begin()
    weeks.later(HOUR)
    assert backups(house) == []
    with house.db.read() as conn:
        assert late(conn, house.catalog, now=weeks.clock.now())[Action.BACKUP] == 0
