"""The order in which a service's backups were begun, by which one is newer than another whatever the clocks say.

Revision 0013, after 0012.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

# What is there has no order but its times.
_NUMBERED = """
UPDATE backups SET number = (
    SELECT count(*) FROM backups AS other
    WHERE other.service_id = backups.service_id
    AND (other.begun_at < backups.begun_at OR (other.begun_at = backups.begun_at AND other.id <= backups.id))
)
"""


def upgrade() -> None:
    """Add it, and number what is there."""
    op.add_column("backups", sa.Column("number", sa.Integer(), server_default="0", nullable=False))
    op.execute(_NUMBERED)


def downgrade() -> None:
    """Remove it again."""
    op.drop_column("backups", "number")
