"""By what it is known that a disk was not written to since its backup.

Revision 0014, after 0013.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the mark of a backup's source; of those before nothing is known."""
    op.add_column("backups", sa.Column("mark", sa.Text(), server_default="", nullable=False))


def downgrade() -> None:
    """Take it away again."""
    op.drop_column("backups", "mark")
