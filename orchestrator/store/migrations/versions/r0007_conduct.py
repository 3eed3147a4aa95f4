"""Complaints against services, what set a hold, and evidence.

Revision 0007, after 0006.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add what conduct needs."""
    op.add_column("services", sa.Column("complaints", sa.JSON(), server_default="[]", nullable=False))
    op.add_column("services", sa.Column("domain_expired_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("services", sa.Column("domain_renewed_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("holds", sa.Column("complaint", sa.Text(), server_default="", nullable=False))
    op.create_table(
        "evidence",
        sa.Column("service_id", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("added_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("service_id", "sha256", name="pk_evidence"),
    )


def downgrade() -> None:
    """Remove it again."""
    op.drop_table("evidence")
    op.drop_column("holds", "complaint")
    for column in ("domain_renewed_at", "domain_expired_at", "complaints"):
        op.drop_column("services", column)
