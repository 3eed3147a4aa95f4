"""What went through the network of guests.

Revision 0023, after 0022.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "guest_traffic",
        sa.Column("service_id", sa.Text(), nullable=False),
        sa.Column("node", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("run", sa.Text(), nullable=False),
        sa.Column("age_seconds", sa.Float(), nullable=False),
        sa.Column("in_bytes", sa.BigInteger(), nullable=False),
        sa.Column("out_bytes", sa.BigInteger(), nullable=False),
        sa.Column("traffic", sa.JSON(), nullable=False),
        sa.Column("told", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("service_id", name="pk_guest_traffic"),
    )


def downgrade() -> None:
    """Remove it again."""
    op.drop_table("guest_traffic")
