"""What is done to the systems of guests and machines over the API and the CLI: real engine and store, simulated nodes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from orchestrator.cli.main import run
from tests.integration.api.answers import refused
from tests.live import CRYPT, KEY, Live


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


def test_what_is_for_machines_is_refused_of_a_guest_with_a_sentence(
    live: Live, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bought(live, "guest")
    place = "/v1/services/guest"
    for act, body in (
        ("rescue", {"on": True, "ssh_keys": [KEY]}),
        ("reset-password", {"password_hash": CRYPT}),
        ("test-hardware", {"memory": True}),
    ):
        told = refused(live.http.post(f"{place}/{act}", json={"reason": "x", **body}), 409, "refused")
        assert "is for dedicated machines" in told["detail"]
        refused(live.http.post(f"{place}/{act}", json=body), 400, "request-invalid")
    refused(live.http.post(f"{place}/reset-password", json={"reason": "x", "password_hash": "clear"}), 400, "request-invalid")
    refused(live.http.post(f"{place}/rescue", json={"on": False, "ssh_keys": [KEY]}), 400, "request-invalid")

    words = ["--socket", str(live.socket), "service"]
    secret = tmp_path / "hash"
    secret.write_text(f"{CRYPT}\n")
    assert run([*words, "reset-password", "guest", "--hash-file", str(secret), "--why", "x"]) == 4
    assert "is for dedicated machines" in capsys.readouterr().err
    secret.write_text("clear-and-secret\n")
    assert run([*words, "reset-password", "guest", "--hash-file", str(secret), "--why", "x"]) == 2
    assert "clear-and-secret" not in capsys.readouterr().err
    secret.write_text("-----BEGIN OPENSSH PRIVATE KEY-----\nsecret\n-----END OPENSSH PRIVATE KEY-----\n")
    assert run([*words, "rescue", "on", "guest", "--key", str(secret), "--why", "x"]) == 2
    assert "one line is expected, with a public SSH key" in capsys.readouterr().err
    assert run([*words, "rescue", "on", "guest", "--key", str(tmp_path / "none"), "--why", "x"]) == 2
    assert "cannot be read" in capsys.readouterr().err
    assert run([*words, "rescue", "off", "guest"]) == 4
    assert run([*words, "test-hardware", "guest", "--why", "x"]) == 4
