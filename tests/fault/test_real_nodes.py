"""Two real hypervisors: one that hangs keeps nobody from working on the other, and a guest moves from one to the other."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e import pair as pairs
from tests.e2e import sight
from tests.e2e.pair import OTHER, Pair
from tests.e2e.site import NODE
from tests.e2e.stand import PLAIN, SEALED
from tests.e2e.traces import virsh
from tests.lab import tiny
from tests.lab.environment import Lab
from tests.lab.guests import occurrences
from tests.lab.neighbour import Neighbour
from tests.lab.templates import Installed

pytestmark = pytest.mark.timeout(900)
OFFSET, COPIES = 70 << 20, 64


@pytest.fixture(scope="module")
def pair(
    lab: Lab, second_machine: Neighbour, tiny_template: Installed, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pair]:
    with pairs.standing(lab, second_machine, tmp_path_factory.mktemp("pair"), tiny_template) as pair:
        yield pair


@pytest.mark.rare
def test_while_one_node_hangs_jobs_of_the_other_go_on_and_its_own_wait_and_go_on_after(pair: Pair) -> None:
    assert pair.machine is not None
    here, there = pair.placed(NODE, plan=SEALED), pair.placed(OTHER, plan=SEALED)
    assert (pair.node_of(here), pair.node_of(there)) == (NODE, OTHER)
    with pair.machine.hung():
        waits = [pair.command("check", there), pair.command("stop", there)]
        pair.done([pair.command("check", here), pair.command("stop", here), pair.command("start", here)])
        pair.answering([here])
        fresh = pair.placed(NODE, plan=SEALED)
        pair.until("the node is seen to be down", lambda: not pair.site.ask("node", "show", OTHER)["up"])
        pair.until("the reason is told", lambda: any("again at" in step["message"] for step in pair.job(waits[0])["steps"]))
        assert pair.job(waits[0])["state"] in ("running", "queued"), "it waits for its node"
    pair.done(waits)
    pair.done([pair.command("start", there)])
    pair.answering([there])
    pair.done([pair.command("terminate", service) for service in (here, there, fresh)])


@pytest.mark.rare
def test_a_job_whose_libvirtd_is_away_for_longer_than_its_attempts_waits_and_goes_on_when_it_is_back(
    pair: Pair,
) -> None:
    machine = pair.machine
    assert machine is not None
    here, there = pair.placed(NODE, plan=SEALED), pair.placed(OTHER, plan=SEALED)
    with machine.without_libvirtd():
        began, asked = time.monotonic(), pair.command("stop", there)
        pair.until("the job waits", lambda: (pair.job(asked)["waits_for"] or {}).get("away") == OTHER)
        pair.done([pair.command("check", here)])
        pair.until("it has tried again", lambda: (pair.job(asked)["waits_for"] or {}).get("tries", 0) >= 3, seconds=180)
        assert (time.monotonic() - began > 40, pair.job(asked)["state"]) == (True, "queued")
        assert f"waits for {OTHER} since" in " ".join(pair.site.cli("job", "show", asked).split())
        assert f"waits: for {OTHER} since" in pair.site.cli("service", "show", there)
        assert f'orchestrator_away_jobs{{away="{OTHER}"}} 1.0' in pair.site.http("GET", "/metrics").text
    pair.done([asked])
    assert machine.virsh("domstate", sight.guest(there)).stdout.strip() == "shut off"
    pair.done([pair.command("terminate", service) for service in (here, there)])


def show(pair: Pair, service: str) -> dict[str, Any]:
    return dict(pair.site.http("GET", f"/v1/services/{service}").json())


@pytest.mark.parametrize("plan", [SEALED, pytest.param(PLAIN, marks=pytest.mark.rare)])
def test_moved_to_the_other_node_a_guest_is_the_same_and_nothing_of_it_is_left_behind(pair: Pair, plan: str) -> None:
    machine = pair.machine
    assert machine is not None
    service = pair.placed(NODE, plan=plan)
    address, marker = sight.address(pair.site, service), secrets.token_bytes(32)
    tiny.plant(address, OFFSET, marker, copies=COPIES)
    name, before = sight.guest(service), show(pair, service)
    uuid, old = virsh("domuuid", name).stdout.strip(), sight.disk(pair.site, service)
    if plan == PLAIN:
        assert occurrences(pair.site.lab.pool_device, marker)[marker] >= COPIES, "the search finds what it is to find"
    answer = pair.site.http("POST", f"/v1/services/{service}/move", json={"reason": "a test", "to": OTHER})
    pair.done([answer.json()["job_id"]])
    pair.answering([service])
    assert tiny.show(address, OFFSET, 64) == marker * 2
    after = show(pair, service)
    assert (after["node"], after["facts"]["addresses"]) == (OTHER, before["facts"]["addresses"])
    assert (machine.virsh("domuuid", name).stdout.strip(), machine.virsh("domstate", name).stdout.strip()) == (uuid, "running")
    assert (virsh("domuuid", name).returncode, old.exists(), sight.secrets(service)) == (1, False, [])
    assert occurrences(pair.site.lab.pool_device, marker)[marker] == 0
    (wiped, *_rest) = after["facts"]["wipe"]["wiped"]
    assert (wiped["name"], wiped["report"]["method"]) == (old.name, "crypto-erase" if plan == SEALED else "overwrite")
    pair.done([pair.command("check", service), pair.command("backup", service), pair.command("terminate", service)])
    assert name not in machine.virsh("list", "--all", "--name").stdout


WHY = {"why": "a test"}
STATED = {**WHY, "statement": "its cords were pulled before my eyes"}


def started(machine: Neighbour, name: str) -> bool:
    """Whether the guest runs there after somebody tried to start it."""
    machine.virsh("start", name, check=False)
    return machine.virsh("domstate", name).stdout.strip() == "running"


def holds(machine: Neighbour, name: str) -> list[str]:
    return sight.HOLD.findall(machine.virsh("dumpxml", name).stdout)


@pytest.mark.rare
def test_a_guest_of_a_node_without_power_comes_up_elsewhere_and_no_second_copy_runs_when_that_node_returns(pair: Pair) -> None:
    machine = pair.machine
    assert machine is not None
    service = pair.placed(OTHER, plan=SEALED)
    address, marker, name = sight.address(pair.site, service), secrets.token_bytes(32), sight.guest(service)
    tiny.plant(address, OFFSET, marker, copies=COPIES)
    pair.done([pair.command("backup", service)])
    before, uuid = show(pair, service), machine.virsh("domuuid", name).stdout.strip()
    old = machine.path(before["facts"]["disk"]["volume"]["path"])
    assert pair.site.http("POST", f"/v1/nodes/{OTHER}/lost", json=STATED).status_code == 409, "it answers"
    machine.power_off()
    stated = pair.site.http("POST", f"/v1/nodes/{OTHER}/lost", json=STATED)
    assert (stated.status_code, [each["service"] for each in stated.json()["statement"]["services"]]) == (200, [service]), (
        stated.text
    )
    answer = pair.site.http("POST", f"/v1/services/{service}/recover", json={"reason": "a test", "to": NODE})
    pair.done([answer.json()["job_id"]])
    pair.answering([service])
    assert tiny.show(address, OFFSET, 64) == marker * 2
    after = show(pair, service)
    assert (after["node"], after["facts"]["addresses"]) == (NODE, before["facts"]["addresses"])
    assert virsh("domuuid", name).stdout.strip() == uuid
    machine.power_on()
    # As its host does where it starts guests by itself; unless the controller was there first.
    pair.until("the old copy runs", lambda: started(machine, name) or "elsewhere" in holds(machine, name), seconds=60)
    pair.until("the old copy is off", lambda: machine.virsh("domstate", name).stdout.strip() == "shut off", seconds=180)
    pair.until("it is held", lambda: "elsewhere" in holds(machine, name))
    assert pair.site.http("GET", f"/v1/nodes/{OTHER}").json()["lost"], "it is not used for that"
    found = pair.site.http("POST", f"/v1/nodes/{OTHER}/found", json=WHY).json()
    assert found["kept_off"] == [name], found
    assert machine.virsh("start", name, check=False).returncode != 0, "its host refuses to start it"
    assert (old.exists(), tiny.show(address, OFFSET, 64) == marker * 2) == (True, True), "nothing was wiped, and one runs"
    pair.done([pair.command("check", service), pair.command("backup", service)])
    pair.site.cli("node", "undrain", OTHER, "--why", "a test")
