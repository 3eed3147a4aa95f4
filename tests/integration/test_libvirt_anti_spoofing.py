"""The anti-spoofing filter at work: false frames are put onto a port that carries the filter, and looked for behind the bridge.

The port is one end of a pair of interfaces to which libvirt binds our filter as it does for a guest's tap; so every kind of frame
can be sent, also those that a guest's kernel would not send. A real guest then shows that the filter stands on its own tap, too.
"""

from __future__ import annotations

import socket
import struct
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

import pytest

from orchestrator.drivers.libvirt.filter_xml import NO_MAIL, link_local
from tests.contract.nodes import LONG, LibvirtNode, definition_of, lease_of, sh
from tests.integration.libvirt_guests import Running, running_guest
from tests.lab import guests, tiny
from tests.lab.environment import Lab
from tests.lab.templates import Installed

MAC = "52:54:00:77:00:64"
OTHER_MAC = "52:54:00:77:00:65"
OWN, OTHER, HOST = "10.77.0.110", "10.77.0.111", "10.77.0.1"
OWN6, OTHER6 = "fd77::6e", "fd77::6f"
LOCAL6, OTHER_LOCAL6 = str(link_local(MAC)), str(link_local(OTHER_MAC))
ALL_NODES = "ff02::1"
BROADCAST = "ff:ff:ff:ff:ff:ff"
BINDING = """<filterbinding><owner><name>port</name><uuid>7d0a5f3f-0000-4000-8000-0000000000aa</uuid></owner>
<portdev name='port-in'/><mac address='{mac}'/><filterref filter='{filter}'>
<parameter name='IP' value='{own}'/><parameter name='IPV6' value='{local}'/><parameter name='IPV6' value='{own6}'/>
<parameter name='CTRL_IP_LEARNING' value='none'/></filterref></filterbinding>"""


def raw_mac(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))


def ethernet(source: str, kind: int, payload: bytes, *, target: str = BROADCAST) -> bytes:
    return raw_mac(target) + raw_mac(source) + struct.pack("!H", kind) + payload


def arp(sender_mac: str, sender: str, *, operation: int = 2, source: str = MAC) -> bytes:
    words = struct.pack("!HHBBH", 1, 0x0800, 6, 4, operation)
    addresses = raw_mac(sender_mac) + IPv4Address(sender).packed + bytes(6) + IPv4Address(HOST).packed
    return ethernet(source, 0x0806, words + addresses)


def checksum(data: bytes) -> int:
    total: int = sum(struct.unpack(f"!{(len(data) + 1) // 2}H", data + bytes(len(data) % 2)))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def udp(source: int, target: int) -> bytes:
    return struct.pack("!HHHH", source, target, 8 + 8, 0) + b"payload!"


def syn(target: int) -> bytes:
    return struct.pack("!HHIIBBHHH", 5000, target, 1, 0, 5 << 4, 2, 1024, 0, 0)


