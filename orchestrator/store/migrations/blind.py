"""What migrations look at: our own tables and nothing else in the database."""

from __future__ import annotations

from alembic.runtime.environment import NameFilterParentNames, NameFilterType
from sqlalchemy.schema import SchemaItem

from orchestrator.store.tables import metadata


def include_name(name: str | None, kind: NameFilterType, _parents: NameFilterParentNames) -> bool:
    """For names found in the database: tables of ours only. Columns and indexes are then asked for ours alone."""
    return kind != "table" or name in metadata.tables


def include_object(_item: SchemaItem, name: str | None, kind: NameFilterType, reflected: bool, _other: SchemaItem | None) -> bool:
    """The same for reflected objects."""
    return not (reflected and kind == "table" and name not in metadata.tables)
