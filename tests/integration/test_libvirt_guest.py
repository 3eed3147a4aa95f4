"""One guest of the libvirt driver, booted with an encrypted disk: its limits as kernel and QEMU enforce them, and its life."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.domain.errors import TransientDriverError
from orchestrator.ports.hypervisor import Power, PowerAction
from tests.contract.nodes import LONG, MIB, LibvirtNode, sh
from tests.integration.libvirt_guests import Running, define_guest, monitor, remove_guest, running_guest
from tests.lab import daemons, guests, tiny
from tests.lab.environment import Lab
from tests.lab.templates import Installed

CGROUPS = Path("/sys/fs/cgroup")


@pytest.fixture(scope="module")
def node(lab: Lab, tiny_template: Installed) -> Iterator[LibvirtNode]:
    made = LibvirtNode(lab, tiny_template)
    yield made
    made.connection.close()


@pytest.fixture(scope="module")
def guest(node: LibvirtNode) -> Iterator[Running]:
    with running_guest(node, 20, encrypted=True) as running:
        yield running


def test_kvm_is_used_only_where_the_processor_has_it(guest: Running) -> None:
    flags = set(Path("/proc/cpuinfo").read_text().split())
    accelerated = bool(flags & {"vmx", "svm"}) and Path("/dev/kvm").exists()
    assert guest.node.hypervisor.node_facts(deadline=LONG).accelerated is accelerated
    kind = "kvm" if accelerated else "qemu"
    assert re.search(rf"<domain type='{kind}'", sh("virsh", "dumpxml", guest.definition.name))


def test_the_facts_of_a_running_guest_are_those_it_was_defined_with(guest: Running) -> None:
    facts = guest.node.hypervisor.guest(guest.definition.name, deadline=LONG)
    assert facts is not None
    wanted = guest.definition
    assert (facts.power, facts.vcpus, facts.memory_bytes) == (Power.RUNNING, wanted.vcpus, wanted.memory_bytes)
    assert (facts.cpu_percent, facts.network_bytes_per_second) == (wanted.cpu_percent, wanted.network_bytes_per_second)
    assert facts.disks == wanted.disks
    assert facts.mark == wanted.mark
    assert facts.addresses == ("10.77.0.30", "fd77::1e")


def test_the_guest_sees_what_it_was_given(guest: Running) -> None:
    seen = tiny.facts(guest.address)
    assert seen["processors"] == "1"
    assert int(seen["disk_bytes"]) == 128 * MIB
    assert seen["hostname"] == "s20"


def test_the_kernel_limits_each_virtual_processor(guest: Running) -> None:
    assert quota_of_vcpu(guest.definition.name) == (80_000, 100_000)


def test_qemu_limits_the_disk(guest: Running) -> None:
    limits = [
        (device["inserted"]["bps"], device["inserted"]["iops"])
        for device in monitor(guest.definition.name, "query-block")
        if guest.definition.disks[0].path in str(device["inserted"])
    ]
    assert limits == [(20 * MIB, 300)]


def test_the_kernel_limits_the_network_both_ways(guest: Running) -> None:
    classes = sh("tc", "class", "show", "dev", guest.tap)
    assert "rate 100Mbit" in classes
    assert rate_from_guest(guest.tap) == 12_500_000


def test_a_limit_of_the_network_is_the_kernels_at_once_and_so_is_its_end(guest: Running) -> None:
    hypervisor, name = guest.node.hypervisor, guest.definition.name
    for rate, words in ((125_000, "rate 1Mbit"), (12_500_000, "rate 100Mbit")):
        hypervisor.set_network_rate(name, rate, deadline=LONG)
        assert words in sh("tc", "class", "show", "dev", guest.tap)
        assert rate_from_guest(guest.tap) == rate
    assert guests.banner(guest.address)


def test_the_disk_is_encrypted_with_a_key_that_the_node_does_not_give_out(guest: Running) -> None:
    disk = guest.definition.disks[0]
    marker = b"clear text that must not be found on the medium"
    tiny.plant(guest.address, 4 * MIB, marker)
    assert tiny.show(guest.address, 4 * MIB, len(marker)) == marker
    assert marker not in Path(disk.path).read_bytes()
    information = sh("qemu-img", "info", "-U", disk.path)
    assert "format: luks" in information
    with pytest.raises(Exception, match="returned non-zero"):
        sh("virsh", "secret-get-value", disk.secret_uuid)


def test_autostart_is_libvirts_own_flag(guest: Running) -> None:
    link = Path("/etc/libvirt/qemu/autostart") / f"{guest.definition.name}.xml"
    for wanted in (True, False):
        guest.node.hypervisor.mark(guest.definition.name, guest.definition.mark, autostart=wanted, deadline=LONG)
        assert link.is_symlink() is wanted


def test_a_hold_on_a_running_guest_survives_a_restart_of_libvirtd_and_the_guest_too(guest: Running) -> None:
    held = replace(guest.definition.mark, holds=("nonpayment",))
    guest.node.hypervisor.mark(guest.definition.name, held, autostart=False, deadline=LONG)
    try:
        daemons.kill_libvirtd()
        daemons.start_libvirtd()
        facts = guest.node.hypervisor.guest(guest.definition.name, deadline=LONG)
        assert facts is not None
        assert (facts.power, facts.mark) == (Power.RUNNING, held)
        assert guests.banner(guest.address)
    finally:
        guest.node.hypervisor.mark(guest.definition.name, guest.definition.mark, autostart=False, deadline=LONG)


@pytest.mark.parametrize("action", [PowerAction.REBOOT, PowerAction.RESET])
def test_a_guest_reboots(guest: Running, action: PowerAction) -> None:
    booted = boots(guest)
    guest.node.hypervisor.power(guest.definition.name, action, deadline=LONG)
    daemons.wait_until("the second boot", lambda: boots(guest) > booted, seconds=60)
    daemons.wait_until("its answer", lambda: bool(guests.banner(guest.address)), seconds=60)


def test_a_guest_that_does_not_hear_is_given_up_at_the_deadline_and_still_runs(guest: Running) -> None:
    sh("virsh", "suspend", guest.definition.name)
    try:
        began = time.monotonic()
        with pytest.raises(TransientDriverError):
            guest.node.hypervisor.power(guest.definition.name, PowerAction.SHUTDOWN, deadline=2.0)
        assert time.monotonic() - began < 4.0
    finally:
        facts = guest.node.hypervisor.power(guest.definition.name, PowerAction.START, deadline=LONG)
    assert facts.power is Power.RUNNING


def test_a_saved_guest_is_removed_with_its_memory_image(node: LibvirtNode) -> None:
    definition, volumes = define_guest(node, 21)
    try:
        node.hypervisor.power(definition.name, PowerAction.START, deadline=LONG)
        sh("virsh", "managedsave", definition.name)
        image = Path("/var/lib/libvirt/qemu/save") / f"{definition.name}.save"
        assert image.exists()
        facts = node.hypervisor.guest(definition.name, deadline=LONG)
        assert facts is not None
        assert (facts.power, facts.managed_save) == (Power.STOPPED, True)
        node.hypervisor.undefine(definition.name, deadline=LONG)
        assert not image.exists()
    finally:
        remove_guest(node, definition.name, volumes)


def quota_of_vcpu(name: str) -> tuple[int, int]:
    """Quota and period (µs) of the guest's first virtual processor in the kernel's control groups (versions 1 and 2)."""
    escaped = name.replace(".", "*")
    for directory in CGROUPS.glob(f"**/*{escaped}*/**/vcpu0"):
        if (directory / "cpu.cfs_quota_us").exists():
            return int((directory / "cpu.cfs_quota_us").read_text()), int((directory / "cpu.cfs_period_us").read_text())
        if (directory / "cpu.max").exists():
            quota, period = (directory / "cpu.max").read_text().split()
            return int(quota), int(period)
    raise AssertionError(f"no control group of {name} limits its processors")


def rate_from_guest(tap: str) -> int:
    """Bytes a second that the kernel lets in from the tap: tc's police action, or what stands for it in the lab (recipes/tc)."""
    found = re.search(r"police .* rate (\d+)Mbit", sh("tc", "filter", "show", "dev", tap, "parent", "ffff:"))
    if found:
        return int(found.group(1)) * 125_000
    limit = re.search(r"limit rate over (\d+) (k|m)?bytes/second", sh("nft", "list", "table", "netdev", f"tc-{tap}"))
    assert limit is not None
    return int(limit.group(1)) * {None: 1, "k": 1024, "m": MIB}[limit.group(2)]


def boots(guest: Running) -> int:
    return Path(f"/var/log/libvirt/qemu/{guest.definition.name}.console.log").read_text(errors="replace").count("tiny: ready")
