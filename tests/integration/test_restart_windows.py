"""Changes of plan that are carried out in a window: on the simulated node, by the controller's own clock."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from orchestrator.domain.backups.offer import DAY_MINUTES, Span
from orchestrator.domain.errors import WrongState
from orchestrator.domain.intents import IntentKind, JobState
from orchestrator.domain.planned import PlannedRestart
from orchestrator.domain.terms import Windows
from orchestrator.drivers.fake import FakeHypervisor
from orchestrator.ports.hypervisor import GuestFacts
from orchestrator.store import jobs
from tests.fault.controller import lose
from tests.fault.house import CALENDAR, PLAN, Options
from tests.integration.test_due import DAY, HOUR, Year, record

LARGE = replace(PLAN, name="large", memory_bytes=2 << 30)
LARGER = replace(PLAN, name="larger", memory_bytes=3 << 30)
# Each day from 02:00 to 04:00.
NIGHTS = Windows(spans=tuple(Span(day * DAY_MINUTES + 120, day * DAY_MINUTES + 240) for day in range(7)), tells=True)
OPTIONS = Options(windows={"n1": NIGHTS})


class Nights(Year):
    more_plans = (LARGE, LARGER)


@pytest.fixture
def nights(tmp_path: Path) -> Iterator[Nights]:
    made = Nights(tmp_path / "state")
    made.open(options=OPTIONS)
    assert made.house is not None
    assert made.house.wait(made.house.order("s1").job_id).state == JobState.DONE
    made.turn()
    yield made
    made.close()


def ask(nights: Nights, plan: str = "large", restart: str = "window") -> None:
    house = nights.house
    assert house is not None
    arguments = {"plan": plan, "restart": restart}
    job = house.wait(house.engine.command(IntentKind.CHANGE_PLAN, "s1", who="anna", why="x", arguments=arguments).job_id)
    assert (job.state, job.error) == (JobState.DONE, "")


def planned(nights: Nights) -> PlannedRestart | None:
    assert nights.house is not None
    return record(nights.house).restart


def guest(nights: Nights) -> GuestFacts:
    assert nights.house is not None
    found = FakeHypervisor(nights.house.world, "n1").guest("orch.s1", deadline=5)
    assert found is not None
    return found


def boots(nights: Nights) -> int:
    assert nights.house is not None
    return int(nights.house.world.node("n1")["guests"]["orch.s1"]["boots"])


def told(nights: Nights, kind: str) -> list[dict[str, Any]]:
    assert nights.house is not None
    bodies = [json.loads(each["body"]) for each in nights.house.world.read()["deliveries"]]
    return [body["data"] for body in bodies if body["type"] == kind]


def wall(moment: datetime) -> str:
    return moment.astimezone(CALENDAR.zone).strftime("%H:%M")


def test_the_restart_waits_for_the_window_its_customer_is_told_before_and_it_is_done_once(nights: Nights) -> None:
    ask(nights)
    found = planned(nights)
    assert found is not None
    assert (wall(found.at), wall(found.until), found.node) == ("02:00", "04:00", "n1")
    assert timedelta(hours=24) <= found.at - nights.clock.now() <= timedelta(hours=48)
    assert guest(nights).needs_restart
    nights.turn()
    (notice,) = told(nights, "notice.notice-restart")
    assert notice["occurrence"] == found.at.isoformat()
    nights.later(found.at - nights.clock.now() - timedelta(minutes=10))
    assert (boots(nights), guest(nights).needs_restart) == (1, True)
    nights.later(timedelta(minutes=20))
    assert (boots(nights), guest(nights).needs_restart, guest(nights).memory_bytes) == (2, False, 2 << 30)
    assert planned(nights) is None
    nights.later(3 * DAY)
    assert boots(nights) == 2
    assert len(told(nights, "notice.notice-restart")) == 1
    assert told(nights, "restart.called_off") == []


def test_billing_asks_for_a_window_once_however_often_and_late_its_events_come(nights: Nights) -> None:
    house = nights.house
    assert house is not None
    asked = house.event("service.change_plan", "s1", event_id="e2", version=2, plan="large", restart="window")
    assert house.wait(asked.job_id).state == JobState.DONE
    found = planned(nights)
    assert found is not None
    again = house.event("service.change_plan", "s1", event_id="e2", version=2, plan="large", restart="window")
    under_another_id = house.event("service.change_plan", "s1", event_id="e3", version=2, plan="large", restart="window")
    late = house.event("service.change_plan", "s1", event_id="e1", version=1, plan="larger", restart="now")
    assert [each.outcome for each in (again, under_another_id, late)] == ["duplicate", "duplicate-command", "stale"]
    assert (planned(nights), record(house).plan, boots(nights)) == (found, "large", 1)
    nights.turn()
    nights.later(found.at - nights.clock.now() + timedelta(minutes=10))
    assert (boots(nights), guest(nights).memory_bytes, planned(nights)) == (2, 2 << 30, None)
    newer = house.event("service.change_plan", "s1", version=3, plan="larger", restart="now")
    assert house.wait(newer.job_id).state == JobState.DONE
    assert (boots(nights), guest(nights).memory_bytes) == (3, 3 << 30)


def test_what_billing_left_to_the_customer_is_planned_by_a_newer_event_and_taken_back_by_another_change(
    nights: Nights,
) -> None:
    house = nights.house
    assert house is not None
    for version, plan, restart, plans in ((1, "large", "", False), (2, "large", "window", True), (3, "larger", "never", False)):
        given = {"restart": restart} if restart else {}
        asked = house.event("service.change_plan", "s1", version=version, plan=plan, **given)
        assert house.wait(asked.job_id).state == JobState.DONE
        assert (planned(nights) is not None) == plans, (version, plan)
    assert boots(nights) == 1


def test_where_its_node_has_no_window_billing_is_told_so_and_nothing_is_changed(tmp_path: Path) -> None:
    year = Nights(tmp_path / "state")
    house = year.open()
    house.wait(house.order("s1").job_id)
    asked = house.event("service.change_plan", "s1", version=1, plan="large", restart="window")
    assert (asked.outcome, "has no window" in asked.detail, record(house).plan) == ("refused", True, PLAN.name)
    year.close()


def test_a_window_that_passed_while_nobody_was_there_is_not_made_up_for_outside_of_it(nights: Nights) -> None:
    ask(nights)
    nights.turn()
    first = planned(nights)
    assert first is not None
    nights.later(first.at - nights.clock.now() - HOUR)
    nights.close()
    nights.clock.ahead += 3 * HOUR - timedelta(minutes=10)  # ten minutes before its end: too late to begin
    nights.open(options=OPTIONS)
    nights.turn()
    second = planned(nights)
    assert second is not None
    assert (boots(nights), wall(second.at)) == (1, "02:00")
    assert second.at - first.at in (DAY, 2 * DAY)
    assert [each["at"] for each in told(nights, "restart.called_off")] == [first.at.isoformat()]
    assert len(told(nights, "notice.notice-restart")) == 2
    nights.later(second.at - nights.clock.now() + timedelta(minutes=10))
    assert (boots(nights), planned(nights)) == (2, None)


def test_it_is_called_off_by_an_operator_by_a_newer_change_and_by_a_restart_of_its_own(nights: Nights) -> None:
    house = nights.house
    assert house is not None
    ask(nights)
    first = planned(nights)
    assert first is not None
    house.engine.restarting.call_off("s1", who="anna", why="no", beside=lambda _conn, _submitted: None)
    assert planned(nights) is None
    ask(nights, "larger")
    assert planned(nights) is not None
    ask(nights, "large", "never")
    assert planned(nights) is None
    ask(nights, "larger")
    for kind in (IntentKind.STOP, IntentKind.START):
        house.wait(house.engine.command(kind, "s1", who="anna", why="x", arguments={}).job_id)
    assert (planned(nights), guest(nights).needs_restart) == (None, False)
    nights.later(3 * DAY)
    assert boots(nights) == 2, "that was its own"


def test_what_needs_no_restart_plans_none(nights: Nights) -> None:
    ask(nights, PLAN.name)
    assert planned(nights) is None
    ask(nights)
    assert planned(nights) is not None
    ask(nights, PLAN.name)
    assert planned(nights) is None


def test_the_same_plan_asked_for_again_leaves_a_planned_restart_as_it_is(nights: Nights) -> None:
    ask(nights)
    found = planned(nights)
    assert found is not None
    for restart in ("never", "window"):
        ask(nights, restart=restart)
        assert planned(nights) == found
    assert told(nights, "restart.called_off") == []


def test_a_job_of_the_window_that_had_to_wait_until_it_was_over_restarts_nobody_and_is_planned_anew(nights: Nights) -> None:
    house = nights.house
    assert house is not None
    ask(nights)
    late = (nights.clock.now() - timedelta(minutes=1)).isoformat()
    arguments = {"plan": "large", "restart": "now", "not_after": late}
    job = house.wait(house.engine.command(IntentKind.CHANGE_PLAN, "s1", who="anna", why="x", arguments=arguments).job_id)
    assert (job.state, job.error, boots(nights)) == (JobState.DONE, "", 1)
    assert guest(nights).needs_restart
    assert planned(nights) is not None


def test_what_its_window_has_come_for_is_not_said_to_be_called_off(nights: Nights) -> None:
    house = nights.house
    assert house is not None
    ask(nights)
    house.world.fault("sizes.resize", delay=2.0)
    arguments = {"plan": "large", "restart": "now", "not_after": (nights.clock.now() + HOUR).isoformat()}
    job_id = house.engine.command(IntentKind.CHANGE_PLAN, "s1", who="anna", why="x", arguments=arguments).job_id
    with pytest.raises(WrongState, match=f"job {job_id} restarts it") as refused:
        house.engine.restarting.call_off("s1", who="anna", why="no", beside=lambda _conn, _submitted: None)
    assert refused.value.hint == f"orchestrator job cancel {job_id}"
    assert planned(nights) is not None
    assert house.wait(job_id).state == JobState.DONE
    assert (boots(nights), planned(nights)) == (2, None)
    nights.turn()
    assert [each["why"] for each in told(nights, "restart.called_off")] == []


def test_on_a_lost_node_it_waits_as_one_job_and_is_done_in_a_window_once_that_is_found(nights: Nights) -> None:
    house = nights.house
    assert house is not None
    ask(nights)
    nights.turn()
    first = planned(nights)
    assert first is not None
    lose(house)
    nights.later(first.until - nights.clock.now() + DAY)
    with house.db.read() as conn:
        (waits,) = jobs.in_states(conn, [JobState.WAITING_APPROVAL])
        assert len(jobs.list_page(conn, limit=9, service_id="s1")[0]) == 3, "beside its order and the change of plan"
    assert waits.approval_reason.startswith("its node is lost: n1")
    assert (planned(nights), len(told(nights, "notice.notice-restart")), told(nights, "restart.called_off")) == (first, 1, [])
    house.world.set_node("n1", up=True)
    house.engine.losing.found("n1", who="anna", why="its power is back")
    nights.turn()
    second = planned(nights)
    assert second is not None
    assert (boots(nights), wall(second.at)) == (1, "02:00"), "found by day: in its next night"
    nights.later(second.at - nights.clock.now() + timedelta(minutes=10))
    assert (boots(nights), planned(nights), guest(nights).needs_restart) == (2, None, False)
    assert [len(told(nights, kind)) for kind in ("notice.notice-restart", "restart.called_off")] == [2, 1]
