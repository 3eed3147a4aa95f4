"""How long a job waits for what it cannot reach, and how often it looks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from orchestrator.domain.absences import Absence, goes_on, next_wait
from orchestrator.domain.errors import OrchestratorError, PermanentDriverError, TransientDriverError, Unreachable

AT = datetime(2026, 11, 20, 3, 0, tzinfo=UTC)
AWAY = Unreachable("n1 does not answer")
PATIENCE = timedelta(minutes=30)


def waits(
    error: OrchestratorError = AWAY, before: Absence | None = None, *, after: float = 0.0, spread: float = 0.0, position: int = 2
) -> Absence | None:
    now = AT + timedelta(seconds=after)
    return next_wait(error, before, away="n1", position=position, since=AT, now=now, patience=PATIENCE, spread=spread)


def test_the_pauses_grow_to_a_minute_and_are_spread_a_little() -> None:
    pauses, found, at = [], None, 0.0
    for _ in range(7):
        found = waits(before=found, after=at)
        assert found is not None
        pauses.append((found.until - AT).total_seconds() - at)
        at += pauses[-1]
    assert pauses == [5, 10, 20, 40, 60, 60, 60]
    assert found is not None
    assert (found.tries, found.since) == (7, AT)
    widest = waits(spread=1.0)
    assert widest is not None
    assert widest.until == AT + timedelta(seconds=6)


def test_it_ends_with_the_patience_after_a_last_try_at_its_very_end() -> None:
    before = waits()
    last = waits(before=before, after=1790)
    assert last is not None
    assert last.until == AT + PATIENCE
    assert waits(before=last, after=1800) is None


@pytest.mark.parametrize("error", [TransientDriverError("busy"), PermanentDriverError("no")])
def test_only_what_cannot_be_reached_is_waited_for(error: OrchestratorError) -> None:
    before = waits()
    assert waits(error) is None
    assert goes_on(before, error, position=2) is None


@pytest.mark.parametrize(("position", "same"), [(0, True), (2, True), (3, False)])
def test_a_job_that_came_beyond_the_step_that_waited_begins_a_new_wait(position: int, same: bool) -> None:
    before = waits()
    assert goes_on(before, AWAY, position=position) == (before if same else None)


def test_it_says_for_what_since_when_why_and_until_when_and_survives_json() -> None:
    found = waits()
    assert found is not None
    assert str(found) == ("waits for n1 since 2026-11-20 03:00:00Z: n1 does not answer; tries again at 2026-11-20 03:00:05Z")
    assert Absence.from_json(found.to_json()) == found
