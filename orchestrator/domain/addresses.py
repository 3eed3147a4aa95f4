"""Which address is next: pure choice out of a range, given what is taken.

IPv4 takes the lowest free address. IPv6 starts at a random offset that the caller draws, so that addresses are not
guessed by counting and an address that was given back is not the next one out.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence, Set
from ipaddress import IPv4Address, IPv4Network, IPv6Address

from orchestrator.domain.plans import AddressRange

Address = IPv4Address | IPv6Address

# Locally administered, unicast, and the prefix that QEMU guests are known by.
MAC_PREFIX = "52:54:00"
MAC_CHOICES = 1 << 24

# Counts are kept in signed 64-bit columns and JSON numbers.
LARGEST_COUNT = (1 << 63) - 1


def never_given(range_: AddressRange) -> frozenset[Address]:
    """Addresses between ``first`` and ``last`` that no guest gets.

    The gateway and the reserved ones; the network address and the broadcast address of an IPv4 network, except in a /31
    (RFC 3021) and a /32, which have neither; the subnet-router anycast address of an IPv6 network (RFC 4291, 2.6.1), except
    in a /127 (RFC 6164) and a /128. What lies outside the network is never given either: see ``bounds``.
    """
    network = range_.network
    excluded: set[Address] = {range_.gateway, *range_.reserved}
    if network.prefixlen < network.max_prefixlen - 1:
        excluded.add(network.network_address)
        if isinstance(network, IPv4Network):
            excluded.add(network.broadcast_address)
    low, high = bounds(range_)
    return frozenset(a for a in excluded if a.version == network.version and low <= int(a) <= high)


def bounds(range_: AddressRange) -> tuple[int, int]:
    """The first and last address as numbers, cut to the network."""
    network = range_.network
    return max(int(range_.first), int(network.network_address)), min(int(range_.last), int(network.broadcast_address))


def size(range_: AddressRange) -> int:
    """How many addresses the range can ever give at once, at most 2**63-1."""
    low, high = bounds(range_)
    return max(0, min(high - low + 1 - len(never_given(range_)), LARGEST_COUNT))


def span(range_: AddressRange) -> int:
    """How many numbers lie between the bounds: what an offset for ``choose`` is drawn from."""
    low, high = bounds(range_)
    return max(0, high - low + 1)


def choose(range_: AddressRange, taken: Set[Address], *, offset: int = 0) -> Address | None:
    """The first free address at or after the ``offset``-th of the range, going round at its end; None where none is free.

    ``offset`` 0 is the lowest. Looks at no more addresses than there are taken and excluded ones, plus one.
    """
    low, high = bounds(range_)
    width = high - low + 1
    if width <= 0:
        return None
    blocked = never_given(range_)
    make = IPv4Address if range_.network.version == 4 else IPv6Address
    for step in range(min(width, len(taken) + len(blocked) + 1)):
        candidate: Address = make(low + (offset + step) % width)
        if candidate not in blocked and candidate not in taken:
            return candidate
    return None


def choose_many(range_: AddressRange, taken: Set[Address], *, count: int, offset: int = 0) -> tuple[Address, ...]:
    """``count`` different addresses by ``choose``, or an empty tuple where fewer are free."""
    chosen: list[Address] = []
    for _ in range(count):
        found = choose(range_, taken | set(chosen), offset=offset)
        if found is None:
            return ()
        chosen.append(found)
    return tuple(chosen)


def free(range_: AddressRange, taken: Collection[Address]) -> int:
    """How many addresses of the range could still be given; never negative."""
    blocked = never_given(range_)
    low, high = bounds(range_)
    used = sum(1 for a in set(taken) if a not in blocked and a.version == range_.network.version and low <= int(a) <= high)
    return max(0, size(range_) - used)


def ranges_of(ranges: Sequence[AddressRange], *, zone: str, version: int) -> tuple[AddressRange, ...]:
    """The ranges one zone draws one family from, in the order they are declared."""
    return tuple(r for r in ranges if r.zone == zone and r.network.version == version)


def range_with(ranges: Sequence[AddressRange], address: Address) -> AddressRange | None:
    """The first range that the address is in; None where none has it, or it is one that no guest gets."""
    for each in ranges:
        if address in each.network and address not in never_given(each):
            return each
    return None


def mac_address(number: int) -> str:
    """The MAC with this number (0 to 2**24 - 1) under the prefix; raises ValueError beyond."""
    if not 0 <= number < MAC_CHOICES:
        raise ValueError("a MAC has 24 bits of its own")
    return f"{MAC_PREFIX}:{number >> 16 & 255:02x}:{number >> 8 & 255:02x}:{number & 255:02x}"
