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
# Why a job undoes what it made was known to the durable library alone.
_OF_FAILED = "FROM job_steps AS failed WHERE failed.job_id = jobs.id AND failed.state = 'failed' ORDER BY position LIMIT 1"
_WHY = (
    f"UPDATE jobs SET error_code = coalesce((SELECT failed.error_code {_OF_FAILED}), ''),"  # noqa: S608 - no input
    f" error = coalesce((SELECT 'step ' || failed.id || ': ' || failed.error {_OF_FAILED}), '')"
    " WHERE state = 'undoing' AND error_code = '' AND NOT stop_requested"
)


def upgrade() -> None:
    """Add the columns, and say of jobs under way what can be said."""
    op.add_column("job_steps", sa.Column("run", sa.Integer, nullable=False, server_default="0"))
    op.add_column("job_steps", sa.Column("outcome", sa.JSON, nullable=True))
    op.execute(_DONE_IN_THE_FIRST)
    op.execute(_WHY)


def downgrade() -> None:
    """Remove them again."""
    op.drop_column("job_steps", "outcome")
    op.drop_column("job_steps", "run")