def ipv4(source: str, payload: bytes, *, protocol: int = 17, mac: str = MAC, options: bytes = b"", fragment: int = 0) -> bytes:
    """``options``: four bytes each; ``fragment``: flags and offset."""
    size = 20 + len(options)
    head = struct.pack("!BBHHHBBH", 0x40 | size // 4, 0, size + len(payload), 1, fragment, 64, protocol, 0)
    head += IPv4Address(source).packed + IPv4Address("10.77.0.255").packed + options
    head = head[:10] + struct.pack("!H", checksum(head)) + head[12:]
    return ethernet(mac, 0x0800, head + payload)


def ipv6(source: str, payload: bytes, *, protocol: int, target: str = ALL_NODES, mac: str = MAC) -> bytes:
    head = struct.pack("!IHBB", 6 << 28, len(payload), protocol, 255) + IPv6Address(source).packed + IPv6Address(target).packed
    return ethernet(mac, 0x86DD, head + payload, target="33:33:00:00:00:01")


def icmpv6(source: str, kind: int, body: bytes = bytes(16)) -> bytes:
    return ipv6(source, struct.pack("!BBHI", kind, 0, 0, 0) + body, protocol=58)


def dialling(port: int) -> dict[str, bytes]:
    """The first word of a connection to that port of another, in each form that it may have."""
    hop_by_hop = bytes((6, 0, 1, 4, 0, 0, 0, 0))  # RFC 8200, 4.3: TCP follows, padding
    first = struct.pack("!BBHI", 6, 0, 1, 1)  # RFC 8200, 4.5: more fragments follow
    return {
        f"TCP to port {port}": ipv4(OWN, syn(port), protocol=6),
        f"TCP to port {port} behind options": ipv4(OWN, syn(port), protocol=6, options=b"\1\1\1\0"),
        f"TCP to port {port} in a first fragment": ipv4(OWN, syn(port)[:8], protocol=6, fragment=0x2000),
        f"TCP to port {port} over IPv6": ipv6(OWN6, syn(port), protocol=6),
        f"TCP to port {port} over IPv6 behind a header": ipv6(OWN6, hop_by_hop + syn(port), protocol=0),
        f"TCP to port {port} over IPv6 in a first fragment": ipv6(OWN6, first + syn(port)[:8], protocol=44),
    }


FALSE = {
    **dialling(25),
    "another MAC": ipv4(OWN, udp(5000, 5001), mac=OTHER_MAC),
    "another IPv4 address": ipv4(OTHER, udp(5000, 5001)),
    "another IPv4 address, without UDP": ipv4(OTHER, bytes(16), protocol=1),
    "no IPv4 address": ipv4("0.0.0.0", udp(68, 67)),
    "the gateway's IPv4 address": ipv4(HOST, udp(5000, 5001)),
    "ARP: another's IPv4 address is mine": arp(MAC, OTHER),
    "ARP: the gateway is mine": arp(MAC, HOST),
    "ARP: my address is at another MAC": arp(OTHER_MAC, OWN),
    "ARP with another sender in the frame": arp(OTHER_MAC, OTHER, source=OTHER_MAC),
    "a DHCP server's answer": ipv4(OWN, udp(67, 68)),
    "a DHCP answer from an odd port": ipv4(OWN, udp(6700, 68)),
    "another IPv6 address": ipv6(OTHER6, udp(5000, 5001), protocol=17),
    "another link-local address": ipv6(OTHER_LOCAL6, udp(5000, 5001), protocol=17),
    "neighbour advertisement from another address": icmpv6(OTHER6, 136, IPv6Address(OTHER6).packed),
    "neighbour advertisement from another link-local address": icmpv6(OTHER_LOCAL6, 136, IPv6Address(OTHER_LOCAL6).packed),
    "router advertisement": icmpv6(LOCAL6, 134),
    "redirect": icmpv6(LOCAL6, 137, bytes(32)),
    "a DHCPv6 server's answer": ipv6(LOCAL6, udp(547, 546), protocol=17),
    "a DHCPv6 answer from an odd port": ipv6(LOCAL6, udp(5470, 546), protocol=17),
    "a protocol nobody named": ethernet(MAC, 0x88B5, b"local experiment" * 4),
    "a VLAN tag around another's address": ethernet(
        MAC, 0x8100, struct.pack("!HH", 7, 0x0800) + ipv4(OTHER, udp(5000, 5001))[14:]
    ),
}
TRUE = {
    **dialling(26),
    **dialling(587),
    "IPv4 from its own address": ipv4(OWN, udp(5000, 5001)),
    "ARP about itself": arp(MAC, OWN),
    "an ARP question": arp(MAC, OWN, operation=1),
    "IPv6 from its own address": ipv6(OWN6, udp(5000, 5001), protocol=17),
    "IPv6 from its link-local address": ipv6(LOCAL6, udp(5000, 5001), protocol=17),
    "neighbour solicitation": icmpv6(LOCAL6, 135, IPv6Address(OTHER6).packed),
    "neighbour advertisement": icmpv6(OWN6, 136, IPv6Address(OWN6).packed),
    "router solicitation": icmpv6(LOCAL6, 133, b""),
}


@dataclass(frozen=True)
class Wire:
    """``sender`` puts frames onto the guarded port; ``listener`` hears what passes the bridge."""

    sender: socket.socket
    listener: socket.socket

    def passes(self, frame: bytes) -> bool:
        """Send the frame and then one that surely passes: whatever comes before that is the answer."""
        self.sender.send(frame)
        end = ipv4(OWN, udp(6000, 6001))
        self.sender.send(end)
        seen = False
        for _ in range(1000):
            heard = self.listener.recv(4096)
            seen = seen or heard.startswith(frame)
            if heard.startswith(end):
                return seen
        raise AssertionError("the closing frame never came")


@pytest.fixture(scope="module")
def node(lab: Lab, tiny_template: Installed) -> Iterator[LibvirtNode]:
    made = LibvirtNode(lab, tiny_template)
    yield made
    made.connection.close()


@pytest.fixture(scope="module")
def guest(node: LibvirtNode) -> Iterator[Running]:
    with running_guest(node, 40, encrypted=False) as running:
        yield running


@pytest.fixture(scope="module")
def wire(node: LibvirtNode) -> Iterator[Wire]:
    """A guarded port of the bridge, and a place behind the bridge where everything that passes can be heard."""
    bring_filter(node)
    for inner, outer in (("port-in", "port-out"), ("ear-in", "ear-out")):
        sh("ip", "link", "add", inner, "type", "veth", "peer", "name", outer)
        sh("ip", "link", "set", inner, "master", node.bridge, "up")
        sh("ip", "link", "set", outer, "up")
    binding = BINDING.format(mac=MAC, filter=NO_MAIL, own=OWN, own6=OWN6, local=LOCAL6)
    subprocess.run(["virsh", "-q", "nwfilter-binding-create", "/dev/stdin"], input=binding.encode(), check=True, timeout=60)
    sender = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    sender.bind(("port-out", 0))
    listener = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    listener.bind(("ear-out", 0))
    listener.settimeout(5)
    yield Wire(sender, listener)
    sender.close()
    listener.close()
    sh("virsh", "-q", "nwfilter-binding-delete", "port-in")
    for inner in ("port-in", "ear-in"):
        sh("ip", "link", "delete", inner)


def bring_filter(node: LibvirtNode) -> None:
    """Have the driver put its filter on the node, as it does with every guest it defines."""
    definition = definition_of(node, 41)
    node.hypervisor.define(definition, deadline=LONG)
    node.hypervisor.undefine(definition.name, deadline=LONG)


@pytest.mark.parametrize("what", FALSE)
def test_a_false_frame_does_not_pass(wire: Wire, what: str) -> None:
    assert not wire.passes(FALSE[what])


@pytest.mark.parametrize("what", TRUE)
def test_a_true_frame_passes(wire: Wire, what: str) -> None:
    assert wire.passes(TRUE[what])


def test_a_filter_that_was_changed_on_the_node_is_mended_by_the_next_guest(node: LibvirtNode, wire: Wire) -> None:
    frame = FALSE["router advertisement"]
    uuid = sh("virsh", "nwfilter-dumpxml", "orch-guard-ipv6").split("<uuid>")[1].split("</uuid>")[0]
    hollow = f"<filter name='orch-guard-ipv6' chain='ipv6-orch' priority='-620'><uuid>{uuid}</uuid></filter>"
    subprocess.run(["virsh", "-q", "nwfilter-define", "/dev/stdin"], input=hollow.encode(), check=True, timeout=60)
    assert wire.passes(frame)
    bring_filter(node)
    assert not wire.passes(frame)


def test_a_guest_reaches_its_network_with_its_own_addresses_only(guest: Running) -> None:
    assert guests.banner(str(guest.definition.lease.ipv4[0].ip))
    assert guests.banner(str(guest.definition.lease.ipv6[0].ip))
    assert guests.banner(f"{link_local(guest.definition.lease.mac)}%{guest.node.bridge}")
    tiny.ask(guest.address, "ping", HOST)
    stolen = str(lease_of(50).ipv4[0])
    tiny.ask(guest.address, "spoof", stolen)
    assert guests.banner(stolen.partition("/")[0]) == ""
    assert guests.banner(guest.address)
