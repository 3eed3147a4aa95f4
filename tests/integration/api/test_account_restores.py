"""Backups and restores of accounts over the API and the CLI: real engine and store, a simulated hosting node."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from orchestrator.cli.main import run
from orchestrator.drivers.fake import FakeWorld
from orchestrator.drivers.fake.directories import put_file, texts
from orchestrator.drivers.fake.hosting_copies import database_text, write_database
from orchestrator.wiring.links import WORLD_FILE
from tests.integration.api.answers import refused
from tests.live import HOSTING, Live

NODE = "h1"


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    controller = Live(tmp_path_factory.mktemp("live"), files=HOSTING)
    controller.start()
    controller.enrol(NODE)
    try:
        yield controller
    finally:
        controller.stop()


def world(live: Live) -> FakeWorld:
    return FakeWorld(live.config.settings.state_dir / WORLD_FILE)


def backed_up(live: Live, service_id: str) -> tuple[str, dict[str, Any]]:
    """An account whose customer has filled it, with a backup, and has spoilt it since; its user and its backup."""
    told = {"client_id": "c1", "plan": "web", "order_id": f"o-{service_id}", "domain": f"{service_id}.example"}
    job = live.wait(live.send("order.paid", service_id, **told).json()["job_id"])
    assert job.state == "done", job.error
    user = str(show(live, service_id)["facts"]["account"]["user"])
    fill(live, user, "first")
    job = live.wait(live.http.post(f"/v1/services/{service_id}/backup", json={}).json()["job_id"])
    assert job.state == "done", job.error
    fill(live, user, "spoilt")
    (made,) = live.http.get("/v1/backups", params={"service_id": service_id}).json()["items"]
    return user, dict(made)


def fill(live: Live, user: str, text: str) -> None:
    put_file(world(live), NODE, f"/srv/h/{user}", "home/sites/main/index.php", text)
    write_database(world(live), NODE, user, "main", text)


def content(live: Live, user: str) -> tuple[str, str]:
    files = texts(world(live), NODE, f"/srv/h/{user}")
    return files["home/sites/main/index.php"], database_text(world(live), NODE, user, "main")


def show(live: Live, service_id: str) -> dict[str, Any]:
    return dict(live.http.get(f"/v1/services/{service_id}").json())


def ask(live: Live, service_id: str, *, dry: bool = False, **body: object) -> Any:
    asked = {"reason": "it was hacked", **body}
    return live.http.post(f"/v1/services/{service_id}/restore{'?dry_run=true' if dry else ''}", json=asked)


def test_an_account_is_restored_whole_or_in_the_parts_that_are_named(live: Live) -> None:
    user, made = backed_up(live, "whole")
    assert (made["state"], made["consistency"], made["inodes"] > 3) == ("verified", "files", True)
    for parts, wanted in (
        ({"paths": ["sites/main"]}, ("first", "spoilt")),
        ({"databases": ["main"]}, ("spoilt", "first")),
        ({"files_only": True}, ("first", "spoilt")),
        ({}, ("first", "first")),
    ):
        fill(live, user, "spoilt")
        answer = ask(live, "whole", **parts).json()
        assert (answer["kind"], answer["backup_id"], answer["beside"]) == ("hosting", made["id"], False)
        assert live.wait(answer["job_id"]).state == "done"
        assert content(live, user) == wanted, parts


def test_what_is_no_part_of_an_account_is_refused_with_a_sentence(live: Live) -> None:
    backed_up(live, "parts")
    live.provisioned("guest")
    refused(ask(live, "parts", paths=["../other"]), 400, "request-invalid")
    refused(ask(live, "parts", paths=["a\nb"]), 400, "request-invalid")
    refused(ask(live, "parts", databases=["; drop"]), 400, "request-invalid")
    problem = refused(ask(live, "parts", beside=True, delete=True), 409, "refused")
    assert "in place only" in problem["detail"]
    assert "a guest is restored whole" in refused(ask(live, "guest", paths=["etc"]), 409, "refused")["detail"]


def test_beside_its_home_it_is_shown_with_its_end_and_can_be_removed_at_once(live: Live) -> None:
    user, _ = backed_up(live, "beside")
    answer = ask(live, "beside", beside=True).json()
    assert live.wait(answer["job_id"]).state == "done"
    (kept,) = show(live, "beside")["kept"]
    assert (kept["kind"], kept["path"]) == ("beside", f"/srv/h/{user}/restored/{answer['job_id']}")
    assert texts(world(live), NODE, kept["path"])["home/sites/main/index.php"] == "first"
    assert content(live, user) == ("spoilt", "spoilt")
    job = live.wait(live.http.post("/v1/services/beside/tidy", json={"reason": "room"}).json()["job_id"])
    assert (job.state, show(live, "beside")["kept"]) == ("done", [])
    assert texts(world(live), NODE, kept["path"]) == {}


def test_the_cli_tells_and_restores(live: Live, capsys: pytest.CaptureFixture[str]) -> None:
    user, made = backed_up(live, "typed")
    socket = ["--socket", str(live.socket)]
    assert run([*socket, "restore", "typed", "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert f"would restore backup {made['id']}" in said
    assert "over what is in its home" in said
    assert "account.load" in said
    assert run([*socket, "restore", "typed", "--beside", "--path", "sites", "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert ("beside its home" in said, "h1 has room for it" in said) == (True, True)
    assert run([*socket, "restore", "typed", "--path", "sites/main/index.php", "--reason", "hacked", "--watch"]) == 0
    assert content(live, user) == ("first", "spoilt")
    fill(live, user, "spoilt")
    assert run([*socket, "restore", "typed", "--database", "main", "--reason", "hacked", "--watch"]) == 0
    assert content(live, user) == ("spoilt", "first")
    assert run([*socket, "restore", "typed", "--files-only", "--delete", "--reason", "hacked", "--watch"]) == 0
    assert content(live, user) == ("first", "first")
    capsys.readouterr()
    assert run([*socket, "restore", "typed", "--database", "main", "--files-only", "--reason", "hacked"]) == 4
    assert run([*socket, "backup", "drill", "now", "typed", "--watch"]) == 0
    capsys.readouterr()
    assert run([*socket, "backup", "drill", "list", "--service", "typed", "--json"]) == 0
    (drill,) = json.loads(capsys.readouterr().out)["items"]
    assert (drill["state"], drill["signature"]) == ("passed", "3 files")


def test_the_week_and_the_metrics_hold_accounts(live: Live) -> None:
    backed_up(live, "measured")
    week = live.http.get("/v1/backups/plan", params={"service_id": "measured"}).json()
    assert [each["reason"] for each in week["left_out"]] == ["its policy default has no schedule"]
    told = live.http.get("/metrics/services").text
    assert 'orchestrator_service_backup_inodes{service="measured"} 9.0' in told
