"""Jobs that wait for a node, or whatever else they need, to be reached again.

Revision 0027, after 0026.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table; no job that there is waits so."""
    op.create_table(
        "absences",
        sa.Column("job_id", sa.Text, nullable=False),
        sa.Column("away", sa.Text, nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("why", sa.Text, nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.Column("waits", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("job_id", name="pk_absences"),
    )


def downgrade() -> None:
    """Remove it again."""
    op.drop_table("absences")
