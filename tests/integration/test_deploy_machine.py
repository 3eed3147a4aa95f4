"""The deploy image on a machine of the lab: booted by its BMC from the medium that the desk serves, to the raw disk behind it."""

from __future__ import annotations

import hashlib
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any, cast

import pytest

from orchestrator.domain.errors import TransientDriverError
from orchestrator.drivers.redfish import RedfishBmc
from orchestrator.ports.bmc import BootFrom
from orchestrator.ports.deployment import Deployment, Expected, Network, Task
from tests.deploy_machine import Stand, serving
from tests.lab import bmc as lab_bmc
from tests.lab import deploy
from tests.lab.bmc import Emulator, Machine, connection
from tests.lab.environment import BRIDGE_V4, Lab
from tests.lab.templates import Installed
from tests.store_files import fresh_database

MACHINE_BYTES = 64 << 20
MARKER = b"the former tenant wrote this; "
NUMBERS = count(11)
LONG, BOOT = 120.0, 280.0
# A machine boots twice in one of them, under emulation.
pytestmark = pytest.mark.timeout(600)
NETWORK = Network(address="10.77.0.60/24")
OFF = Task(key="off", kind="finish", arguments={"power": "off"})


@pytest.fixture
def desk(lab: Lab, deploy_image: Path, tmp_path: Path) -> Iterator[Stand]:
    """On the bridge, where machine and BMC reach it."""
    db = fresh_database(tmp_path)
    state, images = tmp_path / "state", tmp_path / "images"
    (state / "keys").mkdir(parents=True, mode=0o700)
    images.mkdir()
    with serving(state, db, iso=deploy_image, images=images, host=BRIDGE_V4.partition("/")[0]) as made:
        yield made
    db.close()


@pytest.fixture
def machine(lab: Lab) -> Iterator[Machine]:
    with lab_bmc.machine(lab, next(NUMBERS), size=MACHINE_BYTES) as made:
        yield made


def start(desk: Stand, emulator: Emulator, machine: Machine, *tasks: Task) -> RedfishBmc:
    """Open a deployment for the tasks and boot the machine from its medium, once."""
    expected = Expected(uuid=machine.uuid, serials=machine.serials)
    medium = desk.book.open(machine.name, job_id="j", expected=expected, network=NETWORK)
    for task in tasks:
        desk.book.give(machine.name, task, job_id="j")
    bmc = RedfishBmc(connection(emulator, machine))
    bmc.turn_off(deadline=LONG)
    bmc.insert_media(medium, deadline=LONG)
    bmc.boot_once(BootFrom.CD, deadline=LONG)
    bmc.turn_on(deadline=LONG)
    return bmc


def until(desk: Stand, machine: Machine, holds: Callable[[Deployment], bool]) -> Deployment:
    end = time.monotonic() + BOOT
    while True:
        found = desk.book.deployment(machine.name, job_id="j")
        assert found is not None
        if holds(found):
            return found
        console = machine.console.read_text(errors="replace")[-2000:] if machine.console.exists() else ""
        assert time.monotonic() < end, f"{found}\n{console}"
        time.sleep(0.5)


def rests(found: Deployment) -> bool:
    return all(task.state in ("done", "failed") for task in found.tasks)


