"""Outgoing mail at work: what a real guest sends to port 25 arrives or does not, over IPv4 and IPv6, as it is opened and closed.

The guest answers whoever asks it, at the port that he asks from: so asked from port 25 it sends to port 25. What its root sends
by himself is tried from inside in ``test_libvirt_hygiene``.
"""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from orchestrator.domain.errors import WrongState
from orchestrator.ports.hypervisor import GuestFacts, Power
from tests.contract.nodes import LONG, LibvirtNode, lease_of
from tests.integration.libvirt_guests import Running, running_guest
from tests.integration.test_libvirt_anti_spoofing import BROADCAST, raw_mac
from tests.lab import tiny
from tests.lab.environment import Lab
from tests.lab.templates import Installed

MAIL, OTHERS = 25, (26, 587)
HOSTS = {"IPv4": "10.77.0.1", "IPv6": "fd77::1"}
PATIENCE = 1.5  # seconds; a guest that may answers in a few milliseconds


@pytest.fixture(scope="module")
def node(lab: Lab, tiny_template: Installed) -> Iterator[LibvirtNode]:
    made = LibvirtNode(lab, tiny_template)
    yield made
    made.connection.close()


@pytest.fixture(scope="module")
def guest(node: LibvirtNode) -> Iterator[Running]:
    with running_guest(node, 42, encrypted=False) as running:
        yield running


@pytest.fixture
def closed(guest: Running) -> Iterator[Running]:
    """The guest with its mail closed."""
    said(guest, out=False)
    yield guest
    said(guest, out=False)


def said(guest: Running, *, out: bool) -> GuestFacts:
    return guest.node.hypervisor.set_mail(guest.definition.name, out=out, deadline=LONG)


@contextmanager
def asked_from(guest: Running, family: str, port: int) -> Iterator[socket.socket]:
    """A connection to the guest's port 22 from that port of the host; TimeoutError where its answers do not arrive."""
    lease = guest.definition.lease
    target = lease.ipv4[0].ip if family == "IPv4" else lease.ipv6[0].ip
    with socket.socket(socket.AF_INET if family == "IPv4" else socket.AF_INET6) as link:
        link.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # no waiting at its end: the port is used again
        link.settimeout(PATIENCE)
        link.bind((HOSTS[family], port))
        link.connect((str(target), 22))
        yield link


def arriving(guest: Running) -> set[tuple[str, int]]:
    return {(family, port) for family in HOSTS for port in (MAIL, *OTHERS) if arrives(guest, family, port)}


def arrives(guest: Running, family: str, port: int) -> bool:
    with suppress(TimeoutError), asked_from(guest, family, port) as link:
        return link.recv(4) == b"SSH-"
    return False


def test_nothing_that_a_guest_sends_to_port_25_arrives_unless_it_is_opened(closed: Running) -> None:
    assert arriving(closed) == {(family, port) for family in HOSTS for port in OTHERS}
    opened = said(closed, out=True)
    assert (opened.power, opened.mail_out, opened.mail_out_at_start) == (Power.RUNNING, True, True)
    assert arriving(closed) == {(family, port) for family in HOSTS for port in (MAIL, *OTHERS)}


def test_of_a_connection_that_stands_nothing_goes_out_once_mail_is_closed(closed: Running) -> None:
    """The guest ends its connections after ten seconds, or when it has heard their end: that word does not arrive any more."""
    said(closed, out=True)
    with ExitStack() as stack:
        links = {(f, p): stack.enter_context(asked_from(closed, f, p)) for f in HOSTS for p in (MAIL, OTHERS[0])}
        assert {link.recv(64) for link in links.values()} == {b"SSH-2.0-tiny\n"}
        said(closed, out=False)
        for (_family, port), link in links.items():
            link.shutdown(socket.SHUT_WR)
            if port == MAIL:
                with pytest.raises(TimeoutError):
                    link.recv(1)
            else:
                assert link.recv(1) == b""


def test_at_no_instant_of_a_change_does_anything_false_pass(closed: Running) -> None:
    """libvirt takes the rules of one filter away before it sets the other's: the guest is halted meanwhile.

    It has taken another's address for itself, and is asked for that without end; it answers, and no answer may arrive.
    """
    stolen = lease_of(150).ipv4[0]
    tiny.ask(closed.address, "spoof", str(stolen))
    bridge = closed.node.bridge
    own = Path(f"/sys/class/net/{bridge}/address").read_text().strip()
    question = raw_mac(BROADCAST) + raw_mac(own) + struct.pack("!HHHBBH", 0x0806, 1, 0x0800, 6, 4, 1)
    question += raw_mac(own) + IPv4Address(HOSTS["IPv4"]).packed + bytes(6) + stolen.ip.packed
    done, heard = threading.Event(), threading.Event()
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0806)) as wire:
        wire.bind((bridge, 0))
        wire.settimeout(0.002)

        def ask_on() -> None:
            while not done.is_set():
                wire.send(question)
                with suppress(TimeoutError):
                    frame = wire.recv(128)
                    if frame[20:22] == b"\0\2" and frame[28:32] == stolen.ip.packed:
                        heard.set()

        asking = threading.Thread(target=ask_on)
        asking.start()
        try:
            for out in (True, False, True, False):
                said(closed, out=out)
        finally:
            done.set()
            asking.join(timeout=60)
    assert not heard.is_set()
    assert arrives(closed, "IPv4", OTHERS[0])


def test_a_guest_without_a_filter_of_ours_is_told_as_such(node: LibvirtNode) -> None:
    node.stranger("bare")
    try:
        with pytest.raises(WrongState, match="no network filter of ours"):
            node.hypervisor.set_mail("bare", out=False, deadline=LONG)
    finally:
        node.remove_stranger("bare")
