"""What is done to the systems of guests and machines over the API and the CLI: real engine and store, simulated nodes."""

from __future__ import annotations

import json

import pytest

from orchestrator.cli.main import run
from tests.integration.api.answers import refused
from tests.live import Live


def bought(live: Live, service_id: str) -> None:
    answer = live.send("order.paid", service_id, client_id="c1", plan="small", order_id=f"o-{service_id}")
    job = live.wait(str(answer.json()["job_id"]))
    assert job.state == "done", job.error


def disk(live: Live, service_id: str) -> str:
    return str(live.http.get(f"/v1/services/{service_id}").json()["facts"]["disk"]["volume"]["name"])


def test_a_guest_is_installed_anew_for_a_reason(live: Live) -> None:
    bought(live, "anew")
    old, place = disk(live, "anew"), "/v1/services/anew/reinstall"
    refused(live.http.post(place, json={}), 400, "request-invalid")
    refused(live.http.post(place, json={"reason": "x", "template": "none"}), 404, "not-found")
    refused(live.http.post(place, json={"reason": "x", "all_disks": True}), 409, "refused")
    with live.tcp(live.tokens["readonly"]) as readonly:
        refused(readonly.post(place, json={"reason": "x"}), 403, "forbidden")
    would = live.http.post(place, params={"dry_run": "true"}).json()
    assert [call["step"] for call in would["workflow"]["calls"]][-1] == "volume.wipe"
    assert disk(live, "anew") == old
    with live.tcp(live.tokens["billing"]) as billing:
        job = live.wait(billing.post(place, json={"reason": "he locked himself out", "template": "debian"}).json()["job_id"])
    assert (job.state, job.error) == ("done", "")
    assert disk(live, "anew") == f"orch.anew.disk.{job.id}.qcow2"
    assert live.http.get("/v1/services/anew").json()["template"] == "debian"
    check = live.wait(live.http.post("/v1/services/anew/check", json={}).json()["job_id"])
    assert (check.state, check.error) == ("done", "")
    again = live.wait(live.http.post("/v1/services/anew/terminate", json={"reason": "he left"}).json()["job_id"])
    assert (again.state, again.error) == ("done", "")


def test_the_cli_asks_for_the_services_id_before_it_installs_anew(live: Live, capsys: pytest.CaptureFixture[str]) -> None:
    bought(live, "typed-anew")
    old, socket = disk(live, "typed-anew"), ["--socket", str(live.socket), "service", "reinstall", "typed-anew"]
    assert run([*socket, "--dry-run"]) == 0
    assert "volume.renew" in capsys.readouterr().out
    assert run([*socket, "--why", "he asked"]) == 2
    assert "--yes-i-mean typed-anew" in capsys.readouterr().err
    assert run([*socket, "--why", "he asked", "--yes-i-mean", "another"]) == 2
    assert disk(live, "typed-anew") == old
    assert run([*socket, "--why", "he asked", "--yes-i-mean", "typed-anew", "--watch"]) == 0
    assert disk(live, "typed-anew") != old
    capsys.readouterr()
    assert run([*socket, "--why", "again", "--yes-i-mean", "typed-anew", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["job_id"]


def test_billing_asks_for_it_over_its_webhook(live: Live) -> None:
    bought(live, "told-anew")
    old = disk(live, "told-anew")
    answer = live.send("service.reinstall", "told-anew", version=2, template="debian").json()
    job = live.wait(answer["job_id"])
    assert (job.state, disk(live, "told-anew") != old) == ("done", True)
