"""A service comes into the store that a node already has: all of it in the caller's transaction, or nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from orchestrator.domain.addresses import Address, range_with
from orchestrator.domain.errors import AlreadyExists, NotFound
from orchestrator.domain.placement import Reservation
from orchestrator.domain.plans import AddressRange, Lease
from orchestrator.domain.services import Service, ServiceFacts
from orchestrator.store import addresses, services
from orchestrator.store.database import Connection
from orchestrator.store.tables import reservations


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenIn:
    """What is written of it. ``facts``: as jobs of ours would have left them."""

    service: Service
    node: str
    facts: dict[str, Any]
    lease: Lease | None
    reservation: Reservation | None


def take_in(conn: Connection, taken: TakenIn, *, ranges: Sequence[AddressRange], now: datetime) -> None:
    """Raises AlreadyExists where its record or one of its addresses is somebody's already, NotFound for an address of no range.

    What is promised for it is written down whether the node has so much or not: it is there already.
    """
    service = taken.service
    if services.get(conn, service.id) is not None:
        raise AlreadyExists(f"service {service.id} is in our records already", hint=f"orchestrator service show {service.id}")
    if taken.lease is not None:
        _lease(conn, taken.lease, ranges=ranges, now=now)
    services.put(conn, service, now=now)
    services.set_facts(conn, service.id, ServiceFacts(node=taken.node, values=taken.facts), now=now)
    if taken.reservation is not None:
        conn.execute(sa.insert(reservations).values(**asdict(taken.reservation)))


def _lease(conn: Connection, lease: Lease, *, ranges: Sequence[AddressRange], now: datetime) -> None:
    given: list[Address] = [*(each.ip for each in lease.ipv4), *(each.ip for each in lease.ipv6)]
    whose = {"service_id": lease.service_id, "job_id": lease.job_id}
    for address in given:
        found = range_with(ranges, address)
        if found is None:
            raise NotFound(f"{address} is in no address range", hint="put its range into nodes.yaml, restart the controller")
        if address in addresses.taken(conn, address.version):
            raise AlreadyExists(f"{address} is given out, or cools down", hint="orchestrator ip list")
        addresses.take(conn, address=address, range_name=found.name, now=now, **whose)
    if addresses.mac_is_taken(conn, lease.mac):
        raise AlreadyExists(f"the MAC {lease.mac} is given out, or cools down")
    addresses.take_mac(conn, mac=lease.mac, now=now, **whose)
