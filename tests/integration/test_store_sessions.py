"""Sessions on PostgreSQL: which one is used, and what becomes of one that breaks."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import pytest

from orchestrator.domain.errors import StoreUnavailable
from orchestrator.store import settings
from orchestrator.store.database import Connection, Database
from orchestrator.store.postgres import IDLE_SECONDS
from tests.postgres import databases
from tests.store_files import POSTGRESQL, drop_database, fresh_database

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    opened = fresh_database(tmp_path, kind=POSTGRESQL)
    yield opened
    drop_database(opened)


def _write(db: Database, value: int) -> None:
    with db.write() as conn:
        settings.put(conn, "n", value, now=NOW)


def _write_own(db: Database, value: int) -> None:
    db.own(lambda conn: settings.put(conn, "n", value, now=NOW))


def _read(db: Database) -> object:
    with db.read() as conn:
        return settings.get(conn, "n")


def _session(conn: Connection) -> int:
    found = conn.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
    return int(found)


def _break_all(db: Database) -> None:
    """As a server that is started again does."""
    with databases().server.connect() as admin:
        admin.execute("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s", (db.url.database,))


def test_sessions_that_broke_while_they_stood_idle_are_replaced_and_nobody_notices(db: Database) -> None:
    _write(db, 1)
    _break_all(db)
    time.sleep(IDLE_SECONDS + 0.1)
    _write(db, 2)
    assert _read(db) == 2


@pytest.mark.parametrize("write", [_write, _write_own])
def test_what_breaks_in_between_is_told_once_and_writes_nothing(db: Database, write: Callable[[Database, int], None]) -> None:
    with ExitStack() as several:
        for _ in range(3):
            several.enter_context(db.brief())
    _write(db, 1)
    _break_all(db)
    with pytest.raises(StoreUnavailable, match="terminating connection"):
        write(db, 2)
    with ExitStack() as several:
        for _ in range(3):
            _session(several.enter_context(db.brief()))
    assert _read(db) == 1
    _write(db, 3)
    assert _read(db) == 3


def test_what_is_a_runs_own_is_written_while_another_has_the_turn(db: Database) -> None:
    _write(db, 1)
    with db.write():
        _write_own(db, 2)
        assert _read(db) == 2


def test_who_comes_alone_has_the_session_that_was_used_last(db: Database) -> None:
    with ExitStack() as several:
        there = {_session(several.enter_context(db.brief())) for _ in range(3)}
    used = set()
    for _ in range(6):
        with db.write() as conn:
            used.add(_session(conn))
    assert len(there) == 3
    assert len(used) == 1
