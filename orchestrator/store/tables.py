"""The tables. All times are stored as UTC; JSON columns hold canonical JSON text.

The engine's own tables live in the same database (so that one transaction can hold a job row and its enqueueing) and are not
named here: migrations are blind to them. Dialects: SQLite (WAL) and PostgreSQL.
"""

from __future__ import annotations

import sqlalchemy as sa

from orchestrator.store.account_tables import account_uids as account_uids
from orchestrator.store.account_tables import account_usage as account_usage
from orchestrator.store.account_tables import guest_traffic as guest_traffic
from orchestrator.store.account_tables import site_certificates as site_certificates
from orchestrator.store.backup_tables import backups as backups
from orchestrator.store.backup_tables import drills as drills
from orchestrator.store.backup_tables import repositories as repositories
from orchestrator.store.backup_tables import restores as restores
from orchestrator.store.columns import UtcDateTime
from orchestrator.store.columns import metadata as metadata
from orchestrator.store.columns import table as _table
from orchestrator.store.columns import text as _text
from orchestrator.store.columns import time as _time
from orchestrator.store.controller_tables import controllers as controllers
from orchestrator.store.deployment_tables import deployment_tasks as deployment_tasks
from orchestrator.store.deployment_tables import deployments as deployments
from orchestrator.store.machine_tables import machines as machines
from orchestrator.store.node_tables import absences as absences
from orchestrator.store.node_tables import moving_reservations as moving_reservations
from orchestrator.store.node_tables import node_slots as node_slots
from orchestrator.store.node_tables import node_statements as node_statements
from orchestrator.store.node_tables import nodes as nodes
from orchestrator.store.node_tables import reservations as reservations
from orchestrator.store.state_tables import state_copies as state_copies
from orchestrator.store.state_tables import state_repositories as state_repositories

# Every webhook that was authentic, kept longer than billing retries (at least 7 days).
# outcome: accepted | duplicate-command | stale | nothing | refused | dead (parsed, cannot be processed: see problem).
# detail: the sentence that came with it, whatever it was.
events = _table(
    "events",
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
    _text("source"),
    _text("id"),
    _text("body_sha256"),
    _text("body"),
    _time("sent_at"),
    _time("received_at"),
    _text("type", server_default=""),
    _text("service_id", server_default="", index=True),
    sa.Column("version", sa.Integer, nullable=True),
    _text("outcome", index=True),
    _text("problem", server_default=""),
    _text("detail", server_default=""),
    _text("job_id", server_default=""),
    sa.Column("replays", sa.Integer, nullable=False, server_default="0"),
    sa.UniqueConstraint("source", "id"),
    # A sequence number is never used twice, also after the newest event was deleted.
    sqlite_autoincrement=True,
)

# A command of one version counts once for a service, whatever event id it came under.
commands = _table(
    "commands",
    _text("service_id", primary_key=True),
    _text("action", primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True),
    _text("source"),
    _text("event_id"),
)