def test_a_former_tenants_disk_is_erased_and_written_and_the_machine_ends(
    desk: Stand, bmc_emulator: Emulator, machine: Machine, tiny_template: Installed
) -> None:
    disk, serial = machine.disks[0], machine.serials[0]
    disk.write_bytes(MARKER * (MACHINE_BYTES // len(MARKER)) + bytes(MACHINE_BYTES % len(MARKER)))
    raw = desk.images / "tiny.raw"
    subprocess.run(["qemu-img", "convert", "-O", "raw", str(tiny_template.path), str(raw)], check=True, timeout=120)
    image = raw.read_bytes()
    arguments = {"image": raw.name, "sha256": hashlib.sha256(image).hexdigest(), "bytes": len(image), "serial": serial}
    bmc = start(
        desk,
        bmc_emulator,
        machine,
        Task(key="look", kind="inspect", arguments={}),
        Task(key="erase", kind="erase", arguments={"disks": [serial]}),
        Task(key="write", kind="write", arguments=arguments),
        OFF,
    )
    found = until(desk, machine, rests)
    assert [task.state for task in found.tasks] == ["done"] * 4, found
    assert found.inspection is not None
    assert (found.inspection.uuid, found.inspection.firmware) == (machine.uuid, "bios")
    assert [(each.serial, each.transport) for each in found.inspection.disks] == [(serial, "ata")]
    assert [each.mac for each in found.inspection.nics] == [machine.mac]
    end = time.monotonic() + 60
    while bmc.facts(deadline=LONG).power != "off":
        assert time.monotonic() < end
        time.sleep(0.5)
    content = disk.read_bytes()
    assert content[: len(image)] == image
    assert MARKER not in content
    bmc.close()


@pytest.mark.rare
def test_after_a_power_cut_in_the_middle_of_a_write_a_new_deployment_begins_anew(
    desk: Stand, bmc_emulator: Emulator, machine: Machine
) -> None:
    image = os.urandom(MACHINE_BYTES - (1 << 20))
    told = desk.put_image("large.raw", image)
    write = Task(key="write", kind="write", arguments={**told, "serial": machine.serials[0]})
    bmc = start(desk, bmc_emulator, machine, write, OFF)
    found = until(desk, machine, lambda found: found.tasks[0].fraction > 0.05)
    assert found.tasks[0].state == "running"
    bmc.turn_off(deadline=LONG)
    assert machine.disks[0].read_bytes()[: len(image)] != image
    bmc.close()
    bmc = start(desk, bmc_emulator, machine)
    found = until(desk, machine, rests)
    assert [task.state for task in found.tasks] == ["done", "done"], found
    assert machine.disks[0].read_bytes()[: len(image)] == image
    bmc.turn_off(deadline=LONG)
    bmc.close()


@pytest.mark.rare
def test_it_boots_on_uefi_too(lab: Lab, desk: Stand, bmc_emulator: Emulator) -> None:
    with lab_bmc.machine(lab, next(NUMBERS), size=MACHINE_BYTES, uefi=True) as machine:
        bmc = start(desk, bmc_emulator, machine, Task(key="look", kind="inspect", arguments={}), OFF)
        found = until(desk, machine, rests)
        assert found.inspection is not None
        assert (found.inspection.uuid, found.inspection.firmware) == (machine.uuid, "uefi")
        bmc.turn_off(deadline=LONG)
        bmc.close()


@pytest.mark.rare
def test_an_nvme_drive_is_erased_by_its_own_command(lab: Lab, desk: Stand, bmc_emulator: Emulator) -> None:
    with lab_bmc.machine(lab, next(NUMBERS), size=MACHINE_BYTES, nvme=True) as machine:
        (disk,), (serial,) = machine.disks, machine.serials
        disk.write_bytes(MARKER * (MACHINE_BYTES // len(MARKER)) + bytes(MACHINE_BYTES % len(MARKER)))
        erase = Task(key="erase", kind="erase", arguments={"disks": [serial]})
        bmc = start(desk, bmc_emulator, machine, Task(key="look", kind="inspect", arguments={}), erase, OFF)
        found = until(desk, machine, rests)
        assert found.inspection is not None
        assert [(each.serial, each.transport) for each in found.inspection.disks] == [(serial, "nvme")]
        (row,) = cast("list[dict[str, Any]]", found.tasks[1].result["drives"])
        assert (row["method"], row["tried"], row["problem"]) == ("nvme-format", [], "")
        assert MARKER not in disk.read_bytes()
        with suppress(TransientDriverError):  # it may switch itself off in this very moment
            bmc.turn_off(deadline=LONG)
        bmc.close()


def test_built_again_of_the_same_it_has_the_same_bytes_and_is_small_enough(lab: Lab, deploy_image: Path, tmp_path: Path) -> None:
    again = deploy.image(lab.images, tmp_path / "again.iso")
    assert again.read_bytes() == deploy_image.read_bytes()
    assert again.with_name("again.iso.json").read_text() == deploy_image.with_name(f"{deploy_image.name}.json").read_text()
    assert again.stat().st_size < 64 << 20
