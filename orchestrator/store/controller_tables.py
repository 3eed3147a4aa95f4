"""The table of controllers: who works on this database, and until when each may."""

from __future__ import annotations

import sqlalchemy as sa

from orchestrator.store.columns import table as _table
from orchestrator.store.columns import text as _text
from orchestrator.store.columns import time as _time

# A row is a lease: a controller may go on until expires_at, by the database's clock. place: its state directory, as no other
# machine has it. keys: a word that the same key files give. ended_at: null while it works. ending: '' | stopped | lost |
# replaced. taken_over_at: since when none of its jobs is left with it.
controllers = _table(
    "controllers",
    _text("id", primary_key=True),
    _text("hostname"),
    sa.Column("pid", sa.Integer, nullable=False),
    _text("version"),
    _text("place"),
    _text("keys"),
    _time("started_at"),
    _time("heartbeat_at"),
    _time("expires_at"),
    _time("ended_at", nullable=True),
    _text("ending", server_default=""),
    _time("taken_over_at", nullable=True),
)
