"""The tables of hosting accounts: the uids that were given."""

from __future__ import annotations

import sqlalchemy as sa

from orchestrator.store.columns import table as _table
from orchestrator.store.columns import text as _text
from orchestrator.store.columns import time as _time

# The uid of each account that is or was. A row stays for ever: its files may lie somewhere under its number.
account_uids = _table(
    "account_uids",
    _text("service_id", primary_key=True),
    sa.Column("uid", sa.Integer, nullable=False),
    _time("given_at"),
    sa.UniqueConstraint("uid"),
)
