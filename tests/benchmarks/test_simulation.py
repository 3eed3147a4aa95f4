"""How long a simulated year takes: seconds of CPU, of one processor."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from orchestrator.config.policies import load_policies
from orchestrator.domain.calendar import Calendar
from orchestrator.domain.simulation.dice import Dice
from orchestrator.domain.simulation.run import simulate
from orchestrator.domain.simulation.scenario import Network, Scenario
from tests.benchmarks.book import Row, write

POLICIES = load_policies(Path(__file__).parents[2] / "configs" / "policies")
NETWORK = Network(late=0.01, doubled=0.02)


@pytest.mark.timeout(1800)
def test_a_simulated_year() -> None:
    sizes = (("default", 10_000), ("enterpage", 10_000), ("default", 100_000))
    rows = [_row(policy, services) for policy, services in sizes]
    write(
        "A simulated year",
        "`orchestrator simulate` for 365 days with 1 % late and 2 % doubled webhooks: seconds of CPU, and how many services "
        "a second takes through the year. There is no bare thing to compare it with.",
        rows,
    )


def _row(policy: str, services: int) -> Row:
    scenario = Scenario(services=services, start=datetime(2026, 1, 1, tzinfo=UTC), network=NETWORK)
    started = time.process_time()
    report = simulate(scenario, POLICIES[policy], Calendar(ZoneInfo("Asia/Jakarta")), Dice(1))
    taken = time.process_time() - started
    assert report.missed == []
    return Row(f"{services:,} services, policy `{policy}`", f"{taken:.1f} s", "–", f"{services / taken:.0f} services/s")
