"""The contract of GuestConsoles, on the simulated node and on libvirt with a guest whose kernel has its terminal on ttyS0."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from orchestrator.domain.errors import NotFound, WrongState
from orchestrator.drivers.local.clock import SystemClock
from orchestrator.ports.guest_console import HELD, GuestConsole
from orchestrator.ports.hypervisor import GuestDisk, PowerAction
from orchestrator.ports.volumes import VolumeSpec
from tests.contract.nodes import LONG, MIB, NodeUnderTest, definition_of

ROOT = VolumeSpec(name="orch.s8.root.job-1.qcow2", capacity_bytes=128 * MIB, encrypted=False)
NAME = "orch.s8"


@pytest.fixture(scope="module")
def guest(node: NodeUnderTest) -> Iterator[str]:
    """One that runs, for all tests here; the last one leaves it off."""
    disk = GuestDisk(path=node.volumes.create(ROOT, deadline=LONG).path, format="qcow2", capacity_bytes=128 * MIB)
    node.hypervisor.define(definition_of(node, 8, disk), deadline=LONG)
    node.hypervisor.power(NAME, PowerAction.START, deadline=LONG)
    yield NAME
    node.hypervisor.power(NAME, PowerAction.DESTROY, deadline=LONG)
    node.hypervisor.undefine(NAME, deadline=LONG)
    node.volumes.delete(ROOT.name, deadline=LONG)


@contextmanager
def opened(node: NodeUnderTest, *, force: bool = False) -> Iterator[GuestConsole]:
    console = node.consoles.open(NAME, force=force, deadline=LONG)
    try:
        yield console
    finally:
        console.close(deadline=LONG)


def echoes(console: GuestConsole, word: bytes) -> bool:
    """Whether the word comes back. It is typed again where its terminal was not there yet: the guest boots."""
    clock, heard = SystemClock(), b""
    until = clock.monotonic() + LONG
    while word not in heard and clock.monotonic() < until:
        console.write(word + b"\r", deadline=LONG)
        got = console.read(wait=0.5)
        assert got is not None, "it is over"
        heard += got
    return word in heard


def over(console: GuestConsole) -> bool:
    clock = SystemClock()
    until = clock.monotonic() + LONG
    while clock.monotonic() < until:
        if console.read(wait=0.2) is None:
            return True
    return False


def test_what_is_typed_comes_back(node: NodeUnderTest, guest: str) -> None:
    with opened(node) as console:
        assert echoes(console, b"who-is-there")


def test_where_nothing_is_said_reading_ends_with_its_wait(node: NodeUnderTest, guest: str) -> None:
    with opened(node) as console:
        assert echoes(console, b"quiet")
        while console.read(wait=0.5):
            pass
        assert console.read(wait=0.1) == b""


def test_one_at_a_time_has_it_and_force_takes_it(node: NodeUnderTest, guest: str) -> None:
    with opened(node) as first:
        with pytest.raises(WrongState) as refused:
            node.consoles.open(guest, force=False, deadline=LONG)
        assert refused.value.details[HELD]
        assert echoes(first, b"mine-still")
        with opened(node, force=True) as second:
            assert over(first)
            first.close(deadline=LONG)
            assert echoes(second, b"mine-now")


def test_what_was_closed_can_be_opened_again_and_takes_no_more(node: NodeUnderTest, guest: str) -> None:
    for _ in range(3):
        with opened(node) as console:
            assert echoes(console, b"again")
    console.close(deadline=LONG)
    assert console.read(wait=0.1) is None
    with pytest.raises(WrongState):
        console.write(b"late", deadline=LONG)


def test_the_console_of_a_guest_that_goes_off_is_over(node: NodeUnderTest, guest: str) -> None:
    with opened(node) as console:
        node.hypervisor.power(guest, PowerAction.DESTROY, deadline=LONG)
        assert over(console)
    with pytest.raises(WrongState) as refused:
        node.consoles.open(guest, force=True, deadline=LONG)
    assert HELD not in refused.value.details


def test_an_absent_guest_has_none(node: NodeUnderTest) -> None:
    with pytest.raises(NotFound):
        node.consoles.open("orch.absent", force=False, deadline=LONG)
