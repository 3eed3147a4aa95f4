"""Restores over the API and the CLI: real engine and store, simulated nodes and repositories."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from orchestrator.cli.main import run
from orchestrator.domain.errors import PermanentDriverError
from tests.integration.api.answers import refused
from tests.integration.api.test_backups import backed_up
from tests.integration.api.test_drift import world
from tests.live import Live


def ask(live: Live, service_id: str, *, key: str = "", dry: bool = False, **body: object) -> Any:
    headers = {"Idempotency-Key": key} if key else {}
    asked = {"reason": "it was hacked", **body}
    return live.http.post(f"/v1/services/{service_id}/restore{'?dry_run=true' if dry else ''}", json=asked, headers=headers)


def restored(live: Live, service_id: str, **body: Any) -> dict[str, Any]:
    answer = ask(live, service_id, **body)
    assert answer.status_code == 202, answer.text
    job = live.wait(answer.json()["job_id"])
    assert job.state == "done", job.error
    return dict(answer.json())


def show(live: Live, service_id: str) -> dict[str, Any]:
    return dict(live.http.get(f"/v1/services/{service_id}").json())


def test_the_newest_backup_is_restored_and_the_old_disk_is_shown_with_its_end(live: Live) -> None:
    made = backed_up(live, "inplace")
    old = show(live, "inplace")["facts"]["disk"]["volume"]
    answer = restored(live, "inplace")
    assert (answer["backup_id"], answer["amount"], answer["counts"]) == (made["id"], 0, "the policy counts no restores")
    after = show(live, "inplace")
    (kept,) = after["kept"]
    assert (kept["name"], kept["kind"], kept["job_id"]) == (old["name"], "safety-copy", answer["job_id"])
    assert after["facts"]["disk"]["volume"]["name"] == f"orch.inplace.disk.{answer['job_id']}.qcow2"
    (due,) = [each for each in after["deadlines"] if each["action"] == "tidy"]
    assert due["at"] == kept["until"]
    job = live.wait(live.http.post("/v1/services/inplace/check", json={}).json()["job_id"])
    assert (job.state, job.error) == ("done", "")


def test_beside_it_nothing_else_changes_and_what_is_kept_can_be_wiped_at_once(live: Live) -> None:
    backed_up(live, "beside")
    before = show(live, "beside")
    answer = restored(live, "beside", beside=True)
    after = show(live, "beside")
    (kept,) = after["kept"]
    assert (kept["kind"], kept["name"]) == ("beside", f"orch.beside.beside.{answer['job_id']}.qcow2")
    assert after["facts"]["disk"] == before["facts"]["disk"]
    refused(live.http.post("/v1/services/beside/tidy", json={}), 400, "request-invalid")
    job = live.wait(live.http.post("/v1/services/beside/tidy", json={"reason": "room"}).json()["job_id"])
    assert job.state == "done", job.error
    assert show(live, "beside")["kept"] == []
    assert live.http.post("/v1/services/beside/tidy", json={"reason": "room"}).json()["outcome"] == "nothing"


def test_a_dry_run_says_what_would_be_restored_and_changes_nothing(live: Live) -> None:
    made = backed_up(live, "dry")
    answer = ask(live, "dry", dry=True).json()
    assert (answer["outcome"], answer["backup_id"], answer["size_bytes"]) == ("dry-run", made["id"], made["size_bytes"])
    assert answer["size_bytes"] > 1 << 20, "a simulated disk has a system on it"
    assert answer["room"].startswith("the pool of n1 has room for it (10 GiB are needed, ")
    assert [call["step"] for call in answer["workflow"]["calls"]] == [
        "restore.write",
        "guest.stop",
        "disk.switch",
        "guest.bring-back",
    ]
    assert live.http.get("/v1/services/dry/restores").json()["items"] == []


def test_without_a_verified_backup_or_a_service_it_is_refused(live: Live) -> None:
    live.provisioned("bare")
    problem = refused(ask(live, "bare"), 409, "refused")
    assert "no verified backup" in problem["detail"]
    assert "`orchestrator backup restores bare`" in problem["hint"]
    refused(ask(live, "nobody"), 404, "not-found")
    refused(ask(live, "bare", backup="b9"), 404, "not-found")
    refused(ask(live, "bare", backup="no id"), 400, "request-invalid")


def test_the_same_request_is_one_restore_also_when_the_key_is_forgotten(live: Live) -> None:
    backed_up(live, "once")
    first = ask(live, "once", key="once-1").json()
    live.wait(first["job_id"])
    with live.context.db.write() as conn:
        conn.exec_driver_sql("DELETE FROM idempotency_keys")
    again = ask(live, "once", key="once-1").json()
    assert again["job_id"] == first["job_id"]
    (counted,) = live.http.get("/v1/services/once/restores").json()["items"]
    assert (counted["state"], counted["job_id"], counted["done_at"] is not None) == ("counted", first["job_id"], True)


def test_the_cli_tells_and_restores(live: Live, capsys: pytest.CaptureFixture[str]) -> None:
    made = backed_up(live, "typed")
    socket = ["--socket", str(live.socket)]
    assert run([*socket, "restore", "typed", "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert f"would restore backup {made['id']}" in said
    assert "disk.switch" in said
    assert "; it costs nothing\nthe pool of n1 has room for it" in said
    assert run([*socket, "restore", "typed", "--beside"]) == 2
    assert run([*socket, "restore", "typed", "--reason", "it was hacked", "--watch"]) == 0
    capsys.readouterr()
    assert run([*socket, "service", "show", "typed"]) == 0
    assert "safety-copy of job" in capsys.readouterr().out
    assert run([*socket, "backup", "restores", "typed"]) == 0
    assert "the policy counts no restores" in capsys.readouterr().out
    assert run([*socket, "restore", "typed", "--backup", made["id"], "--beside", "--reason", "look", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["beside"] is True
    assert run([*socket, "service", "tidy", "typed", "--reason", "room", "--yes-i-mean", "typed", "--watch"]) == 0


def test_a_drill_is_made_listed_and_measured(live: Live, capsys: pytest.CaptureFixture[str]) -> None:
    made = backed_up(live, "drilled")
    socket = ["--socket", str(live.socket)]
    assert run([*socket, "backup", "drill", "now", "drilled", "--reason", "to be sure", "--watch"]) == 0
    capsys.readouterr()
    assert run([*socket, "backup", "drill", "list", "--service", "drilled"]) == 0
    assert "passed" in capsys.readouterr().out
    (told,) = live.http.get("/v1/backups/drills", params={"service_id": "drilled"}).json()["items"]
    assert (told["state"], told["backup_id"], told["week"], told["node"]) == ("passed", made["id"], None, "n1")
    measured = live.http.get("/metrics").text
    assert 'orchestrator_drills{state="passed"} 1.0' in measured
    assert "orchestrator_drill_passed_timestamp_seconds " in measured
    assert 'orchestrator_restores{state="counted"}' in measured
    refused(live.http.post("/v1/backups/drills", json={"service_id": "nobody"}), 404, "not-found")
    with live.tcp(live.tokens["billing"]) as billing:
        refused(billing.post("/v1/backups/drills", json={"service_id": "drilled"}), 403, "forbidden")
    assert show(live, "drilled")["kept"] == []


def test_a_drill_that_failed_is_measured_until_its_job_is_done_after_all(live: Live) -> None:
    def failing() -> float:
        (told,) = re.findall(r"(?m)^orchestrator_drills_failing (\S+)$", live.http.get("/metrics").text)
        return float(told)

    backed_up(live, "unsound")
    world(live).fault("repositories.restore", error=PermanentDriverError("a pack is damaged"))
    job_id = live.http.post("/v1/backups/drills", json={"service_id": "unsound"}).json()["job_id"]
    assert (live.wait(job_id).state, failing()) == ("failed", 1.0)
    live.controller.engine.retry(job_id, "anna")
    assert (live.wait(job_id).state, failing()) == ("done", 0.0)
