"""Rows that are put in where they are not there yet, in one statement that both databases know."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa


def insert_new(table: sa.Table, columns: Sequence[str], *, known: sa.ColumnElement[bool]) -> sa.Insert:
    """Of one row, with parameters named as the columns; nothing is put in (``rowcount`` 0) where a row is ``known`` already.

    For write transactions, which have one order: nobody puts the same row in between the look and the act.
    """
    values = [sa.bindparam(name, type_=table.c[name].type) for name in columns]
    row = sa.select(*values).where(~sa.exists().where(known))
    return sa.insert(table).from_select(list(columns), row).execution_options(preserve_rowcount=True)
