"""What an attempt at a step came to stands in the step's row, with the run that it was in: the only record of it.

Revision 0028, after 0027.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None

# Of a first run that is under way each step that is done was done in it. A later one passes those of the former again.
_DONE_IN_THE_FIRST = (
    "UPDATE job_steps SET run = 1 WHERE state = 'done' AND job_id IN (SELECT id FROM jobs WHERE state = 'running' AND run = 1)"
)


def upgrade() -> None:
    """Add the columns, and say of jobs under way what can be said."""
    op.add_column("job_steps", sa.Column("run", sa.Integer, nullable=False, server_default="0"))
    op.add_column("job_steps", sa.Column("outcome", sa.JSON, nullable=True))
    op.execute(_DONE_IN_THE_FIRST)


def downgrade() -> None:
    """Remove them again."""
    op.drop_column("job_steps", "outcome")
    op.drop_column("job_steps", "run")
