"""`node adopt` on simulated nodes: a store that was lost is known again by what the guests carry, and what was there before us is
taken in, with nothing of it touched."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator import wiring
from orchestrator.domain.plans import Lease
from orchestrator.domain.services import Lifecycle, Service
from orchestrator.drivers.fake import FakeWorld
from orchestrator.drivers.fake.world import POOL_PATH
from orchestrator.engine.taking_in import Newcomer
from orchestrator.store import audit, services, settings
from orchestrator.wiring.links import WORLD_FILE
from tests.integration.api.answers import refused
from tests.live import PLAN, Live
from tests.served import Ran, command

WEB = {"guest": "web1", "service_id": "old-1", "plan": PLAN, "client_id": "c7", "addresses": ["10.9.0.77"]}
IMAGE = f"{POOL_PATH}/web1.raw"
HOLD = {"reason": "abuse", "effect": "stop", "why": "spam"}


@pytest.fixture
def place(tmp_path: Path) -> Iterator[list[Live]]:
    """Where controllers stand one after the other: the last one runs."""
    standing: list[Live] = []
    try:
        yield standing
    finally:
        if standing:
            standing[-1].stop()


def begun(place: list[Live], directory: Path) -> Live:
    place.append(Live(directory))
    place[-1].start()
    return place[-1]


def lost(place: list[Live]) -> Live:
    """The same controller with its keys, its configuration and its nodes, and an empty store."""
    before = place.pop()
    state_dir = before.config.settings.state_dir
    before.stop()
    files = [*state_dir.glob("*.db"), *state_dir.glob("*.db-*"), *state_dir.glob("*.sqlite*")]
    assert files
    for file in files:
        file.unlink()
    return begun(place, before.config.settings.socket.parent)


def world(live: Live) -> FakeWorld:
    return FakeWorld(live.config.settings.state_dir / WORLD_FILE)


def known(live: Live, service_id: str) -> tuple[Service | None, Lease | None, dict[str, Any]]:
    with live.db.read() as conn:
        service, facts = services.get(conn, service_id), services.facts(conn, service_id)
    return service, live.controller.addresses.lease(service_id), dict(facts.values)


def adopt(live: Live, status: int = 200, node: str = "n1", **asked: Any) -> list[dict[str, Any]]:
    answer = live.http.post(f"/v1/nodes/{node}/adoption", json=asked)
    assert answer.status_code == status, answer.text
    found: list[dict[str, Any]] = answer.json()["guests"]
    return found


def drifts(live: Live) -> list[tuple[str, str]]:
    findings = live.http.post("/v1/drift", json={}).json()["findings"]
    return [(row["kind"], row["name"]) for row in findings]


def cli(live: Live, *words: str) -> Ran:
    return command("--socket", str(live.socket), "node", "adopt", *words)


def done(live: Live, answer: Any) -> None:
    assert live.wait(answer.json()["job_id"]).state == "done"


def foreign(live: Live, name: str = "web1") -> None:
    """A guest that somebody made by hand."""
    live.provisioned("s1")
    with world(live).change() as state:
        node = state["nodes"]["n1"]
        guest = json.loads(json.dumps(node["guests"]["orch.s1"]))
        disk = {**guest["definition"]["disks"][0], "path": IMAGE, "secret_uuid": ""}
        guest["definition"] |= {"name": name, "uuid": "00000000-0000-4000-8000-000000000007", "vcpus": 2, "disks": [disk]}
        guest["definition"]["lease"] |= {"mac": "52:54:00:00:77:77", "ipv4": ["10.9.0.77/16"], "ipv6": []}
        node["guests"][name] = {**guest, "mark": None}
        node["volumes"]["web1.raw"] = {**node["volumes"][_file(node["guests"]["orch.s1"])], "secret_uuid": ""}


def _file(guest: dict[str, Any]) -> str:
    return str(guest["definition"]["disks"][0]["path"]).rpartition("/")[2]


def test_after_the_store_was_lost_its_records_come_back(place: list[Live], tmp_path: Path) -> None:
    live = begun(place, tmp_path)
    for service_id in ("s1", "s2"):
        live.provisioned(service_id)
    live.send("invoice.paid", "s1", invoice_id="i1", paid_until="2027-01-31T00:00:00Z", version=3)
    live.controller.engine.drifting.measure()
    done(live, live.http.post("/v1/services/s2/holds", json=HOLD))  # after its record was written: the mark knows
    before = {name: known(live, name) for name in ("s1", "s2")}
    nodes = world(live).read()["nodes"]

    live = lost(place)
    assert drifts(live)[:2] == [("stray", "orch.s1"), ("stray", "orch.s2")]
    dry = adopt(live, dry_run=True)
    assert [(row["service_id"], row["done"]) for row in dry] == [("s1", True), ("s2", True)]
    assert known(live, "s1")[0] is None
    told = cli(live, "n1")
    assert (told.returncode, told.stdout.count("taken in")) == (0, 2), told

    for name in ("s1", "s2"):
        (old, lease, facts), (new, lease_now, facts_now) = before[name], known(live, name)
        assert old is not None
        assert new is not None
        assert replace(new, holds=()) == replace(old, holds=(), suspension_proven_at=None)
        assert (lease_now, facts_now["disk"]) == (lease, facts["disk"])
        assert [(hold.reason, hold.effect) for hold in new.holds] == [(hold.reason, hold.effect) for hold in old.holds]
    assert world(live).read()["nodes"] == nodes, "nothing of a guest was touched"
    with live.db.read() as conn:
        wait = settings.terminations_wait(conn)
        trail = [row for row in audit.list_page(conn, limit=100)[0] if row.what == "guest taken in"]
    assert wait is not None
    assert "what the guests carry" in wait.why
    assert {row.service_id for row in trail} == {"s1", "s2"}
    assert drifts(live) == []
    again = cli(live, "n1")
    assert (again.returncode, again.stdout.count("in our records already")) == (0, 2)
    refused(live.http.post("/v1/nodes/n1/adoption", json={"services": ["s1"]}), 409, "refused")
    done(live, live.http.post("/v1/services/s1/holds", json=HOLD))
    assert world(live).node("n1")["guests"]["orch.s1"]["power"] == "stopped"
    live.provisioned("s3")  # with other addresses
    mine, theirs = known(live, "s3")[1], known(live, "s1")[1]
    assert mine is not None
    assert theirs is not None
    assert not {*mine.ipv4} & {*theirs.ipv4}


def test_hostile_records_are_named_and_never_taken(place: list[Live], tmp_path: Path) -> None:
    live = begun(place, tmp_path)
    for service_id in ("s1", "s2", "s3", "s4"):
        live.provisioned(service_id)
    live.controller.engine.drifting.measure()
    with world(live).change() as state:
        guests = state["nodes"]["n1"]["guests"]
        text = guests["orch.s1"]["record"]["text"]
        guests["orch.s1"]["record"]["text"] = text.replace('"client_id":"c1"', '"client_id":"c9"')
        guests["orch.s2"]["record"] = dict(guests["orch.s3"]["record"])
        guests["orch.s4"]["mark"]["service_id"] = "s5"
    live = lost(place)
    rows = {row["guest"]: row for row in adopt(live)}
    assert {name: row["done"] for name, row in rows.items()} == {
        "orch.s1": False,
        "orch.s2": False,
        "orch.s3": True,
        "orch.s4": False,
    }
    assert "not signed by this controller" in rows["orch.s1"]["says"]
    assert "is that of orch.s3" in rows["orch.s2"]["says"]
    assert "its mark says s5" in rows["orch.s4"]["says"]
    told = cli(live, "n1")
    assert (told.returncode, "orch.s1, orch.s2, orch.s4" in told.stderr) == (6, True), told


def test_guests_of_another_are_not_taken(place: list[Live], tmp_path: Path) -> None:
    live = begun(place, tmp_path)
    live.provisioned("s1")
    live.controller.engine.drifting.measure()
    before = place.pop()
    before.stop()
    other = tmp_path / "b"
    (other / "state").mkdir(parents=True)
    (other / "state").chmod(0o700)
    (other / "state" / WORLD_FILE).write_bytes((before.config.settings.state_dir / WORLD_FILE).read_bytes())
    live = begun(place, other)
    (row,) = adopt(live)
    assert (row["done"], "not signed by this controller" in row["says"]) == (False, True)


def test_a_guest_that_was_there_before_us_is_taken_in_with_nothing_of_it_changed(place: list[Live], tmp_path: Path) -> None:
    live = begun(place, tmp_path)
    foreign(live)
    assert ("foreign", "web1") in drifts(live)
    before = world(live).node("n1")["guests"]["web1"]
    words = ("n1", "--guest", "web1", "--plan", PLAN, "--service", "old-1", "--customer", "c7", "--address", "10.9.0.77")
    dry = cli(live, *words, "--dry-run")
    assert (dry.returncode, "would be taken in; 2 vCPUs instead of 1" in dry.stdout) == (0, True), dry
    assert world(live).node("n1")["guests"]["web1"] == before
    told = cli(live, *words)
    assert (told.returncode, IMAGE in told.stdout) == (0, True), told
    after = world(live).node("n1")["guests"]["web1"]
    assert {key: after[key] for key in before if key != "mark"} == {key: before[key] for key in before if key != "mark"}
    service, lease, facts = known(live, "old-1")
    assert service is not None
    assert lease is not None
    assert (service.state, service.client_id, service.node) == (Lifecycle.ACTIVE, "c7", "n1")
    assert (lease.mac, [str(each) for each in lease.ipv4]) == ("52:54:00:00:77:77", ["10.9.0.77/16"])
    assert facts["disk"]["volume"]["path"] == IMAGE
    assert ("limits", "web1") in drifts(live)
    assert not any(kind in ("stray", "missing") for kind, _ in drifts(live))
    with live.db.read() as conn:
        assert settings.terminations_wait(conn) is None
    done(live, live.http.post("/v1/services/old-1/holds", json=HOLD))
    assert world(live).node("n1")["guests"]["web1"]["power"] == "stopped"
    live.controller.engine.drifting.measure()
    live = lost(place)
    assert [row["done"] for row in adopt(live, services=["old-1"])] == [True]
    done(live, live.http.post("/v1/services/old-1/holds/abuse/release", json={"why": "clean"}))
    assert world(live).node("n1")["guests"]["web1"]["power"] == "running"


def test_what_cannot_be_taken_in_is_refused_with_a_sentence(place: list[Live], tmp_path: Path) -> None:
    live = begun(place, tmp_path)
    foreign(live)
    before = world(live).node("n1")["guests"]
    cases: tuple[tuple[dict[str, Any], int, str], ...] = (
        ({"guest": "web9"}, 404, "not-found"),
        ({"plan": "huge"}, 404, "not-found"),
        ({"service_id": "s1"}, 409, "already-exists"),
        ({"guest": "orch.s1"}, 409, "already-exists"),
        ({"addresses": ["192.0.2.9"]}, 404, "not-found"),
        ({"addresses": ["10.9.0.10"]}, 409, "already-exists"),
        ({"addresses": ["nonsense"]}, 400, "request-invalid"),
        ({"template": "plan9"}, 404, "not-found"),
    )
    for change, status, code in cases:
        refused(live.http.post("/v1/nodes/n1/adoption", json={"newcomer": WEB | change}), status, code)
    refused(live.http.post("/v1/nodes/n9/adoption", json={}), 404, "not-found")
    refused(live.http.post("/v1/nodes/n1/adoption", json={"services": ["s8"]}), 404, "not-found")
    assert live.tcp(live.tokens["operator"]).post("/v1/nodes/n1/adoption", json={}).status_code == 403
    assert cli(live, "n1", "--guest", "web1", "--plan", PLAN).returncode == 2
    assert cli(live, "n1", "--plan", PLAN).returncode == 2
    assert world(live).node("n1")["guests"] == before
    assert known(live, "old-1")[0] is None


def test_a_guest_that_is_held_when_it_is_taken_in_stays_held(place: list[Live], tmp_path: Path) -> None:
    live = begun(place, tmp_path)
    live.provisioned("s1")
    done(live, live.http.post("/v1/services/s1/holds", json=HOLD))
    live = lost(place)  # before it was given a record
    (row,) = adopt(live)
    assert (row["done"], "--guest orch.s1" in row["says"]) == (False, True)
    adopt(live, newcomer={"guest": "orch.s1", "service_id": "s1", "plan": PLAN, "client_id": "c1"})
    service, _, _ = known(live, "s1")
    assert service is not None
    assert service.stop_reasons == ["abuse"]
    assert world(live).node("n1")["guests"]["orch.s1"]["mark"]["holds"] == ["abuse"]


def killed_at(directory: Path, point: str) -> None:
    """In a process of its own: the adoption is cut off there."""

    def at(passed: str) -> None:
        if passed == point:
            os.kill(os.getpid(), signal.SIGKILL)

    controller = wiring.build(wiring.load_config(directory), at=at)
    newcomer = Newcomer(guest="web1", service_id="old-1", plan=PLAN, client_id="c7", addresses=("10.9.0.77",))
    controller.engine.taking_in.adopt("n1", newcomer, who="test")


@pytest.mark.parametrize("point", ["record", "mark", "store"])
def test_an_adoption_that_was_cut_off_leaves_nothing_half(place: list[Live], tmp_path: Path, point: str) -> None:
    live = begun(place, tmp_path)
    foreign(live)
    before = world(live).node("n1")["guests"]["web1"]
    life = multiprocessing.get_context("spawn").Process(target=killed_at, args=(tmp_path, f"node-adopt/{point}/after"))
    life.start()
    life.join(60)
    assert life.exitcode == -signal.SIGKILL
    service, lease, _ = known(live, "old-1")
    assert (service is None, lease is None) == (point != "store", point != "store")
    guest = world(live).node("n1")["guests"]["web1"]
    assert (guest["power"], guest["definition"]) == (before["power"], before["definition"])
    seen = {"record": ("foreign", "web1"), "mark": ("stray", "web1"), "store": ("limits", "web1")}
    assert seen[point] in drifts(live)
    if point == "mark":
        assert [row["done"] for row in adopt(live, services=["old-1"])] == [True]
    elif point == "record":
        assert [row["done"] for row in adopt(live, newcomer=WEB)] == [True]
    assert known(live, "old-1")[0] is not None
    assert not any(kind in ("stray", "missing") for kind, _ in drifts(live))
