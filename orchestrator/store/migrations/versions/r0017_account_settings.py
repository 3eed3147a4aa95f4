"""What was set of hosting accounts, and certificates on their way to a node.

Revision 0017, after 0016.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns and the table."""
    with op.batch_alter_table("services") as table:
        table.add_column(sa.Column("account", sa.JSON(), nullable=True))
        table.add_column(sa.Column("databases_full", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.create_table(
        "site_certificates",
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("service_id", sa.Text(), nullable=False),
        sa.Column("certificate", sa.Text(), nullable=False),
        sa.Column("wrapped_key", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("job_id", name="pk_site_certificates"),
    )
    op.create_index("ix_site_certificates_service_id", "site_certificates", ["service_id"])


def downgrade() -> None:
    """Remove them again."""
    op.drop_index("ix_site_certificates_service_id", table_name="site_certificates")
    op.drop_table("site_certificates")
    with op.batch_alter_table("services") as table:
        table.drop_column("databases_full")
        table.drop_column("account")
