"""How much one caller may ask for."""

from __future__ import annotations

import pytest

from orchestrator.api import rates
from orchestrator.api.rates import Rates
from orchestrator.domain.errors import TooMany
from orchestrator.drivers.local.clock import SystemClock


class Stopped(SystemClock):
    """A clock that is put forward by hand."""

    seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds


def refused(limit: Rates, who: str = "a") -> float:
    with pytest.raises(TooMany) as told:
        limit.take(who)
    return told.value.retry_after


def test_so_many_come_at_once_and_then_one_by_one() -> None:
    clock = Stopped()
    limit = Rates(6, clock, what="this token")
    for _ in range(6):
        limit.take("a")
    assert refused(limit) == pytest.approx(10)
    clock.seconds = 4
    assert refused(limit) == pytest.approx(6)
    clock.seconds = 10
    limit.take("a")
    assert refused(limit) == pytest.approx(10)
    clock.seconds = 1000
    for _ in range(6):
        limit.take("a")
    refused(limit)


def test_one_caller_takes_nothing_from_another() -> None:
    limit = Rates(1, Stopped(), what="this token")
    limit.take("a")
    refused(limit)
    limit.take("b")


def test_zero_is_no_limit() -> None:
    limit = Rates(0, Stopped(), what="this token")
    for _ in range(1000):
        limit.take("a")


def test_callers_without_number_cost_no_memory_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rates, "MOST", 10)
    clock = Stopped()
    limit = Rates(2, clock, what="this address")
    for number in range(100):
        clock.seconds += 0.001
        limit.take(f"a{number}")
        limit.take(f"a{number}")
    assert len(limit._left) <= 11
    refused(limit, "a99")
