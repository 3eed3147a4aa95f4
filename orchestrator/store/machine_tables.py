"""The table of dedicated machines; what is declared of them is in the configuration."""

from __future__ import annotations

import sqlalchemy as sa

from orchestrator.store.columns import table as _table
from orchestrator.store.columns import text as _text
from orchestrator.store.columns import time as _time

# domain.machines.MachineRecord. A row outlives the declaration: whose data a machine bears is not forgotten with it.
machines = _table(
    "machines",
    _text("name", primary_key=True),
    _text("state"),
    _text("reason"),
    _text("service_id", index=True),
    _text("job_id"),
    _text("certificate_sha256"),
    _text("uuid"),
    sa.Column("inspection", sa.JSON(none_as_null=True), nullable=True),
    _time("enrolled_at", nullable=True),
    _time("changed_at", nullable=True),
    sa.Column("up", sa.Boolean, nullable=False),
    _time("seen_at", nullable=True),
    sa.Column("told", sa.JSON, nullable=False),
    _text("problem"),
)
