"""The engine's library and the store share one database and one connection pool: one transaction holds both."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from dbos import DBOSClient

from orchestrator.store import settings
from orchestrator.store.database import Connection, Database
from tests.store_files import drop_database, engine_database

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def db(tmp_path: Path, store_kind: str) -> Iterator[Database]:
    opened = engine_database(tmp_path, kind=store_kind)
    yield opened
    drop_database(opened)


@pytest.fixture
def client(db: Database) -> Iterator[DBOSClient]:
    opened = DBOSClient(system_database_engine=db.engine)
    opened.register_queue("jobs", worker_concurrency=1)
    yield opened
    opened.destroy()


def _enqueue(client: DBOSClient, conn: Connection, run: str) -> None:
    client.enqueue_in_transaction(
        conn, {"workflow_name": "run-job", "queue_name": "jobs", "workflow_id": run, "priority": 7}, run
    )


def _queued(client: DBOSClient) -> set[str]:
    return {status.workflow_id for status in client.list_workflows()}


def test_our_row_and_the_enqueueing_are_committed_together(db: Database, client: DBOSClient) -> None:
    with db.write() as conn:
        settings.put(conn, "a", 1, now=NOW)
        _enqueue(client, conn, "run-1")
    assert _queued(client) == {"run-1"}


@pytest.mark.parametrize("enqueue_first", [True, False])
def test_and_roll_back_together(db: Database, client: DBOSClient, enqueue_first: bool) -> None:
    def fail_half_way() -> None:
        with db.write() as conn:
            if enqueue_first:
                _enqueue(client, conn, "run-1")
            settings.put(conn, "a", 1, now=NOW)
            if not enqueue_first:
                _enqueue(client, conn, "run-1")
            raise KeyError("stop")

    with pytest.raises(KeyError):
        fail_half_way()
    assert _queued(client) == set()
    with db.read() as conn:
        assert settings.get(conn, "a") is None


def test_a_transaction_that_the_library_begins_itself_on_our_connections_is_one(db: Database) -> None:
    def fail_half_way() -> None:
        with db.engine.begin() as conn:
            settings.put(conn, "a", 1, now=NOW)
            raise KeyError("stop")

    with pytest.raises(KeyError):
        fail_half_way()
    with db.read() as conn:
        assert settings.get(conn, "a") is None


def test_many_threads_enqueue_while_the_library_writes_on_its_own(db: Database, client: DBOSClient) -> None:
    problems: list[Exception] = []

    def accept(thread: int) -> None:
        try:
            for number in range(5):
                with db.write() as conn:
                    settings.put(conn, f"{thread}.{number}", 1, now=NOW)
                    _enqueue(client, conn, f"run-{thread}-{number}")
                client.cancel_workflow(f"run-{thread}-{number}")
        except Exception as exc:  # noqa: BLE001 - whatever it was, the test shows it
            problems.append(exc)

    threads = [threading.Thread(target=accept, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert problems == []
    assert len(_queued(client)) == 30
