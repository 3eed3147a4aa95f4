"""Summaries over many rows, for lists and metrics."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from orchestrator.store.database import Connection
from orchestrator.store.tables import holds, services


def nodes_of(conn: Connection, service_ids: Sequence[str]) -> dict[str, str]:
    """On which node each of these services is now; '' = on none. One query for a whole page."""
    query = sa.select(services.c.id, services.c.node).where(services.c.id.in_(service_ids))
    return {row.id: row.node for row in conn.execute(query)}


def holds_by_reason(conn: Connection) -> dict[tuple[str, str], int]:
    """How many services have a hold, by (reason, effect)."""
    query = sa.select(holds.c.reason, holds.c.effect, sa.func.count()).group_by(holds.c.reason, holds.c.effect)
    return {(reason, effect): int(number) for reason, effect, number in conn.execute(query)}
