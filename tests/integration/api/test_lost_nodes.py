"""A node that never comes back, over HTTP and by the command line, on simulated nodes: stated, restored elsewhere, found."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.domain.errors import TransientDriverError
from orchestrator.drivers.fake import FakeHypervisor, FakeWorld
from orchestrator.wiring.links import WORLD_FILE
from tests.integration.api.answers import refused
from tests.lab.daemons import wait_until
from tests.live import Live
from tests.served import Ran, command

NODES = "  - {name: n3, zone: z1, address: 192.0.2.13, driver: fake, backups: main, backups_on_own_node: true}\n"
WHY = {"why": "fire in room 2"}
STATEMENT = {**WHY, "statement": "I pulled both power cords of n1 myself; its disks burnt"}
LETTERS = "the letters"


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Live]:
    live = Live(tmp_path, nodes=NODES)
    live.start()
    live.enrol("n3")
    try:
        yield live
    finally:
        live.stop()


def world(live: Live) -> FakeWorld:
    return FakeWorld(live.config.settings.state_dir / WORLD_FILE)


def cli(live: Live, *words: str) -> Ran:
    return command("--socket", str(live.socket), *words)


def on_n1(live: Live, service: str, *, backup: bool = True) -> None:
    """A new service there, whose customer wrote to it; what he wrote before its backup is in that."""
    live.http.post("/v1/nodes/n3/drain", json=WHY)
    live.provisioned(service)
    live.http.post("/v1/nodes/n3/drain", json=WHY | {"on": False})
    (disk,) = (name for name in world(live).node("n1")["volumes"] if name.startswith(f"orch.{service}.disk."))
    world(live).plant("n1", disk, LETTERS)
    if backup:
        done(live, live.http.post(f"/v1/services/{service}/backup", json={"reason": "a test"}).json()["job_id"])
        world(live).plant("n1", disk, "written since")


def done(live: Live, job_id: str) -> None:
    job = live.wait(job_id)
    assert job.state == "done", job


def burn(live: Live) -> dict[str, Any]:
    """The node is off, and an operator states it."""
    world(live).set_node("n1", up=False)
    live.context.look("n1")
    answer = live.http.post("/v1/nodes/n1/lost", json=STATEMENT)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def disks(live: Live, node: str, service: str) -> list[list[str]]:
    volumes = world(live).node(node)["volumes"]
    return [volume["markers"] for name, volume in volumes.items() if name.startswith(f"orch.{service}.disk.")]


def show(live: Live, service: str) -> dict[str, Any]:
    return dict(live.http.get(f"/v1/services/{service}").json())


def restored(live: Live, service: str, **body: str) -> None:
    answer = live.http.post(f"/v1/services/{service}/recover", json={"reason": "a test", **body})
    assert answer.status_code == 202, answer.text
    done(live, answer.json()["job_id"])


def test_a_node_that_answers_is_not_lost_nor_one_that_was_never_there(live: Live) -> None:
    answered = live.http.post("/v1/nodes/n1/lost", json=STATEMENT)
    refused(answered, 409, "wrong-state")
    assert "its libvirtd does, and its guests may run" in answered.json()["detail"]
    world(live).fault("hypervisor.node_facts", node="n1", nth=0, error=TransientDriverError("gone"))
    half = live.http.post("/v1/nodes/n1/lost", json=STATEMENT).json()
    assert "its agent does" in half["detail"], "a libvirtd that died leaves its guests running"
    refused(live.http.post("/v1/nodes/n2/lost", json=STATEMENT), 409, "wrong-state")
    refused(live.http.post("/v1/nodes/n9/lost", json=STATEMENT), 404, "not-found")
    refused(live.tcp(live.tokens["readonly"]).post("/v1/nodes/n1/lost", json=STATEMENT), 403, "forbidden")
    for body, why in ((WHY, "'statement' is missing"), (WHY | {"statement": "off"}, "must have at least 10 characters")):
        short = live.http.post("/v1/nodes/n1/lost", json=body)
        refused(short, 400, "request-invalid")
        assert why in short.json()["detail"]
    assert live.http.get("/v1/nodes/n1/statements").json()["items"] == []


def test_what_was_stated_is_signed_and_nothing_is_sent_to_the_node_any_more(live: Live, tmp_path: Path) -> None:
    on_n1(live, "s1")
    told = burn(live)
    statement = told["statement"]
    assert (statement["statement"], statement["stated_by"]) == (STATEMENT["statement"], "unix:root")
    (released,) = statement["services"]
    assert (released["service"], released["guest"], released["disk"].split("/")[-1][:13]) == ("s1", "orch.s1", "orch.s1.disk.")
    kept = tmp_path / "statement.json"
    kept.write_text(cli(live, "node", "statement", "n1").stdout)
    verdict = command("certificate", "verify", str(kept))
    assert (verdict.returncode, "that node n1 is lost: I pulled" in verdict.stdout) == (0, True), verdict
    kept.write_text(kept.read_text().replace("burnt", "are whole"))
    assert command("certificate", "verify", str(kept)).returncode != 0
    refused(live.http.post("/v1/nodes/n1/lost", json=STATEMENT), 409, "node-lost")
    shown = live.http.get("/v1/nodes/n1").json()
    assert shown["takes_nothing_new"] == [f"it is {shown['lost']}"]
    assert 'orchestrator_node_lost{node="n1",zone="z1"} 1.0' in live.http.get("/metrics").text
    assert "lost" in cli(live, "node", "list").stdout
    assert f"which is {shown['lost']}" in cli(live, "service", "show", "s1").stdout
    examined = command("--config", str(tmp_path), "doctor").stdout
    assert f"{shown['lost']}; 1 service is on it" in examined
    assert "orchestrator node restore n1" in examined
    refused(live.http.post("/v1/services/s1/stop", json={"reason": "a test"}), 409, "node-lost")
    seen = live.http.post("/v1/drift", json={}).json()
    assert [each["node"] for each in seen["unseen"]] == ["n1"], seen
    live.provisioned("s2")
    assert show(live, "s2")["node"] == "n3"
    rows = live.http.get("/v1/audit", params={"limit": 500}).json()["items"]
    stated = [(row["what"], row["service_id"], row["facts"]["statement"]) for row in rows if "statement" in row["facts"]]
    assert sorted(stated) == [("node lost", "", statement["id"]), ("released from a lost node", "s1", statement["id"])]


def test_a_guest_comes_up_elsewhere_with_its_addresses_from_its_newest_backup(live: Live) -> None:
    on_n1(live, "s1")
    mail = live.http.post("/v1/services/s1/set-mail", json={"mail": "open", "reason": "a test"})
    done(live, mail.json()["job_id"])
    before, guest = show(live, "s1"), world(live).node("n1")["guests"]["orch.s1"]
    refused(live.http.post("/v1/services/s1/recover", json={"reason": "a test"}), 409, "refused")
    burn(live)
    would = cli(live, "service", "restore", "s1", "--dry-run")
    assert (would.returncode, "what was written in the 0 minutes since is lost" in would.stdout) == (0, True), would
    assert "guest.rebuild" in would.stdout
    refused(live.http.post("/v1/services/s1/recover", json={"reason": "a test", "to": "n1"}), 409, "wrong-state")
    asked = cli(live, "service", "restore", "s1", "--to", "n3", "--why", "a test", "--watch")
    assert (asked.returncode, "is lost" in asked.stdout) == (0, True), asked
    after, there = show(live, "s1"), world(live).node("n3")["guests"]["orch.s1"]
    assert (after["node"], after["facts"]["addresses"]) == ("n3", before["facts"]["addresses"])
    same = ("uuid", "lease", "name", "vcpus", "memory_bytes", "mail_out")
    assert {key: there["definition"][key] for key in same} == {key: guest["definition"][key] for key in same}
    assert (there["power"], there["autostart"], disks(live, "n3", "s1")) == ("running", True, [[LETTERS]])
    assert disks(live, "n1", "s1") == [[LETTERS, "written since"]], "nothing there was touched"
    assert after["facts"]["copy"]["lost_since"], "since when what was written is lost stands in the job's result"
    placed = live.http.get("/v1/services/s1/explain").json()
    (recovered,) = (job for job in live.jobs("s1") if job.intent == "recover")
    assert (placed["node"], placed["job_id"]) == ("n3", recovered.id)
    done(live, live.http.post("/v1/services/s1/check", json={}).json()["job_id"])
    done(live, live.http.post("/v1/services/s1/backup", json={"reason": "a test"}).json()["job_id"])


def test_a_suspended_guest_stays_so_and_a_limited_one_too(live: Live) -> None:
    for service, act in (("s1", "suspend"), ("s2", "limit")):
        on_n1(live, service)
        done(live, live.http.post(f"/v1/services/{service}/{act}", json={"reason": "a test"}).json()["job_id"])
    burn(live)
    for service in ("s1", "s2"):
        restored(live, service)
    guests = world(live).node("n3")["guests"]
    assert [guests["orch.s1"][key] for key in ("power", "autostart")] == ["stopped", False]
    assert (guests["orch.s1"]["mark"]["holds"], guests["orch.s2"]["mark"]["limits"]) == (["manual"], ["manual"])
    assert guests["orch.s2"]["power"] == "running"
    for service in ("s1", "s2"):
        done(live, live.http.post(f"/v1/services/{service}/check", json={}).json()["job_id"])
    done(live, live.http.post("/v1/services/s1/unsuspend", json={}).json()["job_id"])
    assert world(live).node("n3")["guests"]["orch.s1"]["power"] == "running"


def test_all_of_a_lost_node_are_restored_and_what_has_no_backup_ends_truthfully(live: Live, tmp_path: Path) -> None:
    for service in ("s1", "s2"):
        on_n1(live, service)
    on_n1(live, "s3", backup=False)
    refused(live.http.post("/v1/nodes/n1/restore", json=WHY), 409, "wrong-state")
    burn(live)
    ran = cli(live, "node", "restore", "n1", "--why", "a test", "--watch")
    assert (ran.returncode, "s1: restored" in ran.stdout, "s2: restored" in ran.stdout) == (4, True, True), ran
    assert "s3 stays: restore elsewhere refused: no verified backup of it stands; left is: service terminate s3" in ran.stdout
    assert [show(live, service)["node"] for service in ("s1", "s2", "s3")] == ["n3", "n3", "n1"]
    for service in ("s3", "s1"):  # one that was never restored, and one that was
        ended = live.http.post(f"/v1/services/{service}/terminate", json={"reason": "its customer leaves"})
        done(live, ended.json()["job_id"])
        certificate = live.http.get(f"/v1/certificates/{service}").json()["certificate"]
        assert certificate["residue"]["clean"] is False
        (away,) = (each for each in certificate["residue"]["checks"] if each["node"] == "n1")
        assert "n1 was not reached, and nothing on it was wiped or looked for" in away["unreached"]
        wiped = {volume["node"] for volume in certificate["volumes"]}
        assert wiped == (set() if service == "s3" else {"n3"}), "only what was wiped is called so"
        kept = tmp_path / f"{service}.json"
        kept.write_text(json.dumps(certificate))
        verdict = command("certificate", "verify", str(kept))
        assert (verdict.returncode, "n1 was not reached" in verdict.stdout) == (0, True), verdict
        assert show(live, service)["state"] == "erased"
    assert disks(live, "n1", "s3") == [[LETTERS]], "it is on the lost node's disk still"


def test_a_job_at_work_there_ends_with_the_reason_and_what_it_made_counts_as_gone_with_the_node(live: Live) -> None:
    on_n1(live, "s1")
    live.http.post("/v1/nodes/n3/drain", json=WHY)
    world(live).fault("volumes.put", node="n1", nth=0, error=TransientDriverError("hangs", retry_after=0.2))
    made = live.order("s2")
    waits = lambda: any("again at" in step["message"] for step in live.http.get(f"/v1/jobs/{made}").json()["steps"])  # noqa: E731
    wait_until("it waits for its node", waits)
    told = burn(live)
    assert told["under_way"] == [made]
    job = live.wait(made)
    assert (job.state, job.error_code) == ("failed", "node-lost"), job
    assert (show(live, "s2")["state"], show(live, "s2")["facts"].get("addresses")) == ("failed", None)


def test_one_that_comes_back_runs_no_second_copy_and_is_used_again_only_when_somebody_says_so(live: Live) -> None:
    for service in ("s1", "s2"):
        on_n1(live, service)
    burn(live)
    restored(live, "s1")
    refused(live.http.post("/v1/nodes/n1/found", json=WHY), 503, "driver-unreachable")
    world(live).set_node("n1", up=True)
    world(live).reboot("n1")
    live.context.look("n1")
    scraped = live.http.get("/metrics").text
    for name in ("node_lost", "node_up"):
        assert f'orchestrator_{name}{{node="n1",zone="z1"}} 1.0' in scraped, "the alert LostNodeAnswers"
    live.controller.engine.losing.once()
    guests = world(live).node("n1")["guests"]
    assert [guests["orch.s1"][key] for key in ("power", "autostart")] == ["stopped", False]
    assert (guests["orch.s1"]["mark"]["holds"], guests["orch.s2"]["power"]) == (["elsewhere"], "running")
    live.provisioned("s4")
    assert show(live, "s4")["node"] == "n3"
    refused(live.http.post("/v1/services/s2/stop", json={"reason": "a test"}), 409, "node-lost")
    back = cli(live, "node", "found", "n1", "--why", "its power is back")
    assert (back.returncode, "orch.s1 is held and off on n1" in back.stdout) == (0, True), back
    shown = live.http.get("/v1/nodes/n1").json()
    assert (shown["lost"], shown["takes_nothing_new"]) == ("", ["it is drained (found again: its power is back)"])
    world(live).reboot("n1")
    assert world(live).node("n1")["guests"]["orch.s1"]["power"] == "stopped", "its host does not start it either"
    assert disks(live, "n1", "s1") == [[LETTERS, "written since"]], "nothing was wiped"
    found = live.http.post("/v1/drift", json={"node": "n1"}).json()["findings"]
    assert {(row["kind"], row["service_id"]) for row in found} == {("stray", "s1")}, found
    assert all("orchestrator service tidy s1 --left n1" in row["todo"] for row in found), found
    done(live, live.http.post("/v1/services/s2/stop", json={"reason": "a test"}).json()["job_id"])
    rows = live.http.get("/v1/audit", params={"limit": 500}).json()["items"]
    (told,) = (row for row in rows if row["what"] == "node found")
    assert told["facts"]["kept_off"] == ["orch.s1"]


def test_while_a_service_is_being_restored_elsewhere_its_node_is_not_found_and_its_old_copy_is_kept_off(live: Live) -> None:
    on_n1(live, "s1")
    burn(live)
    world(live).fault("repositories.restore", node="n3", nth=0, error=TransientDriverError("slow", retry_after=0.2))
    job_id = live.http.post("/v1/services/s1/recover", json={"reason": "a test"}).json()["job_id"]
    world(live).set_node("n1", up=True)
    world(live).reboot("n1")
    live.context.look("n1")
    refused(live.http.post("/v1/nodes/n1/found", json=WHY), 409, "wrong-state")
    live.controller.engine.losing.once()
    assert world(live).node("n1")["guests"]["orch.s1"]["power"] == "stopped"
    assert live.http.post(f"/v1/jobs/{job_id}/cancel", json={}).status_code in (200, 202)
    assert live.wait(job_id).state in ("cancelled", "failed")
    assert disks(live, "n3", "s1") == []
    found = live.http.post("/v1/nodes/n1/found", json=WHY).json()
    assert (found["kept_off"], found["freed"]) == ([], ["orch.s1"])
    guest = world(live).node("n1")["guests"]["orch.s1"]
    assert (guest["power"], guest["mark"]["holds"], guest["autostart"]) == ("running", [], True)


def back(live: Live) -> None:
    """The node has power again; its guests came up with it."""
    world(live).set_node("n1", up=True)
    world(live).reboot("n1")
    live.context.look("n1")


def waits(live: Live, job_id: str) -> None:
    waiting = lambda: any("again at" in step["message"] for step in live.http.get(f"/v1/jobs/{job_id}").json()["steps"])  # noqa: E731
    wait_until("it waits for its node", waiting)


def meanwhile(patch: pytest.MonkeyPatch, method: str, act: Callable[[], object], *, nth: int = 1) -> None:
    """``act`` happens right after the ``nth`` call of this method of n1's hypervisor."""
    real, calls = getattr(FakeHypervisor, method), itertools.count(1)

    def and_then(hypervisor: FakeHypervisor, *args: Any, **kwargs: Any) -> Any:
        result = real(hypervisor, *args, **kwargs)
        if hypervisor._node == "n1" and next(calls) == nth:
            act()
        return result

    patch.setattr(FakeHypervisor, method, and_then)


