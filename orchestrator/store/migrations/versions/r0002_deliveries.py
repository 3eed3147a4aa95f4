"""The record of every delivery to billing, and messages that are given up.

Revision 0002, after 0001. On SQLite and PostgreSQL.
"""

from __future__ import annotations

from typing import Literal

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

INDEXES = {
    "ix_outbox_next_attempt_at": ["next_attempt_at"],
    "ix_outbox_taken_at": ["taken_at"],
    "ix_outbox_dead_at": ["dead_at"],
    "ix_outbox_created_at_id": ["created_at", "id"],
}


def upgrade() -> None:
    # SQLite's table is made anew, so that it reads as the one that a new database gets; so does the default repeated here.
    problem = sa.Column("last_problem", sa.Text(), server_default="", nullable=False)
    with op.batch_alter_table("outbox", recreate=_anew(), reflect_args=(problem,)) as table:
        table.add_column(sa.Column("tries", sa.Integer(), server_default="0", nullable=False))
        table.add_column(sa.Column("tried_since", sa.DateTime(timezone=True), nullable=True))
        table.add_column(sa.Column("dead_at", sa.DateTime(timezone=True), nullable=True))
    for name, columns in INDEXES.items():
        op.create_index(name, "outbox", columns, unique=False)
    op.create_table(
        "deliveries",
        sa.Column("seq", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("message_id", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("problem", sa.Text(), nullable=False),
        sa.Column("milliseconds", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_deliveries"),
    )
    op.create_index("ix_deliveries_message_id", "deliveries", ["message_id"], unique=False)


def downgrade() -> None:
    op.drop_table("deliveries")
    for name in INDEXES:
        op.drop_index(name, table_name="outbox")
    # What was given up is posted again by itself where nothing knows of dead messages.
    op.execute("UPDATE outbox SET next_attempt_at = dead_at WHERE dead_at IS NOT NULL")
    with op.batch_alter_table("outbox", recreate=_anew()) as table:
        for column in ("tries", "tried_since", "dead_at"):
            table.drop_column(column)


def _anew() -> Literal["always", "auto"]:
    return "always" if op.get_bind().dialect.name == "sqlite" else "auto"
