"""The tables of deployments: which machine was booted for which job, and what it was told to do."""

from __future__ import annotations

import sqlalchemy as sa

from orchestrator.store.columns import table as _table
from orchestrator.store.columns import text as _text
from orchestrator.store.columns import time as _time

# One row for each token that was ever given; the last of a machine counts, unless it is closed. Of the medium's URL, the token
# and the session only hashes are kept. refusals: how often somebody was sent away who held its token.
deployments = _table(
    "deployments",
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
    _text("machine", index=True),
    _text("job_id"),
    _time("opened_at"),
    _time("claimed_at", nullable=True),
    _time("heard_at", nullable=True),
    _time("closed_at", nullable=True),
    _text("medium_sha256", unique=True),
    _text("token_sha256", unique=True),
    _text("session_sha256", server_default="", index=True),
    sa.Column("expected", sa.JSON, nullable=False),
    sa.Column("network", sa.JSON, nullable=False),
    sa.Column("inspection", sa.JSON, nullable=True),
    _text("refused", server_default=""),
    sa.Column("refusals", sa.Integer, nullable=False, server_default="0"),
)

# state: waiting | running | done | failed. number: the order in which the job gave them.
deployment_tasks = _table(
    "deployment_tasks",
    _text("machine", primary_key=True),
    _text("job_id", primary_key=True),
    _text("key", primary_key=True),
    sa.Column("number", sa.Integer, nullable=False),
    _text("kind"),
    sa.Column("arguments", sa.JSON, nullable=False),
    _text("arguments_sha256"),
    _text("state"),
    sa.Column("fraction", sa.Float, nullable=False, server_default="0"),
    _text("says", server_default=""),
    sa.Column("result", sa.JSON, nullable=False, server_default="{}"),
)
