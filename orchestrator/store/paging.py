"""Pages of long lists, by key: the page after a row stays the same page while rows come and go."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import sqlalchemy as sa

from orchestrator.store.database import Connection

Item = TypeVar("Item")
Key = TypeVar("Key", int, str)

MOST = 500


def page(
    conn: Connection,
    query: sa.Select[Any],
    *,
    key: sa.ColumnElement[Key] | sa.Column[Key],
    limit: int,
    after: Key | None,
    newest_first: bool,
    make: Callable[[sa.Row[Any]], Item],
) -> tuple[tuple[Item, ...], Key | None]:
    """At most ``limit`` rows (1 to 500, more is cut) beyond the row whose ``key`` is ``after``, and the next ``after``."""
    limit = max(1, min(limit, MOST))
    if after is not None:
        query = query.where(key < after if newest_first else key > after)
    query = query.order_by(key.desc() if newest_first else key.asc()).limit(limit + 1)
    rows = conn.execute(query).all()
    shown = rows[:limit]
    following = shown[-1]._mapping[key] if len(rows) > limit else None
    return tuple(make(row) for row in shown), following
