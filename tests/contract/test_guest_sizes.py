"""The contract of GuestSizes, on the simulated node and on libvirt: what a guest has at once, and what after a start."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest

from orchestrator.domain.errors import NotFound, WrongState
from orchestrator.domain.sizes import size_words
from orchestrator.ports.guest_sizes import GuestSize
from orchestrator.ports.hypervisor import GuestDefinition, GuestDisk, GuestFacts, Power, PowerAction
from orchestrator.ports.volumes import VolumeSpec
from tests.contract.nodes import LONG, MIB, NodeUnderTest, definition_of

DISK = 128 * MIB
# As ``definition_of`` and the disk below have it; with room for a third vCPU.
BEFORE = GuestSize(vcpus=1, memory_bytes=192 * MIB, cpu_percent=80, disk_bytes_per_second=50 * MIB, disk_iops=400, vcpus_most=3)
LARGER = GuestSize(vcpus=2, memory_bytes=256 * MIB, cpu_percent=90, disk_bytes_per_second=60 * MIB, disk_iops=0, vcpus_most=4)
SMALLER = GuestSize(vcpus=1, memory_bytes=160 * MIB, cpu_percent=0, disk_bytes_per_second=0, disk_iops=100)


@dataclass
class Subject:
    node: NodeUnderTest
    definition: GuestDefinition

    @property
    def name(self) -> str:
        return self.definition.name

    def resize(self, size: GuestSize) -> GuestFacts:
        told = self.node.sizes.resize(self.name, size, deadline=LONG)
        assert self.node.hypervisor.guest(self.name, deadline=LONG) == told
        return told

    def power(self, action: PowerAction) -> GuestFacts:
        return self.node.hypervisor.power(self.name, action, deadline=LONG)


@pytest.fixture(params=[pytest.param("plain", marks=pytest.mark.rare), "encrypted"])
def guest(node: NodeUnderTest, request: pytest.FixtureRequest) -> Iterator[Subject]:
    spec = VolumeSpec(
        name="orch.s7.root.job-1.qcow2", capacity_bytes=DISK, template=node.boot.volume, encrypted=request.param == "encrypted"
    )
    made = node.volumes.create(spec, deadline=LONG)
    disk = GuestDisk(
        path=made.path,
        format="qcow2",
        capacity_bytes=DISK,
        secret_uuid=made.secret_uuid,
        bytes_per_second=BEFORE.disk_bytes_per_second,
        iops=BEFORE.disk_iops,
    )
    subject = Subject(node, replace(definition_of(node, 7, disk), vcpus_most=BEFORE.vcpus_most))
    node.hypervisor.define(subject.definition, deadline=LONG)
    yield subject
    subject.power(PowerAction.DESTROY)
    node.hypervisor.undefine(subject.name, deadline=LONG)
    node.volumes.delete(spec.name, deadline=LONG)


def limits(facts: GuestFacts) -> tuple[int, int, int]:
    return (facts.cpu_percent, facts.disks[0].bytes_per_second, facts.disks[0].iops)


def sizes(facts: GuestFacts) -> tuple[int, int, int, int]:
    """vCPUs and MiB of memory: now, and after its next start."""
    return (facts.vcpus, facts.memory_bytes // MIB, facts.vcpus_at_start, facts.memory_at_start // MIB)


def test_a_guest_that_is_off_is_defined_larger_and_smaller_and_starts_so(guest: Subject) -> None:
    for _ in range(2):
        facts = guest.resize(LARGER)
        assert (sizes(facts), limits(facts), facts.vcpus_most) == ((2, 256, 2, 256), (90, 60 * MIB, 0), 4)
    facts = guest.power(PowerAction.START)
    assert (sizes(facts), facts.needs_restart) == ((2, 256, 2, 256), False)
    guest.power(PowerAction.DESTROY)
    facts = guest.resize(SMALLER)
    assert (sizes(facts), limits(facts), facts.vcpus_most) == ((1, 160, 1, 160), (0, 0, 100), 1)
    assert sizes(guest.resize(BEFORE)) == (1, 192, 1, 192)


def test_a_guest_that_runs_gets_vcpus_and_limits_at_once_and_memory_at_its_next_start(guest: Subject) -> None:
    guest.power(PowerAction.START)
    facts = guest.resize(LARGER)
    assert (facts.power, sizes(facts), limits(facts)) == (Power.RUNNING, (2, 192, 2, 256), (90, 60 * MIB, 0))
    assert facts.needs_restart
    assert guest.resize(LARGER) == facts
    assert guest.power(PowerAction.RESET).needs_restart, "the same QEMU goes on"
    guest.power(PowerAction.DESTROY)
    facts = guest.power(PowerAction.START)
    assert (sizes(facts), limits(facts), facts.needs_restart) == ((2, 256, 2, 256), (90, 60 * MIB, 0), False)


def test_more_vcpus_than_it_was_started_with_room_for_wait_for_its_next_start(guest: Subject) -> None:
    guest.power(PowerAction.START)
    facts = guest.resize(replace(BEFORE, vcpus=4, vcpus_most=0))
    assert (sizes(facts), facts.needs_restart) == ((1, 192, 4, 192), True)
    assert not guest.resize(BEFORE).needs_restart


@pytest.mark.parametrize("runs", [False, True])
def test_a_disk_grows_whether_the_guest_runs_or_not_and_never_shrinks(guest: Subject, runs: bool) -> None:
    if runs:
        guest.power(PowerAction.START)
    for _ in range(2):
        assert guest.node.sizes.grow(guest.name, 2 * DISK, deadline=LONG).disks[0].capacity_bytes == 2 * DISK
    with pytest.raises(WrongState, match=f"{size_words(2 * DISK)} already"):
        guest.node.sizes.grow(guest.name, DISK, deadline=LONG)
    volume = guest.node.volumes.volume("orch.s7.root.job-1.qcow2", deadline=LONG)
    assert volume is not None
    assert volume.capacity_bytes == 2 * DISK
    guest.power(PowerAction.DESTROY)
    facts = guest.power(PowerAction.START)  # with its key, where it has one
    assert (facts.power, facts.disks[0].capacity_bytes) == (Power.RUNNING, 2 * DISK)


def test_an_absent_guest_has_no_size(node: NodeUnderTest) -> None:
    with pytest.raises(NotFound):
        node.sizes.resize("orch.absent", BEFORE, deadline=LONG)
    with pytest.raises(NotFound):
        node.sizes.grow("orch.absent", DISK, deadline=LONG)
