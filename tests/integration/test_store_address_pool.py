"""What is particular to the pool in the store; what every pool must do is in tests/contract/address_pool.py."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from ipaddress import IPv4Interface, IPv6Interface

import pytest
from sqlalchemy.exc import IntegrityError

from orchestrator.domain.errors import NoCapacity, WrongState
from orchestrator.domain.plans import AddressRange
from orchestrator.drivers.fake.outside import FakeClock
from orchestrator.store import addresses
from orchestrator.store.address_pool import MAC_DRAWS, StoreAddressPool
from orchestrator.store.database import Database
from tests.contract.address_pool import COOL_DOWN, address_range

V4 = address_range("v4", "192.0.2.0/28", "192.0.2.0", "192.0.2.15")
V6 = address_range("v6", "2001:db8::/64", "2001:db8::", "2001:db8::ff")


def draws(*numbers: int) -> Callable[[int], int]:
    """Randomness as written down; the last number again and again."""
    left = list(numbers)
    return lambda below: (left.pop(0) if len(left) > 1 else left[0]) % below


def pool_of(db: Database, *ranges: AddressRange, below: Callable[[int], int] | None = None) -> StoreAddressPool:
    return StoreAddressPool(db, ranges, FakeClock(), COOL_DOWN, below=below or draws(0x10, 0xABCDEF))


def test_the_ipv6_address_and_the_mac_are_drawn(db: Database) -> None:
    lease = pool_of(db, V4, V6).allocate(service_id="s1", job_id="j", zone="z1", ipv4=1, ipv6=1)
    assert lease.ipv6 == (IPv6Interface("2001:db8::10/64"),)
    assert lease.mac == "52:54:00:ab:cd:ef"


def test_a_drawn_address_that_is_taken_gives_way_to_the_next_free_one(db: Database) -> None:
    pool = pool_of(db, V6, below=draws(0xFF, 1, 0xFF, 2))
    first = pool.allocate(service_id="s1", job_id="j", zone="z1", ipv4=0, ipv6=1)
    second = pool.allocate(service_id="s2", job_id="j", zone="z1", ipv4=0, ipv6=1)
    assert str(first.ipv6[0].ip) == "2001:db8::ff"
    assert str(second.ipv6[0].ip) == "2001:db8::2"  # round the end, past ::0 and the gateway


def test_a_drawn_mac_that_is_taken_is_drawn_again(db: Database) -> None:
    pool = pool_of(db, below=draws(7, 7, 7, 8))
    macs = [pool.allocate(service_id=s, job_id="j", zone="z1", ipv4=0, ipv6=0).mac for s in ("s1", "s2")]
    assert macs == ["52:54:00:00:00:07", "52:54:00:00:00:08"]


def test_when_no_free_mac_can_be_drawn_nothing_is_taken(db: Database) -> None:
    pool = pool_of(db, V4, below=draws(7))
    pool.allocate(service_id="s1", job_id="j", zone="z1", ipv4=1, ipv6=0)
    with pytest.raises(NoCapacity, match=f"{MAC_DRAWS} draws"):
        pool.allocate(service_id="s2", job_id="j", zone="z1", ipv4=1, ipv6=0)
    assert pool.usage()[0].leased == 1


def test_the_next_range_is_used_when_the_first_has_too_few_left(db: Database) -> None:
    tight = address_range("tight", "198.51.100.0/30", "198.51.100.0", "198.51.100.3")
    lease = pool_of(db, tight, V4).allocate(service_id="s1", job_id="j", zone="z1", ipv4=2, ipv6=0)
    assert lease.ipv4 == (IPv4Interface("192.0.2.2/28"), IPv4Interface("192.0.2.3/28"))
    assert lease.gateway4 == V4.gateway


def test_a_refusal_names_every_range_with_what_it_has_left(db: Database) -> None:
    tight = address_range("tight", "198.51.100.0/30", "198.51.100.0", "198.51.100.3")
    with pytest.raises(NoCapacity) as caught:
        pool_of(db, tight, V4).allocate(service_id="s1", job_id="j", zone="z1", ipv4=20, ipv6=0)
    assert caught.value.details["ranges"] == ["tight has 1 of 1 free", "v4 has 13 of 13 free"]


def test_overlapping_ranges_never_give_one_address_twice(db: Database) -> None:
    twin = address_range("twin", "192.0.2.0/28", "192.0.2.0", "192.0.2.15", zone="z2")
    pool = pool_of(db, V4, twin, below=draws(1, 2))
    given = [pool.allocate(service_id=z, job_id="j", zone=z, ipv4=1, ipv6=0).ipv4[0] for z in ("z1", "z2")]
    assert given == [IPv4Interface("192.0.2.2/28"), IPv4Interface("192.0.2.3/28")]


def test_a_lease_out_of_a_range_that_is_no_longer_declared_is_said_and_can_still_be_released(db: Database) -> None:
    pool_of(db, V4).allocate(service_id="s1", job_id="j", zone="z1", ipv4=1, ipv6=0)
    later = pool_of(db, V6)
    with pytest.raises(WrongState, match="'v4'"):
        later.lease("s1")
    later.release(service_id="s1", proof="absent from n1")
    assert later.lease("s1") is None


def test_the_row_of_a_released_address_keeps_its_proof_through_the_cool_down(db: Database) -> None:
    clock = FakeClock()
    pool = StoreAddressPool(db, [V4], clock, COOL_DOWN)
    pool.allocate(service_id="s1", job_id="j1", zone="z1", ipv4=1, ipv6=0)
    pool.release(service_id="s1", proof="absent from n1 and n2")
    with db.read() as conn:
        (row,), _ = addresses.list_page(conn)
    assert (row.service_id, row.job_id, row.proof, row.released_at) == ("s1", "j1", "absent from n1 and n2", clock.now())
    clock.advance(COOL_DOWN + timedelta(seconds=1))
    pool.allocate(service_id="s2", job_id="j2", zone="z1", ipv4=1, ipv6=0)
    with db.read() as conn:
        (row,), _ = addresses.list_page(conn, range_name="v4")
        assert addresses.list_page(conn, service_id="s1") == ((), None)
    assert (row.service_id, row.proof, row.released_at) == ("s2", "", None)


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO addresses SELECT address, range, family, 's2', job_id, leased_at, released_at, '' FROM addresses",
        "INSERT INTO macs SELECT mac, 's2', job_id, leased_at, released_at, '' FROM macs",
        "INSERT INTO macs SELECT '52:54:00:99:99:99', service_id, job_id, leased_at, released_at, '' FROM macs",
    ],
)
def test_the_tables_themselves_refuse_a_second_holder_and_a_second_lease(db: Database, statement: str) -> None:
    pool_of(db, V4).allocate(service_id="s1", job_id="j", zone="z1", ipv4=1, ipv6=0)
    with pytest.raises(IntegrityError), db.write() as conn:
        conn.exec_driver_sql(statement)
