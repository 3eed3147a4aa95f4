"""Which deadlines are late, and how services are walked through, over a store."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from orchestrator.api import outlook
from orchestrator.domain.calendar import Days
from orchestrator.domain.deadlines import Action
from orchestrator.domain.deadlines import deadlines as due
from orchestrator.domain.intents import IntentKind, JobState
from orchestrator.domain.jobs import Job
from orchestrator.domain.plans import GuestPlan
from orchestrator.domain.policies import SILENT, Overdue, Policy, Suspend, Terminate, TerminateSince
from orchestrator.domain.services import Cancellation, Lifecycle, Service
from orchestrator.engine.settings import Catalog
from orchestrator.store import deadlines, jobs, services, settings
from orchestrator.store.database import Connection, Database
from tests.store_files import fresh_database

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
POLICY = Policy(
    name="default",
    provider="P",
    overdue=Overdue(
        suspend=Suspend(clause="1", after=Days(2)), terminate=Terminate(clause="2", after=Days(9), since=TerminateSince.DUE)
    ),
)
ONLY_TERMINATE = Policy(
    name="default", provider="P", overdue=Overdue(terminate=Terminate(clause="2", after=Days(9), since=TerminateSince.DUE))
)
PLANS = {"p": GuestPlan(name="p", vcpus=1, memory_bytes=1, disk_bytes=1, templates=("t",), default_template="t")}


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    opened = fresh_database(tmp_path)
    yield opened
    opened.close()


def catalog(policy: Policy = POLICY) -> Catalog:
    return Catalog(plans=PLANS, templates={}, nodes=(), policies={policy.name: policy})


def put(conn: Connection, service_id: str, due: datetime) -> Service:
    service = Service(id=service_id, client_id="c", plan="p", state=Lifecycle.ACTIVE, due_at=due)
    services.put(conn, service, now=NOW)
    return service


def suspending(name: str, state: JobState) -> Job:
    return Job(
        id=name,
        service_id="s1",
        intent=IntentKind.SUSPEND,
        playbook="vps-suspend",
        state=state,
        reason="",
        asked_by="policy",
        payments=0,
        created_at=NOW,
        arguments={},
    )


def test_a_service_has_the_policy_of_its_plan_and_none_where_that_is_not_declared() -> None:
    service = Service(id="s1", client_id="c", plan="p")
    assert catalog().policy_of(service) is POLICY
    assert catalog().policy_of(replace(service, plan="gone")) is SILENT
    other = replace(POLICY, name="other")
    assert catalog(other).policy_of(service) is SILENT
    both = replace(catalog(), plans={"p": replace(PLANS["p"], policy="other")}, policies={"default": POLICY, "other": other})
    assert both.policy_of(service) is other


def late(db: Database, policy: Policy = POLICY) -> dict[str, int]:
    with db.read() as conn:
        return {action.value: count for action, count in outlook.late(conn, catalog(policy), now=NOW).items() if count}


def test_every_action_has_its_count(db: Database) -> None:
    with db.read() as conn:
        assert outlook.late(conn, catalog(), now=NOW) == dict.fromkeys(Action, 0)


def test_what_is_due_and_not_seen_to_is_late_and_what_is_to_come_is_not(db: Database) -> None:
    with db.write() as conn:
        put(conn, "s1", NOW - 3 * DAY)
        put(conn, "s2", NOW - 1 * DAY)
    assert late(db) == {"suspend": 1}


@pytest.mark.parametrize(
    ("state", "counted"), [(JobState.QUEUED, {}), (JobState.WAITING_APPROVAL, {}), (JobState.FAILED, {"suspend": 1})]
)
def test_what_has_a_job_is_late_only_where_that_failed(db: Database, state: JobState, counted: dict[str, int]) -> None:
    with db.write() as conn:
        service = put(conn, "s1", NOW - 3 * DAY)
        suspend, *_ = due(service, catalog().terms_of(service), told={})
        jobs.add(conn, suspending("j1", state))
        deadlines.note(conn, "s1", suspend.action, suspend.occurrence, now=NOW, job_id="j1")
        # As the controller leaves it after its look.
        deadlines.look_again(conn, "s1", NOW + timedelta(minutes=9))
    assert late(db) == counted


def test_what_has_a_job_that_waits_is_foretold_with_it_and_another_of_its_kind_is_not_late(db: Database) -> None:
    told = catalog(ONLY_TERMINATE)
    with db.write() as conn:
        service = put(conn, "s1", NOW - 30 * DAY)
        leaves = replace(service, cancellation=Cancellation(asked_at=NOW - 9 * DAY, by="anna", why="", at=NOW - DAY))
        services.put(conn, leaves, now=NOW)
        ends = next(each for each in due(leaves, told.terms_of(leaves), told={}) if each.action == Action.TERMINATE)
    assert late(db, ONLY_TERMINATE) == {"terminate": 1, "end": 1}
    job = suspending("j1", JobState.WAITING_APPROVAL)
    with db.write() as conn:
        jobs.add(conn, replace(job, intent=IntentKind.TERMINATE, approval_reason="billing is asked"))
        deadlines.note(conn, "s1", ends.action, ends.occurrence, now=NOW, job_id="j1")
    assert late(db, ONLY_TERMINATE) == {}
    with db.read() as conn:
        at = outlook.moment(conn, now=NOW, ahead=30 * DAY)
        acts = outlook.of_one(conn, told, leaves, at)
    assert {(act.action.value, act.waits, act.job) for act in acts} == {
        ("terminate", "job j1: billing is asked", "j1"),
        ("end", "job j1 waits to terminate it already", ""),
    }
    with db.write() as conn:
        deadlines.not_seen_to(conn, "s1", job_id="j1")
        seen = deadlines.seen_to(conn, ["s1"])["s1"]
        assert seen.settled == frozenset()
        assert seen.tried[ends.action, ends.occurrence][0] == 1


def test_a_termination_that_waits_for_proof_or_for_a_release_is_not_late(db: Database) -> None:
    with db.write() as conn:
        put(conn, "s1", NOW - 30 * DAY)
    assert late(db) == {"suspend": 1}
    assert late(db, ONLY_TERMINATE) == {"terminate": 1}
    with db.write() as conn:
        settings.put(conn, settings.TERMINATIONS_WAIT, {"why": "away", "since": NOW.isoformat()}, now=NOW)
    assert late(db, ONLY_TERMINATE) == {}


def test_a_walk_goes_on_behind_its_cursor_and_ends_with_the_last_service(db: Database) -> None:
    names = [f"s{number:03}" for number in range(503)]
    with db.write() as conn:
        for name in names:
            put(conn, name, NOW)
    with db.read() as conn:
        wanted = {"s000", "s450", "s480", "s501", "s502"}
        found: list[list[str]] = []
        after = ""
        while True:
            told, following = outlook.walk(
                conn, lambda service, _: service.id if service.id in wanted else None, limit=2, after=after
            )
            found.append(told)
            if following is None:
                break
            after = following
    assert found == [["s000", "s450"], ["s480", "s501"], ["s502"]]
