"""Until when a token may be used.

Revision 0021, after 0020.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; tokens that there are do not expire."""
    with op.batch_alter_table("tokens") as table:
        table.add_column(sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    """Remove it again."""
    with op.batch_alter_table("tokens") as table:
        table.drop_column("expires_at")
