"""The address pool in the store (port AddressPool).

One write transaction looks, chooses and takes; the store has one writer at a time, and the primary keys of ``addresses`` and
``macs`` are the guard behind that. An address that was given back keeps its row until its cool-down is over.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from datetime import timedelta
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface, ip_address

from orchestrator.domain.addresses import (
    MAC_CHOICES,
    Address,
    choose_many,
    free,
    mac_address,
    ranges_of,
    size,
    span,
)
from orchestrator.domain.errors import NoCapacity, Refused, WrongState
from orchestrator.domain.plans import AddressRange, Lease
from orchestrator.ports.address_pool import PoolUsage
from orchestrator.ports.clock import Clock
from orchestrator.store import addresses as rows
from orchestrator.store.database import Connection, Database

# A number from 0 up to, not including, the argument.
Below = Callable[[int], int]

MAC_DRAWS = 64


class StoreAddressPool:
    """``ranges`` as declared, in order of preference; ``cool_down`` before an address is given again.

    ``below`` draws the randomness of MACs and IPv6 addresses (the operating system's unless told otherwise).
    """

    def __init__(
        self,
        db: Database,
        ranges: Sequence[AddressRange],
        clock: Clock,
        cool_down: timedelta,
        *,
        below: Below = secrets.randbelow,
    ) -> None:
        self._db = db
        self._ranges = tuple(ranges)
        self._clock = clock
        self._cool_down = cool_down
        self._below = below

    def allocate(self, *, service_id: str, job_id: str, zone: str, ipv4: int, ipv6: int) -> Lease:
        """See the port. All addresses of one family come out of one range: a guest has one gateway a family."""
        with self._db.write() as conn:
            standing = self._lease(conn, service_id)
            if standing is not None:
                return standing
            now = self._clock.now()
            rows.forget_cooled(conn, released_before=now - self._cool_down)
            for version, count in ((4, ipv4), (6, ipv6)):
                range_, chosen = self._choose(conn, zone=zone, version=version, count=count)
                for address in chosen:
                    rows.take(conn, address=address, range_name=range_, service_id=service_id, job_id=job_id, now=now)
            rows.take_mac(conn, mac=self._free_mac(conn), service_id=service_id, job_id=job_id, now=now)
            lease = self._lease(conn, service_id)
            assert lease is not None
            return lease

    def lease(self, service_id: str) -> Lease | None:
        """See the port. Raises WrongState where the configuration no longer names the range of a held address."""
        with self._db.read() as conn:
            return self._lease(conn, service_id)

    def release(self, *, service_id: str, proof: str) -> None:
        """See the port. Raises Refused without a proof."""
        if not proof.strip():
            raise Refused(f"the addresses of {service_id} are given back only on proof that its guest is on no node")
        with self._db.write() as conn:
            rows.release(conn, service_id, proof=proof, now=self._clock.now())

    def usage(self) -> tuple[PoolUsage, ...]:
        """See the port; in the order of the configuration."""
        with self._db.read() as conn:
            counts = rows.count(conn, released_before=self._clock.now() - self._cool_down)
        return tuple(
            PoolUsage(
                name=range_.name,
                zone=range_.zone,
                family=range_.network.version,
                size=size(range_),
                leased=counts.get(range_.name, (0, 0))[0],
                cooling=counts.get(range_.name, (0, 0))[1],
            )
            for range_ in self._ranges
        )

    def _choose(self, conn: Connection, *, zone: str, version: int, count: int) -> tuple[str, tuple[Address, ...]]:
        """The range and the addresses out of it; raises NoCapacity."""
        if count <= 0:
            return "", ()
        found: list[str] = []
        taken = rows.taken(conn, version)
        for range_ in ranges_of(self._ranges, zone=zone, version=version):
            width = span(range_)
            offset = self._below(width) if version == 6 and width > 0 else 0
            chosen = choose_many(range_, taken, count=count, offset=offset)
            if chosen:
                return range_.name, chosen
            found.append(f"{range_.name} has {free(range_, taken)} of {size(range_)} free")
        asked = f"{count} IPv{version} address{'es' if count > 1 else ''}"
        raise NoCapacity(
            f"no range can give {asked} in zone {zone}: {'; '.join(found) or 'no range is declared'}",
            hint="add a range to nodes.yaml, or wait until released addresses have cooled down",
            zone=zone,
            family=version,
            ranges=found,
        )

    def _free_mac(self, conn: Connection) -> str:
        for _ in range(MAC_DRAWS):
            mac = mac_address(self._below(MAC_CHOICES))
            if not rows.mac_is_taken(conn, mac):
                return mac
        raise NoCapacity(f"no free MAC was found in {MAC_DRAWS} draws", hint="the pool of MACs is nearly used up")

    def _lease(self, conn: Connection, service_id: str) -> Lease | None:
        mac = rows.held_mac(conn, service_id)
        if mac is None:
            return None
        v4: list[IPv4Interface] = []
        v6: list[IPv6Interface] = []
        gateway4: IPv4Address | None = None
        gateway6: IPv6Address | None = None
        dns: list[str] = []
        for record in rows.held(conn, service_id):
            range_ = self._range(record)
            address = ip_address(record.address)
            if isinstance(address, IPv4Address):
                v4.append(IPv4Interface((address, range_.network.prefixlen)))
                gateway4 = range_.gateway if isinstance(range_.gateway, IPv4Address) else None
            else:
                v6.append(IPv6Interface((address, range_.network.prefixlen)))
                gateway6 = range_.gateway if isinstance(range_.gateway, IPv6Address) else None
            dns.extend(str(server) for server in range_.dns if str(server) not in dns)
        return Lease(
            service_id=service_id,
            job_id=mac.job_id,
            mac=mac.mac,
            ipv4=tuple(v4),
            ipv6=tuple(v6),
            gateway4=gateway4,
            gateway6=gateway6,
            dns=tuple(dns),
        )

    def _range(self, record: rows.AddressRecord) -> AddressRange:
        for range_ in self._ranges:
            if range_.name == record.range:
                return range_
        raise WrongState(
            f"{record.address} of service {record.service_id} came from the range '{record.range}', which is no longer declared",
            hint="put the range back into nodes.yaml until its last address was released",
        )
