"""Moving the whole store from SQLite to PostgreSQL: all of it in one transaction, compared before that holds."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from orchestrator.domain.errors import ConfigError, StoreUnavailable, WrongState
from orchestrator.store import audit
from orchestrator.store.database import Connection, Database
from orchestrator.store.tables import controllers, metadata

# Leases are of those who work on the other database, and nobody does.
_LEFT = (controllers,)
_ROWS = 500
MOVED = "database moved"


@dataclass(frozen=True, slots=True)
class Moved:
    """How many rows of each table there are, and the length and last hash of the audit trail before this was written in it."""

    rows: dict[str, int]
    audit_rows: int
    audit_head: str


def move(source: Database, target: Database, *, who: str, now: datetime) -> Moved:
    """Copy everything into the target's tables, which have to be empty. Nobody may write to either meanwhile.

    Raises WrongState where something stands there; StoreUnavailable where what arrived is not what was sent: nothing is kept.
    """
    with source.read() as old, target.write() as new:
        _require_empty(new)
        tables = [table for table in metadata.sorted_tables if table not in _LEFT]
        rows = {table.name: _copy(old, new, table) for table in tables}
        trail = audit.verify_chain(old)
        arrived = audit.verify_chain(new)
        if (arrived.ok, arrived.entries, arrived.head) != (trail.ok, trail.entries, trail.head):
            raise StoreUnavailable(f"the audit trail did not arrive as it was: {arrived}", hint="nothing was kept: try again")
        facts = {"rows": sum(rows.values()), "audit_head": trail.head}
        audit.append(new, at=now, who=who, what=MOVED, facts=facts)
    return Moved(rows=rows, audit_rows=trail.entries, audit_head=trail.head)


def _require_empty(conn: Connection) -> None:
    for table in metadata.sorted_tables:
        if conn.execute(sa.select(sa.literal(1)).select_from(table).limit(1)).scalar() is not None:
            raise WrongState(
                f"the database has rows already (in {table.name}): it has to be an empty one", hint="make another one for it"
            )


def _copy(old: Connection, new: Connection, table: sa.Table) -> int:
    """Every row, and the numbers that are given next. Raises StoreUnavailable where they are not the same on both sides."""
    values = {column.name: _as_it_is(column) for column in table.columns}
    insert = sa.insert(table).values(values)
    try:
        for batch in _batches(old, table):
            new.execute(insert, batch)
    except DBAPIError as exc:
        raise ConfigError(
            f"the {table.name} cannot be kept by PostgreSQL: {str(exc.orig).splitlines()[0]}", hint="nothing was moved"
        ) from exc
    _number_on(old, new, table)
    sent, arrived = _digest(old, table), _digest(new, table)
    if sent != arrived:
        raise StoreUnavailable(f"the {table.name} did not arrive as they were", hint="nothing was kept: try again")
    return sent[0]


def _as_it_is(column: sa.Column[Any]) -> sa.ColumnElement[Any]:
    """JSON as the text that it is: a value that is null stays apart from none, and no key changes its place."""
    if isinstance(column.type, sa.JSON):
        return sa.cast(sa.bindparam(column.name, type_=sa.Text()), column.type)
    return sa.bindparam(column.name, type_=column.type)


def _batches(conn: Connection, table: sa.Table) -> Iterator[list[dict[str, Any]]]:
    for rows in conn.execute(_all(table)).mappings().partitions(_ROWS):
        yield [dict(row) for row in rows]


def _all(table: sa.Table) -> sa.Select[Any]:
    """In the order of their keys, JSON as the text that it is."""
    columns = (sa.cast(column, sa.Text) if isinstance(column.type, sa.JSON) else column for column in table.columns)
    named = [each.label(column.name) for each, column in zip(columns, table.columns, strict=True)]
    return sa.select(*named).order_by(*table.primary_key.columns)


def _digest(conn: Connection, table: sa.Table) -> tuple[int, str]:
    """How many rows, and a hash of them all."""
    found, count = hashlib.sha256(), 0
    for row in conn.execute(_all(table)).yield_per(_ROWS):
        count += 1
        found.update(repr(tuple(row)).encode())
    return count, found.hexdigest()


def _number_on(old: Connection, new: Connection, table: sa.Table) -> None:
    """A number that was given once is not given again, also of a row that is gone."""
    column = table.autoincrement_column
    if column is None:
        return
    last = old.execute(sa.select(sa.func.max(column))).scalar() or 0
    if table.dialect_options["sqlite"]["autoincrement"]:
        kept = sa.text("SELECT seq FROM sqlite_sequence WHERE name = :name")
        last = max(last, old.execute(kept, {"name": table.name}).scalar() or 0)
    if last:
        sequence = sa.func.pg_get_serial_sequence(table.name, column.name)
        new.execute(sa.select(sa.func.setval(sequence, last)))
