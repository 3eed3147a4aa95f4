"""A dedicated machine from its enrolment to its wipe, through the product's own commands and billing's webhooks: guests
of the lab behind a Redfish BMC, installed over the network, logged in to by SSH, erased, and their raw disks searched.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e import rack as racks
from tests.e2e.rack import DESK, DISK_BYTES, MARK_BYTES, Rack, Tenant, host_reads, verified
from tests.e2e.thief import thief
from tests.e2e.traces import virsh
from tests.fault.crashing import WAIT, Order
from tests.lab.bmc import Emulator
from tests.lab.environment import Lab
from tests.lab.metal import Metal
from tests.lab.peers import listening

pytestmark = pytest.mark.timeout(1500)
BYSTANDER = b"what another tenant has on another machine\n"
AMID, END = 64 << 20, 150 << 20


@pytest.fixture
def rack(
    lab: Lab, deploy_image: Path, bmc_emulator: Emulator, metal_image: Metal, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Rack]:
    directory = tmp_path_factory.mktemp("rack")
    with racks.standing(lab, directory, emulator=bmc_emulator, iso=deploy_image, metal=metal_image, numbers=(31, 32)) as standing:
        yield standing


def test_a_machine_from_its_enrolment_to_its_wipe(rack: Rack, whole_matrix: bool) -> None:
    """One test: a machine's boots are what it takes. In the whole matrix it is installed anew in between, and once more for its
    second tenant."""
    machine, bystander = rack.machines
    beside = bystander.disks[0]
    beside.write_bytes((BYSTANDER * (DISK_BYTES // len(BYSTANDER) + 1))[:DISK_BYTES])
    untouched = hashlib.sha256(beside.read_bytes()).hexdigest()
    first, second = rack.tenant("d-1"), rack.tenant("d-2")
    with listening(machine.mac) as peers:
        rack.enrol(machine)
        rack.available(machine)
    assert peers.heard == {"10.77.0.231": {("tcp", "10.77.0.1", 8444)}}, "the deploy image talks to the desk alone"
    _installed_with_a_thief_looking_on(rack, first)
    _the_tenant_has_the_machine_to_himself(rack, first)
    _suspended_it_is_off_and_stays_off(rack, first)
    rack.done(rack.event("invoice.paid", "d-1", invoice_id="i-1", paid_until="2099-01-01T00:00:00Z"))
    assert first.run("hostname") == "d-1.example.com"
    assert rack.found(machine, first.marker) > 0, "a suspension touches nothing"
    if whole_matrix:
        _installed_anew_nothing_is_left_on_its_disks(rack, first)
    _terminated_it_is_erased_and_free(rack, first)
    if whole_matrix:
        rack.moves_in(second)
        assert second.address
        _nothing_of_the_first_is_there(rack, first, second)
        assert first.owner.login(second.address, "hostname", seconds=8) == "", "his key opens nothing any more"
    assert hashlib.sha256(beside.read_bytes()).hexdigest() == untouched
    assert rack.power(bystander) == "shut off"


def _installed_with_a_thief_looking_on(rack: Rack, tenant: Tenant) -> None:
    """He has read the medium; by then the machine has claimed what its token is good for, once."""
    rack.board.arm(tenant.service, Order("machine-provision/write/before", WAIT))
    job = rack.order(tenant)
    rack.reaches(tenant.service)
    stealing = thief(rack.emulator, rack.machine, f"https://{DESK}")
    assert [stealing.claims().status_code, stealing.claims(uuid=rack.machines[1].uuid).status_code] == [401, 401]
    assert "claimed before" in stealing.claims().text
    assert [stealing.asks_for_a_task().status_code, stealing.fetches(rack.metal.path.name).status_code] == [401, 401]
    rack.board.let_go(tenant.service)
    rack.done(job)
    assert [stealing.claims().status_code, stealing.reads_the_medium().status_code] == [401, 404], "it is over"
    assert rack.site.cli("audit", "list").count("deployment refused") == 4
    rack.arrives(tenant)


def _the_tenant_has_the_machine_to_himself(rack: Rack, tenant: Tenant) -> None:
    assert tenant.run("blockdev --getsize64 /dev/sda") == str(DISK_BYTES)
    tenant.fill(AMID, END)
    assert rack.found(rack.machine, tenant.marker) > 2 * MARK_BYTES // len(tenant.marker) - 10


def _suspended_it_is_off_and_stays_off(rack: Rack, tenant: Tenant) -> None:
    machine, service = rack.machine, tenant.service
    rack.done(rack.event("service.suspend", service, version=1, reason="nonpayment"))
    assert rack.power(machine) == "shut off"
    virsh("start", machine.name)
    assert rack.power(machine) == "running"
    rack.until("it is switched off again", lambda: rack.power(machine) == "shut off", seconds=180)
    rack.until("it is told", lambda: "machine kept off" in rack.site.cli("audit", "list", "--service", service), seconds=30)
    assert tenant.run("hostname", seconds=3) == ""


def _installed_anew_nothing_is_left_on_its_disks(rack: Rack, tenant: Tenant) -> None:
    """Every disk is erased first; then he gets in by the same key, at the same address."""
    words = ("--all-disks", "--reason", "he asked for it", "--yes-i-mean", tenant.service)
    told = rack.site.ask("service", "reinstall", tenant.service, *words)
    rack.done(told["job_id"])
    assert tenant.run("hostname") == f"{tenant.service}.example.com"
    assert rack.found(rack.machine, tenant.marker) == 0
    tenant.fill(AMID, END)


def _terminated_it_is_erased_and_free(rack: Rack, tenant: Tenant) -> None:
    machine, service = rack.machine, tenant.service
    rack.done(rack.event("service.suspend", service, version=2, reason="nonpayment"))
    rack.done(rack.event("service.terminate", service, version=3, reason="cancelled"))
    volumes = verified(rack, service)
    assert [(volume["name"], volume["method"], volume["verified"]) for volume in volumes] == [
        (machine.serials[0], "overwrite", True)
    ]
    assert (rack.told(machine)["state"], rack.power(machine)) == ("available", "shut off")
    assert machine.disks[0].read_bytes().count(0) == DISK_BYTES
    assert service not in rack.site.cli("ip", "list")


def _nothing_of_the_first_is_there(rack: Rack, first: Tenant, second: Tenant) -> None:
    assert rack.found(rack.machine, first.marker) == 0
    assert first.owner.key.with_suffix(".pub").read_bytes().split()[1] not in rack.machine.disks[0].read_bytes()
    assert host_reads(rack.machine.disks[0], AMID, MARK_BYTES).count(0) == MARK_BYTES
    assert second.run(f"dd if=/dev/sda bs=1M skip={AMID >> 20} count=24 2>/dev/null | tr -d '\\000' | wc -c") == "0"
