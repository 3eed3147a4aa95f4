"""The tables of nodes: what is known of each, what was stated of those that are lost, and what is promised on them."""

from __future__ import annotations

import sqlalchemy as sa

from orchestrator.store.columns import table as _table
from orchestrator.store.columns import text as _text
from orchestrator.store.columns import time as _time

# Heavy work on a node holds one of its slots: (node, slot) is free when no unexpired row stands.
node_slots = _table(
    "node_slots",
    _text("node", primary_key=True),
    sa.Column("slot", sa.Integer, primary_key=True),
    _text("job_id"),
    _text("token"),
    _time("expires_at"),
)

nodes = _table(
    "nodes",
    _text("name", primary_key=True),
    _text("host_key", server_default=""),
    _text("agent_version", server_default=""),
    _text("agent_sha256", server_default=""),
    _time("enrolled_at", nullable=True),
    sa.Column("up", sa.Boolean, nullable=False, server_default=sa.false()),
    _time("seen_at", nullable=True),
    sa.Column("facts", sa.JSON, nullable=False),
    _text("problem", server_default=""),
    _time("drained_at", nullable=True),
    _text("drained_by", server_default=""),
    _text("drained_why", server_default=""),
    # Maintenance that is announced (domain.planned.Announced); null: none is.
    sa.Column("announced", sa.JSON(none_as_null=True), nullable=True),
    _time("lost_at", nullable=True),
    _text("lost_by", server_default=""),
    _text("lost_why", server_default=""),
    _text("lost_statement", server_default=""),
)

# What operators stated of nodes that never come back, as it was signed.
node_statements = _table(
    "node_statements",
    _text("id", primary_key=True),
    _text("node", index=True),
    sa.Column("statement", sa.JSON, nullable=False),
    _time("created_at"),
)

reservations = _table(
    "reservations",
    _text("service_id", primary_key=True),
    _text("job_id"),
    _text("node", index=True),
    sa.Column("vcpus", sa.Integer, nullable=False),
    sa.Column("memory_bytes", sa.BigInteger, nullable=False),
    sa.Column("disk_bytes", sa.BigInteger, nullable=False),
)

# The second node of a service on the move: the one that takes it in, and once it has, the one that it leaves.
moving_reservations = _table(
    "moving_reservations",
    _text("service_id", primary_key=True),
    _text("job_id"),
    _text("node", index=True),
    sa.Column("vcpus", sa.Integer, nullable=False),
    sa.Column("memory_bytes", sa.BigInteger, nullable=False),
    sa.Column("disk_bytes", sa.BigInteger, nullable=False),
)

# Jobs that wait for a node, a machine or the backup target to be reached again, until their end. waits: until its next try is due
# the job is not in its line.
absences = _table(
    "absences",
    _text("job_id", primary_key=True),
    _text("away"),
    _time("since"),
    _time("until"),
    _text("why"),
    sa.Column("position", sa.Integer, nullable=False),
    sa.Column("tries", sa.Integer, nullable=False),
    sa.Column("waits", sa.Boolean, nullable=False),
)
