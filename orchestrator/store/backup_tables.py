"""The tables of backups: repositories with their keys, what was made in them, and what was restored."""

from __future__ import annotations

import sqlalchemy as sa

from orchestrator.store.columns import table as _table
from orchestrator.store.columns import text as _text
from orchestrator.store.columns import time as _time

# One repository a service and generation. wrapped_key: its password under the master key; empty once it was destroyed.
repositories = _table(
    "repositories",
    _text("service_id", primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    _text("target"),
    sa.Column("wrapped_key", sa.LargeBinary, nullable=False),
    _time("made_at"),
    _text("state"),
    _text("why", server_default=""),
    _time("damaged_at", nullable=True),
    _time("destroyed_at", nullable=True),
)

# Each attempt at a backup (domain.backups.words.Backup). snapshot_id: '' where it left none, or none that is known. number: its
# place in the order in which the service's were begun.
backups = _table(
    "backups",
    _text("id", primary_key=True),
    _text("service_id"),
    _text("job_id", index=True),
    sa.Column("generation", sa.Integer, nullable=False),
    _text("state"),
    _text("snapshot_id", server_default=""),
    _time("slot", nullable=True),
    _time("begun_at"),
    _time("made_at", nullable=True),
    _time("verified_at", nullable=True),
    _time("forgotten_at", nullable=True),
    _time("pruned_at", nullable=True),
    sa.Column("size_bytes", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("inodes", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("read_bytes", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("stored_bytes", sa.BigInteger, nullable=False, server_default="0"),
    _text("consistency", server_default=""),
    _text("share", server_default=""),
    _text("problem", server_default=""),
    sa.Column("left_out", sa.JSON, nullable=False, server_default="[]"),
    sa.Column("number", sa.Integer, nullable=False, server_default="0"),
    _text("mark", server_default=""),
    sa.Index("ix_backups_service_id_begun_at", "service_id", "begun_at"),
)

# Restores that were asked for, by the id of the request; the month's count is derived from these rows.
restores = _table(
    "restores",
    _text("service_id", primary_key=True),
    _text("id", primary_key=True),
    _text("snapshot_id"),
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
    _text("asked_by"),
    _time("counted_at"),
    _text("state"),
    _text("job_id", server_default="", index=True),
    _text("charge_id", server_default=""),
    _time("given_back_at", nullable=True),
    _text("why", server_default=""),
    _time("done_at", nullable=True),
)

# Restore drills, by the ids of their jobs. week: its Monday, '' where a person asked for it.
drills = _table(
    "drills",
    _text("id", primary_key=True),
    _text("service_id"),
    _text("node"),
    _text("backup_id"),
    _text("week", server_default=""),
    _text("asked_by"),
    _text("state"),
    _time("begun_at"),
    _time("ended_at", nullable=True),
    _text("why", server_default=""),
    _text("signature", server_default=""),
    sa.Index("ix_drills_node_week", "node", "week"),
)
