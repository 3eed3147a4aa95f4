"""Dedicated machines through the API and on the command line, on simulated ones."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.cli.local.doctor import examine
from orchestrator.domain.errors import TransientDriverError, WrongState
from orchestrator.domain.machines import MachineState, MachineWanted
from orchestrator.drivers.fake import FakeWorld
from orchestrator.drivers.fake.bmc import boots, renew_certificate
from orchestrator.drivers.fake.deployments import set_disks
from orchestrator.ports.bmc import MachinePower
from orchestrator.store import machines as store
from orchestrator.wiring.links import WORLD_FILE
from tests.integration.api.answers import refused
from tests.live import Live
from tests.machine_words import inspection
from tests.served import Ran, command

FILES = {
    "machines.yaml": """
machines:
  - {name: m1, zone: z1, class: small-1, driver: fake}
  - {name: m2, zone: z1, class: small-1, driver: fake, maintenance: true}
  - {name: m3, zone: z1, class: large-1, driver: fake, macs: ["52:54:00:00:00:01"]}
""",
    "templates.yaml": f"""
templates:
  - {{name: debian, volume: debian.qcow2, sha256: "{"1" * 64}", size: 2 GiB, ready: running}}
  - {{name: raw, volume: debian.raw, sha256: "{"2" * 64}", size: 2 GiB, format: raw, agent: false}}
""",
    "plans/metal.yaml": """
