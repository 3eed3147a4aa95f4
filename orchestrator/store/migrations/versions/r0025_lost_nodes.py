"""Nodes that never come back, and what operators stated of them.

Revision 0025, after 0024.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None

_TEXTS = ("lost_by", "lost_why", "lost_statement")


def upgrade() -> None:
    """Add the columns and the table; no node that there is is lost."""
    with op.batch_alter_table("nodes") as table:
        table.add_column(sa.Column("lost_at", sa.DateTime(timezone=True), nullable=True))
        for name in _TEXTS:
            table.add_column(sa.Column(name, sa.Text, nullable=False, server_default=""))
    op.create_table(
        "node_statements",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("node", sa.Text, nullable=False),
        sa.Column("statement", sa.JSON, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_node_statements"),
    )
    op.create_index("ix_node_statements_node", "node_statements", ["node"])


def downgrade() -> None:
    """Remove them again."""
    op.drop_table("node_statements")
    with op.batch_alter_table("nodes") as table:
        for name in ("lost_at", *_TEXTS):
            table.drop_column(name)
