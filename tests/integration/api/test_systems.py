"""What is done to the systems of guests and machines over the API and the CLI: real engine and store, simulated nodes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from orchestrator.cli.main import run
from orchestrator.drivers.fake import FakeWorld
from orchestrator.wiring.links import WORLD_FILE
from tests.integration.api.answers import refused
from tests.live import CRYPT, KEY, Live

OTHER_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f anna"


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


def world(live: Live) -> FakeWorld:
    return FakeWorld(live.config.settings.state_dir / WORLD_FILE)


def logins(live: Live, service_id: str) -> dict[str, object]:
    found: dict[str, object] = world(live).node("n1")["guests"][f"orch.{service_id}"]["logins"]["root"]
    return found


def test_the_password_and_the_keys_of_a_guest_are_set_and_told_to_nobody(
    live: Live, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bought(live, "logged-in")
    place = "/v1/services/logged-in"
    refused(live.http.post(f"{place}/set-keys", json={"ssh_keys": [KEY]}), 400, "request-invalid")
    refused(live.http.post(f"{place}/set-keys", json={"ssh_keys": [], "reason": "x"}), 400, "request-invalid")
    refused(live.http.post(f"{place}/set-keys", json={"ssh_keys": ["no key"], "reason": "x"}), 400, "request-invalid")
    would = live.http.post(f"{place}/reset-password", params={"dry_run": "true"}, json={"password_hash": CRYPT})
    assert (would.status_code, CRYPT in would.text) == (200, False)
    told = live.http.post(f"{place}/reset-password", json={"reason": "he forgot it", "password_hash": CRYPT}).json()
    assert live.wait(told["job_id"]).state == "done"
    key = tmp_path / "key.pub"
    key.write_text(f"{KEY}\n")
    words = ["--socket", str(live.socket), "service", "set-keys", "logged-in", "--key", str(key)]
    assert run([*words, "--dry-run"]) == 0
    assert "guest.keys" in capsys.readouterr().out
    assert run([*words, "--why", "a new laptop", "--watch"]) == 0
    assert logins(live, "logged-in") == {"password_hash": CRYPT, "keys": [KEY]}
    own = "no-pty ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB8eHRwbGhkYFxYVFBMSERAPDg0MCwoJCAcGBQQDAgEA his own"
    with world(live).change() as state:
        state["nodes"]["n1"]["guests"]["orch.logged-in"]["logins"]["root"]["keys"].append(own)
    key.write_text(f"{OTHER_KEY}\n")
    assert run([*words, "--why", "another laptop", "--watch"]) == 0
    assert logins(live, "logged-in")["keys"] == [own, OTHER_KEY], "what we had set is gone, his own stays"
    audit = live.http.get("/v1/audit", params={"service_id": "logged-in"}).text
    shown = live.http.get(f"/v1/jobs/{told['job_id']}").text + live.http.get(place).text + audit
    assert (CRYPT in shown, KEY.split()[1] in audit) == (False, False)


def test_where_no_agent_answers_the_job_says_what_to_do_instead(live: Live) -> None:
    bought(live, "deaf")
    with world(live).change() as state:
        state["nodes"]["n1"]["guests"]["orch.deaf"]["deaf"] = True
    body = {"reason": "x", "password_hash": CRYPT}
    job = live.wait(live.http.post("/v1/services/deaf/reset-password", json=body).json()["job_id"])
    assert (job.state, "no guest agent answers in orch.deaf" in job.error) == ("failed", True)
    assert live.http.get("/v1/services/deaf").json()["state"] == "active"
    with world(live).change() as state:
        del state["nodes"]["n1"]["guests"]["orch.deaf"]["deaf"]
    event = live.send("service.reset_password", "deaf", version=2, password_hash=CRYPT).json()
    assert live.wait(event["job_id"]).state == "done"


def mail(live: Live, service_id: str) -> tuple[bool, str, dict[str, object]]:
    """Whether mail goes out of its guest, whether that runs, and what is told of it."""
    definition = world(live).node("n1")["guests"][f"orch.{service_id}"]
    told = live.http.get(f"/v1/services/{service_id}").json()["outgoing_mail"]
    return definition["definition"]["mail_out"], definition["power"], told


def test_outgoing_mail_is_opened_for_a_service_and_stays_so_whatever_becomes_of_it(
    live: Live, capsys: pytest.CaptureFixture[str]
) -> None:
    bought(live, "post")
    place, words = "/v1/services/post", ["--socket", str(live.socket), "service", "mail", "post"]
    assert mail(live, "post") == (False, "running", {"open": False, "said_by": "plan"})
    refused(live.http.post(f"{place}/set-mail", json={"mail": "open"}), 400, "request-invalid")
    refused(live.http.post(f"{place}/set-mail", json={"mail": "ajar", "reason": "x"}), 400, "request-invalid")
    with live.tcp(live.tokens["billing"]) as billing:
        refused(billing.post(f"{place}/set-mail", json={"mail": "open", "reason": "x"}), 403, "forbidden")
    assert run([*words, "--why", "x"]) == 2
    assert "one of --open, --close, --as-plan" in capsys.readouterr().err
    assert run([*words, "--open", "--dry-run"]) == 0
    assert "guest.mail" in capsys.readouterr().out
    assert run([*words, "--open", "--why", "he sends his own letters", "--watch"]) == 0
    opened = (True, "running", {"open": True, "said_by": "service"})
    assert mail(live, "post") == opened
    for act, body in (
        ("check", {}),
        ("reinstall", {"reason": "x"}),
        ("suspend", {"reason": "x"}),
        ("unsuspend", {"reason": "x"}),
        ("stop", {}),
        ("start", {}),
        ("check", {}),
    ):
        job = live.wait(live.http.post(f"{place}/{act}", json=body).json()["job_id"])
        assert (job.state, job.error, mail(live, "post")[0]) == ("done", "", True), act
    assert mail(live, "post") == opened
    live.wait(live.http.post(f"{place}/suspend", json={"reason": "spam"}).json()["job_id"])
    assert run([*words, "--close", "--why", "spam", "--watch"]) == 0
    assert mail(live, "post") == (False, "stopped", {"open": False, "said_by": "service"})
    assert run([*words, "--as-plan", "--why", "x", "--watch"]) == 0
    capsys.readouterr()
    assert run(["--socket", str(live.socket), "service", "show", "post"]) == 0
    assert "closed, as its plan says" in capsys.readouterr().out
    trail = live.http.get("/v1/audit", params={"service_id": "post"}).text
    assert ("set-mail" in trail, "he sends his own letters" in trail) == (True, True)