name: metal
kind: dedicated
class: small-1
templates: [raw]
""",
}
WANTED = MachineWanted(machine_class="small-1")


@pytest.fixture
def racked(tmp_path: Path) -> Iterator[Live]:
    live = Live(tmp_path, files=FILES)
    live.start()
    try:
        yield live
    finally:
        live.stop()


def world(live: Live) -> FakeWorld:
    return FakeWorld(live.config.settings.state_dir / WORLD_FILE)


def cli(live: Live, *words: str) -> Ran:
    return command("--socket", str(live.socket), *words)


def presented(live: Live, name: str = "m1") -> str:
    return str(live.http.get(f"/v1/machines/{name}/certificate").json()["fingerprint"])


def enrolled(live: Live, name: str = "m1") -> dict[str, Any]:
    answer = live.http.post(f"/v1/machines/{name}/enrol", json={"certificate_sha256": presented(live, name)})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def free(live: Live, name: str = "m1") -> None:
    uuid = enrolled(live, name)["machine"]["uuid"]
    record = live.controller.machines.inspected(name, inspection(f"serial-{name}", uuid=uuid))
    assert record.state == MachineState.AVAILABLE


def states(live: Live, **filters: str) -> dict[str, str]:
    return {row["name"]: row["state"] for row in live.http.get("/v1/machines", params=filters).json()["items"]}


def test_machines_are_listed_as_declared_and_filtered(racked: Live) -> None:
    assert states(racked) == {"m1": "declared", "m2": "declared", "m3": "declared"}
    assert states(racked, machine_class="large-1") == {"m3": "declared"}
    assert states(racked, zone="z9") == {}
    free(racked)
    assert states(racked, state="available") == {"m1": "available"}
    page = racked.http.get("/v1/machines", params={"limit": "2"}).json()
    assert ([row["name"] for row in page["items"]], page["next"]) == (["m1", "m2"], "m2")
    assert list(states(racked, after="m2")) == ["m3"]
    refused(racked.http.get("/v1/machines/m9"), 404, "not-found")


def test_a_machine_is_enrolled_by_the_certificate_that_was_compared(racked: Live) -> None:
    refused(racked.http.post("/v1/machines/m1/enrol", json={"certificate_sha256": "ab" * 32}), 409, "precondition-failed")
    refused(racked.http.post("/v1/machines/m1/enrol", json={"certificate_sha256": "abc"}), 400, "request-invalid")
    dry = racked.http.post("/v1/machines/m1/enrol?dry_run=true", json={"certificate_sha256": presented(racked)}).json()
    assert (dry["dry_run"], states(racked)["m1"], racked.http.get("/v1/machines/m1").json()["enrolled"]) == (
        True,
        "declared",
        False,
    )
    found = enrolled(racked)
    assert found["machine"]["certificate"] == presented(racked)
    assert found["waits"] == "the deploy image has to look into it: it is not available before"
    shown = racked.http.get("/v1/machines/m1").json()
    assert shown == found["machine"]
    assert (shown["enrolled"], shown["up"], shown["power"], shown["health"]) == (True, True, "off", "ok")


def test_what_was_found_in_it_is_shown(racked: Live) -> None:
    free(racked)
    shown = racked.http.get("/v1/machines/m1").json()
    assert (shown["state"], shown["system_disk"], shown["waits"]) == ("available", "serial-m1", "")
    assert "not declared" not in str(shown["differences"]), "nothing was"


def test_an_operator_says_that_a_disk_of_a_service_is_gone(racked: Live) -> None:
    free(racked)
    path, body = "/v1/machines/m1/disk-gone", {"serial": "serial-m1", "why": "it failed"}
    refused(racked.http.post(path, json=body), 409, "wrong-state")
    with racked.db.write() as conn:
        moving = {"reason": "a test", "who": "anna", "now": racked.clock.now(), "service_id": "d1", "job_id": "j1"}
        store.move(conn, store.get(conn, "m1"), MachineState.ALLOCATED, **moving)  # type: ignore[arg-type]
    refused(racked.http.post(path, json=body | {"serial": "S9"}), 404, "not-found")
    refused(racked.http.post(path, json=body | {"why": ""}), 400, "request-invalid")
    with racked.tcp(racked.tokens["billing"]) as billing:
        refused(billing.post(path, json=body), 403, "forbidden")
    words = ("machine", "disk-gone", "m1", "serial-m1", "--why", "it failed")
    assert "would count as gone" in cli(racked, *words, "--dry-run").stdout
    assert "serial-m1" not in str(racked.http.get("/v1/machines/m1").json()["inspection"].get("gone"))
    done = cli(racked, *words)
    assert (done.returncode, done.stdout.strip()) == (0, "m1: disk serial-m1 counts as gone"), done
    shown = racked.http.get("/v1/machines/m1").json()
    assert (shown["inspection"]["gone"][0]["why"], shown["system_disk"]) == ("it failed", "")
    assert "it failed" in cli(racked, "machine", "show", "m1").stdout


def test_an_order_is_checked_against_the_machines_and_playbooks_that_there_are(racked: Live) -> None:
    """The playbooks of machines are files: whether there is one for an order is told as for every other."""
    answer = racked.send("order.paid", "s1", client_id="c1", plan="metal", order_id="o1", zone="moon")
    assert answer.json()["outcome"] == "dead"
    assert "no machine of class 'small-1' in zone 'moon'" in answer.json()["detail"]
    shown = racked.http.get("/v1/plans/metal").json()
    assert (shown["kind"], shown["machine_class"], shown["vcpus"], shown["memory_bytes"]) == ("dedicated", "small-1", None, None)


def test_it_is_taken_out_and_put_back_once_for_one_key(racked: Live) -> None:
    free(racked)
    path, body, key = "/v1/machines/m1/maintenance", {"on": True, "why": "a fan"}, {"Idempotency-Key": "k1"}
    assert racked.http.post(f"{path}?dry_run=true", json=body).json()["state"] == "maintenance"
    assert states(racked)["m1"] == "available"
    first, again = (racked.http.post(path, json=body, headers=key) for _ in range(2))
    assert (first.json()["state"], first.json()["reason"]) == ("maintenance", "a fan")
    assert (again.json(), again.headers["Idempotent-Replayed"]) == (first.json(), "true")
    back = racked.http.post(path, json={"on": False, "why": "it turns"}).json()
    assert (back["state"], back["waits"]) == ("declared", "it is not enrolled")
    trail = [row["what"] for row in racked.http.get("/v1/audit").json()["items"] if row["what"].startswith("machine")]
    assert trail[:2] == ["machine declared", "machine maintenance"]


def test_a_free_machine_is_tested_and_left_alone_until_that_is_over(racked: Live) -> None:
    refused(racked.http.post("/v1/machines/m1/test", json={"why": "w"}), 409, "wrong-state")
    free(racked)
    set_disks(world(racked), "m1", **{"serial-m1": 1 << 40})
    place = "/v1/machines/m1/test"
    refused(racked.http.post(place, json={"why": "w", "seconds": 5}), 400, "request-invalid")
    assert racked.http.post(f"{place}?dry_run=true", json={"why": "w"}).json()["state"] == "testing"
    assert states(racked) == {"m1": "available", "m2": "declared", "m3": "declared"}
    done = cli(racked, "machine", "test", "m1", "--memory", "--seconds", "60", "--why", "it makes noise")
    assert (done.returncode, done.stdout) == (0, "m1 is testing\n"), done.stderr
    assert racked.http.get("/v1/machines/m1").json()["reason"] == "it is tested (memory, 60 s): it makes noise"
    for act, body in (("power", {"on": False}), ("maintenance", {"on": True}), ("broken", {}), ("test", {})):
        refused(racked.http.post(f"/v1/machines/m1/{act}", json={"why": "w", **body}), 409, "wrong-state")
    for _ in range(6):
        racked.controller.testing.once()
    assert states(racked, state="available") == {"m1": "available"}
    (found,) = [row for row in racked.http.get("/v1/audit").json()["items"] if row["what"] == "machine tested"]
    assert found["facts"]["result"] == "passed"


def test_a_machine_that_has_a_service_is_neither_taken_out_nor_switched(racked: Live) -> None:
    free(racked)
    racked.controller.machines.allocate(service_id="s1", job_id="j1", wanted=WANTED)
    assert racked.http.get("/v1/machines/m1").json()["service_id"] == "s1"
    told = refused(racked.http.post("/v1/machines/m1/power", json={"on": True, "why": "w"}), 409, "refused")
    assert "orchestrator service start|stop|reboot s1" in told["hint"]
    refused(racked.http.post("/v1/machines/m1/maintenance", json={"on": True, "why": "w"}), 409, "wrong-state")
    refused(racked.http.post("/v1/machines/m1/broken", json={"why": "w"}), 409, "wrong-state")
    assert boots(world(racked), "m1") == []


def test_steps_reach_the_bmc_of_an_enrolled_machine_and_anew_after_its_certificate_changed(racked: Live) -> None:
    bmc = racked.controller.bmcs.bmc
    with pytest.raises(WrongState, match="machine m1 is not enrolled"):
        bmc("m1")
    enrolled(racked)
    assert bmc("m1") is bmc("m1")
    before = bmc("m1")
    renew_certificate(world(racked), "m1", "cd" * 32)
    enrolled(racked)
    assert bmc("m1") is not before
    assert bmc("m1").facts(deadline=5).power == MachinePower.OFF


def test_a_bmc_that_does_not_answer_shows_in_list_and_metrics(racked: Live) -> None:
    free(racked)
    enrolled(racked, "m3")
    world(racked).set_node("m1", up=False)
    racked.controller.machine_watch.once()
    (row,) = (each for each in racked.http.get("/v1/machines").json()["items"] if each["name"] == "m1")
    assert (row["up"], bool(row["problem"]), row["state"]) == (False, True, "available")
    lines = racked.http.get("/metrics").text.splitlines()
    for line in (
        'orchestrator_machine_up{machine="m1",zone="z1"} 0.0',
        'orchestrator_machine_up{machine="m3",zone="z1"} 1.0',
        'orchestrator_machine_on{machine="m3",zone="z1"} 0.0',
        'orchestrator_machine_health{machine="m3",zone="z1"} 0.0',
        'orchestrator_machine_hottest_celsius{machine="m3",zone="z1"} 41.0',
        'orchestrator_machine_unwell_sensors{machine="m3",zone="z1"} 0.0',
        'orchestrator_machines{class="small-1",state="available",zone="z1"} 1.0',
        'orchestrator_machines{class="small-1",state="broken",zone="z1"} 0.0',
    ):
        assert line in lines
    assert not any('machine="m2"' in line for line in lines), "it is not enrolled"


def test_the_doctor_on_the_controllers_machine_names_machines_and_the_passwords_of_their_bmcs(racked: Live) -> None:
    directory = racked.config.directory
    real = "  - {name: r1, zone: z1, class: large-1, bmc: https://192.0.2.1, bmc_user: u, bmc_secret_file: secrets/bmc}\n"
    with (directory / "machines.yaml").open("a") as file:
        file.write(real)
    free(racked)
    enrolled(racked, "m3")
    world(racked).set_node("m3", up=False)
    racked.controller.machine_watch.once()
    with racked.db.write() as conn:
        record = store.get(conn, "m2")
        store.move(conn, record, MachineState.BROKEN, reason="it smells", who="anna", now=racked.clock.now())

    def rows() -> dict[str, tuple[bool, str]]:
        return {row.name: (row.ok, row.found) for row in examine(directory) if "machine" in row.name or "BMC" in row.name}

    found = rows()
    assert found["machine m1"] == (True, "available: it was enrolled, and is as it was declared")
    assert found["machine m2"] == (False, "broken: it smells")
    assert found["machine m3"][1].startswith("its BMC does not answer: ")
    assert found["machine r1"] == (False, "not available yet")
    secret = directory / "secrets" / "bmc"
    assert found["password of the BMC of r1"] == (False, f"{secret} is missing")
    secret.write_text("p\n")
    secret.chmod(0o640)
    assert rows()["password of the BMC of r1"] == (False, f"{secret} can be read by others")
    secret.chmod(0o600)
    assert rows()["password of the BMC of r1"] == (True, str(secret))


# -- the command line ----------------------------------------------------------------------------


def test_machines_on_the_command_line(racked: Live) -> None:
    asked = cli(racked, "machine", "enrol", "m1")
    assert (asked.returncode, presented(racked) in asked.stderr) == (2, True), "without a terminal nobody can look at it"
    shown = cli(racked, "machine", "certificate", "m1")
    assert presented(racked) in shown.stdout
    words = ("machine", "enrol", "m1", "--fingerprint", presented(racked))
    dry = cli(racked, *words, "--dry-run")
    assert (dry.returncode, "certificate to be pinned" in dry.stdout) == (0, True), dry
    done = cli(racked, *words)
    assert done.returncode == 0, done
    assert "m1 is enrolled; it is declared" in done.stdout
    assert "not available yet: the deploy image has to look into it" in done.stdout
    listed = cli(racked, "machine", "list").stdout
    assert "m1" in listed
    assert "declared in maintenance" in listed
    assert (
        json.loads(cli(racked, "machine", "list", "--state", "declared", "--class", "large-1", "--json").stdout)["items"][0][
            "name"
        ]
        == "m3"
    )
    card = cli(racked, "machine", "show", "m1").stdout
    assert presented(racked) in card


def test_what_was_noted_of_a_machine_is_shown_in_words(racked: Live) -> None:
    enrolled(racked)
    with racked.db.write() as conn:
        told = {**store.get(conn, "m1").told, "memory_bytes": 32 << 30}
        store.set_seen(conn, "m1", told | {"power": "on"}, own=True, now=racked.clock.now())
        store.set_seen(conn, "m1", told, own=False, now=racked.clock.now())
    found, card = racked.http.get("/v1/machines/m1").json(), cli(racked, "machine", "show", "m1").stdout
    assert (found["own_power"], found["power"], "own_power" in found["told"]) == ("on", "off", False)
    lines = [" ".join(line.split()) for line in card.splitlines()]
    assert "power, customer's on" in lines
    assert {"memory: 32 GiB", "CPU Temp: 41 °C", "System Fan: 2100 rpm"} <= set(lines)
    assert [word for word in ("own_power", "sensors.", "bytes", "_") if word in card] == []


def test_a_grave_difference_ends_enrolment_and_doctor_with_3(racked: Live) -> None:
    uuid = enrolled(racked)["machine"]["uuid"]
    racked.controller.machines.inspected("m1", inspection("", uuid=uuid))
    found = cli(racked, "machine", "doctor", "m1")
    assert (found.returncode, "sda tells no serial number" in found.stdout) == (3, True), found
    assert "GRAVE: " in cli(racked, "machine", "show", "m1").stdout
    world(racked).fault("bmc.facts", nth=0, error=TransientDriverError("it hangs"))
    assert cli(racked, "machine", "enrol", "m1", "--fingerprint", presented(racked)).returncode == 5


def test_every_difference_is_said_when_a_machine_is_enrolled(racked: Live) -> None:
    with world(racked).change() as state:
        state["nodes"]["m3"]["machine"]["macs"] = ["52:54:00:00:00:02"]
    done = cli(racked, "machine", "enrol", "m3", "--fingerprint", presented(racked, "m3"))
    assert done.returncode == 0, done
    assert "differs: MAC 52:54:00:00:00:01 is declared, and its BMC tells none such" in done.stdout


def test_what_changes_something_wants_a_reason_unless_it_is_dry(racked: Live) -> None:
    free(racked)
    assert cli(racked, "machine", "broken", "m1").returncode == 2
    assert cli(racked, "machine", "broken", "m1", "--dry-run").stdout == "m1 would be broken\n"
    assert states(racked)["m1"] == "available"
    assert cli(racked, "machine", "maintenance", "on", "m1", "--why", "a fan").stdout == "m1 is maintenance\n"
    back = cli(racked, "machine", "maintenance", "off", "m1", "--why", "it turns")
    assert back.stdout == "m1 is declared: it is not enrolled\n"


def test_a_free_machine_is_switched_and_its_log_is_shown(racked: Live) -> None:
    enrolled(racked)
    assert cli(racked, "machine", "power", "on", "m1", "--dry-run").stdout == "m1 is off, and would be turned on\n"
    assert cli(racked, "machine", "power", "on", "m1", "--why", "a look").stdout == "m1 is on\n"
    assert cli(racked, "machine", "power", "off", "m1", "--why", "enough", "--graceful").stdout == "m1 is off\n"
    assert cli(racked, "machine", "log", "m1").stdout == "its BMC keeps no log\n"
    assert boots(world(racked), "m1") == ["disk"]
