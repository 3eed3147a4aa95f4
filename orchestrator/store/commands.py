"""Commands that counted: one of a version counts once for a service, whatever event id it came under."""

from __future__ import annotations

import sqlalchemy as sa

from orchestrator.store.database import Connection
from orchestrator.store.tables import commands


def seen(conn: Connection, service_id: str, action: str, version: int) -> bool:
    """Whether this command was taken before."""
    query = sa.select(commands.c.version).where(
        commands.c.service_id == service_id, commands.c.action == action, commands.c.version == version
    )
    return conn.execute(query).first() is not None


def add(conn: Connection, service_id: str, action: str, *, version: int, source: str, event_id: str) -> None:
    """Take the command. Look with ``seen`` first, in the same write transaction."""
    conn.execute(
        sa.insert(commands).values(service_id=service_id, action=action, version=version, source=source, event_id=event_id)
    )
