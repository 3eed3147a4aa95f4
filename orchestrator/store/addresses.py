"""Rows of the address pools: who holds what, and what is cooling down."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from ipaddress import ip_address
from typing import Any

import sqlalchemy as sa

from orchestrator.domain.addresses import Address
from orchestrator.store.database import Connection
from orchestrator.store.paging import page
from orchestrator.store.tables import addresses, macs


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressRecord:
    """One address that is or was given out. ``released_at`` set = cooling down, with the ``proof`` it was released on."""

    address: str
    range: str
    family: int
    service_id: str
    job_id: str
    leased_at: datetime
    released_at: datetime | None
    proof: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MacRecord:
    """One MAC, likewise."""

    mac: str
    service_id: str
    job_id: str
    leased_at: datetime
    released_at: datetime | None
    proof: str


def list_page(
    conn: Connection,
    *,
    limit: int = 100,
    after: str | None = None,
    range_name: str | None = None,
    service_id: str | None = None,
) -> tuple[tuple[AddressRecord, ...], str | None]:
    """Addresses held or cooling, in the order of their text."""
    query = sa.select(addresses)
    if range_name is not None:
        query = query.where(addresses.c.range == range_name)
    if service_id is not None:
        query = query.where(addresses.c.service_id == service_id)
    return page(conn, query, key=addresses.c.address, limit=limit, after=after, newest_first=False, make=_address)


def held_mac(conn: Connection, service_id: str) -> MacRecord | None:
    """The MAC the service holds; every lease has exactly one."""
    row = conn.execute(sa.select(macs).where(macs.c.service_id == service_id, macs.c.released_at.is_(None))).one_or_none()
    return None if row is None else MacRecord(**row._mapping)


def held(conn: Connection, service_id: str) -> tuple[AddressRecord, ...]:
    """The addresses the service holds, in the order they were given."""
    query = sa.select(addresses).where(addresses.c.service_id == service_id, addresses.c.released_at.is_(None))
    found = [_address(row) for row in conn.execute(query)]
    return tuple(sorted(found, key=lambda record: (record.family, int(ip_address(record.address)))))


def taken(conn: Connection, family: int) -> frozenset[Address]:
    """Every address of the family that has a row, held or cooling, of whatever range: ranges get renamed and overlap."""
    return frozenset(
        ip_address(text) for text in conn.scalars(sa.select(addresses.c.address).where(addresses.c.family == family))
    )


def mac_is_taken(conn: Connection, mac: str) -> bool:
    """Whether the MAC has a row."""
    return conn.execute(sa.select(macs.c.mac).where(macs.c.mac == mac)).first() is not None


def take(conn: Connection, *, address: Address, range_name: str, service_id: str, job_id: str, now: datetime) -> None:
    """Give the address to the service; the primary key refuses a second holder (IntegrityError)."""
    conn.execute(
        sa.insert(addresses).values(
            address=str(address), range=range_name, family=address.version, service_id=service_id, job_id=job_id, leased_at=now
        )
    )


def take_mac(conn: Connection, *, mac: str, service_id: str, job_id: str, now: datetime) -> None:
    """Give the MAC to the service; the keys refuse a second holder and a second MAC (IntegrityError)."""
    conn.execute(sa.insert(macs).values(mac=mac, service_id=service_id, job_id=job_id, leased_at=now))


def release(conn: Connection, service_id: str, *, proof: str, now: datetime) -> None:
    """Put what the service holds into the cool-down."""
    for table in (addresses, macs):
        held_rows = sa.update(table).where(table.c.service_id == service_id, table.c.released_at.is_(None))
        conn.execute(held_rows.values(released_at=now, proof=proof))


def forget_cooled(conn: Connection, *, released_before: datetime) -> None:
    """Delete the rows whose cool-down is over: they may be given out again."""
    for table in (addresses, macs):
        conn.execute(sa.delete(table).where(table.c.released_at <= released_before))


def count(conn: Connection, *, released_before: datetime) -> dict[str, tuple[int, int]]:
    """Addresses held and still cooling, by range."""
    cooling = sa.and_(addresses.c.released_at.is_not(None), addresses.c.released_at > released_before)
    query = sa.select(
        addresses.c.range,
        sa.func.sum(sa.case((addresses.c.released_at.is_(None), 1), else_=0)).label("leased"),
        sa.func.sum(sa.case((cooling, 1), else_=0)).label("cooling"),
    ).group_by(addresses.c.range)
    return {row.range: (int(row.leased), int(row.cooling)) for row in conn.execute(query)}


def _address(row: sa.Row[Any]) -> AddressRecord:
    return AddressRecord(**row._mapping)
