"""Dedicated machines of the lab in trouble: the controller is killed at the steps of their lives, their power fails while they
are written and erased, and their BMC lies. All ends as it should, or an operator is told why; and no other machine's disk is
touched.

All in the whole matrix: ``make test`` has a machine's whole life (tests/e2e/test_machines.py), kills at its steps on simulated
machines (test_machine_crashes), and a BMC that lies (tests/integration/test_bmc_lies.py).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e import rack as racks
from tests.e2e.rack import DISK_BYTES, Rack, Tenant, verified
from tests.e2e.stand import OPEN
from tests.e2e.traces import virsh
from tests.fault.crashing import KILL, Order
from tests.lab import lying_bmc
from tests.lab.bmc import Emulator
from tests.lab.environment import Lab
from tests.lab.lying_bmc import Liar, Lie
from tests.lab.metal import Metal

pytestmark = [pytest.mark.rare, pytest.mark.timeout(3600)]
PLAYBOOKS = Path(__file__).parents[2] / "playbooks"
# Not every life passes these: where a check finds it done nothing is carried out.
SOMETIMES = ("answers/during", "verify/during", "archive/before", "archive/during", "archive/after")
BYSTANDER = b"what another tenant has on another machine\n"
AMID = 64 << 20
SYSTEM = r"/Systems/[0-9a-f-]{36}$"
RESET, INSERT, EJECT = r"ComputerSystem\.Reset$", r"VirtualMedia\.InsertMedia$", r"VirtualMedia\.EjectMedia$"
SLOW = 6 << 20  # bytes a second


@dataclass(frozen=True)
class Trouble:
    """``liar`` stands before the BMC; as long as it has no lies it passes everything on."""

    rack: Rack
    liar: Liar

    def outwaited(self, lie: Lie) -> None:
        """Wait until the lie was told, and what waits for it to come true has waited long enough."""
        self.rack.until(f"{lie.method} {lie.path} was asked", lambda: lie.times == 0, pause=0.2)
        self.rack.board.hurry(130)

    def lost_patience(self, job_id: str, *, each: float) -> Any:
        """The job once it rests; whatever it waits for it has waited for long, again and again."""

        def rests() -> bool:
            if self.rack.job(job_id)["state"] not in OPEN:
                return True
            self.rack.board.hurry(each)
            return False

        self.rack.until(f"job {job_id} ends", rests, pause=5.0, seconds=1200)
        return self.rack.job(job_id)


@pytest.fixture(scope="module")
def _trouble(
    lab: Lab, deploy_image: Path, bmc_emulator: Emulator, metal_image: Metal, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Trouble]:
    directory = tmp_path_factory.mktemp("rack")
    before = lying_bmc.before(bmc_emulator.url, certificate=bmc_emulator.certificate, key=bmc_emulator.key)
    with before as liar:
        built = racks.standing(
            lab, directory, emulator=bmc_emulator, iso=deploy_image, metal=metal_image, numbers=(41, 42), url=liar.url
        )
        with built as rack:
            rack.enrol(rack.machine)
            rack.available(rack.machine)
            yield Trouble(rack, liar)


@pytest.fixture
def trouble(_trouble: Trouble) -> Iterator[Trouble]:
    """One machine, available; another stands beside it, that is off and bears what is not to be touched."""
    (disk,) = _trouble.rack.machines[1].disks
    disk.write_bytes((BYSTANDER * (DISK_BYTES // len(BYSTANDER) + 1))[:DISK_BYTES])
    before = hashlib.sha256(disk.read_bytes()).hexdigest()
    yield _trouble
    _trouble.liar.lies.clear()
    assert hashlib.sha256(disk.read_bytes()).hexdigest() == before, "another machine's disk was touched"


def points_of(intent: str) -> list[str]:
    """Where the controller is killed in a job of the intent, one after the other."""
    steps = [step["id"] for step in yaml.safe_load((PLAYBOOKS / f"machine-{intent}.yaml").read_text())["steps"]]
    every = [f"{step}/{moment}" for step in steps for moment in ("before", "during", "after")]
    every = [point for point in every if point not in SOMETIMES]
    if intent == "terminate":
        every.remove("stop/during")  # it is suspended, and off
    return [f"machine-{intent}/{point}" for point in (*every, "finish/before")]


def through_kills(rack: Rack, service: str, points: list[str], ask: Callable[[], str]) -> Any:
    """The job, carried to its end by one controller after the other."""
    waiting = iter(points)

    def armed() -> str:
        """For the next of the points, '' = there is none any more."""
        point = next(waiting, "")
        rack.board.arm(service, *([Order(point, KILL)] if point else []))
        return point

    point = armed()
    job_id = ask()
    while point:
        rack.dies_at(point, service)
        point = armed()
        rack.site.launch() if point else rack.site.start()
    return rack.done(job_id)


def suspend(rack: Rack, tenant: Tenant, version: int) -> str:
    return rack.event("service.suspend", tenant.service, version=version, reason="nonpayment")


def terminate(rack: Rack, tenant: Tenant, version: int) -> str:
    return rack.event("service.terminate", tenant.service, version=version, reason="cancelled")


def pay(rack: Rack, tenant: Tenant) -> str:
    return rack.event("invoice.paid", tenant.service, invoice_id=f"i-{tenant.service}", paid_until="2099-01-01T00:00:00Z")


def is_erased(rack: Rack, tenant: Tenant) -> None:
    """Proven, and free for the next one."""
    machine = rack.machine
    assert [(volume["name"], volume["verified"]) for volume in verified(rack, tenant.service)] == [(machine.serials[0], True)]
    assert machine.disks[0].read_bytes().count(0) == DISK_BYTES
    assert (rack.told(machine)["state"], rack.power(machine)) == ("available", "shut off")


def tasks_done(rack: Rack, job_id: str) -> list[str]:
    """What the deploy image says that it did in a job, as the audit has it."""
    rows = rack.site.ask("audit", "list", "--limit", "500")["items"]
    told = [row["facts"] for row in rows if row["what"] == "deployment task" and row["job_id"] == job_id]
    return sorted(facts["task"] for facts in told if facts["state"] == "done")


def test_killed_at_its_steps_a_machine_lives_as_without_the_kills(trouble: Trouble) -> None:
    rack, tenant = trouble.rack, trouble.rack.tenant("k-1")
    service = tenant.service

    def job(intent: str, ask: Callable[[], str]) -> Any:
        return through_kills(rack, service, points_of(intent), ask)

    installed = job("provision", lambda: rack.order(tenant))
    rack.arrives(tenant)
    assert tasks_done(rack, installed["id"]) == ["finish", "inspect", "write"], "each of them once"
    tenant.fill(AMID)
    job("suspend", lambda: suspend(rack, tenant, 1))
    assert rack.power(rack.machine) == "shut off"
    job("unsuspend", lambda: pay(rack, tenant))
    assert tenant.run("hostname") == f"{service}.example.com"
    assert rack.found(rack.machine, tenant.marker) > 0
    rack.done(suspend(rack, tenant, 2))
    ended = job("terminate", lambda: terminate(rack, tenant, 3))
    assert tasks_done(rack, ended["id"]) == ["erase", "look"]
    is_erased(rack, tenant)


def test_where_another_machine_stands_behind_the_bmc_it_is_neither_erased_nor_written(trouble: Trouble) -> None:
    """Two cables were exchanged: what the BMC switches, and shows as the one machine, is the other."""
    rack, tenant = trouble.rack, trouble.rack.tenant("w-1")
    machine, other = rack.machines
    rack.moves_in(tenant)
    tenant.fill(AMID)
    rack.done(suspend(rack, tenant, 1))
    trouble.liar.lies.append(Lie("", machine.uuid, instead=(machine.uuid, other.uuid)))
    job = rack.rest(terminate(rack, tenant, 2))
    assert (job["state"] in ("failed", "needs_operator"), "is not that machine" in job["error"]) == (True, True), job["error"]
    assert [rack.power(each) for each in rack.machines] == ["shut off", "shut off"]
    assert rack.found(machine, tenant.marker) > 0
    trouble.liar.lies.clear()
    rack.site.cli("job", "retry", job["id"])
    rack.done(job["id"])
    is_erased(rack, tenant)

    newcomer = rack.tenant("w-2")
    trouble.liar.lies.append(Lie("", machine.uuid, instead=(machine.uuid, other.uuid)))
    job = rack.rest(rack.order(newcomer))
    assert (job["state"], "is not that machine" in job["error"]) == ("failed", True), job["error"]
    assert [rack.power(each) for each in rack.machines] == ["shut off", "shut off"]
    assert rack.told(machine)["state"] == "available"
    assert machine.disks[0].read_bytes().count(0) == DISK_BYTES


def test_a_machine_that_loses_its_power_while_it_is_written_or_erased_is_begun_anew(trouble: Trouble) -> None:
    rack, tenant = trouble.rack, trouble.rack.tenant("p-1")
    (disk,) = rack.machine.disks
    image = rack.metal.path.read_bytes()

    def begins(content: bytes) -> bool:
        with disk.open("rb") as file:
            return file.read(512)[:440] == content[:440]

    job_id = rack.order(tenant)
    slowly(rack)
    rack.until("the image is being written", lambda: begins(image), pause=0.05)
    virsh("destroy", rack.machine.name)
    assert disk.read_bytes()[: len(image)] != image, "it was only begun"
    rack.done(job_id)
    rack.arrives(tenant)
    tenant.fill(AMID)

    rack.done(suspend(rack, tenant, 1))
    job_id = terminate(rack, tenant, 2)
    slowly(rack)
    rack.until("it is being erased", lambda: begins(bytes(512)), pause=0.05)
    virsh("destroy", rack.machine.name)
    assert rack.found(rack.machine, tenant.marker) > 0, "it was only begun"
    rack.done(job_id)
    is_erased(rack, tenant)


def slowly(rack: Rack) -> None:
    """From its next start until its end, the machine's disk takes its time."""
    rack.until("the machine is on", lambda: rack.power(rack.machine) == "running", pause=0.2)
    done = virsh("blkdeviotune", rack.machine.name, "sda", "--total-bytes-sec", str(SLOW), "--live")
    assert done.returncode == 0, done.stderr


