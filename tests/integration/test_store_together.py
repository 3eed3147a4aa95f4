"""Writes that come at the same time: in one transaction, and none at another's cost."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import ContextVar
from datetime import UTC, datetime
from functools import partial

import pytest
import sqlalchemy as sa

from orchestrator.domain.errors import StoreUnavailable
from orchestrator.store import settings
from orchestrator.store.database import Connection, Database, after_commit
from orchestrator.store.together import MOST
from tests.lab.daemons import wait_until

NOW = datetime(2026, 1, 1, tzinfo=UTC)
about: ContextVar[str] = ContextVar("about", default="")


def _put(conn: Connection, name: str) -> str:
    settings.put(conn, name, 1, now=NOW)
    return name


def _there(db: Database) -> set[str]:
    with db.read() as conn:
        return {name for name in map(str, range(100)) if settings.get(conn, name) is not None}


class Crowd:
    """Changes that come while another writer has its turn, in this order; they begin when it ends."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._pool = ThreadPoolExecutor(64)
        self.commits = 0
        sa.event.listen(db.engine, "commit", self._count)

    def _count(self, _conn: object) -> None:
        self.commits += 1

    def come(self, *changes: Callable[[Connection], object]) -> list[Future[object]]:
        """The first of them leads; the others are there before it begins."""
        waiting = self._db._together._waiting
        with self._db.write():
            asked = []
            for number, change in enumerate(changes, start=1):
                asked.append(self._pool.submit(self._db.together, change))
                wait_until("it has come", lambda number=number: len(waiting) == number)  # type: ignore[misc]
            self.commits = 0
        for each in asked:
            each.exception(30)
        self.commits -= 1  # that of the writer before them
        return asked

    def close(self) -> None:
        self._pool.shutdown()


@pytest.fixture
def crowd(db: Database) -> Iterator[Crowd]:
    made = Crowd(db)
    yield made
    made.close()


def test_what_comes_together_is_written_in_few_transactions_and_each_has_its_own_answer(db: Database, crowd: Crowd) -> None:
    names = [str(number) for number in range(2 * MOST + 1)]
    asked = crowd.come(*(partial(_put, name=name) for name in names))
    assert [each.result() for each in asked] == names
    assert _there(db) == set(names)
    assert crowd.commits == 3


def test_who_comes_alone_waits_for_nobody(db: Database) -> None:
    assert [db.together(partial(_put, name=name)) for name in ("1", "2")] == ["1", "2"]
    assert _there(db) == {"1", "2"}


@pytest.mark.parametrize("place", [0, 1, 3])
def test_what_raises_is_told_to_its_own_caller_and_leaves_nothing_and_the_others_stand(
    db: Database, crowd: Crowd, place: int
) -> None:
    done: list[str] = []

    def fails(conn: Connection) -> None:
        after_commit(conn, lambda: done.append("failed"))
        _put(conn, "90")
        raise KeyError("its own")

    def stands(conn: Connection, name: str) -> str:
        after_commit(conn, lambda: done.append(name))
        return _put(conn, name)

    changes: list[Callable[[Connection], object]] = [partial(stands, name=str(n)) for n in range(3)]
    asked = crowd.come(*changes[:place], fails, *changes[place:])
    with pytest.raises(KeyError, match="its own"):
        asked.pop(place).result()
    assert [each.result() for each in asked] == ["0", "1", "2"]
    assert _there(db) == {"0", "1", "2"}
    assert sorted(done) == ["0", "1", "2"]


def test_a_rule_of_the_tables_that_one_breaks_does_not_cost_the_others_their_writes(db: Database, crowd: Crowd) -> None:
    again = sa.text("INSERT INTO settings (name, value, changed_at) VALUES ('1', '1', '2026-01-01 00:00:00')")
    asked = crowd.come(lambda conn: _put(conn, "1"), lambda conn: conn.execute(again), lambda conn: _put(conn, "2"))
    assert isinstance(asked[1].exception(), sa.exc.IntegrityError)
    assert _there(db) == {"1", "2"}