services = _table(
    "services",
    _text("id", primary_key=True),
    _text("client_id"),
    _text("plan", index=True),
    _text("state", index=True),
    sa.Column("version", sa.Integer, nullable=False),
    _text("order_id"),
    _text("domain"),
    _text("hostname"),
    _text("template"),
    sa.Column("ssh_keys", sa.JSON, nullable=False),
    _text("password_hash"),
    _text("zone"),
    _time("due_at", nullable=True),
    _time("paid_until", nullable=True),
    sa.Column("payments", sa.Integer, nullable=False),
    sa.Column("refunds", sa.JSON, nullable=False),
    _time("overdue_at", nullable=True),
    _time("paid_at", nullable=True),
    _time("created_at"),
    _time("point_of_no_return", nullable=True),
    _time("suspension_proven_at", nullable=True),
    _time("archived_at", nullable=True),
    _time("purchased_at", nullable=True),
    _time("activated_at", nullable=True),
    _time("ended_at", nullable=True),
    _time("forgotten_at", nullable=True),
    # That it is to end, as it was asked for; null: nobody asked.
    sa.Column("cancellation", sa.JSON(none_as_null=True), nullable=True),
    # What our jobs made and where (ServiceFacts): node, addresses, volumes, guest.
    _text("node", server_default="", index=True),
    sa.Column("facts", sa.JSON, nullable=False),
    # When its deadlines are to be looked at again; null: nothing is to come. A record that changed is looked at at once.
    sa.Column("next_due_at", UtcDateTime, nullable=True, index=True),
    _time("limited_proven_at", nullable=True),
    sa.Column("chargebacks", sa.JSON, nullable=False, server_default="[]"),
    sa.Column("disputes", sa.JSON, nullable=False, server_default="[]"),
    sa.Column("traffic", sa.JSON, nullable=False, server_default="[]"),
    _time("cut_off_at", nullable=True),
    sa.Column("cut_off_paid", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("complaints", sa.JSON, nullable=False, server_default="[]"),
    _time("domain_expired_at", nullable=True),
    _time("domain_renewed_at", nullable=True),
    _time("lapsed_at", nullable=True),
    _time("backups_seen_to", nullable=True),
    _time("backup_asked_at", nullable=True),
    # Volumes that stand beside its disk for a while (domain.kept_volumes).
    sa.Column("kept", sa.JSON, nullable=False, server_default="[]"),
    # What was set of a hosting account (domain.account_parts.AccountSettings); null: it is as it was ordered.
    sa.Column("account", sa.JSON(none_as_null=True), nullable=True),
    sa.Column("databases_full", sa.Boolean, nullable=False, server_default=sa.false()),
    # A restart that is planned for a window (domain.planned.PlannedRestart); null: none is.
    sa.Column("restart", sa.JSON(none_as_null=True), nullable=True),
    sa.Column("mail_out", sa.Boolean, nullable=True),
)

# What customers owe for operations; the id says what for, so that nothing is charged twice. times: how often it was made, by an
# operation that failed and was done after all. by_operation: it was taken back because that failed, and not by a person.
charges = _table(
    "charges",
    _text("id", primary_key=True),
    _text("service_id", index=True),
    _text("kind"),
    sa.Column("amount", sa.BigInteger, nullable=False),
    sa.Column("quantity", sa.BigInteger, nullable=False),
    _text("reason"),
    _text("clause"),
    _text("policy"),
    _text("job_id", server_default="", index=True),
    _time("made_at"),
    _time("taken_back_at", nullable=True),
    _text("why_taken_back", server_default=""),
    sa.Column("by_operation", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("times", sa.Integer, nullable=False, server_default="1"),
)

# What fell due and was seen to. job_id: the latest job made for it; message_id: in the outbox, for what only tells.
occurrences = _table(
    "occurrences",
    _text("service_id", primary_key=True),
    _text("action", primary_key=True),
    _text("occurrence", primary_key=True),
    sa.Column("attempts", sa.Integer, nullable=False),
    _time("first_at"),
    _time("last_at"),
    _text("job_id", server_default=""),
    _text("message_id", server_default=""),
)

holds = _table(
    "holds",
    _text("service_id", primary_key=True),
    _text("reason", primary_key=True),
    _text("effect"),
    _text("by"),
    _text("why"),
    _text("evidence", server_default=""),
    _time("since"),
    _time("until", nullable=True),
    _text("complaint", server_default=""),
    _text("invoice", server_default=""),
)

# Files that were attached to acts on a service, as they came; sha256 is of content.
evidence = _table(
    "evidence",
    _text("service_id", primary_key=True),
    _text("sha256", primary_key=True),
    _text("name"),
    sa.Column("size", sa.Integer, nullable=False),
    sa.Column("content", sa.LargeBinary, nullable=False),
    _time("added_at"),
    _text("by"),
)


def _let_through(moment: str) -> sa.Index:
    through = sa.text("approval_reason = ''")
    return sa.Index(f"ix_jobs_{moment}_let_through", moment, "intent", sqlite_where=through, postgresql_where=through)


# The truth about jobs that people see; the engine's tables are its own. workflow: the resolved Workflow, written once.
jobs = _table(
    "jobs",
    _text("id", primary_key=True),
    _text("service_id", index=True),
    _text("intent"),
    _text("playbook"),
    _text("state", index=True),
    _text("reason"),
    _text("asked_by"),
    sa.Column("arguments", sa.JSON, nullable=False),
    sa.Column("payments", sa.Integer, nullable=False),
    sa.Column("run", sa.Integer, nullable=False, server_default="1"),
    sa.Column("workflow", sa.JSON, nullable=True),
    _text("error_code", server_default=""),
    _text("error", server_default=""),
    sa.Column("stop_requested", sa.Boolean, nullable=False, server_default=sa.false()),
    _text("approval_reason", server_default=""),
    _text("approved_by", server_default=""),
    _time("created_at"),
    _time("started_at", nullable=True),
    _time("finished_at", nullable=True),
    # What the brakes count with every job that they may hold back, of all jobs there ever were.
    _let_through("created_at"),
    _let_through("started_at"),
)

job_steps = _table(
    "job_steps",
    _text("job_id", primary_key=True),
    sa.Column("position", sa.Integer, primary_key=True),
    _text("id"),
    _text("step"),
    _text("state"),
    sa.Column("args", sa.JSON, nullable=True),
    sa.Column("facts", sa.JSON, nullable=True),
    sa.Column("applied", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
    sa.Column("progress", sa.Float, nullable=False, server_default="0"),
    _text("message", server_default=""),
    _text("error_code", server_default=""),
    _text("error", server_default=""),
    _time("started_at", nullable=True),
    _time("finished_at", nullable=True),
    sa.Column("run", sa.Integer, nullable=False, server_default="0"),
    sa.Column("outcome", sa.JSON, nullable=True),
)

# One job at a time per service; the token tells the present holder from a late one.
service_locks = _table(
    "service_locks",
    _text("service_id", primary_key=True),
    _text("job_id"),
    _text("token"),
    _time("taken_at"),
)

# Every node a service ever was on: addresses go back only on proof of absence from all of them.
service_nodes = _table(
    "service_nodes",
    _text("service_id", primary_key=True),
    _text("node", primary_key=True),
    _time("since"),
)

# One row an address. address is canonical text; released_at not null = cooling down.
addresses = _table(
    "addresses",
    _text("address", primary_key=True),
    _text("range"),
    sa.Column("family", sa.Integer, nullable=False),
    _text("service_id", index=True),
    _text("job_id"),
    _time("leased_at"),
    _time("released_at", nullable=True),
    _text("proof", server_default=""),
)

macs = _table(
    "macs",
    _text("mac", primary_key=True),
    _text("service_id", index=True),
    _text("job_id"),
    _time("leased_at"),
    _time("released_at", nullable=True),
    _text("proof", server_default=""),
    # One lease a service, whatever the callers do.
    sa.Index(
        "uq_macs_service_id_held",
        "service_id",
        unique=True,
        sqlite_where=sa.text("released_at IS NULL"),
        postgresql_where=sa.text("released_at IS NULL"),
    ),
)

# Destructive acts that the fence let through: the point of no return stands as long as one of its job does.
fence_passes = _table(
    "fence_passes",
    _text("service_id", primary_key=True),
    _text("job_id", primary_key=True),
    _text("act", primary_key=True),
    _time("passed_at"),
)

certificates = _table(
    "certificates",
    _text("id", primary_key=True),
    _text("service_id", index=True),
    _text("job_id", unique=True),
    sa.Column("certificate", sa.JSON, nullable=False),
    _time("created_at"),
)

# What billing is to be told, until it took it. next_attempt_at: null where it was taken, or is dead. tries, tried_since: the
# attempts since it was new, or since an operator had it posted again.
outbox = _table(
    "outbox",
    _text("id", primary_key=True),
    _text("type"),
    _text("service_id", index=True),
    _text("body"),
    _time("created_at"),
    sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
    sa.Column("next_attempt_at", UtcDateTime, nullable=True, index=True),
    sa.Column("taken_at", UtcDateTime, nullable=True, index=True),
    sa.Column("last_status", sa.Integer, nullable=False, server_default="0"),
    _text("last_problem", server_default=""),
    sa.Column("tries", sa.Integer, nullable=False, server_default="0"),
    _time("tried_since", nullable=True),
    sa.Column("dead_at", UtcDateTime, nullable=True, index=True),
    sa.Index("ix_outbox_created_at_id", "created_at", "id"),
)

# The proof that billing was told, or of what it said instead: a row for every attempt, kept as long as its message.
deliveries = _table(
    "deliveries",
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
    _text("message_id", index=True),
    _time("at"),
    sa.Column("status", sa.Integer, nullable=False),
    _text("problem"),
    sa.Column("milliseconds", sa.Integer, nullable=False),
)

# Append-only; hash = sha256(previous hash + canonical JSON of the row).
audit = _table(
    "audit",
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
    _time("at"),
    _text("who"),
    _text("what"),
    _text("service_id", server_default="", index=True),
    _text("job_id", server_default=""),
    sa.Column("facts", sa.JSON, nullable=False),
    _text("previous_hash"),
    _text("hash", unique=True),
)

# API tokens: only the SHA-256 of the token is kept. role: admin | operator | billing | readonly.
tokens = _table(
    "tokens",
    _text("name", primary_key=True),
    _text("role"),
    _text("token_sha256", unique=True),
    _time("created_at"),
    _time("revoked_at", nullable=True),
    _time("expires_at", nullable=True),
)

# Answers kept under the caller's Idempotency-Key for a day.
idempotency_keys = _table(
    "idempotency_keys",
    _text("who", primary_key=True),
    _text("key", primary_key=True),
    _text("request_sha256"),
    sa.Column("status", sa.Integer, nullable=False),
    sa.Column("answer", sa.JSON, nullable=False),
    _time("created_at"),
)

# Facts about the whole installation: 'freeze' -> {by, why, since}, 'engine' -> …
settings = _table(
    "settings",
    _text("name", primary_key=True),
    sa.Column("value", sa.JSON, nullable=False),
    _time("changed_at"),
)
