"""What migrations look at: our own tables and nothing else in the database."""

from __future__ import annotations

from alembic.runtime.environment import NameFilterParentNames, NameFilterType

from orchestrator.store.tables import metadata


def include_name(name: str | None, kind: NameFilterType, _parents: NameFilterParentNames) -> bool:
    """For names found in the database: tables of ours only. Columns and indexes are then asked for ours alone."""
    return kind != "table" or name in metadata.tables
