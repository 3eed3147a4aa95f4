"""Leases of controllers on PostgreSQL: who may go on, and what reaches the database of one that may not."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from orchestrator.domain.brakes import BrakeLimits
from orchestrator.domain.errors import ConfigError, StoreUnavailable
from orchestrator.engine.lease import Lease
from orchestrator.engine.settings import EngineSettings
from orchestrator.store import controllers, settings
from orchestrator.store.database import Database
from orchestrator.store.postgres import STANDSTILL_MS
from orchestrator.store.state_lock import take
from tests.store_files import POSTGRESQL, SQLITE, drop_database, fresh_database

# Less than the server lets a transaction stand still: what a test sees is not its doing.
WAIT_MS = STANDSTILL_MS // 4
SHORT = 6.0  # seconds of a lease that a test waits for
LIMITS = BrakeLimits(suspensions_per_hour=1, terminations_per_hour=1)


@pytest.fixture
def store_kind() -> str:
    return POSTGRESQL


class Machine:
    """One that a controller's lease is taken on."""

    def __init__(self, directory: Path, url: str, *, lease: float = 30.0, keys: str = "same") -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.db = Database(url, wait_ms=WAIT_MS)
        self.lost, self.lost_at = threading.Event(), 0.0
        made = EngineSettings(state_dir=directory, limits=LIMITS, lease_seconds=lease, keys=keys, version="1.2")
        self.lease = Lease(self.db, made, on_loss=self._lose)

    def begin(self) -> Machine:
        self.lock = take(self.directory)
        try:
            self.lease.begin(self.lock)
        except ConfigError:
            self.lock.close()
            raise
        return self

    def _lose(self, _why: str) -> None:
        self.lost_at = time.clock_gettime(time.CLOCK_BOOTTIME)
        self.lost.set()

    def write(self, name: str) -> None:
        with self.db.write() as conn:
            settings.put(conn, name, 1, now=controllers.now(conn))

    def stand_still(self) -> None:
        """As a process does that is stopped: its lease is renewed no more."""
        self.lease._ended.set()
        self.lease._renew_now.set()
        for thread in self.lease._threads:
            thread.join(5)

    def close(self) -> None:
        self.lease.end(drained=True)
        self.lock.close()
        self.db.close()


@contextmanager
def machines(db: Database, tmp_path: Path, *names: str, lease: float = 30.0) -> Iterator[list[Machine]]:
    url = db.url.render_as_string(hide_password=False)
    made = [Machine(tmp_path / name, url, lease=lease).begin() for name in names]
    try:
        yield made
    finally:
        for each in made:
            each.close()


def rows(db: Database) -> dict[str, str]:
    with db.read() as conn:
        return {each.id: each.ending for each in controllers.all_known(conn)}


def expire(db: Database, machine: Machine) -> None:
    with db.brief() as conn:
        past = controllers.now(conn) - timedelta(seconds=1)
        table = sa.table("controllers", sa.column("id"), sa.column("expires_at", sa.DateTime(timezone=True)))
        conn.execute(sa.update(table).where(table.c.id == machine.lease.id).values(expires_at=past))


def test_the_one_that_has_been_there_the_longest_leads_and_the_next_one_after_it(db: Database, tmp_path: Path) -> None:
    with machines(db, tmp_path, "a", "b", lease=SHORT) as (first, second):
        assert (first.lease.leads, second.lease.leads) == (True, False)
        first.lease.end(drained=True)
        until = threading.Event()
        for _ in range(100):
            if second.lease.leads:
                break
            until.wait(0.05)
        assert (first.lease.leads, second.lease.leads) == (False, True)
        assert rows(db) == {first.lease.id: "stopped", second.lease.id: ""}


def test_a_lease_is_renewed_while_its_controller_is_well(db: Database, tmp_path: Path) -> None:
    def expires() -> datetime:
        with db.read() as conn:
            (found,) = controllers.all_known(conn)
        return found.expires_at

    with machines(db, tmp_path, "a", lease=SHORT) as (only,):
        first = expires()
        for _ in range(100):
            if expires() > first:
                break
            threading.Event().wait(0.05)
        assert expires() > first
        assert not only.lost.is_set()


