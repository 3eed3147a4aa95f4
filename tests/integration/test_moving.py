"""Moving from SQLite to PostgreSQL: all of it or nothing, and the controller goes on where it was."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa

from orchestrator.domain.errors import ConfigError, StoreUnavailable, WrongState
from orchestrator.domain.intents import JobState
from orchestrator.drivers.local.clock import SystemClock
from orchestrator.store import audit, moving
from orchestrator.store.database import Database
from orchestrator.store.state_lock import take
from orchestrator.store.tables import metadata
from tests.fault import things
from tests.fault.house import House, prepared, seeded_world
from tests.live import write_config
from tests.postgres import databases
from tests.served import command
from tests.store_files import NOTE, engine_database

EMPTY = {table.name: 0 for table in metadata.sorted_tables}


@pytest.fixture
def target() -> Iterator[Database]:
    db = Database(databases().migrated())
    yield db
    db.close()
    databases().drop(db.url.render_as_string(hide_password=False))


def controller(directory: Path) -> House:
    return House(directory, steps=things.steps(seeded_world(directory)), playbooks=things.playbooks())


@pytest.fixture
def lived(tmp_path: Path) -> Iterator[House]:
    """A controller on SQLite that has done one job, and was stopped with another one in its queue."""
    house = controller(prepared(tmp_path / "state", engine_database))
    house.engine.start()
    house.wait(house.order("s1").job_id)
    house.engine.stop()
    house.order("s2")
    yield house
    house.db.close()


def counts(db: Database) -> dict[str, int]:
    with db.read() as conn:
        return {
            table.name: conn.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()
            for table in metadata.sorted_tables
        }


def test_all_of_it_arrives_and_the_controller_goes_on_where_it_was(lived: House, target: Database, tmp_path: Path) -> None:
    before = counts(lived.db)
    moved = moving.move(lived.db, target, who="anna", now=SystemClock().now())
    wanted = before | {"controllers": 0, "audit": before["audit"] + 1}
    assert counts(target) == wanted
    assert moved.rows == {name: count for name, count in before.items() if name != "controllers"}
    with target.read() as conn:
        assert audit.verify_chain(conn, head=moved.audit_head).ok
    (tmp_path / "state" / NOTE).write_text(target.url.render_as_string(hide_password=False))
    again = controller(tmp_path / "state")
    try:
        again.engine.start()
        again.engine.sweep()
        (second,) = again.jobs("s2")
        assert again.wait(second.id).state == JobState.DONE
        assert again.order("s1").outcome == "duplicate"
        assert again.wait(again.order("s3").job_id).state == JobState.DONE, "numbers go on behind those that were given"
    finally:
        again.close()


def test_a_database_that_holds_something_is_refused(lived: House, target: Database) -> None:
    moving.move(lived.db, target, who="anna", now=SystemClock().now())
    before = counts(target)
    with pytest.raises(WrongState, match="the database has rows already"):
        moving.move(lived.db, target, who="anna", now=SystemClock().now())
    assert counts(target) == before


def test_what_postgresql_cannot_keep_is_named_and_nothing_is_kept(lived: House, target: Database) -> None:
    with lived.db.write() as conn:
        conn.exec_driver_sql("UPDATE services SET hostname = 'a' || char(0) || 'b' WHERE id = 's2'")
    with pytest.raises(ConfigError, match="the services cannot be kept"):
        moving.move(lived.db, target, who="anna", now=SystemClock().now())
    assert counts(target) == EMPTY


def test_a_trail_that_does_not_hold_arrives_as_it_was_and_is_not_mended(lived: House, target: Database) -> None:
    """Whoever altered it is found afterwards as before; a row that changes on the way is not kept."""
    with target.write() as conn:
        conn.exec_driver_sql(
            "CREATE FUNCTION alters() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN NEW.hostname = 'x'; RETURN NEW; END$$"
        )
        conn.exec_driver_sql("CREATE TRIGGER alters BEFORE INSERT ON services FOR EACH ROW EXECUTE FUNCTION alters()")
    with pytest.raises(StoreUnavailable, match="the services did not arrive as they were"):
        moving.move(lived.db, target, who="anna", now=SystemClock().now())
    assert counts(target) == EMPTY


class TestCommand:
    @pytest.fixture
    def configured(self, tmp_path: Path, target: Database) -> Path:
        """A directory that was used with SQLite, and now names PostgreSQL."""
        write_config(tmp_path)
        assert command("--config", str(tmp_path), "init").returncode == 0
        password = tmp_path / "password"
        password.touch(mode=0o600)
        password.write_text(str(target.url.password))
        write_config(tmp_path, database_url=target.plain_url(), database_password_file=str(password))
        return tmp_path

    def test_it_moves_keeps_the_file_under_another_name_and_says_what_it_found(self, configured: Path, target: Database) -> None:
        file = configured / "state" / "orchestrator.sqlite"
        ran = command("--config", str(configured), "migrate", "--from-sqlite", str(file), "--json")
        assert ran.returncode == 0, ran.stderr
        told = json.loads(ran.stdout)
        assert told["kept"] == f"{file}.moved"
        assert not file.exists()
        with closing(sqlite3.connect(told["kept"])) as kept:
            assert kept.execute("PRAGMA quick_check").fetchone() == ("ok",)
        with target.read() as conn:
            (last,), _ = audit.list_page(conn, limit=1)
        assert last.what == "database moved"
        again = command("--config", str(configured), "migrate", "--from-sqlite", str(file))
        assert "there is no database" in again.stderr

    @pytest.mark.parametrize("words", [("init",), ("serve",)])
    def test_until_it_is_moved_no_controller_begins_on_the_other_database(
        self, configured: Path, target: Database, words: tuple[str, ...]
    ) -> None:
        ran = command("--config", str(configured), *words)
        assert (ran.returncode, f"migrate --from-sqlite {configured}" in ran.stderr) == (2, True), ran
        found = command("--config", str(configured), "doctor").stdout
        assert "PROBLEM  database of before" in found
        assert counts(target) == EMPTY

    def test_it_is_refused_while_a_controller_runs_on_the_file(self, configured: Path, target: Database) -> None:
        file = configured / "state" / "orchestrator.sqlite"
        with take(configured / "state"):
            ran = command("--config", str(configured), "migrate", "--from-sqlite", str(file))
        assert ran.returncode == 3
        assert "another controller" in ran.stderr
        assert file.exists()
        assert counts(target) == EMPTY

    def test_without_postgresql_in_the_configuration_it_says_so(self, tmp_path: Path) -> None:
        write_config(tmp_path)
        assert command("--config", str(tmp_path), "init").returncode == 0
        file = tmp_path / "state" / "orchestrator.sqlite"
        ran = command("--config", str(tmp_path), "migrate", "--from-sqlite", str(file))
        assert ran.returncode == 2
        assert "names no PostgreSQL" in ran.stderr
        assert file.exists()
