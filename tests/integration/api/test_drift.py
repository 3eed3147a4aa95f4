"""Drift between records and nodes over HTTP and on the command line, on simulated nodes: found, counted, mended where safe."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.domain.errors import TransientDriverError
from orchestrator.drivers.fake import FakeWorld
from orchestrator.store import audit, settings
from orchestrator.wiring.links import WORLD_FILE
from tests.integration.api.answers import refused
from tests.live import HOSTING, Live
from tests.served import Ran, command

EVERYTHING = {"plan": "web", "client_id": "c1", "domain": "shop.example"}


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Live]:
    made = Live(tmp_path, files=HOSTING)
    made.start()
    try:
        yield made
    finally:
        made.stop()


def world(live: Live) -> FakeWorld:
    return FakeWorld(live.config.settings.state_dir / WORLD_FILE)


def looked(live: Live, **asked: Any) -> dict[str, Any]:
    answer = live.http.post("/v1/drift", json=asked)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def rows(found: dict[str, Any]) -> list[tuple[str, str, str]]:
    return [(row["kind"], row["service_id"], row["name"]) for row in found["findings"]]


def cli(live: Live, *words: str) -> Ran:
    return command("--socket", str(live.socket), "drift", *words)


def mended(live: Live, found: dict[str, Any]) -> None:
    for row in found["findings"]:
        if row["job_id"]:
            assert live.wait(row["job_id"]).state == "done"


def test_where_nothing_differs_that_is_said(live: Live) -> None:
    live.provisioned("s1")
    found = looked(live)
    assert (found["findings"], found["unseen"], found["nodes"]) == ([], [], ["n1"])
    assert set(found["counts"].values()) == {0}
    done = cli(live)
    assert (done.returncode, "nothing differs on 1 node" in done.stdout) == (0, True), done


def test_missing_stray_and_foreign_are_told_apart_and_nothing_of_them_is_touched(live: Live) -> None:
    for name in ("s1", "s2"):
        live.provisioned(name)
    with world(live).change() as state:
        guests = state["nodes"]["n1"]["guests"]
        theirs = guests.pop("orch.s1")
        guests["web1"] = {**theirs, "mark": None}
        guests["web1"]["definition"]["name"] = "web1"
        stray = json.loads(json.dumps(guests["orch.s2"]))
        stray["mark"]["service_id"] = stray["definition"]["mark"]["service_id"] = "s9"
        stray["definition"] |= {"name": "orch.s9", "uuid": "00000000-0000-4000-8000-000000000009"}
        guests["orch.s9"] = stray
    before = world(live).read()
    found = looked(live, repair=True, why="look")
    kinds = [(row["kind"], row["name"]) for row in found["findings"] if not row["name"].endswith(".qcow2")]
    assert kinds == [("missing", "orch.s1"), ("stray", "orch.s9"), ("foreign", "web1")]
    assert not any(row["repair"] or row["job_id"] for row in found["findings"])
    after = world(live).read()
    assert after["nodes"]["n1"]["guests"]["orch.s2"].pop("record"), "what is ours and known was given its record by the way"
    assert after == before
    done = cli(live)
    assert done.returncode == 6
    assert all(word in done.stdout for word in ("orch.s9", "service s9 is not in our records", "a guest that is not ours"))


def test_a_held_service_that_runs_is_stopped_again_by_a_repair(live: Live) -> None:
    live.provisioned("s1")
    live.wait(live.http.post("/v1/services/s1/holds", json={"reason": "abuse", "effect": "stop", "why": "spam"}).json()["job_id"])
    with world(live).change() as state:
        state["nodes"]["n1"]["guests"]["orch.s1"] |= {"power": "running", "autostart": True}
    found = looked(live)
    assert {row["repair"] for row in found["findings"]} == {"suspend"}
    assert found["counts"]["holds"] == len(found["findings"]) == 2
    dry = looked(live, repair=True, dry_run=True)
    assert [row["detail"] for row in dry["findings"] if row["detail"]] == ["would be mended: suspend"]
    assert world(live).node("n1")["guests"]["orch.s1"]["power"] == "running"
    assert cli(live, "--repair", "--dry-run").returncode == 6
    done = looked(live, repair=True, why="somebody started it")
    (job,) = {row["job_id"] for row in done["findings"]} - {""}
    assert live.wait(job).state == "done"
    guest = world(live).node("n1")["guests"]["orch.s1"]
    assert (guest["power"], guest["autostart"], guest["mark"]["holds"]) == ("stopped", False, ["abuse"])
    assert looked(live)["findings"] == []
    with live.db.read() as conn:
        trail = [row for row in audit.list_page(conn, limit=100)[0] if row.what == "drift repaired"]
    assert [(row.service_id, row.job_id, row.facts["why"]) for row in trail] == [("s1", job, "somebody started it")]


def test_limits_are_set_again(live: Live) -> None:
    live.enrol("h1")
    live.provisioned("s1")
    ordered = live.send("order.paid", "shop-1", order_id="o1", **EVERYTHING)
    assert live.wait(ordered.json()["job_id"]).state == "done"
    assert looked(live)["findings"] == []
    with world(live).change() as state:
        (account,) = state["nodes"]["h1"]["accounts"].values()
        account["limits"]["memory_bytes"] *= 2
        state["nodes"]["n1"]["guests"]["orch.s1"]["definition"]["vcpus"] = 8
    found = looked(live)
    assert [(row["kind"], row["service_id"], row["repair"]) for row in found["findings"]] == [
        ("limits", "s1", None),
        ("limits", "shop-1", "unlimit"),
    ]
    assert [row["service_id"] for row in looked(live, node="h1")["findings"]] == ["shop-1"]
    mended(live, looked(live, repair=True))
    assert [(row["service_id"]) for row in looked(live)["findings"]] == ["s1"]


def test_a_guest_of_an_older_version_that_sends_mail_is_closed_by_a_repair(live: Live) -> None:
    live.provisioned("s1")
    with world(live).change() as state:
        state["nodes"]["n1"]["guests"]["orch.s1"]["definition"]["mail_out"] = True
    (row,) = looked(live)["findings"]
    assert (row["kind"], row["repair"]) == ("limits", "set-mail")
    assert row["says"] == "outgoing mail (port 25) is open instead of closed"
    mended(live, looked(live, repair=True, why="the upgrade"))
    assert looked(live)["findings"] == []
    assert not world(live).node("n1")["guests"]["orch.s1"]["definition"]["mail_out"]


def test_a_node_that_does_not_answer_is_said_and_blocks_nothing(live: Live) -> None:
    live.enrol("h1")
    live.provisioned("s1")
    world(live).fault("hypervisor.guests", nth=0, node="n1", error=TransientDriverError("no route to n1"))
    found = looked(live)
    assert (found["unseen"], found["findings"]) == ([{"node": "n1", "problem": "no route to n1"}], [])
    done = cli(live)
    assert (done.returncode, "not seen: n1" in done.stdout) == (5, True), done


def test_drift_is_measured_and_a_guest_carries_its_signed_record(live: Live) -> None:
    live.provisioned("s1")
    assert "\norchestrator_drift_measured_timestamp_seconds " not in live.http.get("/metrics").text
    drifting = live.controller.engine.drifting
    drifting.once()
    with live.db.read() as conn:
        assert settings.drifted(conn) is None, "a controller that has just begun has something else to do"
    drifting.measure()
    shown = live.http.get("/metrics").text
    assert 'orchestrator_drift{kind="holds"} 0.0' in shown
    assert "orchestrator_drift_unseen_nodes 0.0" in shown
    first = world(live).node("n1")["guests"]["orch.s1"]["record"]
    assert json.loads(first["text"])["service"]["id"] == "s1"
    live.send("invoice.paid", "s1", invoice_id="i1", paid_until="2027-01-31T00:00:00Z", version=2)
    drifting.measure()
    second = world(live).node("n1")["guests"]["orch.s1"]["record"]
    assert second["text"] != first["text"]
    assert json.loads(second["text"])["service"]["paid_until"].startswith("2027-01-31")
    with world(live).change() as state:
        state["nodes"]["n1"]["guests"]["orch.s1"]["autostart"] = False
    assert drifting.measure().findings
    assert 'orchestrator_drift{kind="holds"} 1.0' in live.http.get("/metrics").text


def test_a_record_that_was_tampered_with_is_named_and_signed_anew_only_when_asked(live: Live) -> None:
    live.provisioned("s1")
    drifting = live.controller.engine.drifting
    drifting.measure()
    with world(live).change() as state:
        record = state["nodes"]["n1"]["guests"]["orch.s1"]["record"]
        record["text"] = record["text"].replace('"client_id":"c1"', '"client_id":"c2"')
    tampered = world(live).node("n1")["guests"]["orch.s1"]["record"]
    report = drifting.measure()
    assert [(found.kind, found.name) for found in report.findings] == [("record", "orch.s1")]
    assert world(live).node("n1")["guests"]["orch.s1"]["record"] == tampered
    (row,) = looked(live, repair=True)["findings"]
    assert (row["detail"], "was not signed by this controller" in row["says"]) == ("signed anew", True)
    assert looked(live)["findings"] == []


def test_only_operators_look_for_drift_and_a_wrong_node_is_refused(live: Live) -> None:
    assert live.tcp(live.tokens["readonly"]).post("/v1/drift", json={}).status_code == 403
    assert live.tcp(live.tokens["operator"]).post("/v1/drift", json={}).status_code == 200
    refused(live.http.post("/v1/drift", json={"node": "n9"}), 404, "not-found")
    refused(live.http.post("/v1/drift", json={"node": "n2"}), 409, "wrong-state")
    assert cli(live, "--dry-run").returncode == 2