def test_what_a_bmc_loses_or_fails_at_is_asked_for_again(trouble: Trouble) -> None:
    """The image does not get into its drive, it fails with 500, does not answer in time, keeps the image, ignores the reset."""
    rack, tenant = trouble.rack, trouble.rack.tenant("l-1")
    lost, failing = Lie("POST", INSERT, swallow=True, times=1), Lie("PATCH", SYSTEM, status=500, times=1)
    kept, ignored = Lie("POST", EJECT, swallow=True, times=1), Lie("POST", RESET, swallow=True, times=1)
    trouble.liar.lies += [lost, failing]
    job_id = rack.order(tenant)
    trouble.outwaited(lost)
    rack.until("it failed once", lambda: failing.times == 0)
    rack.until("the image is up", lambda: tasks_done(rack, job_id) != [])
    trouble.liar.lies += [kept, ignored]
    trouble.outwaited(ignored)
    rack.done(job_id)
    rack.arrives(tenant)
    silent = Lie("GET", SYSTEM, stall=70.0, status=504, times=1)
    trouble.liar.lies.append(silent)
    rack.done(suspend(rack, tenant, 1))
    rack.done(terminate(rack, tenant, 2))
    is_erased(rack, tenant)


def test_a_bmc_that_lies_about_the_power_is_not_believed(trouble: Trouble) -> None:
    rack, tenant = trouble.rack, trouble.rack.tenant("o-1")
    rack.moves_in(tenant)

    # Off, it says; and the tenant's system answers.
    trouble.liar.lies.append(Lie("GET", SYSTEM, rewrite=lambda told: told | {"PowerState": "Off"}))
    job = rack.rest(suspend(rack, tenant, 1))
    assert (job["state"], "suspended, not proven" in job["error"]) == ("needs_operator", True), job["error"]
    assert tenant.run("hostname") != ""
    trouble.liar.lies.clear()
    rack.site.cli("job", "retry", job["id"])
    rack.done(job["id"])
    assert rack.power(rack.machine) == "shut off"
    rack.done(pay(rack, tenant))

    # On, it says, whatever is done.
    trouble.liar.lies.append(Lie("GET", SYSTEM, rewrite=lambda told: told | {"PowerState": "On"}))
    job = trouble.lost_patience(suspend(rack, tenant, 2), each=700)
    assert (job["state"], "turning the machine off" in job["error"]) == ("failed", True), job["error"]
    trouble.liar.lies.clear()
    rack.site.cli("job", "retry", job["id"])
    rack.done(job["id"])
    assert rack.power(rack.machine) == "shut off"

    # It fails at each call: nothing is erased, and it is said why.
    tenant_left = rack.found(rack.machine, tenant.service.encode())
    trouble.liar.lies.append(Lie("", "", status=500))
    job = trouble.lost_patience(terminate(rack, tenant, 3), each=10)
    assert (job["state"], "500" in job["error"]) == ("failed", True), job["error"]
    assert rack.found(rack.machine, tenant.service.encode()) == tenant_left > 0
    trouble.liar.lies.clear()
    rack.site.cli("job", "retry", job["id"])
    rack.done(job["id"])
    is_erased(rack, tenant)


def test_a_bmc_that_boots_the_disk_instead_of_the_image_erases_nothing_and_is_asked_again(trouble: Trouble) -> None:
    rack, tenant = trouble.rack, trouble.rack.tenant("b-1")
    rack.moves_in(tenant)
    tenant.fill(AMID)
    rack.done(suspend(rack, tenant, 1))

    def once_from_cd(told: dict[str, Any]) -> dict[str, Any]:
        return told | {"Boot": told["Boot"] | {"BootSourceOverrideTarget": "Cd", "BootSourceOverrideEnabled": "Once"}}

    trouble.liar.lies += [Lie("PATCH", SYSTEM, swallow=True), Lie("GET", SYSTEM, rewrite=once_from_cd)]
    job_id = terminate(rack, tenant, 2)
    rack.until("the tenant's own system is up instead", lambda: tenant.run("hostname", seconds=3) != "")
    trouble.liar.lies.clear()
    rack.board.hurry(1000)
    rack.done(job_id)
    is_erased(rack, tenant)
