"""The tables of the copies of the controller's own state: their repositories, and each attempt at one.

As those of services (``backup_tables``), and apart from them: no list or count of customers' backups has to leave them out.
"""

from __future__ import annotations

import sqlalchemy as sa

from orchestrator.store.columns import table as _table
from orchestrator.store.columns import text as _text
from orchestrator.store.columns import time as _time

# One repository a generation. Its key is in a file that the operator keeps.
state_repositories = _table(
    "state_repositories",
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    _text("target"),
    _time("made_at"),
    _text("state"),
    _text("why", server_default=""),
    _time("damaged_at", nullable=True),
    _time("destroyed_at", nullable=True),
)

# Each attempt at a copy (domain.backups.words.Backup). read_bytes, inodes and such: of what was staged for it. number: its place
# in the order in which they were begun, by which one is newer than another.
state_copies = _table(
    "state_copies",
    _text("id", primary_key=True),
    _text("job_id"),
    sa.Column("generation", sa.Integer, nullable=False),
    _text("state"),
    _text("snapshot_id", server_default=""),
    _time("begun_at"),
    _time("made_at", nullable=True),
    _time("verified_at", nullable=True),
    _time("forgotten_at", nullable=True),
    _time("pruned_at", nullable=True),
    sa.Column("size_bytes", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("inodes", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("stored_bytes", sa.BigInteger, nullable=False, server_default="0"),
    _text("share", server_default=""),
    _text("problem", server_default=""),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("left_out", sa.JSON, nullable=False, server_default="[]"),
)
