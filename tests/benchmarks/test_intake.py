"""How long a webhook takes to be accepted: event, record, job and queue entry committed, against one bare insert."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from orchestrator.steps.registry import STEPS
from orchestrator.wiring import load_all_playbooks
from tests.benchmarks.book import Row, pairs, timed, write
from tests.fault.house import House, Options, prepared
from tests.served import Served
from tests.store_files import engine_database

AT_A_TIME = 50
ROUNDS = 9


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """A controller that accepts and does not look into its queue."""
    idle = Options(poll_seconds=3600)
    made = House(prepared(tmp_path / "house", engine_database), steps=STEPS, playbooks=load_all_playbooks(), options=idle)
    made.engine.start()
    yield made
    made.close()


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """SQLite with the same promise: a write-ahead log that is synced at each commit."""
    database = sqlite3.connect(tmp_path / "bare.sqlite", isolation_level=None)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = FULL")
    database.execute("CREATE TABLE events (seq INTEGER PRIMARY KEY, source TEXT, id TEXT, body TEXT, UNIQUE (source, id))")
    yield database
    database.close()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    made = Served(tmp_path / "served")
    yield made
    made.stop()


def test_accepting_a_webhook(house: House, bare: sqlite3.Connection, served: Served) -> None:
    numbers = count()

    def insert() -> None:
        for _ in range(AT_A_TIME):
            number = next(numbers)
            body = json.dumps({"type": "order.paid", "data": {"service_id": f"b{number}", "plan": "small", "client_id": "c1"}})
            bare.execute("BEGIN IMMEDIATE")
            bare.execute("INSERT INTO events (source, id, body) VALUES ('shop', ?, ?)", (f"m{number}", body))
            bare.execute("COMMIT")

    def accept() -> None:
        for _ in range(AT_A_TIME):
            assert house.order(f"s{next(numbers)}").outcome == "accepted"

    def repeat() -> None:
        for _ in range(AT_A_TIME):
            assert house.order("s-again").outcome in ("accepted", "duplicate")

    def post() -> None:
        for _ in range(AT_A_TIME):
            answer = served.send("order.created", f"p{next(numbers)}", client_id="c1", plan="small")
            assert answer.status_code == 200, answer.text

    accept()  # what is prepared once is prepared
    accepted = pairs(lambda: timed(accept), lambda: timed(insert), rounds=ROUNDS)
    repeated = pairs(lambda: timed(repeat), lambda: timed(insert), rounds=ROUNDS)
    posted = pairs(lambda: timed(post), lambda: timed(insert), rounds=ROUNDS)
    each = accepted.ours / AT_A_TIME
    write(
        "Accepting a webhook",
        "Ours: one write transaction with the event, the merged record, the decision, the job, its queue entry and a row "
        "of audit. Bare: one transaction that inserts the body, on SQLite with the same durability.",
        [
            accepted.row("`order.paid`, accepted by the engine: each", each=AT_A_TIME),
            Row("the same, a second", f"{1 / each:.0f}", f"{AT_A_TIME / accepted.bare:.0f}"),
            repeated.row("a repeated delivery: each", each=AT_A_TIME),
            posted.row("`order.created` through the socket, signed and verified: each", each=AT_A_TIME),
        ],
    )
