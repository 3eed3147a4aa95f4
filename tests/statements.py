"""Compiled statements that all databases of one process share.

SQLAlchemy compiles each statement once for an engine. A controller has one engine as long as it lives; the tests have thousands
of controllers, a fifth of whose computing was to compile the same statements anew.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.util import LRUCache

ROOM = 4000  # statements, each some ten KiB


class Shared(LRUCache[Any, Any]):
    """By the kind of an engine's dialect and its way to read JSON, which are all in which engines differ here; SQLAlchemy goes by
    the dialect itself."""

    def get(self, key: Any, default: Any = None) -> Any:
        return super().get(_of_kind(key), default)

    def __setitem__(self, key: Any, compiled: Any) -> None:
        super().__setitem__(_of_kind(key), compiled)


def share() -> None:
    """From now on, in this process."""
    if not event.contains(sa.Engine, "engine_connect", _take_part):
        event.listen(sa.Engine, "engine_connect", _take_part)


def _take_part(conn: sa.Connection) -> None:
    conn.execution_options(compiled_cache=_SHARED)


def _of_kind(key: tuple[Any, ...]) -> tuple[Any, ...]:
    dialect, *rest = key
    return (type(dialect), getattr(dialect, "_json_deserializer", None), *rest)


_SHARED = Shared(ROOM)
