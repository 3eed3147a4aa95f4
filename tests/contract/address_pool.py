"""What every AddressPool must do; a suite for one implementation inherits this and says how to make one."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Sequence
from datetime import timedelta
from ipaddress import IPv4Address, IPv4Interface, IPv6Network, ip_address, ip_network
from pathlib import Path

import pytest

from orchestrator.domain.errors import NoCapacity, Refused
from orchestrator.domain.plans import AddressRange, Lease
from orchestrator.drivers.fake.outside import FakeClock
from orchestrator.ports.address_pool import AddressPool, PoolUsage

COOL_DOWN = timedelta(hours=24)
PROOF = "absent from n1, asked at 12:00"


def address_range(
    name: str, network: str, first: str, last: str, *, zone: str = "z1", reserved: Sequence[str] = ()
) -> AddressRange:
    net = ip_network(network)
    return AddressRange(
        name=name,
        zone=zone,
        network=net,
        gateway=net.network_address + 1,
        first=ip_address(first),
        last=ip_address(last),
        reserved=tuple(ip_address(a) for a in reserved),
        dns=(net.network_address + 53,),
    )


SMALL4 = address_range("small4", "192.0.2.0/29", "192.0.2.0", "192.0.2.7", reserved=["192.0.2.3"])  # leaves .2 .4 .5 .6
WIDE6 = address_range("wide6", "2001:db8:1::/64", "2001:db8:1::1000", "2001:db8:1::ffff")
OTHER4 = address_range("other4", "198.51.100.0/24", "198.51.100.10", "198.51.100.20", zone="z2")
RANGES = (SMALL4, WIDE6, OTHER4)


class AddressPoolContract(ABC):
    """``make(ranges, clock)`` opens a pool on empty storage with COOL_DOWN."""

    @abstractmethod
    def make(self, ranges: Sequence[AddressRange], clock: FakeClock, directory: Path) -> AddressPool: ...

    @pytest.fixture
    def clock(self) -> FakeClock:
        return FakeClock()

    @pytest.fixture
    def pool(self, clock: FakeClock, tmp_path: Path) -> AddressPool:
        return self.make(RANGES, clock, tmp_path)

    def test_gives_the_lowest_free_ipv4_with_prefix_gateway_and_dns(self, pool: AddressPool) -> None:
        lease = _take(pool, "s1")
        assert lease.ipv4 == (IPv4Interface("192.0.2.2/29"),)
        assert lease.gateway4 == IPv4Address("192.0.2.1")
        assert "192.0.2.53" in lease.dns
        assert (lease.service_id, lease.job_id) == ("s1", "job-s1")

    def test_gives_an_ipv6_address_out_of_the_range(self, pool: AddressPool) -> None:
        lease = _take(pool, "s1")
        assert len(lease.ipv6) == 1
        assert int(WIDE6.first) <= int(lease.ipv6[0].ip) <= int(WIDE6.last)
        assert lease.ipv6[0].network == IPv6Network("2001:db8:1::/64")
        assert lease.gateway6 == WIDE6.gateway

    def test_macs_are_locally_administered_unicast_and_differ(self, pool: AddressPool) -> None:
        macs = {_take(pool, f"s{n}").mac for n in range(4)}
        assert len(macs) == 4
        assert all(mac.startswith("52:54:00:") and len(mac) == 17 for mac in macs)

    def test_the_same_service_gets_the_same_lease_again_and_nothing_more(self, pool: AddressPool) -> None:
        first = _take(pool, "s1")
        again = pool.allocate(service_id="s1", job_id="another-job", zone="z1", ipv4=2, ipv6=2)
        assert again == first
        assert _usage(pool, "small4").leased == 1

    def test_an_exhausted_range_is_named_and_nothing_is_taken(self, pool: AddressPool) -> None:
        for number in range(4):
            _take(pool, f"s{number}")
        with pytest.raises(NoCapacity, match="small4"):
            _take(pool, "s5")
        assert pool.lease("s5") is None
        assert _usage(pool, "wide6").leased == 4

    def test_what_one_family_lacks_takes_nothing_of_the_other(self, pool: AddressPool) -> None:
        with pytest.raises(NoCapacity, match="small4"):
            pool.allocate(service_id="s1", job_id="j", zone="z1", ipv4=5, ipv6=1)
        assert all(usage.leased == 0 for usage in pool.usage())

    def test_a_zone_without_a_range_of_the_family_is_refused(self, pool: AddressPool) -> None:
        with pytest.raises(NoCapacity, match="z2"):
            pool.allocate(service_id="s1", job_id="j", zone="z2", ipv4=1, ipv6=1)
        assert pool.lease("s1") is None

    def test_zones_do_not_share_ranges(self, pool: AddressPool) -> None:
        lease = pool.allocate(service_id="s1", job_id="j", zone="z2", ipv4=1, ipv6=0)
        assert lease.ipv4 == (IPv4Interface("198.51.100.10/24"),)
        assert lease.ipv6 == ()
        assert lease.gateway6 is None

    def test_several_addresses_of_a_family_are_different_and_of_one_range(self, pool: AddressPool) -> None:
        lease = pool.allocate(service_id="s1", job_id="j", zone="z1", ipv4=3, ipv6=3)
        assert [str(a.ip) for a in lease.ipv4] == ["192.0.2.2", "192.0.2.4", "192.0.2.5"]
        assert len({a.ip for a in lease.ipv6}) == 3

    def test_a_guest_without_addresses_still_gets_a_mac(self, pool: AddressPool) -> None:
        lease = pool.allocate(service_id="s1", job_id="j", zone="z1", ipv4=0, ipv6=0)
        assert (lease.ipv4, lease.ipv6) == ((), ())
        assert lease.mac
        assert pool.lease("s1") == lease

    def test_a_released_address_is_not_given_again_before_its_cool_down_ends(self, pool: AddressPool, clock: FakeClock) -> None:
        first = _take(pool, "s1")
        pool.release(service_id="s1", proof=PROOF)
        clock.advance(COOL_DOWN - timedelta(seconds=1))
        assert _take(pool, "s2").ipv4 != first.ipv4
        clock.advance(timedelta(seconds=1))
        assert _take(pool, "s3").ipv4 == first.ipv4

    def test_cooling_addresses_count_against_the_range(self, pool: AddressPool, clock: FakeClock) -> None:
        for number in range(4):
            _take(pool, f"s{number}")
        pool.release(service_id="s1", proof=PROOF)
        assert (_usage(pool, "small4").leased, _usage(pool, "small4").cooling) == (3, 1)
        with pytest.raises(NoCapacity):
            _take(pool, "s9")
        clock.advance(COOL_DOWN)
        assert _usage(pool, "small4").cooling == 0
        assert _take(pool, "s9").ipv4 == (IPv4Interface("192.0.2.4/29"),)

    def test_release_is_repeatable_and_of_nobody_is_success(self, pool: AddressPool) -> None:
        _take(pool, "s1")
        for _ in range(2):
            pool.release(service_id="s1", proof=PROOF)
            pool.release(service_id="nobody", proof=PROOF)
        assert pool.lease("s1") is None

    def test_releasing_again_does_not_start_the_cool_down_anew(self, pool: AddressPool, clock: FakeClock) -> None:
        first = _take(pool, "s1")
        pool.release(service_id="s1", proof=PROOF)
        clock.advance(COOL_DOWN / 2)
        pool.release(service_id="s1", proof=PROOF)
        clock.advance(COOL_DOWN / 2)
        assert _take(pool, "s2").ipv4 == first.ipv4

    def test_release_without_a_proof_is_refused_and_keeps_the_lease(self, pool: AddressPool) -> None:
        lease = _take(pool, "s1")
        with pytest.raises(Refused):
            pool.release(service_id="s1", proof=" ")
        assert pool.lease("s1") == lease

    def test_a_service_that_comes_back_gets_other_addresses_while_its_old_ones_cool(self, pool: AddressPool) -> None:
        first = _take(pool, "s1")
        pool.release(service_id="s1", proof=PROOF)
        second = _take(pool, "s1")
        assert second.ipv4 != first.ipv4
        assert second.mac != first.mac

    def test_usage_counts_what_can_ever_be_given(self, pool: AddressPool) -> None:
        assert _usage(pool, "small4") == PoolUsage(name="small4", zone="z1", family=4, size=4, leased=0, cooling=0)
        assert _usage(pool, "wide6").size == 0xFFFF - 0x1000 + 1
        assert [usage.name for usage in pool.usage()] == ["small4", "wide6", "other4"]

    def test_concurrent_services_never_share_an_address(self, clock: FakeClock, tmp_path: Path) -> None:
        pool = self.make([address_range("r4", "10.9.0.0/24", "10.9.0.0", "10.9.0.255"), WIDE6], clock, tmp_path)
        leases: list[Lease] = []
        threads = [threading.Thread(target=lambda n=n: leases.append(_take(pool, f"s{n}"))) for n in range(24)]
        _run(threads)
        assert len(leases) == 24
        assert len({lease.mac for lease in leases}) == 24
        assert {lease.ipv4[0].ip for lease in leases} == {IPv4Address("10.9.0.2") + n for n in range(24)}

    def test_concurrent_requests_of_one_service_make_one_lease(self, pool: AddressPool) -> None:
        leases: list[Lease] = []
        _run([threading.Thread(target=lambda: leases.append(_take(pool, "s1"))) for _ in range(8)])
        assert len(leases) == 8
        assert len(set(leases)) == 1
        assert _usage(pool, "small4").leased == 1


def _take(pool: AddressPool, service_id: str) -> Lease:
    return pool.allocate(service_id=service_id, job_id=f"job-{service_id}", zone="z1", ipv4=1, ipv6=1)


def _usage(pool: AddressPool, name: str) -> PoolUsage:
    return next(usage for usage in pool.usage() if usage.name == name)


def _run(threads: list[threading.Thread]) -> None:
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
