"""Guests, volumes, secrets and filters as libvirt's XML, without libvirt."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import replace
from ipaddress import IPv4Interface, IPv6Address, IPv6Interface

import pytest

from orchestrator.domain.plans import Lease
from orchestrator.drivers.libvirt.filter_xml import filter_names, filter_xml, link_local
from orchestrator.drivers.libvirt.guest_xml import Machine, domain_xml, mark_xml, read_domain
from orchestrator.drivers.libvirt.host import decide, version_text
from orchestrator.drivers.libvirt.volume_xml import read_volume, secret_volume, secret_xml, volume_xml
from orchestrator.ports.hypervisor import GuestDefinition, GuestDisk, GuestMark, Power, SignedRecord

EMULATED, ACCELERATED = Machine(accelerated=False), Machine(accelerated=True)
MARK = GuestMark(
    service_id="s1",
    job_id="j1",
    spec_digest="abc",
    spec_signature="sig==",
    holds=("nonpayment", "abuse & <worse>"),
    power_before=Power.STOPPED,
    autostart_before=True,
    tokens=("t1", "t2"),
    limits=("abuse", "quota"),
    limited_rate=125_000,
    network_before=0,
)
GUEST = GuestDefinition(
    name="orch.s1",
    uuid="7d0a5f3f-0000-4000-8000-000000000001",
    mark=MARK,
    vcpus=3,
    memory_bytes=1 << 30,
    cpu_percent=75,
    disks=(
        GuestDisk(path="/p/root.qcow2", format="qcow2", secret_uuid="a-secret", bytes_per_second=1000, iops=50),
        GuestDisk(path="/p/seed.iso", format="raw", target="sda", read_only=True, cdrom=True),
    ),
    bridge="br0",
    lease=Lease(
        service_id="s1",
        job_id="j1",
        mac="52:54:00:12:34:56",
        ipv4=(IPv4Interface("192.0.2.5/24"), IPv4Interface("192.0.2.6/24")),
        ipv6=(IPv6Interface("2001:db8::5/64"),),
    ),
    network_bytes_per_second=12_500_000,
)


def test_what_is_built_is_read_back() -> None:
    read = read_domain(domain_xml(GUEST, EMULATED))
    assert (read.name, read.uuid, read.mark) == (GUEST.name, GUEST.uuid, MARK)
    assert (read.vcpus, read.memory_bytes, read.cpu_percent) == (3, 1 << 30, 75)
    assert read.disks == GUEST.disks
    assert (read.mac, read.bridge, read.filter_name) == ("52:54:00:12:34:56", "br0", "orch-guard-no-mail")
    assert read.addresses == ("192.0.2.5", "192.0.2.6", "2001:db8::5")
    assert read.network_bytes_per_second == 12_500_000
    assert read.agent_connected is False


def test_a_record_is_read_back_and_is_no_part_of_the_mark() -> None:
    record = SignedRecord(text='{"why":"<&>"}', signature="k:s==")
    read = read_domain(domain_xml(GUEST, EMULATED, record=record))
    assert (read.record, read.mark) == (record, MARK)
    assert read_domain(domain_xml(GUEST, EMULATED)).record is None


@pytest.mark.parametrize(("machine", "kind", "cpu"), [(ACCELERATED, "kvm", "host-model"), (EMULATED, "qemu", None)])
def test_a_guest_is_emulated_unless_the_node_accelerates(machine: Machine, kind: str, cpu: str | None) -> None:
    root = ET.fromstring(domain_xml(GUEST, machine))
    mode = root.find("cpu")
    assert root.get("type") == kind
    assert (None if mode is None else mode.get("mode")) == cpu


def test_a_guest_boots_its_disk_or_the_kernel_it_is_given() -> None:
    from_disk = ET.fromstring(domain_xml(GUEST, EMULATED)).find("os")
    direct = replace(GUEST, kernel="/p/kernel", initrd="/p/initrd", kernel_arguments="root=LABEL=root")
    from_kernel = ET.fromstring(domain_xml(direct, EMULATED)).find("os")
    assert from_disk is not None
    assert from_kernel is not None
    assert [child.tag for child in from_disk] == ["type", "boot"]
    assert [child.text for child in from_kernel] == ["hvm", "/p/kernel", "/p/initrd", "root=LABEL=root"]


def test_addresses_are_never_learned_from_the_guest() -> None:
    parameters = ET.fromstring(domain_xml(GUEST, EMULATED)).findall("devices/interface/filterref/parameter")
    assert ("CTRL_IP_LEARNING", "none") in [(p.get("name"), p.get("value")) for p in parameters]


@pytest.mark.parametrize("family", ["ipv4", "ipv6"])
def test_a_family_without_addresses_still_has_a_value_and_reports_none(family: str) -> None:
    empty = replace(GUEST.lease, ipv4=()) if family == "ipv4" else replace(GUEST.lease, ipv6=())
    xml = domain_xml(replace(GUEST, lease=empty), EMULATED)
    names = {p.get("name") for p in ET.fromstring(xml).findall("devices/interface/filterref/parameter")}
    assert {"IP", "IPV6"} <= names
    assert len(read_domain(xml).addresses) == (1 if family == "ipv4" else 2)


def test_no_limit_leaves_no_trace_in_the_definition() -> None:
    disks = tuple(replace(disk, bytes_per_second=0, iops=0) for disk in GUEST.disks)
    root = ET.fromstring(domain_xml(replace(GUEST, cpu_percent=0, network_bytes_per_second=0, disks=disks), EMULATED))
    assert [root.find(path) for path in ("cputune", "devices/disk/iotune", "devices/interface/bandwidth")] == [None] * 3


def test_only_the_newest_eight_tokens_are_kept() -> None:
    many = replace(MARK, tokens=tuple(f"t{number}" for number in range(12)))
    mark = read_domain(domain_xml(replace(GUEST, mark=many), EMULATED)).mark
    assert mark is not None
    assert mark.tokens == tuple(f"t{number}" for number in range(4, 12))


def test_the_mark_that_libvirt_sets_has_no_namespace_of_its_own() -> None:
    root = ET.fromstring(mark_xml(MARK))
    assert root.tag == "guest"
    assert [hold.get("reason") for hold in root.findall("hold")] == ["nonpayment", "abuse & <worse>"]


def test_a_strangers_guest_has_no_mark_and_odd_parts_do_no_harm() -> None:
    read = read_domain(
        "<domain><name>x</name><uuid>u</uuid><memory unit='MiB'>16</memory><vcpu current='2'>4</vcpu>"
        "<cputune><quota>-1</quota></cputune>"
        "<devices><disk type='block' device='disk'><target dev='vda'/></disk></devices></domain>"
    )
    assert (read.mark, read.memory_bytes, read.vcpus, read.cpu_percent, read.mac) == (None, 16 << 20, 2, 0, "")
    assert read.disks == (GuestDisk(path="", format="raw"),)


def test_the_link_local_address_follows_from_the_mac() -> None:
    assert link_local("52:54:00:12:34:56") == IPv6Address("fe80::5054:ff:fe12:3456")


@pytest.mark.parametrize("name", filter_names()[:-2])
def test_every_chain_of_ours_ends_in_a_verdict(name: str) -> None:
    """A frame that falls off the end of a chain is let through."""
    rules = ET.fromstring(filter_xml(name)).findall("rule")
    last = max(rules, key=lambda rule: int(rule.get("priority", "0")))
    assert (last.get("action"), last.get("direction"), list(last)) == ("drop", "out", [])


def test_a_standing_filter_keeps_its_uuid() -> None:
    assert ET.fromstring(filter_xml("orch-guard", uuid="standing")).findtext("uuid") == "standing"
    assert ET.fromstring(filter_xml("orch-guard")).findtext("uuid")


def test_volumes_are_read_as_libvirt_prints_them() -> None:
    read = read_volume(
        "<volume type='file'><name>v</name><capacity unit='bytes'>7</capacity><allocation unit='bytes'>5</allocation>"
        "<target><path>/p/v</path><format type='qcow2'/><encryption format='luks'/></target>"
        "<backingStore><path>/p/t</path><format type='qcow2'/></backingStore></volume>"
    )
    assert (read.name, read.path, read.format, read.capacity_bytes, read.allocated_bytes) == ("v", "/p/v", "qcow2", 7, 5)
    assert (read.backing_path, read.encrypted) == ("/p/t", True)


def test_a_volume_that_is_written_afterwards_is_raw_empty_and_nobody_elses_to_read() -> None:
    xml = volume_xml("v")
    read = read_volume(xml)
    assert (read.name, read.format, read.capacity_bytes, read.backing_path, read.encrypted) == ("v", "raw", 0, "", False)
    assert ET.fromstring(xml).findtext("target/permissions/mode") == "0600"


@pytest.mark.parametrize(
    ("xml", "volume"),
    [
        (secret_xml(pool="main", volume="orch.s1.root.j.qcow2", path="/p/x"), "orch.s1.root.j.qcow2"),
        (secret_xml(pool="other", volume="orch.s1.root.j.qcow2", path="/p/x"), ""),
        ("<secret><description>somebody's</description></secret>", ""),
        ("<secret/>", ""),
    ],
)
def test_our_secrets_are_told_by_their_tag(xml: str, volume: str) -> None:
    assert secret_volume(xml, pool="main") == volume


LISTED = "<capabilities><host><cpu><arch>x86_64</arch><model>kvm64</model><feature name='{}'/></cpu></host></capabilities>"
EXPANDED = "<cpu><model>EPYC</model><feature policy='require' name='{}'/></cpu>"


@pytest.mark.parametrize(
    ("listed", "expanded", "offered", "accelerated"),
    [
        ("svm", "", True, True),
        ("vmx", "", True, True),
        ("avx", EXPANDED.format("svm"), True, True),
        ("avx", EXPANDED.format("avx2"), True, False),
        ("avx", EXPANDED.format("svm").replace("require", "disable"), True, False),
        ("avx", "", True, False),
        ("svm", EXPANDED.format("svm"), False, False),
    ],
)
def test_kvm_needs_the_processors_flag_and_qemus_offer(listed: str, expanded: str, offered: bool, accelerated: bool) -> None:
    assert decide(LISTED.format(listed), expanded_cpu=expanded, kvm_offered=offered).accelerated is accelerated


def test_versions_read_as_people_write_them() -> None:
    assert version_text(7_002_022) == "7.2.22"
