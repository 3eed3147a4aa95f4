"""When an order lapsed, and for which invoice's dispute a hold stands.

Revision 0008, after 0007.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add both; of the holds that stand it is found out which the dispute of an invoice has set."""
    op.add_column("services", sa.Column("lapsed_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("holds", sa.Column("invoice", sa.Text(), server_default="", nullable=False))
    _name_invoices(op.get_bind())


def downgrade() -> None:
    """Remove them again."""
    op.drop_column("holds", "invoice")
    op.drop_column("services", "lapsed_at")


def _name_invoices(conn: sa.Connection) -> None:
    """A dispute that set a hold was raised in the very moment since which that stands."""
    since = sa.column("since", sa.DateTime(timezone=True))
    holds = sa.table("holds", *map(sa.column, ("service_id", "reason", "effect", "invoice")), since)
    services = sa.table("services", sa.column("id"), sa.column("disputes", sa.JSON))
    found = sa.select(holds.c.service_id, since, services.c.disputes).join_from(
        holds, services, services.c.id == holds.c.service_id
    )
    standing = found.where(holds.c.reason == "dispute", holds.c.effect == "none")
    for row in conn.execute(standing).all():
        disputes = json.loads(row.disputes) if isinstance(row.disputes, str) else row.disputes
        invoice = next((each["invoice_id"] for each in disputes if _moment(each["raised_at"]) == _aware(row.since)), "")
        mine = sa.and_(holds.c.service_id == row.service_id, holds.c.reason == "dispute")
        conn.execute(sa.update(holds).where(mine).values(invoice=invoice))


def _moment(kept: str | None) -> datetime | None:
    return None if kept is None else datetime.fromisoformat(kept)


def _aware(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