def test_one_whose_lease_ran_out_writes_nothing_before_anybody_has_taken_over(db: Database, tmp_path: Path) -> None:
    with machines(db, tmp_path, "a") as (late,):
        late.write("in time")
        expire(db, late)
        with pytest.raises(StoreUnavailable, match="lost its lease"):
            late.write("too late")
        with pytest.raises(StoreUnavailable, match="lost its lease"):
            late.db.own(lambda conn: settings.put(conn, "too late", 1, now=controllers.now(conn)))
    with db.read() as conn:
        assert (settings.get(conn, "in time"), settings.get(conn, "too late")) == (1, None)


def test_who_stands_still_in_a_transaction_is_shut_out_and_the_others_go_on(db: Database, tmp_path: Path) -> None:
    """It holds the writers' lock. Nothing of the transaction is kept, and it gets no new session."""
    with machines(db, tmp_path, "a", "b") as (late, other):
        late.stand_still()

        def stand_still_in_the_middle() -> None:
            with late.db.write() as conn:
                settings.put(conn, "half", 1, now=controllers.now(conn))
                expire(db, late)
                with db.brief() as beside:
                    assert [each.id for each in controllers.end_expired(beside)] == [late.lease.id]
                    assert controllers.end_sessions(beside, late.lease.id)
                other.write("goes on")

        with pytest.raises(StoreUnavailable):
            stand_still_in_the_middle()
        with pytest.raises(StoreUnavailable, match="lost its lease"), late.db.read():
            pass
        assert rows(db) == {late.lease.id: "lost", other.lease.id: ""}
    with db.read() as conn:
        assert (settings.get(conn, "half"), settings.get(conn, "goes on")) == (None, 1)


def test_a_lease_that_ran_out_is_not_had_back(db: Database, tmp_path: Path) -> None:
    with machines(db, tmp_path, "a") as (late,):
        expire(db, late)
        late.lease._renew()
        assert late.lost.is_set()
        assert not late.lease.sure


def test_without_its_database_a_controller_ends_before_its_lease_does(db: Database, tmp_path: Path) -> None:
    with machines(db, tmp_path, "a", lease=SHORT) as (cut,):
        assert cut.lease._own is not None
        cut.lease._own.close()
        cut.lease._own = Database("postgresql+psycopg://nobody@127.0.0.1:1/none")
        over = cut.lease._until
        assert cut.lost.wait(SHORT)
        assert cut.lost_at < over


def test_started_again_in_its_place_it_does_not_wait_for_its_old_lease(db: Database, tmp_path: Path) -> None:
    with machines(db, tmp_path, "a") as (before,):
        before.stand_still()
        before.lock.close()
        with machines(db, tmp_path, "a") as (again,):
            assert again.lease.leads
            assert rows(db) == {before.lease.id: "replaced", again.lease.id: ""}


def test_beside_a_controller_with_other_keys_none_is_begun(db: Database, tmp_path: Path) -> None:
    url = db.url.render_as_string(hide_password=False)
    with machines(db, tmp_path, "a"), closing(Database(url)):
        other = Machine(tmp_path / "b", url, keys="others")
        with pytest.raises(ConfigError, match="keys"):
            other.begin()
        other.db.close()


def test_on_sqlite_the_one_there_is_leads_and_is_known_by_name(tmp_path: Path) -> None:
    db = fresh_database(tmp_path, kind=SQLITE)
    with machines(db, tmp_path, "a") as (only,):
        assert only.lease.leads
        with db.read() as conn:
            (known,) = controllers.all_known(conn)
        assert (known.id, known.version, known.leads, known.works) == (only.lease.id, "1.2", True, True)
        expire(db, only)
        only.lease._renew()
        only.write("on SQLite the lock on the directory is what counts")
        assert not only.lost.is_set()
    drop_database(db)
