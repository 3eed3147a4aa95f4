"""The one database: a single writer at a time, and errors in our own words.

The engine's library is handed the same SQLAlchemy engine, so that a job's row and its enqueueing stand or fall together.
On SQLite a write transaction begins with the write lock (``BEGIN IMMEDIATE``): one that read first and wrote later would
fail in the middle. On PostgreSQL a write transaction begins with an advisory lock that gives the same order among our own
writers, those of other controllers too; the engine's own writes do not take it and do not need it.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import sqlalchemy as sa
from sqlalchemy import event

from orchestrator.domain.errors import ConfigError, StoreUnavailable
from orchestrator.store import postgres
from orchestrator.store.outages import translated
from orchestrator.store.together import LATER, Together

if TYPE_CHECKING:
    from sqlalchemy.engine.interfaces import DBAPIConnection
    from sqlalchemy.pool import ConnectionPoolEntry

Connection = sa.Connection
T = TypeVar("T")

# The engine's library uses the same figure on engines of its own.
BUSY_TIMEOUT_MS = 30_000
# Connections: job threads, request threads and the engine's own pollers share the pool.
POOL_SIZE = 20
POOL_OVERFLOW = 30


def after_commit(conn: Connection, act: Callable[[], None]) -> None:
    """Do it once the write transaction of ``conn`` has held; never where it is rolled back. ``act`` writes nothing."""
    conn.info[LATER].append(act)


class Database:
    """Connections to the store at ``url`` (SQLAlchemy's form; ``sqlite:////absolute/path`` or ``postgresql+psycopg://…``).

    Opening does not connect. A SQLite file is made with mode 0600 on the first connection. ``wait_ms``: how long one writer
    waits for another, in milliseconds. ``password`` is PostgreSQL's, '' = none, or one in the URL. ``alone``: for one thread.
    """

    def __init__(self, url: str, *, password: str = "", wait_ms: int = BUSY_TIMEOUT_MS, alone: bool = False) -> None:
        self._wait_ms = wait_ms
        self._turn = threading.Lock()
        self._sessions = postgres.Sessions()
        self._together = Together(self.write)
        size, overflow = (1, 0) if alone else (POOL_SIZE, POOL_OVERFLOW)
        try:
            self.url = sa.make_url(url)
        except sa.exc.ArgumentError as exc:
            raise ConfigError("the database URL cannot be understood", hint="write it as sqlite:////path/to/file") from exc
        if password:
            self.url = self.url.set(password=password)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        if self.is_sqlite:
            self.engine = _sqlite_engine(self.url, wait_ms)
        elif self.url.get_backend_name() == "postgresql":
            self.engine = postgres.engine(self.url, self._sessions, size=size, overflow=overflow)
        else:
            raise ConfigError(
                f"databases of the kind '{self.url.get_backend_name()}' are not supported", hint="sqlite or postgresql"
            )

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that holds the write lock from its first statement; commits at the end, rolls back on any error.

        What ``after_commit`` was told inside it is done when it has held.
        Raises StoreUnavailable where the database is locked for too long, cannot be reached or has no room.
        """
        with translated(), self._own_turn(), self.engine.begin() as conn:
            if self.is_sqlite:
                conn.exec_driver_sql("BEGIN IMMEDIATE")
            else:
                self._sessions.take_turn(conn, wait_ms=self._wait_ms)
            later = conn.info[LATER] = []
            yield conn
        for act in later:
            act()

    def together(self, change: Callable[[Connection], T]) -> T:
        """What ``change`` does in a write transaction and returns: one with whatever else came by this way at the same time, when
        many come. ``change`` may be carried out by another thread; of one that raises nothing is written.

        Raises as ``write``, and what ``change`` raises.
        """
        return cast("T", self._together.run(change))

    def own(self, change: Callable[[Connection], T]) -> T:
        """What ``change`` does in a transaction and returns, where it writes rows that nobody else writes meanwhile: the
        steps of a job, by whoever runs it. On PostgreSQL it waits for nobody's turn; SQLite has one writer at a time: it is as
        ``together``.

        Raises as ``write``, and what ``change`` raises.
        """
        if self.is_sqlite:
            return self.together(change)
        with translated(), self.engine.begin() as conn:
            self._sessions.ask(conn)
            later = conn.info[LATER] = []
            result = change(conn)
        for act in later:
            act()
        return result

    def as_controller(self, controller_id: str, may_go_on: postgres.Check) -> None:
        """From now on this PostgreSQL database is a controller's: ``may_go_on`` is asked of each new session, and as each
        write begins. It raises where the controller may not."""
        self._sessions.as_controller(controller_id, may_go_on)
        self.engine.dispose()  # the sessions that are there carry no name yet

    def as_nobody(self) -> None:
        """What ``as_controller`` said holds no more."""
        self._sessions.as_nobody()
        self.engine.dispose()

    @contextmanager
    def brief(self) -> Iterator[Connection]:
        """A transaction that waits for no other writer but of the same rows, and that no fence stands before: for leases."""
        with translated(), self.engine.begin() as conn:
            yield conn

    def beside(self) -> Database:
        """Another one over the same tables, for one thread that must not wait for the others."""
        return Database(self.url.render_as_string(hide_password=False), wait_ms=self._wait_ms, alone=True)

    @contextmanager
    def _own_turn(self) -> Iterator[None]:
        """One writer of this process at a time: SQLite wakes waiters by polling with growing naps, this wakes them at once."""
        if not self._turn.acquire(timeout=self._wait_ms / 1000):
            raise StoreUnavailable("the database cannot be used: it is locked by another writer", hint="try again in a moment")
        try:
            yield
        finally:
            self._turn.release()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """One consistent view. A write inside it fails: it would be lost.

        Raises StoreUnavailable as ``write`` does.
        """
        with translated(), self.engine.connect() as conn:
            if self.is_sqlite:
                conn.exec_driver_sql("PRAGMA query_only = ON")
                try:
                    conn.exec_driver_sql("BEGIN DEFERRED")
                    yield conn
                finally:
                    conn.rollback()
                    conn.exec_driver_sql("PRAGMA query_only = OFF")
            else:
                conn.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
                yield conn

    def plain_url(self) -> str:
        """As the database's own programs read it, without the password."""
        parts = self.url._replace(drivername=self.url.get_backend_name(), password=None)
        return parts.render_as_string(hide_password=False)

    def migrate(self) -> None:
        """Bring the tables to the newest revision, in one transaction; nothing to do is success."""
        from orchestrator.store import migrate  # imported late: Alembic is not on the path of a running controller

        with self.write() as conn:
            if not self.is_sqlite:
                postgres.require_order(conn)
            migrate.upgrade(conn)

    def migrated(self) -> bool:
        """Whether the tables are at the revision this version of the software needs."""
        from orchestrator.store import migrate

        with self.read() as conn:
            return migrate.current(conn) == migrate.newest()

    def require_migrated(self) -> None:
        """Raises ConfigError, with what to do, where they are not."""
        from orchestrator.store import migrate

        with self.read() as conn:
            migrate.require_newest(conn)

    def close(self) -> None:
        """Close the pooled connections."""
        self.engine.dispose()


def sqlite_url(path: Path) -> str:
    """The URL of a SQLite file."""
    return sa.URL.create("sqlite", database=str(path.absolute())).render_as_string(hide_password=False)


def _sqlite_engine(url: sa.URL, wait_ms: int) -> sa.Engine:
    if not url.database or url.database == ":memory:":
        raise ConfigError("a database in memory would be lost with the process", hint="name a file: sqlite:////path/to/file")
    path = Path(url.database)
    engine = sa.create_engine(
        url,
        pool_size=POOL_SIZE,
        max_overflow=POOL_OVERFLOW,
        connect_args={"timeout": wait_ms / 1000},
        json_deserializer=_parsed,
    )

    @event.listens_for(engine, "do_connect")
    def make_private(_dialect: object, _record: ConnectionPoolEntry, _args: list[object], _kwargs: dict[str, object]) -> None:
        # SQLite gives its -wal and -shm files the mode of the main file, which it would make by umask.
        try:
            if not path.exists() and path.parent.is_dir():
                os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        except OSError as exc:
            raise ConfigError(
                f"the database {path} cannot be used: {exc.strerror}",
                hint="run it as the controller's user, and look for room on its disk",
            ) from exc

    @event.listens_for(engine, "connect")
    def prepare(connection: DBAPIConnection, _record: ConnectionPoolEntry) -> None:
        assert isinstance(connection, sqlite3.Connection)
        # As the engine's library sets on its own engines: transactions that Python begins itself take the write lock too.
        connection.isolation_level = "IMMEDIATE"
        connection.execute(f"PRAGMA busy_timeout = {wait_ms}")
        connection.execute("PRAGMA foreign_keys = ON")
        _write_ahead(connection)
        # FULL: a commit that was acknowledged to billing survives a power cut (https://sqlite.org/pragma.html#pragma_synchronous).
        connection.execute("PRAGMA synchronous = FULL")

    return engine


def _parsed(text: str) -> Any:
    """The JSON value. Of a service's record half a dozen are empty lists nearly always, of hundreds of thousands of services."""
    return [] if text == "[]" else json.loads(text)


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Put the file in WAL mode. Several processes that open a new file at once can find it locked past the busy timeout."""
    for attempt in range(20):
        try:
            if connection.execute("PRAGMA journal_mode = WAL").fetchone()[0] == "wal":
                return
        except sqlite3.OperationalError:
            if attempt == 19:
                raise
        time.sleep(0.05)
    raise sqlite3.OperationalError("the file system of the database cannot hold a write-ahead log")
