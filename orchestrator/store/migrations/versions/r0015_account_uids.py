"""The uids of hosting accounts.

Revision 0015, after 0014.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "account_uids",
        sa.Column("service_id", sa.Text(), nullable=False),
        sa.Column("uid", sa.Integer(), nullable=False),
        sa.Column("given_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("service_id", name="pk_account_uids"),
        sa.UniqueConstraint("uid", name="uq_account_uids_uid"),
    )


def downgrade() -> None:
    """Remove it again."""
    op.drop_table("account_uids")