def test_where_the_store_goes_away_before_each_had_its_own_time_the_rest_is_told_at_once(db: Database, crowd: Crowd) -> None:
    """Else each would wait for it in turn, and the last of sixteen for minutes."""
    problems: list[Exception] = [KeyError("together"), StoreUnavailable("away")]
    later: list[str] = []

    def fail(_conn: Connection) -> None:
        raise problems.pop(0)

    def come_later(conn: Connection) -> None:
        later.append(_put(conn, "2"))

    first, second, third = crowd.come(partial(_put, name="1"), fail, come_later)
    assert first.result() == "1"
    assert isinstance(second.exception(), StoreUnavailable)
    assert isinstance(third.exception(), StoreUnavailable)
    assert (_there(db), later) == ({"1"}, [])


def test_what_was_carried_out_with_one_that_raised_has_the_answer_of_the_time_that_held(db: Database, crowd: Crowd) -> None:
    def counts(conn: Connection) -> object:
        settings.put(conn, "1", (settings.get(conn, "1") or 0) + 1, now=NOW)
        return settings.get(conn, "1")

    def fails(_conn: Connection) -> None:
        raise KeyError("its own")

    asked = crowd.come(counts, counts, fails, counts)
    assert [each.result() for each in (asked[0], asked[1], asked[3])] == [1, 2, 3]


def test_who_fails_alone_writes_nothing_and_the_next_one_is_served(db: Database) -> None:
    def fails(conn: Connection) -> None:
        _put(conn, "1")
        raise KeyError("its own")

    with pytest.raises(KeyError):
        db.together(fails)
    assert db.together(lambda conn: _put(conn, "2")) == "2"
    assert _there(db) == {"2"}


def test_where_the_transaction_does_not_hold_everybody_is_told_so_and_nothing_is_written(db: Database, crowd: Crowd) -> None:
    done: list[str] = []

    def stands(conn: Connection) -> None:
        after_commit(conn, lambda: done.append("done"))
        _put(conn, "1")

    def loses_the_store(conn: Connection) -> None:
        _put(conn, "2")
        conn.connection.driver_connection.close()  # type: ignore[union-attr]
        conn.exec_driver_sql("SELECT 1")

    asked = crowd.come(stands, loses_the_store, lambda conn: _put(conn, "3"))
    assert isinstance(asked[0].exception(), StoreUnavailable)
    assert isinstance(asked[2].exception(), StoreUnavailable)
    assert asked[1].exception() is not None
    assert _there(db) == set()
    assert done == []
    assert db.together(lambda conn: _put(conn, "4")) == "4"


def test_where_another_writer_has_its_turn_for_too_long_all_who_wait_are_told(db: Database) -> None:
    impatient = Database(db.url.render_as_string(hide_password=False), wait_ms=200)
    begun, end = threading.Event(), threading.Event()

    def holds() -> None:
        with impatient.write():
            begun.set()
            end.wait(30)

    with ThreadPoolExecutor(8) as pool:
        holder = pool.submit(holds)
        begun.wait(30)
        asked = [pool.submit(impatient.together, partial(_put, name=str(n))) for n in range(5)]
        found = [each.exception(30) for each in asked]
        end.set()
        holder.result(30)
    assert {type(each) for each in found} == {StoreUnavailable}
    assert impatient.together(lambda conn: _put(conn, "7")) == "7"
    impatient.close()
    assert _there(db) == {"7"}


def test_a_change_knows_what_its_caller_said_also_where_another_thread_carries_it_out(db: Database, crowd: Crowd) -> None:
    def come(name: str) -> object:
        about.set(name)
        return db.together(lambda conn: (_put(conn, name), about.get()))

    with ThreadPoolExecutor(8) as pool, db.write():
        asked = [pool.submit(come, str(number)) for number in range(8)]
        wait_until("all have come", lambda: len(db._together._waiting) == 8)
    assert [each.result(30) for each in asked] == [(str(n), str(n)) for n in range(8)]


def test_many_threads_for_a_while_lose_nothing(db: Database) -> None:
    def come(number: int) -> object:
        return db.together(lambda conn: _put(conn, str(number)))

    with ThreadPoolExecutor(12) as pool:
        assert list(pool.map(come, range(100))) == [str(number) for number in range(100)]
    assert len(_there(db)) == 100
