from __future__ import annotations

from ipaddress import IPv4Network, IPv6Address, ip_address, ip_network
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain.addresses import (
    LARGEST_COUNT,
    MAC_CHOICES,
    Address,
    choose,
    choose_many,
    free,
    mac_address,
    never_given,
    ranges_of,
    size,
    span,
)
from orchestrator.domain.plans import AddressRange


def make(network: str, first: str = "", last: str = "", gateway: str = "", reserved: tuple[str, ...] = ()) -> AddressRange:
    net = ip_network(network)
    return AddressRange(
        name="r",
        zone="z",
        network=net,
        gateway=ip_address(gateway) if gateway else net.network_address + 1,
        first=ip_address(first) if first else net.network_address,
        last=ip_address(last) if last else net.broadcast_address,
        reserved=tuple(ip_address(a) for a in reserved),
    )


@st.composite
def ranges(draw: st.DrawFn) -> AddressRange:
    """Small networks of both families, with any part of them as the range, also one that sticks out of the network."""
    start = ip_address(draw(st.sampled_from(("10.20.0.0", "2001:db8::"))))
    base, widest = int(start), start.max_prefixlen
    prefix = draw(st.integers(widest - 6, widest))
    count = 1 << (widest - prefix)

    def address(low: int, high: int) -> Address:
        return ip_address(base + draw(st.integers(low, high)))

    first = address(0, count - 1)
    return AddressRange(
        name="r",
        zone="z",
        network=ip_network((base, prefix)),
        gateway=address(0, count - 1),
        first=first,
        last=ip_address(min(int(first) + draw(st.integers(0, count)), base + count + 3)),
        reserved=tuple(address(0, count - 1) for _ in range(draw(st.integers(0, 3)))),
    )


@given(ranges(), st.lists(st.tuples(st.booleans(), st.integers(0, 200)), max_size=120))
def test_no_address_is_held_twice_whatever_is_allocated_and_released_in_whatever_order(
    range_: AddressRange, acts: list[tuple[bool, int]]
) -> None:
    held: list[Address] = []
    for allocate, number in acts:
        if allocate:
            found = choose(range_, frozenset(held), offset=number % max(1, span(range_)))
            if found is None:
                assert len(held) == size(range_)
            else:
                assert found not in held
                held.append(found)
        elif held:
            held.pop(number % len(held))
        assert free(range_, held) == size(range_) - len(held)


@given(ranges(), st.integers(0, 200))
def test_only_usable_addresses_of_the_range_are_given_and_each_of_them_once(range_: AddressRange, offset: int) -> None:
    given_out = choose_many(range_, frozenset(), count=size(range_), offset=offset % max(1, span(range_)))
    assert len(set(given_out)) == size(range_)
    network = range_.network
    for address in given_out:
        assert address in network
        assert int(range_.first) <= int(address) <= int(range_.last)
        assert address != range_.gateway
        assert address not in range_.reserved
        if network.prefixlen < network.max_prefixlen - 1:
            assert address != network.network_address
            assert not (isinstance(network, IPv4Network) and address == network.broadcast_address)
    assert choose(range_, frozenset(given_out), offset=0) is None
    assert choose_many(range_, frozenset(), count=size(range_) + 1) == ()


@given(ranges(), st.sets(st.integers(0, 63)), st.integers(0, 63))
def test_the_choice_is_the_first_free_one_from_the_offset_on_round_the_range(
    range_: AddressRange, used: set[int], offset: int
) -> None:
    if span(range_) == 0:
        return
    low = max(int(range_.first), int(range_.network.network_address))
    kind = type(range_.gateway)
    taken = frozenset(kind(low + n % span(range_)) for n in used)
    offset %= span(range_)
    candidates = [kind(low + (offset + n) % span(range_)) for n in range(span(range_))]
    expected = next((a for a in candidates if a not in taken and a not in never_given(range_)), None)
    assert choose(range_, taken, offset=offset) == expected


@pytest.mark.parametrize(
    ("range_", "usable"),
    [
        (make("192.0.2.0/30"), ["192.0.2.2"]),
        (make("192.0.2.0/31", gateway="192.0.2.0"), ["192.0.2.1"]),  # RFC 3021: no network and no broadcast address
        (make("192.0.2.0/31", gateway="198.51.100.1"), ["192.0.2.0", "192.0.2.1"]),
        (make("192.0.2.7/32", gateway="198.51.100.1"), ["192.0.2.7"]),  # a routed single address
        (make("192.0.2.7/32", gateway="192.0.2.7"), []),
        (make("2001:db8::/126"), ["2001:db8::2", "2001:db8::3"]),  # the last one is no broadcast address
        (make("2001:db8::/127", gateway="2001:db8::1"), ["2001:db8::"]),  # RFC 6164
        (make("2001:db8::9/128", gateway="fe80::1"), ["2001:db8::9"]),
        (make("192.0.2.0/24", first="192.0.2.250", last="192.0.3.9", gateway="192.0.2.254"), None),  # cut to the network
        (make("192.0.2.0/24", first="192.0.2.9", last="192.0.2.3"), []),  # upside down
    ],
)
def test_edges(range_: AddressRange, usable: list[str] | None) -> None:
    expected = usable if usable is not None else [f"192.0.2.{n}" for n in (250, 251, 252, 253)]
    assert [str(a) for a in choose_many(range_, frozenset(), count=size(range_))] == expected
    assert size(range_) == len(expected)


def test_a_whole_ipv6_network_is_counted_within_63_bits_and_chosen_from_at_any_offset() -> None:
    range_ = make("2001:db8::/48")
    assert size(range_) == LARGEST_COUNT
    assert choose(range_, frozenset(), offset=span(range_) - 1) == range_.network.broadcast_address
    taken = frozenset({range_.network.broadcast_address})
    assert choose(range_, taken, offset=span(range_) - 1) == IPv6Address("2001:db8::2")  # past ::0 and the gateway ::1


def test_too_many_at_once_gives_none() -> None:
    assert choose_many(make("192.0.2.0/29"), frozenset(), count=6) == ()
    assert choose_many(make("192.0.2.0/29"), frozenset(), count=0) == ()


def test_ranges_keep_to_their_zone_and_family() -> None:
    four, six = make("192.0.2.0/29"), make("2001:db8::/64")
    assert ranges_of([six, four], zone="z", version=4) == (four,)
    assert ranges_of([six, four], zone="z", version=6) == (six,)
    assert ranges_of([six, four], zone="elsewhere", version=4) == ()


@given(st.integers(0, MAC_CHOICES - 1))
def test_macs_are_unicast_under_the_prefix_and_one_to_one(number: int) -> None:
    mac = mac_address(number)
    assert mac.startswith("52:54:00:")
    assert int(mac[:2], 16) & 0b11 == 0b10  # locally administered, unicast (IEEE 802)
    assert int(mac.replace(":", "")[6:], 16) == number


@pytest.mark.parametrize("number", [-1, MAC_CHOICES])
def test_a_mac_beyond_its_24_bits_is_refused(number: int) -> None:
    with pytest.raises(ValueError, match="24 bits"):
        mac_address(number)


def test_different_numbers_give_different_macs() -> None:
    assert all(mac_address(a) != mac_address(b) for a, b in combinations((0, 1, 255, 256, 65535, 65536, MAC_CHOICES - 1), 2))
