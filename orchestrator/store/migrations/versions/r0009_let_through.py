"""What the brakes count is found without looking at every job there ever was.

Revision 0008, after 0007.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_INDEXES = {"ix_jobs_created_at_let_through": "created_at", "ix_jobs_started_at_let_through": "started_at"}


def upgrade() -> None:
    through = sa.text("approval_reason = ''")
    for name, column in _INDEXES.items():
        op.create_index(name, "jobs", [column, "intent"], sqlite_where=through, postgresql_where=through)


def downgrade() -> None:
    for name in _INDEXES:
        op.drop_index(name, "jobs")
