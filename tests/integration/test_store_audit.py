from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy.exc import DatabaseError

from orchestrator.domain.audit_chain import ChainCheck
from orchestrator.store import audit
from orchestrator.store.database import Database

NOW = datetime(2026, 1, 1, 8, 30, 0, 123456, tzinfo=UTC)


@pytest.fixture
def trail(db: Database) -> Database:
    """Five rows."""
    for number in range(5):
        with db.write() as conn:
            audit.append(
                conn,
                at=NOW + timedelta(minutes=number),
                who="uid anna",
                what="job approve",
                service_id=f"s{number % 2}",
                job_id="j1",
                facts={"number": number, "ünïcode": ["x", None, 0.25], "big": 2**62},
            )
    return db


def tamper(db: Database, *statements: str) -> None:
    """Someone with the database in his hands: the triggers are no obstacle to him."""
    on_sqlite = ("DROP TRIGGER audit_refuses_update", "DROP TRIGGER audit_refuses_delete")
    with db.engine.begin() as conn:
        for drop in on_sqlite if db.is_sqlite else ("DROP TRIGGER audit_refuses ON audit", "SET LOCAL TIME ZONE 'UTC'"):
            conn.exec_driver_sql(drop)
        for statement in statements:
            assert conn.exec_driver_sql(statement).rowcount > 0


def verify(db: Database, head: str = "") -> ChainCheck:
    with db.read() as conn:
        return audit.verify_chain(conn, head=head)


def test_an_untouched_trail_holds_and_so_does_an_empty_one(db: Database, trail: Database) -> None:
    assert verify(trail).ok
    assert verify(trail).entries == 5


def test_an_empty_trail_holds(db: Database) -> None:
    assert verify(db) == ChainCheck(entries=0, head="")


def test_rows_read_back_as_they_were_written(trail: Database) -> None:
    with trail.write() as conn:
        entry = audit.append(conn, at=NOW, who="token ci", what="service terminate", facts={"why": "over"})
    with trail.read() as conn:
        rows, _ = audit.list_page(conn, limit=1)
    assert rows == (entry,)
    assert entry.previous_hash
    assert entry.hash != entry.previous_hash


@pytest.mark.parametrize(
    ("statements", "at_seq"),
    [
        (("UPDATE audit SET who = 'uid bob' WHERE seq = 3",), 3),
        (("UPDATE audit SET what = 'job cancel' WHERE seq = 1",), 1),
        (("UPDATE audit SET service_id = 's9' WHERE seq = 2",), 2),
        (("UPDATE audit SET job_id = '' WHERE seq = 2",), 2),
        (("UPDATE audit SET at = '2026-01-01 08:31:00.123457' WHERE seq = 2",), 2),
        (("""UPDATE audit SET facts = '{"number": 7}' WHERE seq = 5""",), 5),
        (("UPDATE audit SET hash = 'x' WHERE seq = 5",), 5),
        (("UPDATE audit SET previous_hash = 'x' WHERE seq = 4",), 4),
        (("DELETE FROM audit WHERE seq = 1",), 1),
        (("DELETE FROM audit WHERE seq = 3",), 3),
        (("DELETE FROM audit WHERE seq = 5",), 5),
        (("DELETE FROM audit",), 1),
        (("DELETE FROM audit WHERE seq = 3", "UPDATE audit SET seq = seq - 1 WHERE seq > 3"), 3),
        (
            (
                "UPDATE audit SET seq = 99 WHERE seq = 2",
                "UPDATE audit SET seq = 2 WHERE seq = 3",
                "UPDATE audit SET seq = 3 WHERE seq = 99",
            ),
            2,
        ),
    ],
)
def test_what_was_altered_removed_or_moved_is_found_where_it_was(
    trail: Database, statements: tuple[str, ...], at_seq: int
) -> None:
    tamper(trail, *statements)
    found = verify(trail)
    assert not found.ok
    assert found.at_seq == at_seq


def test_a_row_slipped_in_is_found(trail: Database) -> None:
    columns = "at, who, what, service_id, job_id, facts, previous_hash"
    tamper(
        trail,
        f"INSERT INTO audit (seq, {columns}, hash) SELECT 6, {columns}, 'made up' FROM audit WHERE seq = 5",
    )
    assert verify(trail).at_seq == 6


def test_a_row_that_was_rewritten_together_with_its_hash_no_longer_fits_the_next_one(trail: Database) -> None:
    """Also says, apart from the code, what the hash is of."""
    with trail.read() as conn:
        third = audit.list_page(conn)[0][2]
    row = {
        "at": "2026-01-01T08:32:00.123456+00:00",
        "facts": third.facts,
        "job_id": "j1",
        "seq": 3,
        "service_id": "s0",
        "what": "job approve",
        "who": "uid bob",
    }

    def digest(who: str) -> str:
        text = json.dumps({**row, "who": who}, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256((third.previous_hash + text).encode()).hexdigest()

    assert digest("uid anna") == third.hash
    tamper(trail, f"UPDATE audit SET who = 'uid bob', hash = '{digest('uid bob')}' WHERE seq = 3")
    found = verify(trail)
    assert (found.ok, found.at_seq) == (False, 4)


def test_a_hash_noted_elsewhere_must_be_in_the_trail(trail: Database) -> None:
    head = verify(trail).head
    assert verify(trail, head=head).ok
    with trail.write() as conn:
        audit.append(conn, at=NOW, who="uid anna", what="freeze")
    assert verify(trail, head=head).ok
    assert not verify(trail, head="0" * 64).ok


@pytest.mark.parametrize("statement", ["UPDATE audit SET who = 'x' WHERE seq = 1", "DELETE FROM audit WHERE seq = 1"])
def test_the_database_itself_refuses_to_change_the_trail(trail: Database, statement: str) -> None:
    with pytest.raises(DatabaseError, match="append-only"), trail.write() as conn:
        conn.exec_driver_sql(statement)
    assert verify(trail).ok


def test_a_rolled_back_act_leaves_no_row_and_no_gap(trail: Database) -> None:
    def fail() -> None:
        with trail.write() as conn:
            audit.append(conn, at=NOW, who="uid anna", what="service erase")
            raise KeyError("stop")

    with pytest.raises(KeyError):
        fail()
    assert verify(trail).entries == 5
    with trail.write() as conn:
        assert audit.append(conn, at=NOW, who="uid anna", what="freeze").seq == 6
    assert verify(trail).ok


def test_pages_go_back_in_time_and_keep_to_one_service(trail: Database) -> None:
    with trail.read() as conn:
        first, after = audit.list_page(conn, limit=2, service_id="s0")
        second, end = audit.list_page(conn, limit=2, after=after, service_id="s0")
    assert [row.seq for row in (*first, *second)] == [5, 3, 1]
    assert end is None
