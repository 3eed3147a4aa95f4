"""Fresh databases for tests: migrated once, then copied."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
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


def engine_database(directory: Path, name: str = "orchestrator.sqlite") -> Database:
    """The same with the tables of the engine's library, as a controller leaves it that has run: each start makes them else."""
    path = directory / name
    path.write_bytes(_launched())
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
    return _made(lambda db: db.migrate())


@cache
def _launched() -> bytes:
    def make(db: Database) -> None:
        from dbos import DBOS

        db.migrate()
        DBOS.migrate(db.url.render_as_string(hide_password=False))

    return _made(make)


def _made(make: Callable[[Database], None]) -> bytes:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "template.sqlite"
        db = Database(sqlite_url(path))
        make(db)
        db.close()  # the last connection folds the write-ahead log into the file
        return path.read_bytes()
