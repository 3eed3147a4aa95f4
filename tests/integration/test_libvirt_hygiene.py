"""The filter on a real guest's own tap: from inside it root sends whatever he likes, and what is false does not arrive.

The guest puts every frame of ``test_libvirt_anti_spoofing`` onto its own interface; a place behind the bridge, and another guest
there, hear what passes. That they were really sent shows when the filter is hollow: then every one of them arrives.
"""

from __future__ import annotations

import json
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from orchestrator.drivers.libvirt.filter_xml import NO_MAIL
from orchestrator.ports.hypervisor import PowerAction
from tests.contract.nodes import LONG, LibvirtNode, lease_of, sh
from tests.integration.libvirt_guests import define_guest, remove_guest, running_guest
from tests.integration.test_libvirt_anti_spoofing import FALSE, MAC, OWN, TRUE, bring_filter, ipv4, udp
from tests.lab import daemons, guests
from tests.lab.environment import Lab
from tests.lab.templates import Installed

pytestmark = [pytest.mark.lab, pytest.mark.guest, pytest.mark.rare, pytest.mark.timeout(600)]
NUMBER = 100  # whose addresses the frames are made with
SECONDS_TO_BOOT = 240.0
# Its tag is taken off before it is heard; what is inside of it is "another IPv4 address".
TAGGED = "a VLAN tag around another's address"
INTERFACE = "$(ls /sys/class/net | grep -v lo)"
END = ipv4(OWN, udp(6000, 6001))
PYTHON = "/usr/bin/python3"
# Of the neighbour's port 22, from one of its own addresses.
ASK = """
import socket, sys
assert socket.create_connection((sys.argv[1], 22), timeout=4, source_address=(sys.argv[2], 0)).recv(4) == b"SSH-"
"""
MAIL_SERVERS = ("10.77.0.1", "fd77::1")
DIAL = """
import socket, sys
socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=3)
"""
SEND = """
import socket, sys, os
name = next(each for each in os.listdir("/sys/class/net") if each != "lo")
wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
wire.bind((name, 0))
for frame in sys.argv[1:]:
    wire.send(bytes.fromhex(frame))
"""


@dataclass(frozen=True)
class Street:
    """``sender``: the guest whose root is not to be trusted; ``neighbour``: an address of another; ``ear`` hears what passes."""

    node: LibvirtNode
    sender: str
    neighbour: str
    ear: socket.socket

    def inside(self, *words: str) -> int:
        """Run it in the sender, as root; its exit code."""
        asked = {"execute": "guest-exec", "arguments": {"path": words[0], "arg": list(words[1:])}}
        pid = json.loads(sh("virsh", "qemu-agent-command", self.sender, json.dumps(asked)))["return"]["pid"]
        status = json.dumps({"execute": "guest-exec-status", "arguments": {"pid": pid}})
        for _ in range(100):
            said = json.loads(sh("virsh", "qemu-agent-command", self.sender, status))["return"]
            if said["exited"]:
                return int(said["exitcode"])
            time.sleep(0.2)
        raise AssertionError(f"{words[0]} does not end in {self.sender}")

    def arriving(self, frames: Mapping[str, bytes]) -> set[str]:
        """Which of the frames arrive that the guest sends, before one that surely passes."""
        words = [each.hex() for each in (*frames.values(), END)]
        assert self.inside(PYTHON, "-c", SEND, *words) == 0
        found: set[str] = set()
        for _ in range(10_000):
            heard = self.ear.recv(4096)
            found |= {name for name, frame in frames.items() if heard.startswith(frame)}
            if heard.startswith(END):
                return found
        raise AssertionError("the closing frame never came")