def test_what_was_restored_elsewhere_while_a_node_is_being_found_runs_on_one_node_only(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_n1(live, "s1")
    burn(live)
    back(live)
    with monkeypatch.context() as patch:
        meanwhile(patch, "guests", lambda: restored(live, "s1"), nth=2)
        refused(live.http.post("/v1/nodes/n1/found", json=WHY), 409, "wrong-state")
    assert live.http.get("/v1/nodes/n1").json()["lost"], "it is asked for again"
    assert live.http.post("/v1/nodes/n1/found", json=WHY).json()["kept_off"] == ["orch.s1"]
    powers = {node: world(live).node(node)["guests"]["orch.s1"]["power"] for node in ("n1", "n3")}
    assert powers == {"n1": "stopped", "n3": "running"}


def test_a_guest_that_was_let_go_on_is_off_again_where_it_is_being_restored_elsewhere_by_then(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_n1(live, "s1")
    burn(live)
    world(live).fault("repositories.restore", node="n3", nth=0, error=TransientDriverError("slow", retry_after=0.2))
    first = live.http.post("/v1/services/s1/recover", json={"reason": "a test"}).json()["job_id"]
    back(live)
    live.controller.engine.losing.once()
    live.http.post(f"/v1/jobs/{first}/cancel", json={})
    live.wait(first)
    with monkeypatch.context() as patch:
        meanwhile(patch, "power", lambda: live.http.post("/v1/services/s1/recover", json={"reason": "a test"}))
        refused(live.http.post("/v1/nodes/n1/found", json=WHY), 409, "wrong-state")
    guest = world(live).node("n1")["guests"]["orch.s1"]
    assert (guest["power"], guest["autostart"], guest["mark"]["holds"]) == ("stopped", False, ["elsewhere"])


@pytest.mark.parametrize(("act", "fault"), [("move", "repositories.restore"), ("terminate", "hypervisor.undefine")])
def test_what_a_job_held_that_was_taken_back_while_its_node_was_lost_goes_on_when_that_is_found(
    live: Live, act: str, fault: str
) -> None:
    on_n1(live, "s1")
    world(live).fault(fault, nth=0, error=TransientDriverError("slow", retry_after=1))
    job_id = live.http.post(f"/v1/services/s1/{act}", json={"reason": "a test"}).json()["job_id"]
    waits(live, job_id)
    burn(live)
    assert live.wait(job_id).state == "failed"
    back(live)
    assert world(live).node("n1")["guests"]["orch.s1"]["power"] == "stopped", "the job held it"
    assert live.http.post("/v1/nodes/n1/found", json=WHY).json()["freed"] == ["orch.s1"]
    guest = world(live).node("n1")["guests"]["orch.s1"]
    assert (guest["power"], guest["autostart"], guest["mark"]["holds"]) == ("running", True, [])


@pytest.mark.parametrize("held_by", ["move", "terminate", "elsewhere"])
def test_a_guest_that_its_owner_had_switched_off_stays_off_when_its_node_is_found(live: Live, held_by: str) -> None:
    on_n1(live, "s1")
    done(live, live.http.post("/v1/services/s1/stop", json={"reason": "its owner asks"}).json()["job_id"])
    act, path = held_by, {"move": "repositories.restore", "terminate": "hypervisor.undefine", "elsewhere": "repositories.restore"}
    world(live).fault(path[held_by], nth=0, error=TransientDriverError("slow", retry_after=1))
    if held_by == "elsewhere":
        burn(live)
        act = "recover"
    job_id = live.http.post(f"/v1/services/s1/{act}", json={"reason": "a test"}).json()["job_id"]
    waits(live, job_id)
    if held_by == "elsewhere":
        back(live)
        live.controller.engine.losing.once()
        live.http.post(f"/v1/jobs/{job_id}/cancel", json={})
    else:
        burn(live)
    assert live.wait(job_id).state in ("failed", "cancelled")
    back(live)
    held = world(live).node("n1")["guests"]["orch.s1"]
    assert held["mark"]["holds"], held
    assert live.http.post("/v1/nodes/n1/found", json=WHY).json()["freed"] == ["orch.s1"]
    guest = world(live).node("n1")["guests"]["orch.s1"]
    assert (guest["power"], guest["autostart"], guest["mark"]["holds"]) == ("stopped", False, [])
    assert (guest["mark"]["power_before"], guest["mark"]["autostart_before"]) == (None, None)
    done(live, live.http.post("/v1/services/s1/start", json={"reason": "its owner asks"}).json()["job_id"])
    done(live, live.http.post("/v1/services/s1/check", json={}).json()["job_id"])


def test_what_is_suspended_while_it_is_kept_off_stays_off_when_found_and_runs_again_when_it_is_paid(live: Live) -> None:
    on_n1(live, "s1")
    burn(live)
    world(live).fault("repositories.restore", node="n3", nth=0, error=TransientDriverError("slow", retry_after=1))
    job_id = live.http.post("/v1/services/s1/recover", json={"reason": "a test"}).json()["job_id"]
    waits(live, job_id)
    back(live)
    live.controller.engine.losing.once()
    live.http.post(f"/v1/jobs/{job_id}/cancel", json={})
    live.wait(job_id)
    suspends = live.send("service.suspend", "s1", version=1).json()["job_id"]
    assert live.http.post("/v1/nodes/n1/found", json=WHY).json()["freed"] == []
    done(live, suspends)
    guest = world(live).node("n1")["guests"]["orch.s1"]
    assert (guest["power"], guest["mark"]["holds"]) == ("stopped", ["nonpayment"])
    paid = live.send("invoice.paid", "s1", invoice_id="i1", paid_until="2027-12-01T00:00:00Z").json()["job_id"]
    done(live, paid)
    guest = world(live).node("n1")["guests"]["orch.s1"]
    assert (guest["power"], guest["autostart"], guest["mark"]["holds"]) == ("running", True, [])


def test_a_node_can_be_lost_and_found_and_lost_in_one_second(live: Live) -> None:
    stated = []
    for _ in range(3):
        stated.append(burn(live)["statement"]["id"])
        world(live).set_node("n1", up=True)
        assert live.http.post("/v1/nodes/n1/found", json=WHY).status_code == 200
    assert [each["id"] for each in live.http.get("/v1/nodes/n1/statements").json()["items"]][::-1] == stated


def test_a_service_whose_old_copy_is_there_is_not_ended_half(live: Live) -> None:
    on_n1(live, "s1")
    burn(live)
    restored(live, "s1")
    back(live)
    live.http.post("/v1/nodes/n1/found", json=WHY)
    job = live.wait(live.http.post("/v1/services/s1/terminate", json={"reason": "a test"}).json()["job_id"])
    assert (job.state, job.error_code) == ("failed", "wrong-state"), job
    assert "an old copy of s1 is on n1" in job.error
    assert "orchestrator service tidy s1 --left n1" in job.error
    guest = world(live).node("n3")["guests"]["orch.s1"]
    assert (guest["power"], guest["mark"]["holds"], show(live, "s1")["state"]) == ("running", [], "active")


def test_what_comes_back_of_a_service_that_ended_meanwhile_is_kept_off_and_wiped_when_somebody_says_so(live: Live) -> None:
    on_n1(live, "s1")
    burn(live)
    ended = live.wait(live.http.post("/v1/services/s1/terminate", json={"reason": "it leaves"}).json()["job_id"], seconds=60)
    assert (ended.state, show(live, "s1")["state"]) == ("done", "erased"), ended
    back(live)
    live.http.post("/v1/nodes/n1/found", json=WHY)
    assert world(live).node("n1")["guests"]["orch.s1"]["power"] == "stopped"
    found = live.http.post("/v1/drift", json={"node": "n1"}).json()["findings"]
    assert all("orchestrator service tidy s1 --left n1" in row["todo"] for row in found if row["service_id"] == "s1"), found
    done = cli(live, "service", "tidy", "s1", "--left", "n1", "--why", "it has ended", "--yes-i-mean", "s1", "--watch")
    assert done.returncode == 0, done
    there = world(live).node("n1")
    assert (disks(live, "n1", "s1"), "orch.s1" in there["guests"], there["secrets"]) == ([], False, {})
    steps = {each["id"]: each for each in live.http.get(f"/v1/jobs/{live.jobs('s1')[0].id}").json()["steps"]}
    assert {each["report"]["method"] for each in steps["wipe"]["facts"]["wiped"]} == {"crypto-erase", "overwrite"}
    assert show(live, "s1")["state"] == "erased"
    assert live.http.post("/v1/drift", json={"node": "n1"}).json()["findings"] == []


def test_an_old_copy_is_wiped_when_somebody_says_so_and_never_what_the_service_runs_on(live: Live) -> None:
    on_n1(live, "s1")
    burn(live)
    restored(live, "s1")
    wish = {"reason": "the restored one is good", "node": "n1"}
    jobs = len(live.jobs("s1"))
    for dry in ("", "?dry_run=true"):
        problem = refused(live.http.post(f"/v1/services/s1/tidy-left{dry}", json=wish), 409, "node-lost")
        assert "tidy refused: n1 is lost since" in problem["detail"], problem
        assert "orchestrator node found n1" in str(problem)
    assert len(live.jobs("s1")) == jobs
    world(live).set_node("n1", up=True)
    live.http.post("/v1/nodes/n1/found", json=WHY)
    refused(live.http.post("/v1/services/s1/tidy-left", json=wish | {"node": "n3"}), 409, "refused")
    done = cli(live, "service", "tidy", "s1", "--left", "n1", "--why", "it is good", "--yes-i-mean", "s1", "--watch")
    assert done.returncode == 0, done
    there = world(live).node("n1")
    assert (disks(live, "n1", "s1"), "orch.s1" in there["guests"], there["secrets"]) == ([], False, {})
    assert (disks(live, "n3", "s1"), world(live).node("n3")["guests"]["orch.s1"]["power"]) == ([[LETTERS]], "running")
    job_id = live.jobs("s1")[0].id
    steps = {each["id"]: each for each in live.http.get(f"/v1/jobs/{job_id}").json()["steps"]}
    reports = steps["wipe"]["facts"]["wiped"]
    assert {each["report"]["method"] for each in reports} == {"crypto-erase", "overwrite"}, reports
    ended = live.wait(live.http.post("/v1/services/s1/terminate", json={"reason": "it leaves"}).json()["job_id"], seconds=60)
    assert ended.state == "done", ended
    assert live.http.get("/v1/certificates/s1").json()["certificate"]["residue"]["clean"] is True
