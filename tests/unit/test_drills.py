"""Which services are drilled in a week, and when."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from orchestrator.domain.backups.drills import begins, choose, decide, week_of
from orchestrator.domain.calendar import Calendar
from orchestrator.domain.decisions import command
from orchestrator.domain.fence import closed
from orchestrator.domain.intents import Intent, IntentKind, Refusal
from orchestrator.domain.services import Hold, HoldEffect, HoldReason, Lifecycle
from tests.unit.test_restoring import ACTIVE, NOW, backup

JAKARTA = Calendar(ZoneInfo("Asia/Jakarta"))
MONDAY = date(2026, 11, 23)
SERVICES = [f"s{number}" for number in range(40)]


def test_a_week_begins_on_monday_of_the_providers_zone() -> None:
    assert week_of(JAKARTA, datetime(2026, 11, 22, 16, 59, tzinfo=UTC)) == MONDAY - timedelta(days=7)
    assert week_of(JAKARTA, datetime(2026, 11, 22, 17, 0, tzinfo=UTC)) == MONDAY
    assert week_of(JAKARTA, datetime(2026, 11, 29, 16, 59, tzinfo=UTC)) == MONDAY


def test_whoever_looks_again_in_the_week_finds_the_same_choice_in_whatever_order() -> None:
    chosen = choose(SERVICES, MONDAY, drilled=(), number=3)
    assert len(chosen) == 3
    assert choose(reversed(SERVICES), MONDAY, drilled=(), number=3) == chosen
    assert choose(SERVICES, MONDAY, drilled=chosen[:1], number=3) == chosen[1:]
    assert choose(SERVICES, MONDAY, drilled=chosen, number=3) == []


def test_no_more_are_drilled_in_a_week_than_were_said_whoever_comes_meanwhile() -> None:
    assert choose([*SERVICES, "new"], MONDAY, drilled=["gone", "other"], number=2) == []
    assert choose(SERVICES, MONDAY, drilled=(), number=0) == []


def test_over_the_weeks_every_service_has_its_turn() -> None:
    weeks = [MONDAY + timedelta(weeks=number) for number in range(400)]
    turns = Counter(each for week in weeks for each in choose(SERVICES, week, drilled=(), number=1))
    assert set(turns) == set(SERVICES)
    assert max(turns.values()) < 40


def test_each_node_begins_at_a_moment_of_its_own_in_the_first_five_days() -> None:
    moments = {begins(f"hv{number}", MONDAY, JAKARTA) for number in range(50)}
    assert len(moments) > 45
    assert min(moments) >= JAKARTA.start(MONDAY)
    assert max(moments) < JAKARTA.start(MONDAY + timedelta(days=5))
    assert begins("hv1", MONDAY, JAKARTA) != begins("hv1", MONDAY + timedelta(days=7), JAKARTA) - timedelta(days=7)


def test_a_drill_is_of_an_active_service_and_is_tried_again_as_it_was() -> None:
    made = decide(ACTIVE, backup(1), who="orchestrator", why="the week").decision
    assert isinstance(made, Intent)
    assert (made.kind, made.arguments) == (IntentKind.DRILL, {"backup": "b1", "role": "drill"})
    again = command(IntentKind.DRILL, ACTIVE, who="anna", why="", now=NOW, arguments=made.arguments).decision
    assert isinstance(again, Intent)
    assert again.arguments == made.arguments
    assert isinstance(command(IntentKind.DRILL, ACTIVE, who="anna", why="", now=NOW, arguments={}).decision, Refusal)
    for state in Lifecycle:
        if state != Lifecycle.ACTIVE:
            ended = ACTIVE.__class__(id="s1", client_id="c1", plan="small", state=state)
            assert isinstance(decide(ended, backup(1), who="anna", why="").decision, Refusal)


def test_what_a_drill_has_written_is_thrown_away_whatever_holds_the_service() -> None:
    held = ACTIVE.with_hold(Hold(reason=HoldReason.LEGAL, effect=HoldEffect.NO_ERASE, by="court", why="so", since=NOW))
    assert closed(held, kind=IntentKind.DRILL, payments=5) == ""
    assert closed(held, kind=IntentKind.TIDY, payments=0) != ""
