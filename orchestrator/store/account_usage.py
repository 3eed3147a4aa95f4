"""What hosting accounts use, as last read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import sqlalchemy as sa

from orchestrator.domain.services import Lifecycle
from orchestrator.domain.usage import Metered
from orchestrator.store.account_tables import account_uids, account_usage
from orchestrator.store.database import Connection
from orchestrator.store.tables import services


def get(conn: Connection, service_id: str) -> Metered | None:
    """The service's last reading, or None where nothing was read yet."""
    return of(conn, [service_id]).get(service_id)


def of(conn: Connection, service_ids: Sequence[str]) -> dict[str, Metered]:
    """The last readings of those services that have one."""
    rows = conn.execute(sa.select(account_usage).where(account_usage.c.service_id.in_(service_ids)))
    return {row.service_id: Metered(**row._mapping) for row in rows}


def put(conn: Connection, metered: Metered) -> None:
    """Take the place of the reading before."""
    conn.execute(sa.delete(account_usage).where(account_usage.c.service_id == metered.service_id))
    values = asdict(metered) | {"traffic": dict(metered.traffic), "told": dict(metered.told)}
    conn.execute(sa.insert(account_usage).values(**values))


def services_by_uid(conn: Connection, uids: Sequence[int]) -> dict[int, str]:
    """Whose accounts these are."""
    rows = conn.execute(sa.select(account_uids.c.uid, account_uids.c.service_id).where(account_uids.c.uid.in_(uids)))
    return {row.uid: row.service_id for row in rows}


def drop_erased(conn: Connection) -> None:
    """Of what is erased nothing is kept."""
    erased = sa.select(services.c.id).where(services.c.state == Lifecycle.ERASED.value)
    conn.execute(sa.delete(account_usage).where(account_usage.c.service_id.in_(erased)))
