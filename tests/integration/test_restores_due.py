"""What restores leave is wiped at the end of its time, and drills are made by the week: on a clock that the test puts forward."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from orchestrator.domain.backups.drills import Drill, DrillState
from orchestrator.domain.backups.offer import NodeBackups
from orchestrator.domain.backups.restoring import Asked
from orchestrator.domain.backups.words import Backup, BackupState, Restore
from orchestrator.domain.errors import Frozen, PermanentDriverError, Refused
from orchestrator.domain.intents import IntentKind, JobState
from orchestrator.domain.policies import Policy
from orchestrator.domain.services import HoldEffect, HoldReason
from orchestrator.engine.conduct import HoldAsked
from orchestrator.engine.settings import nothing_beside
from orchestrator.store import backups, drills
from tests.fault.house import House, Options
from tests.integration.test_due import DAY, HOUR, Year, record

TARGET = NodeBackups(target="main")


class Weeks(Year):
    policy = Policy(name="default", provider="Example Hosting")
    drills = 0

    def begin(self) -> House:
        return self.open(options=Options(backups={"n1": TARGET}, drills=self.drills))


@pytest.fixture
def weeks(tmp_path: Path) -> Iterator[Weeks]:
    made = Weeks(tmp_path / "state")
    yield made
    made.close()


def backed_up(house: House, *service_ids: str) -> None:
    """Running services of each of which a verified backup stands."""
    for service_id in service_ids:
        assert house.wait(house.order(service_id).job_id).state == JobState.DONE
        made = house.engine.command(IntentKind.BACKUP, service_id, who="anna", why="", arguments={})
        assert house.wait(made.job_id).state == JobState.DONE


def restore(house: House, service_id: str = "s1", *, request: str = "r1", beside: bool = False) -> str:
    asked = Asked(request_id=request, beside=beside, why="a test")
    job = house.wait(house.engine.restoring.restore(service_id, asked, who="anna", beside=nothing_beside).submitted.job_id)
    assert job.state == JobState.DONE, job.error
    return job.id


def volumes(house: House, service_id: str = "s1") -> list[str]:
    names = house.world.node("n1")["volumes"]
    return sorted(name.split(".")[2] for name in names if name.startswith(f"orch.{service_id}.") and ".seed." not in name)


def test_a_backup_that_is_made_before_it_does_not_take_away_what_a_restore_was_promised(weeks: Weeks) -> None:
    house = weeks.begin()
    backed_up(house, "s1")
    wanted = good(house)
    house.world.fault("repositories.backup", delay=2.0)  # the restore is asked for while it is at work
    between = house.engine.command(IntentKind.BACKUP, "s1", who="anna", why="", arguments={})
    restore(house)
    assert house.job(between.job_id).state == JobState.DONE
    (counted,) = [each for each in kept_restores(house) if each.snapshot_id == wanted[0].snapshot_id]
    assert counted.done_at is not None
    assert len(good(house)) == 2  # the newer one, and the one that was wanted
    made = house.engine.command(IntentKind.BACKUP, "s1", who="anna", why="", arguments={})
    assert house.wait(made.job_id).state == JobState.DONE
    assert [each.job_id for each in good(house)] == [made.job_id]


def test_a_request_that_asks_for_something_else_under_the_same_name_is_refused(weeks: Weeks) -> None:
    house = weeks.begin()
    backed_up(house, "s1")
    restore(house, request="r1")
    with pytest.raises(Refused, match="r1 was asked for before, and of something else"):
        restore(house, request="r1", beside=True)
    restore(house, request="r1")
    assert volumes(house) == ["disk", "disk"]


def good(house: House) -> list[Backup]:
    with house.db.read() as conn:
        return [each for each in backups.of_service(conn, "s1") if each.state == BackupState.VERIFIED]


def kept_restores(house: House) -> list[Restore]:
    with house.db.read() as conn:
        return list(backups.restores_of(conn, "s1"))


# -- what is kept ------------------------------------------------------------


def test_a_safety_copy_and_a_volume_beside_are_wiped_after_their_days_and_not_before(weeks: Weeks) -> None:
    house = weeks.begin()
    backed_up(house, "s1")
    restore(house)
    weeks.later(DAY)
    restore(house, request="r2", beside=True)
    assert volumes(house) == ["beside", "disk", "disk"]
    weeks.later(6 * DAY - 2 * HOUR)
    assert len(record(house).kept) == 2
    weeks.later(4 * HOUR)
    assert (volumes(house), [each.kind.value for each in record(house).kept]) == (["beside", "disk"], ["beside"])
    weeks.later(DAY)
    assert (volumes(house), record(house).kept) == (["disk"], ())
    assert house.world.node("n1")["guests"]["orch.s1"]["power"] == "running"
    tidied = [job for job in house.jobs("s1") if job.intent == IntentKind.TIDY]
    assert [job.state for job in tidied] == [JobState.DONE, JobState.DONE]
    assert "was kept until then" in tidied[0].reason


def test_a_hold_that_forbids_to_erase_keeps_it_until_it_is_lifted(weeks: Weeks) -> None:
    house = weeks.begin()
    backed_up(house, "s1")
    restore(house)
    asked = HoldAsked(reason=HoldReason.LEGAL, effect=HoldEffect.NO_ERASE, why="a court asks")
    house.engine.conduct.hold("s1", asked, "anna")
    weeks.later(9 * DAY)
    assert volumes(house) == ["disk", "disk"]
    house.engine.conduct.lift("s1", HoldReason.LEGAL, "anna", "the court is done")
    weeks.later(2 * HOUR)
    assert volumes(house) == ["disk"]


def test_a_freeze_keeps_it_and_lifting_that_lets_it_go(weeks: Weeks) -> None:
    house = weeks.begin()
    backed_up(house, "s1")
    restore(house)
    house.engine.freeze("anna", "an incident")
    weeks.later(8 * DAY)
    assert volumes(house) == ["disk", "disk"]
    house.engine.unfreeze("anna")
    weeks.later(HOUR)
    assert volumes(house) == ["disk"]


def test_a_wipe_that_fails_is_tried_again(weeks: Weeks) -> None:
    house = weeks.begin()
    backed_up(house, "s1")
    restore(house)
    house.world.fault("agent.volume-wipe", error=PermanentDriverError("the file is in use"))
    weeks.later(7 * DAY + 3 * HOUR)
    assert volumes(house) == ["disk"]
    assert [job.state for job in house.jobs("s1") if job.intent == IntentKind.TIDY] == [JobState.FAILED, JobState.DONE]


# -- drills ------------------------------------------------------------


def made(house: House) -> list[Drill]:
    with house.db.read() as conn:
        return list(drills.list_page(conn)[0])[::-1]


def week(weeks: Weeks, house: House, by: timedelta = 7 * DAY) -> None:
    """Time passes, and drills are looked for as often as everything else."""
    end = weeks.clock.ahead + by
    while weeks.clock.ahead < end:
        weeks.later(3 * HOUR)
        while house.engine.drill():
            weeks.rest()


def test_each_week_so_many_services_are_drilled_and_nothing_is_left_of_it(weeks: Weeks) -> None:
    weeks.drills = 2
    house = weeks.begin()
    backed_up(house, *(f"s{number}" for number in range(1, 6)))
    before = {name: guest["boots"] for name, guest in house.world.node("n1")["guests"].items()}
    week(weeks, house, by=21 * DAY)
    found = made(house)
    assert {(each.state, each.signature) for each in found} == {(DrillState.PASSED, "gpt")}
    by_week: dict[object, set[str]] = {}
    for each in found:
        by_week.setdefault(each.week, set()).add(each.service_id)
    whole = sorted(by_week, key=str)[1:-1]
    assert len(whole) >= 1
    assert {len(by_week[each]) for each in whole} == {2}
    assert max(len(each) for each in by_week.values()) == 2
    assert {name for name in house.world.node("n1")["volumes"] if ".drill." in name} == set()
    assert {name: guest["boots"] for name, guest in house.world.node("n1")["guests"].items()} == before
    assert all(record(house, f"s{number}").kept == () for number in range(1, 6))


def test_none_is_drilled_where_none_is_wanted_or_nothing_could_be_restored(weeks: Weeks) -> None:
    house = weeks.begin()
    backed_up(house, "s1")
    week(weeks, house, by=8 * DAY)
    assert made(house) == []
    assert house.wait(house.order("s2").job_id).state == JobState.DONE
    with pytest.raises(Refused, match="drill refused: no verified backup"):
        house.engine.drilling.now("s2", who="anna", why="")


def test_none_is_begun_under_a_freeze_for_nothing_of_it_could_be_thrown_away(weeks: Weeks) -> None:
    weeks.drills = 1
    house = weeks.begin()
    backed_up(house, "s1")
    house.engine.freeze("anna", "looking")
    week(weeks, house, by=8 * DAY)
    with pytest.raises(Frozen, match="frozen by anna"):
        house.engine.drilling.now("s1", who="anna", why="")
    assert (made(house), volumes(house)) == ([], ["disk"])
    house.engine.unfreeze("anna")
    week(weeks, house)
    assert {each.state for each in made(house)} == {DrillState.PASSED}


def ended(drill: Drill) -> datetime:
    assert drill.ended_at is not None
    return drill.ended_at


def test_one_that_fails_counts_as_the_weeks_says_why_and_can_be_made_again_by_hand(weeks: Weeks) -> None:
    weeks.drills = 1
    house = weeks.begin()
    backed_up(house, "s1", "s2", "s3")
    house.world.fault("repositories.restore", error=PermanentDriverError("a pack is damaged"))
    week(weeks, house)
    failed = made(house)[0]
    assert (failed.state, "a pack is damaged" in failed.why) == (DrillState.FAILED, True)
    assert [each.week for each in made(house)].count(failed.week) == 1
    again = house.engine.drilling.now(failed.service_id, who="anna", why="mended")
    assert house.wait(again.job_id).state == JobState.DONE
    last = made(house)[-1]
    assert (last.state, last.week, last.asked_by) == (DrillState.PASSED, None, "anna")
    with house.db.read() as conn:
        assert drills.counts(conn)[DrillState.FAILED] == 1
        assert drills.last_passed(conn) is not None
        assert (drills.failed_since(conn, ended(failed)), drills.failed_since(conn, ended(last))) == (1, 0)
    house.engine.retry(failed.id, "anna")
    assert house.wait(failed.id).state == JobState.DONE
    with house.db.read() as conn:
        assert drills.failed_since(conn, ended(failed)) == 0


def test_after_a_restart_no_second_drill_is_made_in_the_week(weeks: Weeks) -> None:
    weeks.drills = 1
    house = weeks.begin()
    backed_up(house, "s1", "s2", "s3")
    week(weeks, house, by=14 * DAY)
    first = made(house)[-1]
    assert first.week is not None
    house = weeks.begin()
    while house.engine.drill():
        weeks.rest()
    assert [each.id for each in made(house) if each.week == first.week] == [first.id]
