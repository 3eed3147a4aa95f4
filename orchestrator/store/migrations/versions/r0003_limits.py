"""Since when a service is seen to be limited.

Revision 0003, after 0002.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("services", sa.Column("limited_proven_at", sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    op.drop_column("services", "limited_proven_at")
