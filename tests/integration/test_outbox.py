"""The outbox and the record of deliveries in a real SQLite file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from orchestrator.domain.deadlines import Action
from orchestrator.domain.services import Lifecycle, Service
from orchestrator.store import deadlines, outbox, services
from orchestrator.store.database import Connection
from orchestrator.store.outbox import DeliveryRecord, Filters, MessageState
from orchestrator.store.tables import deliveries
from tests.store_files import fresh_database

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LATER = NOW + timedelta(seconds=60)
DAY = timedelta(days=1)


@pytest.fixture
def conn(tmp_path: Path) -> Iterator[Connection]:
    db = fresh_database(tmp_path)
    with db.write() as connection:
        yield connection
    db.close()


def put(conn: Connection, message_id: str, *, kind: str = "job.done", service_id: str = "s1", now: datetime = NOW) -> None:
    outbox.add(conn, message_id=message_id, kind=kind, service_id=service_id, data={"a": 1}, now=now)


def taken(conn: Connection, message_id: str, *, now: datetime, service_id: str = "s1") -> None:
    put(conn, message_id, service_id=service_id, now=now)
    outbox.note_delivery(conn, message_id, DeliveryRecord(at=now, status=200, problem="", milliseconds=7))
    outbox.mark_taken(conn, message_id, status=200, now=now)


def ids(conn: Connection, *, told: bool = True, state: MessageState | None = None) -> list[str]:
    return [message.id for message in outbox.list_page(conn, Filters(state=state), limit=100, told=told)[0]]


def test_a_message_is_told_once_until_it_is_taken(conn: Connection) -> None:
    for _ in range(2):
        put(conn, "m1")
    (message,) = outbox.new(conn, now=NOW, limit=10)
    assert json.loads(message.body)["data"] == {"a": 1}
    outbox.mark_failed(conn, "m1", status=503, problem="busy", tried_since=NOW, next_attempt_at=LATER)
    assert outbox.new(conn, now=LATER, limit=10) == outbox.again(conn, now=NOW, limit=10) == ()
    assert outbox.waiting(conn) == (1, NOW)
    (again,) = outbox.again(conn, now=LATER, limit=10)
    assert (again.body, again.attempts, again.last_status, again.state) == (message.body, 1, 503, MessageState.WAITING)
    outbox.mark_taken(conn, "m1", status=200, now=LATER)
    assert (outbox.again(conn, now=LATER, limit=10), outbox.waiting(conn)) == ((), (0, None))


def test_a_dead_message_is_no_longer_due_until_somebody_has_it_posted_again(conn: Connection) -> None:
    put(conn, "m1")
    outbox.mark_failed(conn, "m1", status=500, problem="no", tried_since=NOW, next_attempt_at=LATER)
    outbox.mark_dead(conn, "m1", status=410, problem="gone", now=LATER)
    dead = outbox.get(conn, "m1")
    assert dead is not None
    assert (dead.state, dead.attempts, dead.taken_at) == (MessageState.DEAD, 2, None)
    assert outbox.again(conn, now=LATER + 900 * DAY, limit=10) == outbox.new(conn, now=LATER + 900 * DAY, limit=10) == ()
    assert outbox.waiting(conn) == (0, None)
    outbox.post_again(conn, "m1", now=LATER)
    (again,) = outbox.new(conn, now=LATER, limit=10)
    assert (again.id, again.body, again.attempts, again.tries, again.tried_since) == ("m1", dead.body, 2, 0, None)
    outbox.mark_taken(conn, "m1", status=200, now=LATER)
    outbox.post_again(conn, "m1", now=LATER)
    assert outbox.new(conn, now=LATER, limit=10) == ()


def test_of_those_that_were_tried_the_longest_overdue_comes_first(conn: Connection) -> None:
    for number in range(4):
        put(conn, f"m{number}", now=NOW + timedelta(seconds=number))
        overdue = LATER - timedelta(seconds=number)
        outbox.mark_failed(conn, f"m{number}", status=500, problem="", tried_since=NOW, next_attempt_at=overdue)
    assert [message.id for message in outbox.again(conn, now=LATER, limit=3)] == ["m3", "m2", "m1"]


def test_messages_page_newest_first_and_by_state_type_and_service(conn: Connection) -> None:
    for number in range(7):  # of two that were made at the same time the later by id comes first
        put(
            conn,
            f"m{number}",
            kind="notice.x" if number == 2 else "job.done",
            service_id=f"s{number % 2}",
            now=NOW + DAY * (number // 2),
        )
    seen: list[str] = []
    after = None
    while True:
        page, after = outbox.list_page(conn, Filters(), limit=2, after=after)
        seen += [message.id for message in page]
        if after is None:
            break
    assert seen == ["m6", "m5", "m4", "m3", "m2", "m1", "m0"]
    outbox.mark_taken(conn, "m1", status=200, now=LATER)
    outbox.mark_dead(conn, "m3", status=500, problem="", now=LATER)
    assert ids(conn, state=MessageState.TAKEN) == ["m1"]
    assert ids(conn, state=MessageState.DEAD) == ["m3"]
    assert ids(conn, state=MessageState.WAITING) == ["m6", "m5", "m4", "m2", "m0"]
    assert [m.id for m in outbox.list_page(conn, Filters(kind="notice.x"), limit=9)[0]] == ["m2"]
    assert [m.id for m in outbox.list_page(conn, Filters(service_id="s1"), limit=9)[0]] == ["m5", "m3", "m1"]


def test_where_nobody_is_told_everything_that_was_not_taken_waits_and_nothing_is_dead(conn: Connection) -> None:
    for message_id in ("dead", "waits"):
        put(conn, message_id)
    outbox.mark_dead(conn, "dead", status=500, problem="", now=LATER)
    assert ids(conn, told=False, state=MessageState.WAITING) == ["waits", "dead"]
    assert ids(conn, told=False, state=MessageState.DEAD) == []


def test_old_messages_go_with_their_records_and_what_was_not_taken_stays(conn: Connection) -> None:
    taken(conn, "old", now=NOW)
    taken(conn, "young", now=NOW + 5 * DAY)
    for message_id in ("waits", "dead"):
        put(conn, message_id)
        outbox.note_delivery(conn, message_id, DeliveryRecord(at=NOW, status=500, problem="no", milliseconds=7))
    outbox.mark_dead(conn, "dead", status=500, problem="", now=NOW)
    assert outbox.forget(conn, before=NOW + DAY) == 1
    assert sorted(ids(conn)) == ["dead", "waits", "young"]
    left = conn.scalars(sa.select(deliveries.c.message_id)).all()
    assert sorted(left) == ["dead", "waits", "young"]
    assert outbox.forget(conn, before=NOW + 900 * DAY) == 1
    assert sorted(ids(conn)) == ["dead", "waits"]


def test_only_so_many_go_at_a_time(conn: Connection) -> None:
    for number in range(5):
        taken(conn, f"m{number}", now=NOW)
    assert [outbox.forget(conn, before=LATER, most=3) for _ in range(3)] == [3, 2, 0]


@pytest.mark.parametrize(("state", "kept"), [(Lifecycle.ACTIVE, True), (Lifecycle.TERMINATING, True), (Lifecycle.ERASED, False)])
def test_the_notice_that_a_termination_waits_for_is_kept_as_long_as_the_service(
    conn: Connection, state: Lifecycle, kept: bool
) -> None:
    services.put(conn, Service(id="s1", client_id="c1", plan="p", state=state), now=NOW)
    taken(conn, "notice", now=NOW)
    deadlines.note(conn, "s1", Action.NOTICE_TERMINATE, "o1", now=NOW, message_id="notice")
    taken(conn, "other", now=NOW)
    outbox.forget(conn, before=NOW + 900 * DAY)
    assert ids(conn) == (["notice"] if kept else [])
    told = deadlines.seen_to(conn, ["s1"])["s1"].told
    assert told == ({(Action.NOTICE_TERMINATE, "o1"): NOW} if kept else {})