@pytest.fixture(scope="module")
def street(lab: Lab, debian_template: Installed, tiny_template: Installed) -> Iterator[Street]:
    node, other = LibvirtNode(lab, debian_template), LibvirtNode(lab, tiny_template)
    definition, volumes = define_guest(node, NUMBER, size=node.boot.size_bytes, agent=True)
    lease = definition.lease
    assert lease.mac == MAC
    sh("ip", "link", "add", "street-in", "type", "veth", "peer", "name", "street-out")
    sh("ip", "link", "set", "street-in", "master", node.bridge, "up")
    sh("ip", "link", "set", "street-out", "up")
    try:
        node.hypervisor.power(definition.name, PowerAction.START, deadline=LONG)
        with running_guest(other, 101, encrypted=False) as neighbour:
            daemons.wait_until(
                "the agent", lambda: node.hypervisor.agent_ping(definition.name, deadline=10), seconds=SECONDS_TO_BOOT
            )
            with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)) as ear:
                ear.bind(("street-out", 0))
                ear.settimeout(10)
                made = Street(node, definition.name, neighbour.address, ear)
                own = " && ".join(f"ip address replace {each} dev {INTERFACE}" for each in (*lease.ipv4, *lease.ipv6))
                assert made.inside("/bin/sh", "-c", f"ip link set {INTERFACE} up && {own}") == 0
                yield made
    finally:
        remove_guest(node, definition.name, volumes)
        sh("ip", "link", "delete", "street-in")
        for each in (node, other):
            each.connection.close()


def hollow(name: str) -> None:
    """The filter of that name, without any rule, where it stands on the taps of guests that run."""
    uuid = sh("virsh", "nwfilter-dumpxml", name).split("<uuid>")[1].split("</uuid>")[0]
    text = f"<filter name='{name}' chain='root'><uuid>{uuid}</uuid></filter>"
    subprocess.run(["virsh", "-q", "nwfilter-define", "/dev/stdin"], input=text.encode(), check=True, timeout=60)


def test_what_a_guest_sends_as_itself_arrives_and_reaches_its_neighbour(street: Street) -> None:
    assert street.arriving(TRUE) == set(TRUE)
    assert street.inside(PYTHON, "-c", ASK, street.neighbour, OWN) == 0


def test_nothing_false_that_a_guest_sends_arrives(street: Street) -> None:
    assert street.arriving(FALSE) == set()


def test_a_mail_server_hears_of_a_guest_only_while_its_mail_is_open(street: Street) -> None:
    """Over IPv4 and IPv6, and without a word where it is refused: root inside connects to a server on the host."""
    hypervisor = street.node.hypervisor
    with ExitStack() as stack:
        for host in MAIL_SERVERS:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            for port in (25, 587):
                stack.enter_context(socket.create_server((host, port), family=family))

        def reached() -> list[str]:
            asked = [(host, port) for host in MAIL_SERVERS for port in (25, 587)]
            return [f"{host} {port}" for host, port in asked if street.inside(PYTHON, "-c", DIAL, host, str(port)) == 0]

        submission = [f"{host} 587" for host in MAIL_SERVERS]
        assert reached() == submission
        hypervisor.set_mail(street.sender, out=True, deadline=LONG)
        assert reached() == [f"{host} {port}" for host in MAIL_SERVERS for port in (25, 587)]
        hypervisor.set_mail(street.sender, out=False, deadline=LONG)
        assert reached() == submission


def test_an_address_that_a_guest_takes_for_itself_reaches_nobody(street: Street) -> None:
    stolen = str(lease_of(50).ipv4[0])
    assert street.inside("/bin/sh", "-c", f"ip address add {stolen} dev {INTERFACE}") == 0
    source = stolen.partition("/")[0]
    assert street.inside(PYTHON, "-c", ASK, street.neighbour, OWN) == 0
    assert street.inside(PYTHON, "-c", ASK, street.neighbour, source) != 0
    assert guests.banner(source) == ""


def test_without_the_filter_every_one_of_them_would_have_arrived(street: Street) -> None:
    hollow(NO_MAIL)
    try:
        assert set(FALSE) - street.arriving(FALSE) == {TAGGED}
    finally:
        bring_filter(street.node)
    assert street.arriving(FALSE) == set()
