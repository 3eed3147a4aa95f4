"""The tiny guest does what the other tests build upon, through plain virsh: no code of the product is involved."""

import subprocess
from collections.abc import Iterator

import pytest

from tests.lab import daemons, guests, tiny
from tests.lab.environment import Lab
from tests.lab.templates import Installed

ADDRESS, ADDRESS_V6 = "10.77.0.201", "fd77::201"


def virsh(*words: str) -> str:
    return subprocess.run(["virsh", "-q", *words], capture_output=True, text=True, check=True, timeout=60).stdout


@pytest.fixture(scope="module")
def guest(lab: Lab, tiny_template: Installed) -> Iterator[guests.Guest]:
    """A tiny guest that runs, made by hand."""
    made = guests.start(
        lab, tiny_template, "image-test", addresses=(f"{ADDRESS}/24", f"{ADDRESS_V6}/64"), gateways=("10.77.0.1", "fd77::1")
    )
    yield made
    guests.remove(made)


def test_it_answers_on_ssh_s_port_at_both_of_its_addresses(guest: guests.Guest) -> None:
    for address in (ADDRESS, ADDRESS_V6):
        assert guests.banner(address).startswith("SSH-2.0-tiny")


def test_it_took_its_name_its_instance_and_its_addresses_from_the_seed(guest: guests.Guest) -> None:
    seen = tiny.facts(ADDRESS)
    assert (seen["hostname"], seen["instance"]) == ("image-test", "i-image-test")
    assert set(seen["addresses"].split()) == {f"{ADDRESS}/24", f"{ADDRESS_V6}/64"}
    assert (seen["processors"], seen["disk_bytes"]) == ("1", str(guests.DISK_BYTES))


def test_it_reaches_the_bridge_by_both_protocols_and_says_when_it_does_not(guest: guests.Guest) -> None:
    tiny.ask(ADDRESS, "ping", "10.77.0.1")
    tiny.ask(ADDRESS, "ping", "fd77::1")
    with pytest.raises(tiny.TinyFailed):
        tiny.ask(ADDRESS, "ping", "10.77.0.99")


def test_a_marker_that_it_plants_lies_on_the_pool_s_device(guest: guests.Guest, lab: Lab) -> None:
    marker, other = b"planted-through-the-guest-0123456789", b"never-planted-9876543210"
    tiny.plant(ADDRESS, 16 * 1024**2, marker, copies=100)
    assert tiny.show(ADDRESS, 16 * 1024**2, len(marker)) == marker
    found = guests.occurrences(lab.pool_device, marker, other)
    assert (found[marker], found[other]) == (100, 0)


def test_a_cpu_limit_of_the_guest_is_in_force_in_the_lab_s_control_groups(guest: guests.Guest) -> None:
    virsh("schedinfo", guest.name, "--live", "--set", "vcpu_quota=45000")
    assert "45000" in guests.cpu_quotas()


def test_the_power_button_stops_it(guest: guests.Guest) -> None:
    virsh("shutdown", guest.name)
    daemons.wait_until("the guest's end", lambda: virsh("domstate", guest.name).strip() == "shut off", seconds=30)
    assert guests.banner(ADDRESS) == ""
