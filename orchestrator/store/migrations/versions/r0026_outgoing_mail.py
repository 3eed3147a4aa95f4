"""Whether a service's guest may send mail, where that is said of the service itself.

Revision 0026, after 0025.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; services that there are have it as their plans say."""
    with op.batch_alter_table("services") as table:
        table.add_column(sa.Column("mail_out", sa.Boolean(), nullable=True))


def downgrade() -> None:
    """Remove it again."""
    with op.batch_alter_table("services") as table:
        table.drop_column("mail_out")
