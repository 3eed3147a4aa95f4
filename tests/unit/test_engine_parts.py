"""The pure parts of the engine: when to try again, ids, what is known of a service after a job."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from orchestrator.domain import service_facts
from orchestrator.domain.errors import NoCapacity, OrchestratorError, PermanentDriverError, StoreUnavailable, TransientDriverError
from orchestrator.domain.intents import IntentKind, JobState, StepState
from orchestrator.domain.jobs import RETRY_CEILING_SECONDS, Job, JobStep, retry_delay
from orchestrator.domain.services import ServiceFacts
from orchestrator.engine.ids import JobIds
from orchestrator.engine.mail import mail_delay

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("error", "attempt", "wanted"),
    [
        (TransientDriverError("x", retry_after=2.0), 1, 2.0),
        (TransientDriverError("x", retry_after=2.0), 3, 8.0),
        (TransientDriverError("x", retry_after=2.0), 4, None),
        (TransientDriverError("x", retry_after=200.0), 2, RETRY_CEILING_SECONDS),
        (StoreUnavailable("x"), 1, 1.0),
        (PermanentDriverError("x"), 1, None),
        (NoCapacity("x"), 1, None),
        (OrchestratorError("x"), 1, None),
    ],
)
def test_only_what_may_pass_is_tried_again_and_each_time_later(
    error: OrchestratorError, attempt: int, wanted: float | None
) -> None:
    assert retry_delay(error, attempt=attempt, attempts=4) == wanted


def test_messages_wait_longer_each_time_and_never_more_than_an_hour() -> None:
    waits = [mail_delay(n) for n in range(1, 40)]
    assert waits[:3] == [5.0, 10.0, 20.0]
    assert all(a <= b for a, b in pairwise(waits))
    assert max(waits) == 3600.0


def test_job_ids_sort_by_time_and_differ_within_a_millisecond_and_when_the_clock_steps_back() -> None:
    ids = JobIds()
    moments = [NOW, NOW, NOW + timedelta(seconds=1), NOW - timedelta(hours=1), NOW + timedelta(days=1)]
    made = [ids.new(moment) for moment in moments]
    assert made == sorted(set(made))
    assert {len(job_id) for job_id in made} == {16}
    assert all(job_id.isalnum() and job_id == job_id.lower() for job_id in made)


def a_job(intent: IntentKind) -> Job:
    return Job(
        id="j1",
        service_id="s1",
        intent=intent,
        playbook="vps-x",
        state=JobState.RUNNING,
        reason="",
        asked_by="",
        payments=0,
        created_at=NOW,
        arguments={},
    )


STEPS = (
    JobStep(job_id="j1", position=0, id="place", step="x", state=StepState.DONE, facts={"node": "n2"}),
    JobStep(job_id="j1", position=1, id="disk", step="x", state=StepState.UNDONE, facts={"volume": "gone"}),
)
KNOWN = ServiceFacts(node="n1", nodes_ever=("n1",), values={"old": {"a": 1}})


@pytest.mark.parametrize(
    ("intent", "state", "node", "values"),
    [
        (IntentKind.PROVISION, JobState.DONE, "n2", {"old": {"a": 1}, "place": {"node": "n2"}}),
        (IntentKind.PROVISION, JobState.FAILED, "", {}),
        (IntentKind.PROVISION, JobState.CANCELLED, "", {}),
        (IntentKind.PROVISION, JobState.NEEDS_OPERATOR, "n2", {"old": {"a": 1}, "place": {"node": "n2"}}),
        (IntentKind.TERMINATE, JobState.DONE, "", {}),
        (IntentKind.TERMINATE, JobState.FAILED, "n2", {"old": {"a": 1}, "place": {"node": "n2"}}),
        (IntentKind.CHECK, JobState.DONE, "n1", {"old": {"a": 1}}),
    ],
)
def test_what_is_known_of_a_service_after_a_job(
    intent: IntentKind, state: JobState, node: str, values: dict[str, object]
) -> None:
    after = service_facts.after_job(KNOWN, a_job(intent), state, STEPS)
    assert (after.node, after.values, after.nodes_ever) == (node, values, ("n1",))
