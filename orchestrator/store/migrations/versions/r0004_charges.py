"""Charges, and what a service's record knows of disputes, chargebacks, traffic and fees.

Revision 0004, after 0003. The disputes themselves take the place of the time for which they stopped the clock: that could be read
only together with the due date of then.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

COLUMNS = ("chargebacks", "disputes", "traffic", "cut_off_at", "cut_off_paid", "activated_at", "ended_at")


def upgrade() -> None:
    op.create_table(
        "charges",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("service_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("quantity", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("clause", sa.Text(), nullable=False),
        sa.Column("policy", sa.Text(), nullable=False),
        sa.Column("job_id", sa.Text(), server_default="", nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("taken_back_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("why_taken_back", sa.Text(), server_default="", nullable=False),
        sa.Column("by_operation", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("times", sa.Integer(), server_default="1", nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_charges"),
    )
    op.create_index("ix_charges_service_id", "charges", ["service_id"])
    op.create_index("ix_charges_job_id", "charges", ["job_id"])
    # SQLite changes a table by making it anew, with its columns in the order of the declaration.
    with op.batch_alter_table("services", recreate="auto") as services:
        services.drop_column("clock_stopped")
        services.add_column(sa.Column("chargebacks", sa.JSON(), server_default="[]", nullable=False))
        services.add_column(sa.Column("disputes", sa.JSON(), server_default="[]", nullable=False))
        services.add_column(sa.Column("traffic", sa.JSON(), server_default="[]", nullable=False))
        services.add_column(sa.Column("cut_off_at", sa.DateTime(timezone=True), nullable=True))
        services.add_column(sa.Column("cut_off_paid", sa.Boolean(), server_default=sa.false(), nullable=False))
        services.add_column(sa.Column("activated_at", sa.DateTime(timezone=True), nullable=True))
        services.add_column(sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    op.drop_table("charges")
    with op.batch_alter_table("services", recreate="auto") as services:
        services.add_column(sa.Column("clock_stopped", sa.Integer(), server_default="0", nullable=False))
        for name in COLUMNS:
            services.drop_column(name)
