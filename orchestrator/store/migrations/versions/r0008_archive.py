"""Since when the archive of a service is kept.

Revision 0008, after 0001.
"""

from __future__ import annotations

from typing import Literal

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # SQLite's table is made anew, so that it reads as the one that a new database gets; so does the default repeated here.
    node = sa.Column("node", sa.Text(), server_default="", nullable=False)
    with op.batch_alter_table("services", recreate=_anew(), reflect_args=(node,)) as table:
        archived_at = sa.Column("archived_at", sa.DateTime(timezone=True), nullable=True)
        table.add_column(archived_at, insert_after="suspension_proven_at")


def downgrade() -> None:
    with op.batch_alter_table("services", recreate=_anew()) as table:
        table.drop_column("archived_at")


def _anew() -> Literal["always", "auto"]:
    return "always" if op.get_bind().dialect.name == "sqlite" else "auto"
