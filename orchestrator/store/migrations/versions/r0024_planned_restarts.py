"""Restarts that are planned for a window of the service's node, and maintenance of nodes that is announced.

Revision 0024, after 0023.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns."""
    with op.batch_alter_table("services") as table:
        table.add_column(sa.Column("restart", sa.JSON(none_as_null=True), nullable=True))
    with op.batch_alter_table("nodes") as table:
        table.add_column(sa.Column("announced", sa.JSON(none_as_null=True), nullable=True))


def downgrade() -> None:
    """Remove them again."""
    with op.batch_alter_table("services") as table:
        table.drop_column("restart")
    with op.batch_alter_table("nodes") as table:
        table.drop_column("announced")
