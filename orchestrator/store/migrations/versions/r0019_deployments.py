"""Deployments: dedicated machines that are booted from the deploy image, and what they are told to do.

Revision 0019, after 0017.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the tables."""
    op.create_table(
        "deployments",
        sa.Column("number", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("machine", sa.Text(), nullable=False),
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("claimed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("heard_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("medium_sha256", sa.Text(), nullable=False),
        sa.Column("token_sha256", sa.Text(), nullable=False),
        sa.Column("session_sha256", sa.Text(), server_default="", nullable=False),
        sa.Column("expected", sa.JSON(), nullable=False),
        sa.Column("network", sa.JSON(), nullable=False),
        sa.Column("inspection", sa.JSON(), nullable=True),
        sa.Column("refused", sa.Text(), server_default="", nullable=False),
        sa.Column("refusals", sa.Integer(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_deployments"),
        sa.UniqueConstraint("medium_sha256", name="uq_deployments_medium_sha256"),
        sa.UniqueConstraint("token_sha256", name="uq_deployments_token_sha256"),
    )
    op.create_index("ix_deployments_machine", "deployments", ["machine"])
    op.create_index("ix_deployments_session_sha256", "deployments", ["session_sha256"])
    op.create_table(
        "deployment_tasks",
        sa.Column("machine", sa.Text(), nullable=False),
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("arguments", sa.JSON(), nullable=False),
        sa.Column("arguments_sha256", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("fraction", sa.Float(), server_default="0", nullable=False),
        sa.Column("says", sa.Text(), server_default="", nullable=False),
        sa.Column("result", sa.JSON(), server_default="{}", nullable=False),
        sa.PrimaryKeyConstraint("machine", "job_id", "key", name="pk_deployment_tasks"),
    )


def downgrade() -> None:
    """Remove them again."""
    op.drop_table("deployment_tasks")
    op.drop_index("ix_deployments_session_sha256", table_name="deployments")
    op.drop_index("ix_deployments_machine", table_name="deployments")
    op.drop_table("deployments")
