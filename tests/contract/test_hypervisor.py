"""The contract of Hypervisor, on the simulated node and on libvirt. One tiny guest serves all tests."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest

from orchestrator.domain.errors import AlreadyExists, NotFound, PermanentDriverError, Refused, WrongState
from orchestrator.ports.hypervisor import GuestDefinition, GuestDisk, GuestMark, Power, PowerAction, SignedRecord
from orchestrator.ports.volumes import VolumeSpec
from tests.contract.nodes import LONG, MIB, NodeUnderTest, definition_of

SIZE = 128 * MIB


@dataclass
class Subject:
    """The guest under test; ``definition`` is what it was defined with."""

    node: NodeUnderTest
    definition: GuestDefinition

    @property
    def name(self) -> str:
        return self.definition.name

    def power(self, action: PowerAction) -> Power:
        facts = self.node.hypervisor.power(self.name, action, deadline=LONG)
        read = self.node.hypervisor.guest(self.name, deadline=LONG)
        assert read is not None
        assert read.power is facts.power
        return facts.power


@pytest.fixture(scope="module")
def disk(node: NodeUnderTest) -> Iterator[GuestDisk]:
    spec = VolumeSpec(name="orch.s1.root.job-1.qcow2", capacity_bytes=SIZE, template=node.boot.volume, encrypted=False)
    made = node.volumes.create(spec, deadline=LONG)
    yield GuestDisk(path=made.path, format="qcow2", capacity_bytes=SIZE, bytes_per_second=50 * MIB, iops=400)
    node.volumes.delete(spec.name, deadline=LONG)


@pytest.fixture
def guest(node: NodeUnderTest, disk: GuestDisk) -> Iterator[Subject]:
    """The guest, defined anew and stopped."""
    subject = Subject(node, definition_of(node, 1, disk))
    node.hypervisor.define(subject.definition, deadline=LONG)
    yield subject
    if node.hypervisor.guest(subject.name, deadline=LONG) is not None:
        node.hypervisor.power(subject.name, PowerAction.DESTROY, deadline=LONG)
        node.hypervisor.undefine(subject.name, deadline=LONG)


def test_a_node_tells_what_it_has(node: NodeUnderTest, guest: Subject) -> None:
    facts = node.hypervisor.node_facts(deadline=LONG)
    assert facts.cpus > 0
    assert facts.memory_bytes > 1 << 30
    assert 0 < facts.pool_available_bytes <= facts.pool_capacity_bytes
    assert facts.guests == len(node.hypervisor.guests(deadline=LONG))
    assert facts.hostname
    assert facts.pool_path == node.boot.path.rpartition("/")[0]
    assert facts.libvirt_version.count(".") == 2


def test_an_absent_guest_is_none_and_cannot_be_acted_on(node: NodeUnderTest) -> None:
    assert node.hypervisor.guest("orch.absent", deadline=LONG) is None
    node.hypervisor.undefine("orch.absent", deadline=LONG)
    for action in PowerAction:
        with pytest.raises(NotFound):
            node.hypervisor.power("orch.absent", action, deadline=LONG)
    with pytest.raises(NotFound):
        node.hypervisor.mark("orch.absent", GuestMark(service_id="s", job_id="j"), autostart=True, deadline=LONG)
    with pytest.raises(NotFound):
        node.hypervisor.agent_ping("orch.absent", deadline=LONG)
    with pytest.raises(NotFound):
        node.hypervisor.set_network_rate("orch.absent", 125_000, deadline=LONG)
    with pytest.raises(NotFound):
        node.hypervisor.set_mail("orch.absent", out=True, deadline=LONG)


def test_a_defined_guest_is_what_was_asked_for(guest: Subject) -> None:
    wanted, facts = guest.definition, guest.node.hypervisor.guest(guest.name, deadline=LONG)
    assert facts is not None
    assert (facts.name, facts.uuid, facts.mark) == (wanted.name, wanted.uuid, wanted.mark)
    assert (facts.power, facts.autostart, facts.managed_save) == (Power.STOPPED, False, False)
    assert (facts.vcpus, facts.memory_bytes, facts.cpu_percent) == (1, 192 * MIB, 80)
    assert facts.disks == wanted.disks
    assert (facts.mac, facts.bridge) == (wanted.lease.mac, wanted.bridge)
    assert facts.addresses == ("10.77.0.11", "fd77::b")
    assert (facts.filter_name, facts.mail_out, facts.mail_out_at_start) == ("orch-guard-no-mail", False, False)
    assert facts.network_bytes_per_second == 12_500_000
    assert facts in guest.node.hypervisor.guests(deadline=LONG)


def test_a_guest_without_limits_has_none(guest: Subject) -> None:
    bare = replace(
        guest.definition,
        cpu_percent=0,
        network_bytes_per_second=0,
        disks=tuple(replace(disk, bytes_per_second=0, iops=0) for disk in guest.definition.disks),
    )
    facts = guest.node.hypervisor.define(bare, deadline=LONG)
    assert (facts.cpu_percent, facts.network_bytes_per_second) == (0, 0)
    assert [(disk.bytes_per_second, disk.iops) for disk in facts.disks] == [(0, 0)]


def test_defining_again_changes_the_guest_and_keeps_its_autostart(guest: Subject) -> None:
    guest.node.hypervisor.mark(guest.name, guest.definition.mark, autostart=True, deadline=LONG)
    facts = guest.node.hypervisor.define(replace(guest.definition, cpu_percent=30, vcpus=2), deadline=LONG)
    assert (facts.cpu_percent, facts.vcpus, facts.autostart) == (30, 2, True)


def test_anothers_guest_is_not_taken_over(guest: Subject) -> None:
    hypervisor = guest.node.hypervisor
    before = hypervisor.guest(guest.name, deadline=LONG)
    other = replace(guest.definition, mark=GuestMark(service_id="another", job_id="job-9"))
    for intruder in (
        other,
        replace(guest.definition, uuid="7d0a5f3f-0000-4000-8000-00000000ffff"),
        replace(guest.definition, name="orch.s99"),
    ):
        with pytest.raises(AlreadyExists):
            hypervisor.define(intruder, deadline=LONG)
    assert hypervisor.guest(guest.name, deadline=LONG) == before


def test_a_strangers_guest_is_listed_without_mark_and_never_taken_over(node: NodeUnderTest, disk: GuestDisk) -> None:
    wanted = definition_of(node, 2, disk)
    node.stranger(wanted.name)
    try:
        with pytest.raises(AlreadyExists):
            node.hypervisor.define(wanted, deadline=LONG)
        assert [facts.mark for facts in node.hypervisor.guests(deadline=LONG) if facts.name == wanted.name] == [None]
    finally:
        node.remove_stranger(wanted.name)


def test_a_mark_is_replaced_whole_and_autostart_follows(guest: Subject) -> None:
    full = GuestMark(
        service_id="s1",
        job_id="job-2",
        spec_digest="d2",
        spec_signature="c2ln",
        holds=("nonpayment", "abuse"),
        power_before=Power.RUNNING,
        autostart_before=False,
        tokens=("t1", "t2"),
    )
    facts = guest.node.hypervisor.mark(guest.name, full, autostart=True, deadline=LONG)
    assert (facts.mark, facts.autostart) == (full, True)
    bare = GuestMark(service_id="s1", job_id="job-3")
    facts = guest.node.hypervisor.mark(guest.name, bare, autostart=False, deadline=LONG)
    assert (facts.mark, facts.autostart) == (bare, False)


def test_a_record_stands_beside_the_mark_and_neither_overwrites_the_other(guest: Subject) -> None:
    hypervisor, first = guest.node.hypervisor, SignedRecord(text='{"client":"Łódź <&> \\u0001"}', signature="k:sig==")
    hypervisor.keep_record(guest.name, first, deadline=LONG)
    marked = hypervisor.mark(guest.name, replace(guest.definition.mark, tokens=("t",)), autostart=True, deadline=LONG)
    assert (marked.record, marked.mark) == (first, replace(guest.definition.mark, tokens=("t",)))
    assert guest.power(PowerAction.START) is Power.RUNNING
    second = SignedRecord(text="{}", signature="k:other==")
    hypervisor.keep_record(guest.name, second, deadline=LONG)
    read = hypervisor.guest(guest.name, deadline=LONG)
    assert read is not None
    assert (read.record, read.mark, read.autostart) == (second, marked.mark, True)
    assert guest.power(PowerAction.DESTROY) is Power.STOPPED
    again = hypervisor.define(replace(guest.definition, vcpus=2), deadline=LONG)
    assert (again.record, again.vcpus) == (second, 2)
    with pytest.raises(NotFound):
        hypervisor.keep_record("orch.nobody", first, deadline=LONG)


def test_a_held_guest_does_not_start_and_says_why(guest: Subject) -> None:
    held = replace(guest.definition.mark, holds=("nonpayment",))
    guest.node.hypervisor.mark(guest.name, held, autostart=False, deadline=LONG)
    with pytest.raises(Refused, match="nonpayment"):
        guest.power(PowerAction.START)
    facts = guest.node.hypervisor.guest(guest.name, deadline=LONG)
    assert facts is not None
    assert facts.power is Power.STOPPED
    guest.node.hypervisor.mark(guest.name, guest.definition.mark, autostart=False, deadline=LONG)
    assert guest.power(PowerAction.START) is Power.RUNNING


def test_a_stopped_guest_stays_stopped_and_cannot_be_restarted(guest: Subject) -> None:
    assert guest.power(PowerAction.SHUTDOWN) is Power.STOPPED
    assert guest.power(PowerAction.DESTROY) is Power.STOPPED
    for action in (PowerAction.REBOOT, PowerAction.RESET):
        with pytest.raises(WrongState):
            guest.power(action)
    assert guest.node.hypervisor.agent_ping(guest.name, deadline=LONG) is False


def test_a_running_guest_is_marked_alive_and_can_be_stopped_but_not_removed(guest: Subject) -> None:
    hypervisor = guest.node.hypervisor
    assert guest.power(PowerAction.START) is Power.RUNNING
    assert guest.power(PowerAction.START) is Power.RUNNING
    with pytest.raises(WrongState):
        hypervisor.undefine(guest.name, deadline=LONG)
    held = replace(guest.definition.mark, holds=("abuse",), tokens=("t1",))
    facts = hypervisor.mark(guest.name, held, autostart=True, deadline=LONG)
    assert (facts.power, facts.mark, facts.autostart) == (Power.RUNNING, held, True)
    assert facts.disks == guest.definition.disks
    assert guest.power(PowerAction.RESET) is Power.RUNNING
    assert guest.power(PowerAction.DESTROY) is Power.STOPPED
    facts_after = hypervisor.guest(guest.name, deadline=LONG)
    assert facts_after is not None
    assert (facts_after.mark, facts_after.autostart) == (held, True)


def test_a_guest_shuts_down_when_it_is_asked(guest: Subject) -> None:
    assert guest.power(PowerAction.START) is Power.RUNNING
    assert guest.power(PowerAction.SHUTDOWN) is Power.STOPPED


def test_a_guest_whose_disk_is_gone_does_not_start(guest: Subject) -> None:
    gone = replace(guest.definition.disks[0], path=guest.definition.disks[0].path + ".gone")
    guest.node.hypervisor.define(replace(guest.definition, disks=(gone,)), deadline=LONG)
    with pytest.raises(PermanentDriverError, match="gone"):
        guest.power(PowerAction.START)


def test_a_removed_guest_is_absent_and_removing_may_be_repeated(guest: Subject) -> None:
    for _ in range(2):
        guest.node.hypervisor.undefine(guest.name, deadline=LONG)
        assert guest.node.hypervisor.guest(guest.name, deadline=LONG) is None


# -- limits of the network -----------------------------------------------------------------------------------------------------


def limited(mark: GuestMark) -> GuestMark:
    return replace(mark, limits=("abuse",), limited_rate=125_000, network_before=12_500_000)


def rate(guest: Subject) -> int:
    """What goes through its interface, and will after its next start."""
    facts = guest.node.hypervisor.guest(guest.name, deadline=LONG)
    assert facts is not None
    assert facts.network_at_start == facts.network_bytes_per_second
    return facts.network_bytes_per_second


@pytest.mark.parametrize("before", [12_500_000, pytest.param(0, marks=pytest.mark.rare)])
def test_a_stopped_guest_is_limited_and_starts_so_and_is_given_back_what_it_had(guest: Subject, before: int) -> None:
    hypervisor = guest.node.hypervisor
    hypervisor.define(replace(guest.definition, network_bytes_per_second=before), deadline=LONG)
    for _ in range(2):
        assert hypervisor.set_network_rate(guest.name, 125_000, deadline=LONG).network_bytes_per_second == 125_000
    assert rate(guest) == 125_000
    assert guest.power(PowerAction.START) is Power.RUNNING
    assert rate(guest) == 125_000
    assert guest.power(PowerAction.DESTROY) is Power.STOPPED
    for _ in range(2):
        assert hypervisor.set_network_rate(guest.name, before, deadline=LONG).network_bytes_per_second == before
    assert guest.power(PowerAction.START) is Power.RUNNING
    assert rate(guest) == before


@pytest.mark.parametrize("before", [12_500_000, pytest.param(0, marks=pytest.mark.rare)])
def test_a_running_guest_is_limited_at_once_and_through_restarts_until_it_is_unlimited(guest: Subject, before: int) -> None:
    hypervisor = guest.node.hypervisor
    hypervisor.define(replace(guest.definition, network_bytes_per_second=before), deadline=LONG)
    assert guest.power(PowerAction.START) is Power.RUNNING
    for _ in range(2):
        facts = hypervisor.set_network_rate(guest.name, 125_000, deadline=LONG)
        assert (facts.power, facts.network_bytes_per_second) == (Power.RUNNING, 125_000)
    assert facts.mark == guest.definition.mark
    assert (facts.mac, facts.addresses, facts.filter_name) == (
        guest.definition.lease.mac,
        ("10.77.0.11", "fd77::b"),
        "orch-guard-no-mail",
    )
    assert guest.power(PowerAction.RESET) is Power.RUNNING
    assert rate(guest) == 125_000
    assert guest.power(PowerAction.DESTROY) is Power.STOPPED
    assert rate(guest) == 125_000
    assert guest.power(PowerAction.START) is Power.RUNNING
    assert rate(guest) == 125_000
    assert hypervisor.set_network_rate(guest.name, before, deadline=LONG).network_bytes_per_second == before
    assert guest.power(PowerAction.DESTROY) is Power.STOPPED
    assert rate(guest) == before


def mail(guest: Subject) -> tuple[bool, bool, str, Power]:
    """Whether mail goes out now and after the next start, its filter, and whether it runs."""
    facts = guest.node.hypervisor.guest(guest.name, deadline=LONG)
    assert facts is not None
    return facts.mail_out, facts.mail_out_at_start, facts.filter_name, facts.power


def test_mail_is_opened_and_closed_on_a_guest_that_is_off_and_on_one_that_runs(guest: Subject) -> None:
    hypervisor = guest.node.hypervisor
    opened, closed = (True, True, "orch-guard"), (False, False, "orch-guard-no-mail")
    before = hypervisor.guest(guest.name, deadline=LONG)
    for _ in range(2):
        facts = hypervisor.set_mail(guest.name, out=True, deadline=LONG)
    assert facts.mark == guest.definition.mark
    assert mail(guest) == (*opened, Power.STOPPED)
    assert guest.power(PowerAction.START) is Power.RUNNING
    assert mail(guest) == (*opened, Power.RUNNING)
    for _ in range(2):
        facts = hypervisor.set_mail(guest.name, out=False, deadline=LONG)
    assert mail(guest) == (*closed, Power.RUNNING)
    assert before is not None
    assert (facts.mac, facts.addresses, facts.network_bytes_per_second) == (before.mac, before.addresses, 12_500_000)
    assert guest.power(PowerAction.DESTROY) is Power.STOPPED
    assert mail(guest) == (*closed, Power.STOPPED)
    assert hypervisor.define(replace(guest.definition, mail_out=True), deadline=LONG).mail_out


def test_a_rate_to_limit_to_is_counted_in_whole_kilobytes(guest: Subject) -> None:
    found = [
        guest.node.hypervisor.set_network_rate(guest.name, wanted, deadline=LONG).network_bytes_per_second
        for wanted in (1_999, 1, 0)
    ]
    assert found == [1_000, 1_000, 0]


def test_a_mark_tells_of_a_limit_and_the_host_starts_the_guest_all_the_same(guest: Subject) -> None:
    mark = limited(guest.definition.mark)
    facts = guest.node.hypervisor.mark(guest.name, mark, autostart=False, deadline=LONG)
    assert facts.mark == mark
    assert guest.power(PowerAction.START) is Power.RUNNING


@pytest.mark.parametrize(("sold", "kept"), [(25_000_000, 125_000), (0, 125_000), (50_000, 50_000)])
def test_a_guest_that_is_defined_anew_stays_limited_and_gets_back_what_it_is_defined_with(
    guest: Subject, sold: int, kept: int
) -> None:
    hypervisor = guest.node.hypervisor
    hypervisor.mark(guest.name, limited(guest.definition.mark), autostart=False, deadline=LONG)
    hypervisor.set_network_rate(guest.name, 125_000, deadline=LONG)
    wider = replace(guest.definition, mark=replace(guest.definition.mark, job_id="job-2"), network_bytes_per_second=sold)
    facts = hypervisor.define(wider, deadline=LONG)
    assert facts.network_bytes_per_second == kept
    assert facts.mark == replace(wider.mark, limits=("abuse",), limited_rate=kept, network_before=sold)


def test_a_definition_that_is_itself_limited_stands_as_it_is(guest: Subject) -> None:
    hypervisor = guest.node.hypervisor
    hypervisor.mark(guest.name, limited(guest.definition.mark), autostart=False, deadline=LONG)
    mark = replace(guest.definition.mark, limits=("quota",), limited_rate=10_000, network_before=20_000)
    facts = hypervisor.define(replace(guest.definition, mark=mark, network_bytes_per_second=10_000), deadline=LONG)
    assert (facts.mark, facts.network_bytes_per_second) == (mark, 10_000)
