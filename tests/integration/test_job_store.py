"""Locks, slots and job rows in a real SQLite file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from orchestrator.domain.errors import NotFound
from orchestrator.domain.intents import IntentKind, JobState
from orchestrator.domain.jobs import Job, JobStep
from orchestrator.store import jobs, locks
from orchestrator.store.database import Connection, Database

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LATER = NOW + timedelta(seconds=60)


@pytest.fixture
def conn(db: Database) -> Iterator[Connection]:
    with db.write() as connection:
        yield connection


def a_job(number: int, *, intent: IntentKind = IntentKind.CHECK, state: JobState = JobState.QUEUED, reason: str = "") -> Job:
    return Job(
        id=f"j{number:03}",
        service_id=f"s{number % 3}",
        intent=intent,
        playbook=f"vps-{intent.value}",
        state=state,
        reason="because",
        asked_by="anna",
        payments=0,
        created_at=NOW + timedelta(seconds=number),
        arguments={"a": 1},
        approval_reason=reason,
    )


def test_a_lock_is_one_job_s_and_a_new_execution_of_it_takes_over(conn: Connection) -> None:
    assert locks.take_service(conn, "s1", job_id="j1", token="t1", now=NOW) == "j1"
    assert locks.take_service(conn, "s1", job_id="j2", token="t2", now=NOW) == "j1"
    assert locks.take_service(conn, "s1", job_id="j1", token="t3", now=NOW) == "j1"
    jobs.add(conn, replace(a_job(1), id="j1"))
    jobs.lay_down_steps(conn, "j1", [JobStep(job_id="j1", position=0, id="one", step="a.step")])
    assert [locks.stop_requested(conn, "j1", token=token) for token in ("t1", "t3")] == [None, False]
    locks.release_service(conn, "s1", job_id="j2")
    assert locks.stop_requested(conn, "j1", token="t3") is False
    assert [jobs.change_held_step(conn, "j1", 0, token=token, message=token) for token in ("t1", "t3")] == [False, True]
    assert jobs.steps(conn, "j1")[0].message == "t3"
    locks.release_service(conn, "s1", job_id="j1")
    assert not jobs.change_held_step(conn, "j1", 0, token="t3", message="late")
    assert locks.take_service(conn, "s1", job_id="j2", token="t4", now=NOW) == "j2"


def test_a_node_has_so_many_slots_and_a_dead_holder_s_runs_out(conn: Connection) -> None:
    def take(job: str, now: datetime = NOW) -> int | None:
        expires = now + timedelta(seconds=60)
        return locks.take_slot(conn, "n1", slots=2, job_id=job, token=f"t-{job}", now=now, expires_at=expires)

    assert [take("j1"), take("j2"), take("j3")] == [0, 1, None]
    assert locks.renew_slot(conn, "t-j1", expires_at=LATER + timedelta(seconds=60))
    assert take("j3", LATER) == 1
    assert not locks.renew_slot(conn, "t-j2", expires_at=LATER)
    locks.release_slot(conn, "t-j1")
    assert take("j4", LATER) == 0


def test_a_job_that_comes_back_after_a_crash_does_not_stand_in_its_own_way(conn: Connection) -> None:
    for token in ("before the crash", "after it"):
        slot = locks.take_slot(conn, "n1", slots=1, job_id="j1", token=token, now=NOW, expires_at=LATER)
        assert slot == 0


def test_jobs_page_newest_first_and_by_service_and_state(conn: Connection) -> None:
    for number in range(7):
        jobs.add(conn, a_job(number, state=JobState.DONE if number == 3 else JobState.QUEUED))
    first, after = jobs.list_page(conn, limit=3)
    assert ([job.id for job in first], after) == (["j006", "j005", "j004"], "j004")
    rest, end = jobs.list_page(conn, limit=10, after=after or "")
    assert ([job.id for job in rest], end) == (["j003", "j002", "j001", "j000"], None)
    assert [job.id for job in jobs.list_page(conn, limit=10, service_id="s1")[0]] == ["j004", "j001"]
    assert [job.id for job in jobs.list_page(conn, limit=10, state=JobState.DONE)[0]] == ["j003"]
    assert jobs.queue_depth(conn) == jobs.QueueDepth(jobs=6, oldest=NOW)
    assert jobs.counts(conn) == {("vps-check", "queued"): 6, ("vps-check", "done"): 1}
    with pytest.raises(NotFound):
        jobs.get(conn, "j999")


def test_the_brakes_count_what_was_let_through_lately(conn: Connection) -> None:
    for number, reason in enumerate(("", "", "too many", "")):
        jobs.add(conn, a_job(number, intent=IntentKind.SUSPEND, state=JobState.DONE, reason=reason))
    jobs.add(conn, a_job(9, intent=IntentKind.TERMINATE))
    since = NOW + timedelta(seconds=1)
    assert jobs.recent(conn, intent=IntentKind.SUSPEND, since=since) == 2
    # An old one that a freeze held back so long: it counts while it runs, and from when it started.
    jobs.change(conn, "j000", state=JobState.QUEUED)
    assert jobs.recent(conn, intent=IntentKind.SUSPEND, since=since) == 3
    jobs.change(conn, "j000", state=JobState.DONE, started_at=since)
    assert jobs.recent(conn, intent=IntentKind.SUSPEND, since=since) == 3


def test_what_the_brakes_count_is_found_without_reading_every_job_there_ever_was(conn: Connection) -> None:
    asked: list[tuple[str, Any]] = []

    def note(_conn: object, _cursor: object, statement: str, parameters: Any, *_: object) -> None:
        asked.append((statement, parameters))

    sa.event.listen(conn, "before_cursor_execute", note)
    jobs.recent(conn, intent=IntentKind.SUSPEND, since=NOW)
    ((statement, parameters),) = asked
    if conn.dialect.name == "sqlite":
        plan = [row.detail for row in conn.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)]
        found, whole = "SEARCH jobs", "SCAN jobs"
    else:
        conn.exec_driver_sql("SET LOCAL enable_seqscan = off")  # of a handful of rows all are read at once
        plan = [row[0].lstrip(" ->") for row in conn.exec_driver_sql(f"EXPLAIN {statement}", parameters)]
        found, whole = "Index", "Seq Scan"
    assert [line for line in plan if found in line and "jobs" in line]
    assert not [line for line in plan if line.startswith(whole)], plan
