from __future__ import annotations

import stat
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from orchestrator.domain.errors import ConfigError, StoreUnavailable
from orchestrator.store import settings
from orchestrator.store.database import Connection, Database, after_commit, sqlite_url
from tests.store_files import drop_database, empty_database, fresh_database

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def _put(db: Database, name: str, value: object) -> None:
    with db.write() as conn:
        settings.put(conn, name, value, now=NOW)


def _get(db: Database, name: str) -> object:
    with db.read() as conn:
        return settings.get(conn, name)


def test_the_file_and_its_log_are_for_this_user_alone(tmp_path: Path) -> None:
    db = Database(sqlite_url(tmp_path / "new.sqlite"))
    db.migrate()
    files = sorted(tmp_path.glob("new.sqlite*"))
    assert len(files) == 3
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    db.close()


@pytest.mark.parametrize(("pragma", "value"), [("journal_mode", "wal"), ("synchronous", 2), ("foreign_keys", 1)])
def test_a_commit_survives_a_power_cut_and_readers_do_not_wait_for_writers(tmp_path: Path, pragma: str, value: object) -> None:
    db = fresh_database(tmp_path)
    with db.read() as conn:
        assert conn.exec_driver_sql(f"PRAGMA {pragma}").scalar_one() == value
    db.close()


def test_an_error_rolls_everything_back(db: Database) -> None:
    def fail_half_way() -> None:
        with db.write() as conn:
            settings.put(conn, "a", 1, now=NOW)
            raise KeyError("stop")

    with pytest.raises(KeyError):
        fail_half_way()
    assert _get(db, "a") is None


def test_what_is_a_runs_own_is_written_whole_or_not_at_all(db: Database) -> None:
    seen: list[object] = []

    def change(conn: Connection, *, fails: bool) -> str:
        settings.put(conn, "a", 1, now=NOW)
        after_commit(conn, lambda: seen.append(_get(db, "a")))
        if fails:
            raise KeyError("stop")
        return "written"

    with pytest.raises(KeyError):
        db.own(lambda conn: change(conn, fails=True))
    assert (_get(db, "a"), seen) == (None, [])
    assert db.own(lambda conn: change(conn, fails=False)) == "written"
    assert seen == [1]


def test_what_is_for_after_a_transaction_is_done_once_it_has_held_and_never_where_it_is_rolled_back(db: Database) -> None:
    seen: list[object] = []

    def fail() -> None:
        with db.write() as conn:
            after_commit(conn, lambda: seen.append("never"))
            raise KeyError("stop")

    with pytest.raises(KeyError):
        fail()
    with db.write() as conn:
        settings.put(conn, "a", 1, now=NOW)
        after_commit(conn, lambda: seen.append(_get(db, "a")))
        assert seen == []
    with db.write() as conn:
        settings.put(conn, "a", 2, now=NOW)
    assert seen == [1]


def test_a_write_holds_the_write_lock_from_its_first_statement(db: Database) -> None:
    """A transaction that reads, then writes, would otherwise fail when another wrote in between."""
    inside, let_go = threading.Event(), threading.Event()
    order: list[str] = []

    def first() -> None:
        with db.write() as conn:
            assert settings.get(conn, "count") is None
            inside.set()
            let_go.wait(10)
            order.append("first")
            settings.put(conn, "count", 1, now=NOW)

    def second() -> None:
        with db.write() as conn:
            order.append("second")
            settings.put(conn, "count", settings.get(conn, "count"), now=NOW)

    threads = [threading.Thread(target=first), threading.Thread(target=second)]
    threads[0].start()
    assert inside.wait(10)
    threads[1].start()
    let_go.set()
    for thread in threads:
        thread.join(20)
    assert order == ["first", "second"]
    assert _get(db, "count") == 1


def test_increments_from_many_threads_are_all_counted(db: Database) -> None:
    _put(db, "count", 0)

    def increment() -> None:
        for _ in range(10):
            with db.write() as conn:
                value = settings.get(conn, "count")
                assert isinstance(value, int)
                settings.put(conn, "count", value + 1, now=NOW)

    threads = [threading.Thread(target=increment) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert _get(db, "count") == 80


def test_a_read_sees_one_moment_while_others_write(db: Database) -> None:
    _put(db, "a", 1)
    with db.read() as conn:
        assert settings.get(conn, "a") == 1
        _put(db, "a", 2)
        assert settings.get(conn, "a") == 1
    assert _get(db, "a") == 2


def test_a_write_inside_a_read_is_refused_instead_of_lost(db: Database) -> None:
    with pytest.raises(StoreUnavailable, match="readonly"), db.read() as conn:
        settings.put(conn, "a", 1, now=NOW)
    _put(db, "a", 2)  # the connection went back to the pool able to write
    assert _get(db, "a") == 2


def test_a_lock_that_is_never_given_up_ends_in_our_own_error(db: Database) -> None:
    hasty = Database(db.url.render_as_string(hide_password=False), wait_ms=50)
    with db.write(), pytest.raises(StoreUnavailable, match="locked"):
        _put(hasty, "a", 1)
    _put(hasty, "a", 1)
    hasty.close()


def test_a_missing_directory_is_said_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable) as caught:
        Database(sqlite_url(tmp_path / "missing" / "store.sqlite")).migrated()
    assert "state directory" in caught.value.hint


def test_tables_that_are_missing_point_to_the_migration(tmp_path: Path, store_kind: str) -> None:
    db = empty_database(tmp_path, kind=store_kind)
    with pytest.raises(StoreUnavailable) as caught:
        _get(db, "a")
    assert "orchestrator migrate" in caught.value.hint
    drop_database(db)


def test_a_broken_rule_of_the_tables_is_no_outage(db: Database) -> None:
    with pytest.raises(IntegrityError), db.write() as conn:
        conn.execute(sa.text("INSERT INTO service_locks (service_id, job_id, token, taken_at) VALUES ('s', NULL, 't', NULL)"))


@pytest.mark.parametrize("url", ["", "nonsense", "sqlite://", "sqlite:///:memory:", "mysql+pymysql://host/db"])
def test_a_url_that_cannot_be_used_is_refused_at_once(url: str) -> None:
    with pytest.raises(ConfigError):
        Database(url)


def test_a_file_that_is_no_database_is_said_in_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    path.write_bytes(b"hello" * 1000)
    db = Database(sqlite_url(path))
    with pytest.raises(StoreUnavailable, match="not a database"):
        db.migrated()
    db.close()
