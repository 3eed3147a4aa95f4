"""What a controller takes while many backups run, and what the plan of a week costs with many services."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import pytest
import sqlalchemy as sa

from orchestrator.api.context import ApiContext
from orchestrator.domain.backups.offer import NodeBackups
from orchestrator.domain.backups.schedule import plan_week
from orchestrator.domain.services import Lifecycle, Service
from orchestrator.store import services
from orchestrator.store import tables as t
from tests.benchmarks.backup_load import BACKUPS, BEATS_PER_SECOND, SECONDS
from tests.benchmarks.book import Row, cpu, megabytes, seconds, write
from tests.live import Live

SERVICES, NODES = 20_000, 100
ROUNDS = 3
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
WEEKLY = """
name: default
provider: Test Hosting
document: the terms of 2026
backup:
  schedule: {every: {vps: 7 days}, clause: "5"}
"""


@pytest.mark.timeout(900)
def test_the_controller_while_many_backups_run(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "tests.benchmarks.backup_load", str(tmp_path / "state")]
    done = subprocess.run(words, check=True, stdout=subprocess.PIPE, timeout=800)
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert (told["running"], told["done"]) == (BACKUPS, BACKUPS)
    write(
        f"The controller while {BACKUPS} backups run",
        f"Of one core, over {SECONDS:.0f} seconds, and resident memory (VmRSS), of a controller in a process of its own. The"
        f" backups are jobs of the engine on the simulated node, each of which tells of its progress {BEATS_PER_SECOND} times a"
        " second in the agent's lines; what SSH takes is not in it. Bare: the same controller with the same services and nothing"
        " to do.",
        [
            Row("of one core", f"{told['busy']:.1%}", f"{told['idle']:.1%}", f"{told['busy'] / told['idle']:.1f} ×"),
            Row("memory", megabytes(told["memory"])),
        ],
    )


def _fleet(context: ApiContext) -> ApiContext:
    """Many nodes, each of which works on two at a time."""
    backups = {f"n{number:03}": NodeBackups(target="main", at_once=2) for number in range(NODES)}
    return replace(context, catalog=replace(context.catalog, backups=backups))


@pytest.mark.timeout(900)
def test_the_plan_of_a_week(tmp_path: Path) -> None:
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "default.yaml").write_text(WEEKLY, encoding="utf-8")
    live = Live(tmp_path, change=_fleet)
    live.start()
    try:
        _fill(live)
        catalog = live.context.catalog
        every = [replace(_one(), id=f"s{number:05}", node=f"n{number % NODES:03}") for number in range(SERVICES)]
        planning = median(
            cpu(lambda: plan_week(every, catalog.terms_of, calendar=catalog.calendar, start=NOW)) for _ in range(ROUNDS)
        )
        answer = live.http.get("/v1/backups/plan", timeout=120).json()
        asked = median(cpu(lambda: live.http.get("/v1/backups/plan", timeout=120)) for _ in range(ROUNDS))
    finally:
        live.stop()
    assert len(answer["planned"]) + sum(each["beyond"] for each in answer["crowded"]) == SERVICES
    write(
        "The plan of a week",
        f"{SERVICES:,} services on {NODES} nodes with a weekly backup each: seconds of CPU. Over the API with all that it reads,"
        " writes and sends (the client's share is in it). There is no bare thing to compare it with.",
        [
            Row("the plan", seconds(planning)),
            Row("`GET /v1/backups/plan`", seconds(asked)),
        ],
    )


def _one() -> Service:
    return Service(id="s0", client_id="c", plan="small", state=Lifecycle.ACTIVE, activated_at=NOW)


def _fill(live: Live) -> None:
    """Nothing falls due for them while it is measured."""
    with live.db.write() as conn:
        services.put(conn, _one(), now=NOW)
        one = dict(conn.execute(sa.select(t.services)).one()._mapping) | {"next_due_at": None}
        conn.execute(sa.delete(t.services))
        for start in range(0, SERVICES, 5000):
            numbers = range(start, start + 5000)
            conn.execute(sa.insert(t.services), [one | {"id": f"s{n:05}", "node": f"n{n % NODES:03}"} for n in numbers])
