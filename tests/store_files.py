"""Fresh databases for tests: migrated once, then copied. SQLite, or PostgreSQL on a server of the tests' own."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

from orchestrator.store.database import Database, sqlite_url
from tests.postgres import databases

SQLITE, POSTGRESQL = KINDS = ("sqlite", "postgresql")
NOTE = "database-url"


def fresh_database(directory: Path, name: str = "store.sqlite", *, kind: str = SQLITE) -> Database:
    """A migrated database of its own, of SQLite in ``directory``; the caller closes it, or drops it."""
    if kind == POSTGRESQL:
        return Database(databases().migrated())
    path = directory / name
    path.write_bytes(_migrated())
    path.chmod(0o600)
    return Database(sqlite_url(path))


def empty_database(directory: Path, name: str = "store.sqlite", *, kind: str = SQLITE) -> Database:
    """One without tables."""
    return Database(databases().empty() if kind == POSTGRESQL else sqlite_url(directory / name))


def drop_database(db: Database) -> None:
    """Close it; on PostgreSQL nothing is left of it."""
    db.close()
    if not db.is_sqlite:
        databases().drop(db.url.render_as_string(hide_password=False))


def engine_database(directory: Path, name: str = "orchestrator.sqlite", *, kind: str = SQLITE) -> Database:
    """The same with the tables of the engine's library, as a controller leaves it that has run: each start makes them else."""
    if kind == POSTGRESQL:
        url = databases().launched()
        (directory / NOTE).write_text(url)
        return Database(url)
    path = directory / name
    path.write_bytes(_launched())
    path.chmod(0o600)
    return Database(sqlite_url(path))


def lay_store(state_dir: Path) -> None:
    """For a controller that is set up on SQLite: ``init`` finds its tables there, and need not make them one by one."""
    if not state_dir.exists():
        state_dir.mkdir(mode=0o700)
        engine_database(state_dir).close()


def house_url(directory: Path) -> str:
    """Of the store of the controller whose state directory this is: a file beside it, or PostgreSQL where a note says so."""
    note = directory / NOTE
    return note.read_text() if note.exists() else sqlite_url(directory / "orchestrator.sqlite")


def house_database(directory: Path) -> Database:
    """The same, opened; the caller closes it."""
    return Database(house_url(directory))


def drop_house(directory: Path) -> None:
    """Nothing is left of its store beside the directory."""
    if (directory / NOTE).exists():
        databases().drop(house_url(directory))


def copy_house(source: Path, target: Path) -> Path:
    """A state directory with what its store holds; nobody has that open."""
    shutil.copytree(source, target)
    if (target / NOTE).exists():
        (target / NOTE).write_text(databases().copy(house_url(source)))
    return target


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
