"""Guests as libvirt's domain XML, built and read; pure. Elements as in https://libvirt.org/formatdomain.html."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import dataclass
from ipaddress import ip_address

from orchestrator.drivers.libvirt.filter_xml import NO_IPV4, filter_of, link_local
from orchestrator.ports.hypervisor import GuestDefinition, GuestDisk, GuestMark, Power, SignedRecord

NAMESPACE = "https://orchestrator.example/xmlns/guest/1"
PREFIX = "orch"
# Of an element of its own: libvirt keeps one of each name space, and replaces it without a look at the others.
RECORD_NAMESPACE = "https://orchestrator.example/xmlns/record/1"
RECORD_PREFIX = "orchrec"
MAX_TOKENS = 8
CPU_PERIOD = 100_000  # microseconds; the quota is a share of it, per vCPU
CONSOLE_LOG = "/var/log/libvirt/qemu/{name}.console.log"
RATE_UNIT = 1000  # <bandwidth> counts kilobytes a second, which tc takes as 1000 bytes
AGENT_CHANNEL = "org.qemu.guest_agent.0"

ET.register_namespace(PREFIX, NAMESPACE)
ET.register_namespace(RECORD_PREFIX, RECORD_NAMESPACE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What the node can run: ``accelerated`` = KVM on a CPU that really has vmx or svm."""

    accelerated: bool
    architecture: str = "x86_64"
    machine: str = "q35"


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedGuest:
    """A domain's XML as plain values; what the XML does not tell (power, autostart) is asked separately."""

    name: str
    uuid: str
    mark: GuestMark | None
    vcpus: int
    memory_bytes: int
    cpu_percent: int
    disks: tuple[GuestDisk, ...]
    mac: str
    bridge: str
    addresses: tuple[str, ...]
    filter_name: str
    network_bytes_per_second: int
    agent_connected: bool
    tap: str
    vcpus_most: int
    record: SignedRecord | None = None


def parse(text: str) -> ET.Element:
    """The root of an XML text from libvirtd."""
    return ET.fromstring(text)  # noqa: S314 - written by libvirtd itself, which has parsed it and lets no DTD or entity through


def text_of(root: ET.Element) -> str:
    return ET.tostring(root, encoding="unicode")


# -- our mark --------------------------------------------------------------------------------------------------------------------


def mark_element(mark: GuestMark) -> ET.Element:
    """Our metadata as part of a domain; the host's hook reads the same element and refuses a start where it has a hold."""
    return _mark(mark, f"{{{NAMESPACE}}}")


def mark_xml(mark: GuestMark) -> str:
    """Our metadata for ``virDomainSetMetadata``, which puts in the namespace by itself and refuses one that is there."""
    return text_of(_mark(mark, ""))


def _mark(mark: GuestMark, namespace: str) -> ET.Element:
    attributes = {"service": mark.service_id, "job": mark.job_id}
    if mark.spec_digest:
        attributes["spec-digest"] = mark.spec_digest
    if mark.spec_signature:
        attributes["spec-signature"] = mark.spec_signature
    if mark.power_before is not None:
        attributes["power-before"] = mark.power_before.value
    if mark.autostart_before is not None:
        attributes["autostart-before"] = "yes" if mark.autostart_before else "no"
    if mark.limits:
        attributes |= {"limited-rate": str(mark.limited_rate)}
    if mark.network_before is not None:
        attributes |= {"network-before": str(mark.network_before)}
    root = ET.Element(f"{namespace}guest", attributes)
    for reason in mark.holds:
        ET.SubElement(root, f"{namespace}hold", {"reason": reason})
    for reason in mark.limits:
        ET.SubElement(root, f"{namespace}limit", {"reason": reason})
    for token in mark.tokens[-MAX_TOKENS:]:
        ET.SubElement(root, f"{namespace}token", {"value": token})
    return root


