"""What went through the network of each service's guest, as last read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import sqlalchemy as sa

from orchestrator.domain.services import Lifecycle
from orchestrator.domain.traffic import GuestTraffic
from orchestrator.store.database import Connection
from orchestrator.store.tables import guest_traffic, services


def get(conn: Connection, service_id: str) -> GuestTraffic | None:
    """None where nothing was read yet."""
    return of(conn, [service_id]).get(service_id)


def of(conn: Connection, service_ids: Sequence[str]) -> dict[str, GuestTraffic]:
    """Of those services whose guest was read."""
    rows = conn.execute(sa.select(guest_traffic).where(guest_traffic.c.service_id.in_(service_ids)))
    return {row.service_id: GuestTraffic(**row._mapping) for row in rows}


def put(conn: Connection, counted: GuestTraffic) -> None:
    """Take the place of the reading before."""
    conn.execute(sa.delete(guest_traffic).where(guest_traffic.c.service_id == counted.service_id))
    values = asdict(counted) | {"traffic": dict(counted.traffic), "told": dict(counted.told)}
    conn.execute(sa.insert(guest_traffic).values(**values))


def drop_erased(conn: Connection) -> None:
    """Of what is erased nothing is kept."""
    erased = sa.select(services.c.id).where(services.c.state == Lifecycle.ERASED.value)
    conn.execute(sa.delete(guest_traffic).where(guest_traffic.c.service_id.in_(erased)))
