"""The plan of the week, over the API and by the CLI."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from orchestrator.cli.main import run
from tests.live import Live

WEEKLY = """
name: default
provider: Test Hosting
document: the terms of 2026
backup:
  schedule: {every: {vps: 7 days}, clause: "5"}
"""


def test_the_plan_of_the_week_says_when_and_leaves_out_who_gets_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "default.yaml").write_text(WEEKLY, encoding="utf-8")
    live = Live(tmp_path, timezone="Asia/Jakarta")
    live.start()
    try:
        live.provisioned("kept")
        live.provisioned("held")
        held = live.http.post("/v1/services/held/suspend", json={"reason": "asked for"}).json()
        live.wait(held["job_id"])
        week = live.http.get("/v1/backups/plan").json()
        assert [(each["service_id"], each["node"]) for each in week["planned"]] == [("kept", "n1")]
        slot = datetime.fromisoformat(week["planned"][0]["slot"])
        assert datetime.fromisoformat(week["start"]) <= slot < datetime.fromisoformat(week["start"]) + timedelta(days=7)
        assert [each["service_id"] for each in week["left_out"]] == ["held"]
        assert "suspended" in week["left_out"][0]["reason"]
        socket = ["--socket", str(live.socket)]
        assert run([*socket, "backup", "plan"]) == 0
        shown = capsys.readouterr().out
        assert "kept" in shown
        assert "left out:" in shown
        assert run([*socket, "backup", "plan", "--node", "n2", "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["planned"] == []
        assert run([*socket, "service", "show", "kept"]) == 0
        shown = capsys.readouterr().out
        assert "last backup" in shown
        assert f"{slot:%Y-%m-%d %H:%M:%SZ}" in shown
        assert live.http.get("/v1/services/held").json()["backups"]["next_slot"] is None
        assert run([*socket, "backup", "plan", "--service", "held"]) == 0
        assert "suspended" in capsys.readouterr().out
        assert run([*socket, "backup", "plan", "--service", "kept"]) == 0
        assert "days and hours of backups are those of Asia/Jakarta" in capsys.readouterr().out
        for asked in ("plan", "list"):
            assert run([*socket, "backup", asked, "--service", "nobody"]) == 3
            assert "there is no service nobody" in capsys.readouterr().err
        assert 'orchestrator_service_backup_missed_slots{service="kept"} 0.0' in live.http.get("/metrics/services").text
    finally:
        live.stop()
