"""Backups over the API and the CLI: real engine and store, simulated nodes and repositories."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import pytest

from orchestrator.cli.main import run
from orchestrator.domain.errors import PermanentDriverError
from orchestrator.store import audit, backups
from tests.integration.api.answers import refused
from tests.integration.api.test_drift import world
from tests.live import Live


def backed_up(live: Live, service_id: str) -> dict[str, Any]:
    """A provisioned service with a backup that was asked for; the backup as it is told."""
    live.provisioned(service_id)
    answer = live.http.post(f"/v1/services/{service_id}/backup", json={"reason": "before the update"})
    assert answer.status_code == 202, answer.text
    job = live.wait(answer.json()["job_id"])
    assert job.state == "done", job.error
    (made,) = live.http.get("/v1/backups", params={"service_id": service_id}).json()["items"]
    return dict(made)


def test_a_backup_that_is_asked_for_is_made_verified_and_told_of(live: Live) -> None:
    made = backed_up(live, "asks")
    assert (made["state"], made["slot"], made["consistency"], made["share"]) == ("verified", None, "frozen", "1/13")
    assert live.http.get(f"/v1/backups/{made['id']}").json() == made
    refused(live.http.get("/v1/backups/nobody"), 404, "not-found")
    refused(live.http.get("/v1/backups", params={"state": "perfect"}), 400, "request-invalid")


def test_the_one_before_it_is_told_of_as_forgotten(live: Live) -> None:
    first = backed_up(live, "twice")
    live.wait(live.http.post("/v1/services/twice/backup", json={}).json()["job_id"])
    found = live.http.get("/v1/backups", params={"service_id": "twice"}).json()["items"]
    assert [each["state"] for each in found] == ["verified", "forgotten"]
    assert found[1]["id"] == first["id"]
    (good,) = live.http.get("/v1/backups", params={"service_id": "twice", "state": "verified"}).json()["items"]
    assert good["id"] == found[0]["id"]


def test_the_same_request_again_makes_one_backup(live: Live) -> None:
    live.provisioned("once")
    again = {"Idempotency-Key": "weekend-once"}
    jobs = [live.http.post("/v1/services/once/backup", json={}, headers=again).json()["job_id"] for _ in range(2)]
    live.wait(jobs[0])
    assert jobs[0] == jobs[1]
    assert len(live.http.get("/v1/backups", params={"service_id": "once"}).json()["items"]) == 1


def test_a_service_that_is_not_there_yet_gets_none_and_the_rule_is_named(live: Live) -> None:
    live.send("order.created", "waits", client_id="c1", plan="small", order_id="o-waits")
    answer = live.http.post("/v1/services/waits/backup", json={})
    assert "lifecycle of a service" in answer.text
    assert answer.status_code in (403, 409, 422)


def test_a_service_without_a_schedule_is_told_so_by_whatever_is_asked(live: Live, capsys: pytest.CaptureFixture[str]) -> None:
    live.provisioned("bare")
    socket, why = ["--socket", str(live.socket)], "its policy default has no schedule"
    assert run([*socket, "backup", "plan", "--service", "bare"]) == 0
    assert why in capsys.readouterr().out
    assert run([*socket, "backup", "list", "--service", "bare"]) == 0
    assert why in capsys.readouterr().err
    assert run([*socket, "service", "show", "bare"]) == 0
    shown = capsys.readouterr().out
    assert f"none unasked: {why}" in shown


def test_the_cli_makes_lists_and_shows_backups(live: Live, capsys: pytest.CaptureFixture[str]) -> None:
    live.provisioned("typed")
    socket = ["--socket", str(live.socket)]
    assert run([*socket, "backup", "now", "typed", "--dry-run"]) == 0
    assert "backup.settle" in capsys.readouterr().out
    assert run([*socket, "backup", "now", "typed", "--watch"]) == 0
    capsys.readouterr()
    assert run([*socket, "backup", "list", "--service", "typed", "--json"]) == 0
    (made,) = json.loads(capsys.readouterr().out)["items"]
    assert run([*socket, "backup", "show", made["id"]]) == 0
    shown = capsys.readouterr().out
    assert "verified" in shown
    assert made["snapshot_id"] in shown


def test_prometheus_is_told_of_the_last_verified_backup(live: Live) -> None:
    made = backed_up(live, "watched")
    single = live.http.get("/metrics/services").text
    (verified,) = [line for line in single.splitlines() if 'backup_verified_timestamp_seconds{service="watched"}' in line]
    assert float(verified.rpartition(" ")[2]) == pytest.approx(datetime.fromisoformat(made["made_at"]).timestamp(), abs=1)
    told = dict(line.rsplit(" ", 1) for line in single.splitlines() if 'service="watched"' in line)
    for name, key in (
        ("bytes", "size_bytes"),
        ("inodes", "inodes"),
        ("read_bytes", "read_bytes"),
        ("stored_bytes", "stored_bytes"),
    ):
        assert float(told[f'orchestrator_service_backup_{name}{{service="watched"}}']) == made[key]
    assert 'orchestrator_backups{state="verified"}' in live.http.get("/metrics").text


def test_what_came_to_nothing_is_counted_for_good_whatever_becomes_of_what_it_left(live: Live) -> None:
    def counted() -> tuple[float, float, float]:
        told = dict(line.rsplit(" ", 1) for line in live.http.get("/metrics").text.splitlines() if "{state=" in line)
        of = [float(told[f'orchestrator_backups{{state="{state}"}}']) for state in ("partial", "failed", "forgotten")]
        return of[0], of[1], of[2]

    def made() -> str:
        return live.wait(live.http.post("/v1/services/stays/backup", json={}).json()["job_id"]).state

    backed_up(live, "stays")
    partial, failed, forgotten = counted()
    world(live).fault("repositories.backup", where="after", error=PermanentDriverError("the answer was cut off"))
    assert (made(), counted()) == ("failed", (partial, failed + 1, forgotten))
    world(live).fault("repositories.verify", error=PermanentDriverError("a pack cannot be read"))
    assert (made(), counted()) == ("failed", (partial + 1, failed + 2, forgotten))
    assert (made(), counted()) == ("done", (partial + 1, failed + 2, forgotten + 1))
    found = live.http.get("/v1/backups", params={"service_id": "stays"}).json()["items"]
    gone = {each["state"] for each in found if each["snapshot_id"] and each["pruned_at"]}
    assert gone == {"partial", "failed", "forgotten"}
    shown = live.http.get("/v1/backups", params={"service_id": "stays", "state": "partial"}).json()["items"]
    assert [each["forgotten_at"] is not None for each in shown] == [True]


def test_a_repository_is_given_up_with_its_key_once_and_the_next_backup_begins_another(
    live: Live, capsys: pytest.CaptureFixture[str]
) -> None:
    backed_up(live, "scrapped")
    path = "/v1/backups/generations/scrapped/1/give-up"
    refused(live.http.post(path, json={"reason": ""}), 400, "request-invalid")
    refused(live.http.post("/v1/backups/generations/scrapped/2/give-up", json={"reason": "x"}), 404, "not-found")
    assert "the only verified backup" in live.http.post(path, json={"reason": "a scrapped disk"}).text
    typed = ["--socket", str(live.socket), "backup", "give-up", "scrapped", "1", "--reason", "a scrapped disk"]
    assert run([*typed, "--last"]) == 2, "it is not said twice which service is meant"
    assert run([*typed, "--yes-i-mean", "scrapped"]) == 4
    capsys.readouterr()
    assert run([*typed, "--last", "--yes-i-mean", "scrapped"]) == 0
    assert "generation 1 at main is given up, and its key destroyed" in capsys.readouterr().out
    with live.db.read() as conn:
        (known,) = backups.generations(conn, "scrapped")
        (entry,) = [each for each in audit.list_page(conn, service_id="scrapped")[0] if each.what == "backups given up"]
    assert (known.state.value, known.wrapped_key, "a scrapped disk" in known.why) == ("given-up", b"", True)
    assert (entry.facts["generation"], entry.facts["last"]) == (1, True)
    assert live.http.post(path, json={"reason": "again", "last": True}).status_code in (403, 409, 422)
    assert live.wait(live.http.post("/v1/services/scrapped/backup", json={}).json()["job_id"]).state == "done"
    found = live.http.get("/v1/backups", params={"service_id": "scrapped"}).json()["items"]
    assert [(each["generation"], each["state"]) for each in found] == [(2, "verified"), (1, "forgotten")]


def test_under_a_freeze_nothing_is_given_up(live: Live) -> None:
    backed_up(live, "frozen")
    live.controller.engine.freeze("anna", "looking")
    try:
        answer = live.http.post("/v1/backups/generations/frozen/1/give-up", json={"reason": "x", "last": True})
        assert (answer.status_code >= 400, "frozen by anna" in answer.text) == (True, True)
    finally:
        live.controller.engine.unfreeze("anna")