def read_mark(root: ET.Element) -> GuestMark | None:
    """Our metadata out of a domain's XML; None where it has none of ours."""
    found = root.find(f"metadata/{{{NAMESPACE}}}guest")
    if found is None:
        return None
    power, autostart = found.get("power-before"), found.get("autostart-before")
    network = found.get("network-before")
    return GuestMark(
        service_id=found.get("service", ""),
        job_id=found.get("job", ""),
        spec_digest=found.get("spec-digest", ""),
        spec_signature=found.get("spec-signature", ""),
        holds=tuple(hold.get("reason", "") for hold in found.findall(f"{{{NAMESPACE}}}hold")),
        power_before=Power(power) if power in set(Power) else None,
        autostart_before=None if autostart is None else autostart == "yes",
        tokens=tuple(token.get("value", "") for token in found.findall(f"{{{NAMESPACE}}}token")),
        limits=tuple(limit.get("reason", "") for limit in found.findall(f"{{{NAMESPACE}}}limit")),
        limited_rate=int(found.get("limited-rate", "0")),
        network_before=None if network is None else int(network),
    )


def record_xml(record: SignedRecord) -> str:
    """The signed record for ``virDomainSetMetadata``, without its name space as the mark is."""
    return text_of(_record(record, ""))


def _record(record: SignedRecord, namespace: str) -> ET.Element:
    root = ET.Element(f"{namespace}record", {"signature": record.signature})
    root.text = record.text
    return root


def read_record(root: ET.Element) -> SignedRecord | None:
    """The signed record out of a domain's XML, whoever signed it."""
    found = root.find(f"metadata/{{{RECORD_NAMESPACE}}}record")
    return None if found is None else SignedRecord(text=found.text or "", signature=found.get("signature", ""))


# -- building --------------------------------------------------------------------------------------------------------------------


