"""Restarts for a window: which one, when it is too late for it, and what takes a planned one back."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from orchestrator.domain import plan_changes, restarts
from orchestrator.domain.backups.offer import DAY_MINUTES, Span
from orchestrator.domain.calendar import Calendar
from orchestrator.domain.deadlines import Action, deadlines
from orchestrator.domain.intents import Intent, IntentKind, JobState, Nothing, Refusal
from orchestrator.domain.jobs import Job
from orchestrator.domain.planned import PlannedRestart
from orchestrator.domain.services import Lifecycle, Service
from orchestrator.domain.terms import NO_TERMS, Terms, Windows

JAKARTA, BERLIN = Calendar(ZoneInfo("Asia/Jakarta")), Calendar(ZoneInfo("Europe/Berlin"))
TUESDAY = Span(DAY_MINUTES + 120, DAY_MINUTES + 240)  # Tue 02:00-04:00
OVER_SUNDAY = Span(6 * DAY_MINUTES + 23 * 60, 60)  # Sun 23:00-Mon 01:00
HOUR = timedelta(hours=1)
WINDOWS = Windows(spans=(TUESDAY,), notice=timedelta(hours=24), takes=timedelta(minutes=15), tells=True)
TERMS = replace(NO_TERMS, calendar=JAKARTA, windows=WINDOWS)


def moment(text: str, calendar: Calendar = JAKARTA) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=calendar.zone).astimezone(UTC)


SERVICE = Service(id="s1", client_id="c1", plan="large", state=Lifecycle.ACTIVE, created_at=moment("2026-11-01"), node="n1")
PLANNED = PlannedRestart(
    node="n1", at=moment("2026-12-01 02:00"), until=moment("2026-12-01 04:00"), planned_at=moment("2026-11-28"), why="memory"
)


@pytest.mark.parametrize(
    ("now", "spans", "begins", "ends"),
    [
        ("2026-11-28 12:00", (TUESDAY,), "2026-12-01 02:00", "2026-12-01 04:00"),
        ("2026-12-01 02:00", (TUESDAY,), "2026-12-01 02:00", "2026-12-01 04:00"),
        ("2026-12-01 02:01", (TUESDAY,), "2026-12-08 02:00", "2026-12-08 04:00"),
        ("2026-12-01 02:01", (TUESDAY, OVER_SUNDAY), "2026-12-06 23:00", "2026-12-07 01:00"),
    ],
)
def test_the_next_window_is_the_first_that_has_not_begun(now: str, spans: tuple[Span, ...], begins: str, ends: str) -> None:
    found = restarts.next_opening(spans, JAKARTA, after=moment(now), at_least=HOUR)
    assert found == restarts.Opening(moment(begins), moment(ends))


def test_a_window_that_the_clocks_make_too_short_is_left_out() -> None:
    spring = Span(6 * DAY_MINUTES + 90, 6 * DAY_MINUTES + 200)  # Sun 01:30-03:20; on 28 March 2027 it has 50 minutes
    found = restarts.next_opening((spring,), BERLIN, after=moment("2027-03-27", BERLIN), at_least=HOUR)
    assert found is not None
    assert found.begins == moment("2027-04-04 01:30", BERLIN)
    assert restarts.next_opening((), BERLIN, after=moment("2027-03-27", BERLIN), at_least=HOUR) is None
    assert restarts.next_opening((TUESDAY,), BERLIN, after=moment("2027-03-27", BERLIN), at_least=3 * HOUR) is None


def test_its_customer_is_told_so_long_before() -> None:
    late = restarts.planned(SERVICE, TERMS, why="memory", now=moment("2026-11-30 02:01"))
    assert late is not None
    assert late.at == moment("2026-12-08 02:00")


def test_without_a_window_none_is_promised() -> None:
    given = {plan_changes.PLAN: "large", plan_changes.RESTART: "window"}
    for windows in (Windows(), replace(WINDOWS, takes=3 * HOUR)):
        decided = plan_changes.again(SERVICE, given, who="anna", why="x", terms=replace(TERMS, windows=windows)).decision
        assert isinstance(decided, Refusal)
        assert decided.rule == plan_changes.RULE_WINDOWS
    assert isinstance(plan_changes.again(SERVICE, given, who="anna", why="x", terms=TERMS).decision, Intent)


def test_it_waits_until_the_notice_was_taken_where_somebody_is_told() -> None:
    service = replace(SERVICE, restart=PLANNED)
    notice, restart = deadlines(service, TERMS, told={})
    assert (notice.action, notice.at) == (Action.NOTICE_RESTART, PLANNED.planned_at)
    assert (restart.action, restart.at, bool(restart.waits)) == (Action.RESTART, PLANNED.at, True)
    assert "between 2026-12-01T02:00+07:00 and 2026-12-01T04:00+07:00" in notice.reason
    taken = deadlines(service, TERMS, told={(Action.NOTICE_RESTART, notice.occurrence): PLANNED.planned_at})
    assert [(each.action, each.waits) for each in taken] == [(Action.NOTICE_RESTART, ""), (Action.RESTART, "")]
    (alone,) = deadlines(service, replace(TERMS, windows=replace(WINDOWS, tells=False)), told={})
    assert (alone.action, alone.waits) == (Action.RESTART, "")


@pytest.mark.parametrize(
    "service",
    [replace(SERVICE, state=Lifecycle.TERMINATING, restart=PLANNED), replace(SERVICE, node="n2", restart=PLANNED), SERVICE],
    ids=["ends", "moved", "none"],
)
def test_what_is_not_there_any_more_has_no_deadline(service: Service) -> None:
    assert deadlines(service, TERMS, told={}) == ()


def falls_due(now: str, terms: Terms = TERMS) -> tuple[object, Service | None, int]:
    received = restarts.fall_due(replace(SERVICE, restart=PLANNED), who="p", why="y", terms=terms, now=moment(now))
    return received.decision, received.service, len(received.tells)


def test_inside_its_window_it_is_a_change_to_the_plan_it_has_that_must_not_begin_too_late() -> None:
    decision, _, told = falls_due("2026-12-01 03:45")
    assert isinstance(decision, Intent)
    assert decision.kind == IntentKind.CHANGE_PLAN
    assert decision.arguments == {
        plan_changes.PLAN: "large",
        plan_changes.RESTART: "now",
        plan_changes.NOT_AFTER: moment("2026-12-01 03:45").isoformat(),
    }
    assert told == 0


def test_too_late_for_its_window_it_is_planned_for_the_next_and_told_anew() -> None:
    decision, service, told = falls_due("2026-12-01 03:46")
    assert isinstance(decision, Nothing)
    assert service is not None
    assert service.restart is not None
    assert (service.restart.at, service.restart.why, told) == (moment("2026-12-08 02:00"), "memory", 1)


def test_a_node_that_lost_its_windows_restarts_nobody() -> None:
    _, service, told = falls_due("2026-12-01 03:46", replace(TERMS, windows=replace(WINDOWS, spans=())))
    assert service is not None
    assert (service.restart, told) == (None, 1)


def test_it_can_be_called_off_and_only_once() -> None:
    received = restarts.call_off(replace(SERVICE, restart=PLANNED), why="the customer asked")
    assert received.service == SERVICE
    (told,) = received.tells
    assert told.data == {"at": PLANNED.at.isoformat(), "until": PLANNED.until.isoformat(), "why": "the customer asked"}
    assert restarts.call_off(SERVICE, why="").tells == ()


@pytest.mark.parametrize("kind", [IntentKind.STOP, IntentKind.START, IntentKind.MOVE, IntentKind.RECOVER, IntentKind.REINSTALL])
def test_a_job_that_starts_the_guest_anew_or_elsewhere_leaves_none_to_do(kind: IntentKind) -> None:
    job = Job(
        id="j1",
        service_id="s1",
        intent=kind,
        playbook=f"vps-{kind}",
        state=JobState.DONE,
        reason="",
        asked_by="anna",
        payments=0,
        arguments={},
        created_at=PLANNED.planned_at,
    )
    service, now = replace(SERVICE, restart=PLANNED), PLANNED.planned_at
    assert restarts.after_job(service, job, (), TERMS, ended_well=True, now=now).restart is None
    assert restarts.after_job(service, job, (), TERMS, ended_well=False, now=now).restart == PLANNED
