"""A change of policies that would terminate somebody at once, as operators meet it: shown, counted, agreed to."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from orchestrator.config.policy_reading import parse_policy
from orchestrator.config.policy_stored import to_store
from orchestrator.domain.guards import WaitReason
from orchestrator.domain.services import Hold, HoldEffect, HoldReason, Lifecycle, Service
from orchestrator.store import services, settings
from tests.integration.api.answers import refused
from tests.live import PLAN, Live
from tests.served import Ran, command

DAY = timedelta(days=1)
POLICY = """
name: default
provider: Test Hosting
overdue:
  suspend: {after: 2 days, clause: "2 a"}
  terminate: {after: 7 days, since: suspension, clause: "2 b"}
"""
SHORTER = POLICY.replace("7 days", "3 days")
FLEET = 25


def made(directory: Path, *, adopted: str, policy: str) -> Live:
    """A controller with services that were suspended four days ago, which starts with another policy than it ran with."""
    (directory / "policies").mkdir(parents=True, exist_ok=True)
    (directory / "policies" / "default.yaml").write_text(policy, encoding="utf-8")
    live = Live(directory)
    now = live.clock.now()
    since = now - 4 * DAY
    hold = Hold(reason=HoldReason.NONPAYMENT, effect=HoldEffect.STOP, by="t", why="", since=since)
    good = Service(id="good", client_id="c", plan=PLAN, state=Lifecycle.ACTIVE)
    late = replace(good, due_at=since - 2 * DAY, holds=(hold,), suspension_proven_at=since)
    before = {"policies": {"default": to_store(parse_policy(adopted, "default.yaml"))}, "plans": {PLAN: "default"}}
    with live.db.write() as conn:
        settings.put(conn, settings.ADOPTED, before, now=now)
        services.put(conn, good, now=now)
        for number in range(FLEET):
            services.put(conn, replace(late, id=f"v{number:02}"), now=now)
    live.start()
    live.controller.engine.fall_due()
    return live


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Live]:
    """Under the old policy."""
    live = made(tmp_path, adopted=POLICY, policy=POLICY)
    yield live
    live.stop()


@pytest.fixture
def waits(tmp_path: Path) -> Iterator[Live]:
    """Started with the shorter one."""
    live = made(tmp_path, adopted=POLICY, policy=SHORTER)
    yield live
    live.stop()


def say(live: Live, *words: str) -> Ran:
    return command("--socket", str(live.socket), *words)


def test_the_forecast_of_a_policy_says_how_many_it_would_terminate_at_once(live: Live, tmp_path: Path) -> None:
    new = tmp_path / "new.yaml"
    new.write_text(SHORTER, encoding="utf-8")
    body = {"file": "new.yaml", "text": SHORTER}
    first = live.http.post("/v1/forecast", json=body, params={"limit": 2}).json()
    assert (len(first["items"]), first["terminates"]) == (2, FLEET)
    behind = live.http.post("/v1/forecast", json=body, params={"limit": 2, "after": first["next"]}).json()
    assert behind["terminates"] is None
    assert live.http.post("/v1/forecast", json=body, params={"service_id": "v03"}).json()["terminates"] == 1
    assert live.http.post("/v1/forecast", json=body, params={"service_id": "good"}).json()["terminates"] == 0
    told = say(live, "forecast", "--policy-file", str(new)).stdout.splitlines()
    assert told[-2] == f"terminated within 24 hours of adopting it, and not otherwise: {FLEET}"
    assert f"orchestrator terminations release --yes-terminate {FLEET}" in told[-1]
    new.write_text(POLICY, encoding="utf-8")
    told = say(live, "forecast", "--policy-file", str(new)).stdout.splitlines()
    assert told[-1] == "terminated within 24 hours of adopting it, and not otherwise: 0"
    assert json.loads(say(live, "forecast", "--policy-file", str(new), "--json").stdout)["terminates"] == 0


def test_a_change_is_shown_refused_and_agreed_to_by_its_exact_number(waits: Live) -> None:
    (wait,) = waits.http.get("/v1/terminations").json()["waits"]
    assert (wait["reason"], wait["count"], len(wait["services"])) == ("policy", FLEET, 20)
    shown = say(waits, "terminations", "show").stdout
    assert "v00, v01" in shown
    assert "and 5 more" in shown
    assert f"--yes-terminate {FLEET}" in shown
    assert "put the policies and plans back" in shown
    metrics = waits.http.get("/metrics").text
    assert 'orchestrator_terminations_wait_reason{reason="policy"} 1.0' in metrics
    assert 'orchestrator_terminations_wait_reason{reason="clock"} 0.0' in metrics
    plain = say(waits, "terminations", "release", "--why", "sure")
    assert (plain.returncode, f"--yes-terminate {FLEET}" in plain.stderr) == (4, True)
    wrong = say(waits, "terminations", "release", "--why", "sure", "--yes-terminate", "24")
    assert wrong.returncode == 4
    assert f"{FLEET} services would be terminated within 24 hours, not 24" in wrong.stderr
    refused(waits.http.post("/v1/terminations/release", json={"why": "sure", "yes_terminate": -1}), 400, "request-invalid")
    assert waits.http.get("/v1/terminations").json()["wait"] is True
    agreed = say(waits, "terminations", "release", "--why", "new terms", "--yes-terminate", str(FLEET))
    assert (agreed.returncode, agreed.stdout) == (0, "deadlines terminate\n")
    row = waits.http.get("/v1/audit", params={"limit": 1}).json()["items"][0]
    assert (row["what"], row["facts"]["terminates"]) == ("terminations released", FLEET)
    again = say(waits, "terminations", "release", "--why", "new terms", "--yes-terminate", str(FLEET))
    assert again.returncode == 3


def test_every_reason_has_its_metric(live: Live) -> None:
    metrics = live.http.get("/metrics").text
    for reason in WaitReason:
        assert f'orchestrator_terminations_wait_reason{{reason="{reason}"}} 0.0' in metrics
    live.controller.engine.compare_looks()
    metrics = live.http.get("/metrics").text
    assert "orchestrator_looks_differing 0.0" in metrics
    assert "orchestrator_looks_compared_timestamp_seconds" in metrics
