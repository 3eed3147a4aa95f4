"""Alembic's entry: runs on the connection it is handed, and sees no tables but ours.

The engine's library keeps its tables in the same database and migrates them itself.
"""

from __future__ import annotations

from alembic import context

from orchestrator.store.migrations.blind import include_name
from orchestrator.store.tables import metadata

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=metadata,
    include_name=include_name,
    transactional_ddl=True,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