def domain_xml(definition: GuestDefinition, machine: Machine, *, record: SignedRecord | None = None) -> str:
    """The whole domain, with the signed record that it has already."""
    root = ET.Element("domain", {"type": "kvm" if machine.accelerated else "qemu"})
    _text(root, "name", definition.name)
    _text(root, "uuid", definition.uuid)
    metadata = ET.SubElement(root, "metadata")
    metadata.append(mark_element(definition.mark))
    if record is not None:
        metadata.append(_record(record, f"{{{RECORD_NAMESPACE}}}"))
    _text(root, "memory", str(definition.memory_bytes), unit="b")
    _text(root, "currentMemory", str(definition.memory_bytes), unit="b")
    room = {"current": str(definition.vcpus)} if definition.vcpus_most > definition.vcpus else {}
    _text(root, "vcpu", str(max(definition.vcpus, definition.vcpus_most)), placement="static", **room)
    if definition.cpu_percent:
        tune = ET.SubElement(root, "cputune")
        _text(tune, "period", str(CPU_PERIOD))
        _text(tune, "quota", str(definition.cpu_percent * CPU_PERIOD // 100))
    _boot(root, definition, machine)
    features = ET.SubElement(root, "features")
    ET.SubElement(features, "acpi")
    ET.SubElement(features, "apic")
    if machine.accelerated:
        ET.SubElement(root, "cpu", {"mode": "host-model"})
    ET.SubElement(root, "clock", {"offset": "utc"})
    for event, action in (("on_poweroff", "destroy"), ("on_reboot", "restart"), ("on_crash", "destroy")):
        _text(root, event, action)
    devices = ET.SubElement(root, "devices")
    for disk in definition.disks:
        devices.append(_disk(disk))
    devices.append(_interface(definition))
    _consoles(devices, definition)
    random = ET.SubElement(devices, "rng", {"model": "virtio"})
    _text(random, "backend", "/dev/urandom", model="random")
    ET.SubElement(devices, "memballoon", {"model": "virtio"})
    return text_of(root)


def _boot(root: ET.Element, definition: GuestDefinition, machine: Machine) -> None:
    system = ET.SubElement(root, "os")
    _text(system, "type", "hvm", arch=machine.architecture, machine=machine.machine)
    if definition.kernel:
        _text(system, "kernel", definition.kernel)
        if definition.initrd:
            _text(system, "initrd", definition.initrd)
        _text(system, "cmdline", definition.kernel_arguments)
    else:
        ET.SubElement(system, "boot", {"dev": "hd"})


def _disk(disk: GuestDisk) -> ET.Element:
    root = ET.Element("disk", {"type": "file", "device": "cdrom" if disk.cdrom else "disk"})
    # No host page cache: what the guest flushed is on the medium. Discarded blocks stay in the file: those that go back to the
    # file system could not be overwritten when the disk is wiped.
    ET.SubElement(root, "driver", {"name": "qemu", "type": disk.format, "cache": "none", "discard": "ignore"})
    source = ET.SubElement(root, "source", {"file": disk.path})
    if disk.secret_uuid:
        encryption = ET.SubElement(source, "encryption", {"format": "luks"})
        ET.SubElement(encryption, "secret", {"type": "passphrase", "uuid": disk.secret_uuid})
    bus = {"vd": "virtio", "sd": "sata", "hd": "ide"}.get(disk.target[:2], "virtio")
    ET.SubElement(root, "target", {"dev": disk.target, "bus": bus})
    if disk.bytes_per_second or disk.iops:
        tune = ET.SubElement(root, "iotune")
        if disk.bytes_per_second:
            _text(tune, "total_bytes_sec", str(disk.bytes_per_second))
        if disk.iops:
            _text(tune, "total_iops_sec", str(disk.iops))
    if disk.read_only or disk.cdrom:
        ET.SubElement(root, "readonly")
    return root


def _interface(definition: GuestDefinition) -> ET.Element:
    lease = definition.lease
    root = ET.Element("interface", {"type": "bridge"})
    ET.SubElement(root, "mac", {"address": lease.mac})
    ET.SubElement(root, "source", {"bridge": definition.bridge})
    ET.SubElement(root, "model", {"type": "virtio"})
    guard = ET.SubElement(root, "filterref", {"filter": filter_of(mail_out=definition.mail_out)})
    # Without addresses of its own a family still needs a value, or the filter cannot be set up at all.
    for address in [str(interface.ip) for interface in lease.ipv4] or [NO_IPV4]:
        ET.SubElement(guard, "parameter", {"name": "IP", "value": address})
    for address6 in (link_local(lease.mac), *(interface.ip for interface in lease.ipv6)):
        ET.SubElement(guard, "parameter", {"name": "IPV6", "value": str(address6)})
    # The default learns an address from the guest's own packets, and would learn a false one.
    ET.SubElement(guard, "parameter", {"name": "CTRL_IP_LEARNING", "value": "none"})
    if definition.network_bytes_per_second:
        rate = str(kilobytes(definition.network_bytes_per_second))
        bandwidth = ET.SubElement(root, "bandwidth")
        ET.SubElement(bandwidth, "inbound", {"average": rate})
        ET.SubElement(bandwidth, "outbound", {"average": rate})
    return root


def kilobytes(rate: int) -> int:
    """A rate as <bandwidth> counts it; 0 = no limit."""
    return max(1, rate // RATE_UNIT) if rate else 0


def _consoles(devices: ET.Element, definition: GuestDefinition) -> None:
    serial = ET.SubElement(devices, "serial", {"type": "pty"})
    ET.SubElement(serial, "log", {"file": CONSOLE_LOG.format(name=definition.name), "append": "on"})
    ET.SubElement(serial, "target", {"port": "0"})
    if definition.agent:
        channel = ET.SubElement(devices, "channel", {"type": "unix"})
        ET.SubElement(channel, "target", {"type": "virtio", "name": AGENT_CHANNEL})


def _text(parent: ET.Element, tag: str, value: str, **attributes: str) -> None:
    ET.SubElement(parent, tag, attributes).text = value


# -- reading ---------------------------------------------------------------------------------------------------------------------

# libvirt prints memory in KiB; the other units only come from XML that people wrote.
_UNITS = {"b": 1, "bytes": 1, "KB": 1000, "k": 1024, "KiB": 1024, "MB": 10**6, "M": 1 << 20, "MiB": 1 << 20}
_UNITS |= {"GB": 10**9, "G": 1 << 30, "GiB": 1 << 30, "TB": 10**12, "T": 1 << 40, "TiB": 1 << 40}


def read_domain(text: str) -> ParsedGuest:
    """A domain's XML (the live one where it runs) as values. ``disks`` carry no capacity: the XML does not know it."""
    root = parse(text)
    interface = root.find("devices/interface")
    memory = root.find("memory")
    return ParsedGuest(
        name=root.findtext("name", ""),
        uuid=root.findtext("uuid", ""),
        mark=read_mark(root),
        vcpus=_vcpus(root),
        memory_bytes=0 if memory is None else int(memory.text or 0) * _UNITS[memory.get("unit", "KiB")],
        cpu_percent=_cpu_percent(root),
        disks=tuple(_read_disk(disk) for disk in root.findall("devices/disk") if disk.find("target") is not None),
        mac=_attribute(interface, "mac", "address"),
        bridge=_attribute(interface, "source", "bridge"),
        addresses=_addresses(interface),
        filter_name=_attribute(interface, "filterref", "filter"),
        network_bytes_per_second=_network_rate(interface),
        agent_connected=any(
            target.get("name") == AGENT_CHANNEL and target.get("state") == "connected"
            for target in root.findall("devices/channel/target")
        ),
        tap=_attribute(interface, "target", "dev"),
        record=read_record(root),
        vcpus_most=int(root.findtext("vcpu", "0")),
    )


def _vcpus(root: ET.Element) -> int:
    vcpu = root.find("vcpu")
    return 0 if vcpu is None else int(vcpu.get("current") or vcpu.text or 0)


def _cpu_percent(root: ET.Element) -> int:
    quota = int(root.findtext("cputune/quota", "0"))
    period = int(root.findtext("cputune/period", str(CPU_PERIOD)))
    return quota * 100 // period if quota > 0 else 0


def _read_disk(root: ET.Element) -> GuestDisk:
    secret = root.find("source/encryption/secret")
    if secret is None:
        secret = root.find("encryption/secret")
    return GuestDisk(
        path=_attribute(root, "source", "file"),
        format=_attribute(root, "driver", "type") or "raw",
        target=_attribute(root, "target", "dev"),
        secret_uuid="" if secret is None else secret.get("uuid", ""),
        bytes_per_second=int(root.findtext("iotune/total_bytes_sec", "0")),
        iops=int(root.findtext("iotune/total_iops_sec", "0")),
        read_only=root.find("readonly") is not None,
        cdrom=root.get("device") == "cdrom",
    )


def _addresses(interface: ET.Element | None) -> tuple[str, ...]:
    """What the filter lets through, without the link-local address, which every guest has, and the stand-in for "none"."""
    if interface is None:
        return ()
    mac = _attribute(interface, "mac", "address")
    always = {NO_IPV4, str(link_local(mac)) if mac else ""}
    values = [
        parameter.get("value", "")
        for name in ("IP", "IPV6")
        for parameter in interface.findall("filterref/parameter")
        if parameter.get("name") == name
    ]
    return tuple(str(ip_address(value)) for value in values if value not in always)


def _network_rate(interface: ET.Element | None) -> int:
    """The smaller of both directions: a limit that misses in one of them is none."""
    if interface is None:
        return 0
    rates = [int(_attribute(interface, f"bandwidth/{way}", "average") or 0) for way in ("inbound", "outbound")]
    return min(rates) * RATE_UNIT


def _attribute(parent: ET.Element | None, path: str, name: str) -> str:
    found = None if parent is None else parent.find(path)
    return "" if found is None else found.get(name, "")
