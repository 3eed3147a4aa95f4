"""The tables of hosting accounts (the uids that were given, and what was used), and of the traffic of guests."""

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

# A certificate that a job is to install, with its key as the master key wraps it: only until that job has ended.
site_certificates = _table(
    "site_certificates",
    _text("job_id", primary_key=True),
    _text("service_id", index=True),
    _text("certificate"),
    sa.Column("wrapped_key", sa.LargeBinary, nullable=False),
)

# The last reading of what each account uses (domain.usage.Metered); of one that is erased there is none.
account_usage = _table(
    "account_usage",
    _text("service_id", primary_key=True),
    _text("node"),
    _time("at"),
    sa.Column("bytes", sa.BigInteger, nullable=False),
    sa.Column("inodes", sa.BigInteger, nullable=False),
    sa.Column("database_bytes", sa.BigInteger, nullable=False),
    sa.Column("cpu_seconds", sa.Float, nullable=False),
    sa.Column("cpu_reading", sa.Float, nullable=False),
    sa.Column("traffic", sa.JSON, nullable=False),
    sa.Column("told", sa.JSON, nullable=False),
)

# The last reading of each guest's counters, and what was counted by month (domain.traffic.GuestTraffic).
guest_traffic = _table(
    "guest_traffic",
    _text("service_id", primary_key=True),
    _text("node"),
    _time("at"),
    _text("run"),
    sa.Column("age_seconds", sa.Float, nullable=False),
    sa.Column("in_bytes", sa.BigInteger, nullable=False),
    sa.Column("out_bytes", sa.BigInteger, nullable=False),
    sa.Column("traffic", sa.JSON, nullable=False),
    sa.Column("told", sa.JSON, nullable=False),
)
