"""Fresh databases for tests: migrated once, then copied."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from orchestrator.store.database import Database, sqlite_url


def fresh_database(directory: Path, name: str = "store.sqlite") -> Database:
    """A migrated SQLite database of its own in ``directory``; the caller closes it."""
    path = directory / name
    path.write_bytes(_migrated())
    path.chmod(0o600)
    return Database(sqlite_url(path))


class OpensDatabases:
    """For test classes that make several databases: each is closed after its test."""

    @pytest.fixture(autouse=True)
    def _close_databases(self) -> Iterator[None]:
        self._opened: list[Database] = []
        yield
        for db in self._opened:
            db.close()

    def open(self, directory: Path) -> Database:
        db = fresh_database(directory)
        self._opened.append(db)
        return db


@cache
def _migrated() -> bytes:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "template.sqlite"
        db = Database(sqlite_url(path))
        db.migrate()
        db.close()  # the last connection folds the write-ahead log into the file
        return path.read_bytes()
