"""What waits for a person, counted."""

from __future__ import annotations

from datetime import UTC, datetime

from orchestrator.domain.intents import IntentKind, JobState
from orchestrator.domain.jobs import Job
from orchestrator.store import events, jobs, outbox, overview, settings
from orchestrator.store.database import Database
from orchestrator.store.events import EventRecord

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def job(name: str, state: JobState) -> Job:
    return Job(
        id=name,
        service_id="s1",
        intent=IntentKind.SUSPEND,
        playbook="vps-suspend",
        state=state,
        reason="",
        asked_by="anna",
        payments=0,
        created_at=NOW,
        arguments={},
    )


def event(number: int, outcome: str) -> EventRecord:
    return EventRecord(
        source="shop", id=str(number), body_sha256="", body="", sent_at=NOW, received_at=NOW, outcome=outcome, type="order.paid"
    )


def test_nothing_waits_in_an_empty_store(db: Database) -> None:
    with db.read() as conn:
        found = overview.waiting(conn)
    nothing = overview.Waiting(approval=0, operator=0, dead_letters=0, dead_messages=0, freeze=None, terminations=None)
    assert found == nothing


def test_what_waits_for_a_person_is_counted_by_why_and_nothing_else_is(db: Database) -> None:
    with db.write() as conn:
        for number, state in enumerate([*JobState, JobState.WAITING_APPROVAL]):
            jobs.add(conn, job(f"j{number}", state))
        for number, outcome in enumerate(("accepted", "refused", "nothing", "dead", "dead", "dead")):
            events.add(conn, event(number, outcome))
        for message_id in ("taken", "waits", "dead"):
            outbox.add(conn, message_id=message_id, kind="job.done", service_id="s1", data={}, now=NOW)
        outbox.mark_taken(conn, "taken", status=200, now=NOW)
        outbox.mark_dead(conn, "dead", status=410, problem="gone", now=NOW)
        freeze = settings.set_freeze(conn, by="anna", why="billing", now=NOW)
        settings.put(conn, settings.TERMINATIONS_WAIT, {"why": "it slept", "since": NOW.isoformat()}, now=NOW)
        found = overview.waiting(conn)
    stop = settings.TerminationsWait(why="it slept", since=NOW)
    waits = overview.Waiting(approval=2, operator=1, dead_letters=3, dead_messages=1, freeze=freeze, terminations=stop)
    assert found == waits
