"""When a job waits for a person."""

from __future__ import annotations

import pytest

from orchestrator.domain.brakes import BrakeLimits, brake
from orchestrator.domain.intents import IntentKind

LIMITS = BrakeLimits(suspensions_per_hour=2, terminations_per_hour=0)
DESTRUCTIVE = (IntentKind.SUSPEND, IntentKind.TERMINATE, IntentKind.ERASE)


def reason(kind: IntentKind, *, suspensions: int = 0, terminations: int = 0, frozen: bool = False) -> str:
    return brake(kind, recent_suspensions=suspensions, recent_terminations=terminations, limits=LIMITS, frozen=frozen)


@pytest.mark.parametrize("kind", [k for k in IntentKind if k not in (*DESTRUCTIVE, IntentKind.REINSTALL, IntentKind.MOVE)])
def test_what_destroys_nothing_never_waits(kind: IntentKind) -> None:
    assert reason(kind, suspensions=99, terminations=99, frozen=True) == ""


@pytest.mark.parametrize("kind", [*DESTRUCTIVE, IntentKind.REINSTALL])
def test_a_freeze_holds_back_all_that_destroys(kind: IntentKind) -> None:
    assert "frozen" in reason(kind, frozen=True)


@pytest.mark.parametrize(("recent", "waits"), [(0, False), (1, False), (2, True), (3, True)])
def test_so_many_suspensions_an_hour_run_by_themselves(recent: int, waits: bool) -> None:
    assert bool(reason(IntentKind.SUSPEND, suspensions=recent)) is waits


def test_a_customer_who_wants_his_system_anew_waits_for_nobody_but_a_freeze() -> None:
    """It is his own data: how many do so in an hour says nothing."""
    assert reason(IntentKind.REINSTALL, suspensions=99, terminations=99) == ""


def test_a_limit_of_nothing_makes_every_one_wait() -> None:
    assert "more than 0" in reason(IntentKind.TERMINATE)


def test_each_kind_counts_for_itself() -> None:
    assert reason(IntentKind.SUSPEND, suspensions=1, terminations=99) == ""
