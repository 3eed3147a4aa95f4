"""How a service is left: since when it ran and was paid for, that it is to end, and when it had.

Revision 0006, after 0005. What was there before has none of it known.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

TIMES = ("purchased_at", "forgotten_at")


def upgrade() -> None:
    for name in TIMES:
        op.add_column("services", sa.Column(name, sa.DateTime(timezone=True), nullable=True))
    op.add_column("services", sa.Column("cancellation", sa.JSON(), nullable=True))


def downgrade() -> None:
    for name in ("cancellation", *TIMES):
        op.drop_column("services", name)
