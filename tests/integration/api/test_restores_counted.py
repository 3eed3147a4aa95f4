"""Restores of a service whose policy includes one a month and sells more, over the API."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.cli.main import run
from orchestrator.drivers.fake import FakeWorld
from orchestrator.wiring.links import WORLD_FILE
from tests.integration.api.answers import refused
from tests.integration.api.conftest import running
from tests.integration.api.test_restores import ask, restored
from tests.live import Live

POLICY = Path(__file__).parents[3] / "configs" / "policies" / "tnet.yaml"


def written(live: Live, service_id: str) -> dict[str, Any]:
    """A service with something on its disk, of which a backup was made; the backup as it is told."""
    live.provisioned(service_id)
    disk = live.http.get(f"/v1/services/{service_id}").json()["facts"]["disk"]["volume"]["name"]
    world(live).plant("n1", disk, "the customer's letters")
    live.wait(live.http.post(f"/v1/services/{service_id}/backup", json={}).json()["job_id"])
    (made,) = live.http.get("/v1/backups", params={"service_id": service_id}).json()["items"]
    return dict(made)


def world(live: Live) -> FakeWorld:
    return FakeWorld(live.config.settings.state_dir / WORLD_FILE)


@pytest.fixture(scope="module")
def sells(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A controller whose policy includes one restore a month, and sells more."""
    directory = tmp_path_factory.mktemp("sells")
    (directory / "policies").mkdir()
    policy = POLICY.read_text(encoding="utf-8").replace("name: tnet\n", "name: default\n", 1)
    (directory / "policies" / "default.yaml").write_text(policy, encoding="utf-8")
    yield from running(directory)


def test_over_the_months_allowance_it_is_refused_with_the_number_and_the_price_and_sold_to_who_pays(
    sells: Live, capsys: pytest.CaptureFixture[str]
) -> None:
    made = written(sells, "counts")
    assert restored(sells, "counts", beside=True)["counts"].startswith("0 of 1 used in ")
    said = refused(ask(sells, "counts"), 409, "refused")["detail"]
    assert "1 of 1 used in " in said
    assert "more at Rp 100,000 per GB: --pay" in said
    would = ask(sells, "counts", dry=True, pay=True).json()
    paid = restored(sells, "counts", pay=True)
    assert (would["amount"], paid["amount"]) == (100_000, 100_000)
    (charge,) = sells.http.get("/v1/charges", params={"service_id": "counts"}).json()["items"]
    assert (charge["kind"], charge["amount"], charge["open"], charge["job_id"]) == ("restore", 100_000, True, paid["job_id"])
    told = sells.http.get("/v1/services/counts/restores").json()
    assert (told["used"], told["per_month"], told["left"], told["over_per_gb"]) == (2, 1, 0, 100_000)
    assert [each["charge_id"] for each in told["items"]] == [charge["id"], ""]
    assert [(each["reason"], each["why"]) for each in told["items"]] == [("it was hacked", "")] * 2
    socket = ["--socket", str(sells.socket)]
    assert run([*socket, "backup", "restores", "counts"]) == 0
    shown = capsys.readouterr().out
    assert shown.count("it was hacked") == 2
    assert "1 of 1 included used this month, 1 more charged; more at Rp 100,000 per GB: --pay" in shown
    assert run([*socket, "restore", "counts", "--pay", "--dry-run"]) == 0
    assert "it costs Rp 100,000" in capsys.readouterr().out
    assert run([*socket, "restore", "counts", "--dry-run"]) == 4
    assert "--pay (Rp 100,000 for this one)" in capsys.readouterr().err
    shown = sells.http.get("/v1/services/counts").json()["backups"]
    assert (shown["last"]["id"], shown["last"]["size_bytes"]) == (made["id"], made["size_bytes"])
    assert (shown["restores_used"], shown["restores_included"], shown["restores_left"]) == (2, 1, 0)
    assert 0 < made["size_bytes"] <= 10**9  # a started gigabyte


def test_whether_it_may_be_had_is_told_by_the_decision_of_the_command(sells: Live, capsys: pytest.CaptureFixture[str]) -> None:
    socket = ["--socket", str(sells.socket)]
    written(sells, "may")
    refusal = refused(sells.http.post("/v1/services/may/backup", json={}), 409, "refused")["detail"]
    assert "at most one in 7 days" in refusal
    assert run([*socket, "service", "may", "may", "backup"]) == 4
    assert capsys.readouterr().out.strip() == f"may: {refusal}"
    assert run([*socket, "service", "may", "may", "restore"]) == 0
    assert "0 of 1 used in " in capsys.readouterr().out
    restored(sells, "may", beside=True)
    assert run([*socket, "service", "may", "may", "restore"]) == 4
    said = capsys.readouterr().out
    assert "1 of 1 used in " in said
    assert "more at Rp 100,000 per GB: --pay (Rp 100,000 for this one)" in said
    sentence, _, rule = refused(ask(sells, "may"), 409, "refused")["detail"].rpartition(" [")
    assert sentence in said
    assert said.strip().endswith(f"[{rule}")


def test_one_that_fails_gives_allowance_and_charge_back(sells: Live, capsys: pytest.CaptureFixture[str]) -> None:
    written(sells, "fails")
    restored(sells, "fails", beside=True)
    world(sells).set_node("n1", pool_bytes=1 << 30)
    assert "has NO room for it" in ask(sells, "fails", pay=True, dry=True).json()["room"]
    job = sells.wait(ask(sells, "fails", pay=True).json()["job_id"])
    assert (job.state, job.error_code) == ("failed", "no-capacity")
    told = sells.http.get("/v1/services/fails/restores").json()
    assert (told["used"], [each["state"] for each in told["items"]]) == (1, ["given-back", "counted"])
    assert run(["--socket", str(sells.socket), "backup", "restores", "fails"]) == 0
    assert "it was hacked; given back: " in capsys.readouterr().out
    (charge,) = sells.http.get("/v1/charges", params={"service_id": "fails"}).json()["items"]
    assert charge["open"] is False
    world(sells).set_node("n1", pool_bytes=1 << 40)
    sells.http.post(f"/v1/jobs/{job.id}/retry")
    assert sells.wait(job.id).state == "done"
    assert sells.http.get("/v1/services/fails/restores").json()["used"] == 2
    (charge,) = sells.http.get("/v1/charges", params={"service_id": "fails"}).json()["items"]
    assert charge["open"] is True
