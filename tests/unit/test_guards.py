"""When destruction waits for proof: gaps, clocks that jump, stores that are older than the world, policies nobody agreed to."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain.calendar import Calendar, Days
from orchestrator.domain.certificates import utc_text
from orchestrator.domain.guards import (
    AWAY,
    LEAST_PAUSE,
    NOTICE,
    TRIES,
    Look,
    Wait,
    WaitReason,
    after_gap,
    consent_wait,
    ended_by,
    joined,
    last_night,
    looked_at_too_late,
    older_than_its_mark,
    over,
    pause_after,
    said,
)
from orchestrator.domain.policies import SILENT, Overdue, Policy, Terminate, TerminateSince
from orchestrator.domain.services import Hold, HoldEffect, HoldReason, Lifecycle, Service
from orchestrator.domain.terms import Terms

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
CALENDAR = Calendar(ZoneInfo("Asia/Jakarta"))


def gap(wall: timedelta, monotonic: timedelta | None, *, turn: timedelta = MINUTE) -> dict[WaitReason, Wait]:
    """The waits after so much time by each clock; None = in another process."""
    before = None if monotonic is None else Look(NOW, 100.0)
    now = Look(NOW + wall, 100.0 + (0.0 if monotonic is None else monotonic.total_seconds()))
    return {wait.reason: wait for wait in after_gap(last=NOW, before=before, now=now, turn=turn)}


def test_at_the_very_first_turn_nothing_waits() -> None:
    assert list(after_gap(last=None, before=None, now=Look(NOW, 5.0), turn=MINUTE)) == []


@pytest.mark.parametrize("monotonic", [None, True])
@pytest.mark.parametrize(
    ("away", "reason"),
    [
        (5 * MINUTE, None),
        (5 * MINUTE + SECOND, WaitReason.PAUSE),
        (HOUR, WaitReason.PAUSE),
        (HOUR + SECOND, WaitReason.DOWNTIME),
        (30 * DAY, WaitReason.DOWNTIME),
    ],
)
def test_the_longer_it_was_away_the_longer_destruction_waits(
    away: timedelta, reason: WaitReason | None, monotonic: bool | None
) -> None:
    found = gap(away, away if monotonic else None)
    assert list(found) == ([] if reason is None else [reason])
    if reason is not None:
        assert (found[reason].until is None) == (reason == WaitReason.DOWNTIME)
        assert utc_text(NOW) in found[reason].why


def test_what_looks_seldom_is_not_away_between_two_looks() -> None:
    assert gap(40 * MINUTE, 40 * MINUTE, turn=10 * MINUTE) == {}
    assert list(gap(HOUR + SECOND, HOUR + SECOND, turn=DAY)) == [WaitReason.DOWNTIME]


@pytest.mark.parametrize(("minutes", "pause"), [(3, 15), (5, 15), (6, 35), (30, 35), (35, 35), (36, 125), (60, 125)])
def test_a_pause_lasts_until_billing_has_tried_again(minutes: int, pause: int) -> None:
    assert pause_after(minutes * MINUTE) == pause * MINUTE


@given(st.integers(1, 3600), st.integers(0, 3600))
def test_whatever_found_nobody_in_a_gap_comes_again_before_its_pause_ends(length: int, sent: int) -> None:
    """``sent``: seconds into the gap at which the first try was made."""
    if sent >= length:
        return
    again = next(wait for wait in TRIES if timedelta(seconds=sent) + wait >= timedelta(seconds=length))
    back = timedelta(seconds=length)
    assert timedelta(seconds=sent) + again <= back + pause_after(back)
    assert pause_after(back) >= max(back, LEAST_PAUSE)


@pytest.mark.parametrize("step", [6 * MINUTE, -6 * MINUTE, 400 * DAY, -400 * DAY])
def test_a_clock_that_jumps_stops_destruction(step: timedelta) -> None:
    found = gap(MINUTE + step, MINUTE)
    assert WaitReason.CLOCK in found
    assert ("forward" if step > timedelta(0) else "back") in found[WaitReason.CLOCK].why
    assert found[WaitReason.CLOCK].until is None


@pytest.mark.parametrize("step", [timedelta(0), 4 * MINUTE, -4 * MINUTE])
def test_a_clock_that_is_corrected_a_little_stops_nothing(step: timedelta) -> None:
    assert gap(MINUTE + step, MINUTE) == {}


def test_a_machine_that_slept_was_away_and_its_clock_jumped() -> None:
    assert set(gap(3 * HOUR, MINUTE)) == {WaitReason.CLOCK, WaitReason.DOWNTIME}
    assert set(gap(20 * MINUTE, MINUTE)) == {WaitReason.CLOCK, WaitReason.PAUSE}


def test_a_clock_that_was_set_back_makes_no_gap_shorter() -> None:
    assert set(gap(MINUTE, 3 * HOUR)) == {WaitReason.CLOCK, WaitReason.DOWNTIME}


def test_a_start_at_an_earlier_time_than_the_last_look_stops_destruction() -> None:
    assert set(gap(-6 * MINUTE, None)) == {WaitReason.CLOCK}
    assert gap(-4 * MINUTE, None) == {}


@pytest.mark.parametrize(
    ("turns", "mark", "older"),
    [(0, None, False), (0, 5, False), (7, 7, False), (7, 6, False), (7, 8, True), (7, None, True)],
)
def test_a_store_that_knows_of_fewer_turns_than_its_mark_came_back_from_a_copy(turns: int, mark: int | None, older: bool) -> None:
    found = older_than_its_mark(turns=turns, mark=mark, now=NOW)
    assert (found is not None) == older
    assert found is None or (found.reason, found.until) == (WaitReason.RESTORED, None)


def wait(reason: WaitReason, since: datetime, until: datetime | None = None) -> Wait:
    return Wait(reason=reason, why=f"{reason} of {since:%H:%M}", since=since, until=until)


def test_waits_stand_beside_each_other_and_a_second_one_keeps_the_words_of_the_first() -> None:
    first = wait(WaitReason.PAUSE, NOW, NOW + HOUR)
    clock = wait(WaitReason.CLOCK, NOW)
    again = wait(WaitReason.PAUSE, NOW + MINUTE, NOW + 2 * HOUR)
    found = joined({first.reason: first}, [clock, again])
    assert found[WaitReason.CLOCK] == clock
    assert (found[WaitReason.PAUSE].why, found[WaitReason.PAUSE].since) == (first.why, NOW)
    assert found[WaitReason.PAUSE].until == NOW + 2 * HOUR
    shorter = joined(found, [wait(WaitReason.PAUSE, NOW, NOW + MINUTE)])
    assert shorter[WaitReason.PAUSE].until == NOW + 2 * HOUR
    assert said(found.values()) == "pause of 12:00; clock of 12:00"


def test_only_what_has_an_end_ends_by_itself() -> None:
    pause, clock = wait(WaitReason.PAUSE, NOW, NOW + HOUR), wait(WaitReason.CLOCK, NOW)
    standing = {each.reason: each for each in (pause, clock)}
    assert over(standing, NOW + HOUR - SECOND) == ()
    assert over(standing, NOW + HOUR) == (pause,)


def test_billings_list_settles_what_is_about_payments_and_nothing_else() -> None:
    assert {reason for reason in WaitReason if reason.payments} == {WaitReason.DOWNTIME, WaitReason.PAUSE, WaitReason.RESTORED}


def test_every_wait_says_what_to_do() -> None:
    consent = consent_wait(["policy p"], ("a", "b", "c"), first=2, since=NOW)
    assert (consent.count, consent.services) == (3, ("a", "b"))
    assert "would terminate 3 services within 24 hours" in consent.why
    assert "--yes-terminate 3" in consent.mend
    assert "1 service within" in consent_wait(["policy p"], ("a",), first=2, since=NOW).why
    assert "timedatectl" in wait(WaitReason.CLOCK, NOW).mend
    assert "by itself" in wait(WaitReason.PAUSE, NOW, NOW + HOUR).mend
    assert "orchestrator reconcile" in wait(WaitReason.RESTORED, NOW).mend


def policy(days: int) -> Policy:
    rule = Terminate(clause="2", after=Days(days), since=TerminateSince.DUE)
    return Policy(name="p", provider="P", overdue=Overdue(terminate=rule))


def ends(service: Service, days: int) -> bool:
    return ended_by(service, Terms(policy=policy(days), calendar=CALENDAR), now=NOW, told={}, settled=frozenset())


def test_a_policy_ends_a_service_within_a_day_or_does_not() -> None:
    service = Service(id="s1", client_id="c", plan="p", state=Lifecycle.ACTIVE, due_at=NOW - 9 * DAY)
    assert [ends(service, days) for days in (1, 9, 10, 11)] == [True, True, True, False]
    held = service.with_hold(Hold(reason=HoldReason.LEGAL, effect=HoldEffect.NO_ERASE, by="a", why="", since=NOW))
    assert not ends(held, 9)
    assert not ended_by(service, Terms(policy=SILENT, calendar=CALENDAR), now=NOW, told={}, settled=frozenset())
    assert NOTICE == DAY


def test_the_night_is_the_providers() -> None:
    local = datetime(2026, 6, 2, 2, 59, tzinfo=CALENDAR.zone)
    assert last_night(local.astimezone(UTC), CALENDAR) == datetime(2026, 6, 1, 3, tzinfo=CALENDAR.zone)
    assert last_night(local.astimezone(UTC) + MINUTE, CALENDAR) == datetime(2026, 6, 2, 3, tzinfo=CALENDAR.zone)


@pytest.mark.parametrize(
    ("look", "due", "late"),
    [
        (None, None, False),
        (NOW, None, False),
        (None, NOW, True),
        (NOW, NOW, False),
        (NOW - DAY, NOW, False),
        (NOW + SECOND, NOW, True),
    ],
)
def test_only_a_look_that_comes_too_late_is_a_difference(look: datetime | None, due: datetime | None, late: bool) -> None:
    assert looked_at_too_late(look, due) == late


def test_an_hour_is_what_the_manual_says() -> None:
    assert AWAY == HOUR
