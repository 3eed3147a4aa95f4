"""Nodes that are drained; capacity that a service on the move is promised a second time.

Revision 0022, after 0021.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

_TEXTS = ("drained_by", "drained_why")


def upgrade() -> None:
    """Add the columns; nodes that there are take guests as before."""
    with op.batch_alter_table("nodes") as table:
        table.add_column(sa.Column("drained_at", sa.DateTime(timezone=True), nullable=True))
        for name in _TEXTS:
            table.add_column(sa.Column(name, sa.Text, nullable=False, server_default=""))
    op.create_table(
        "moving_reservations",
        sa.Column("service_id", sa.Text, nullable=False),
        sa.Column("job_id", sa.Text, nullable=False),
        sa.Column("node", sa.Text, nullable=False),
        sa.Column("vcpus", sa.Integer, nullable=False),
        sa.Column("memory_bytes", sa.BigInteger, nullable=False),
        sa.Column("disk_bytes", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("service_id", name="pk_moving_reservations"),
    )
    op.create_index("ix_moving_reservations_node", "moving_reservations", ["node"])


def downgrade() -> None:
    """Remove them again."""
    op.drop_table("moving_reservations")
    with op.batch_alter_table("nodes") as table:
        for name in ("drained_at", *_TEXTS):
            table.drop_column(name)
