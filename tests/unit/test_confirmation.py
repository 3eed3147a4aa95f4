"""The question to billing before a deadline destroys."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from orchestrator.domain.confirmation import DEADLINE, KEY, Confirmation, hindered
from orchestrator.domain.deadlines import Action, deadlines
from orchestrator.domain.intents import IntentKind, JobState
from orchestrator.domain.jobs import Job
from orchestrator.domain.services import HoldEffect, HoldReason, Lifecycle, Service
from orchestrator.domain.terms import Terms
from tests.unit.test_deadlines import CALENDAR, DAY, DUE, POLICY, hold, suspended

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
JOB = Job(
    id="j1",
    service_id="s1",
    intent=IntentKind.TERMINATE,
    playbook="vps-terminate",
    state=JobState.WAITING_APPROVAL,
    reason="",
    asked_by="policy p",
    payments=0,
    created_at=NOW,
    arguments={},
)


def asked(asks: str = "", wait: timedelta | None = 3 * HOUR) -> Confirmation:
    return Confirmation.asking(asks=asks, now=NOW, wait=wait)


@pytest.mark.parametrize("question", [asked(), asked("may"), asked(wait=None), asked().confirmed("event shop/1")])
def test_it_is_read_from_its_job_as_it_was_written(question: Confirmation) -> None:
    assert Confirmation.in_job(replace(JOB, arguments={KEY: question.to_json()})) == question


def test_a_job_that_no_deadline_made_waits_for_no_answer() -> None:
    assert Confirmation.in_job(JOB) is None


def test_until_the_answer_is_due_billing_is_waited_for_and_from_then_on_a_person() -> None:
    question = asked()
    before = question.waits(now=NOW + 3 * HOUR - timedelta(seconds=1))
    assert before == "billing is asked to confirm it, until 2026-11-20T15:00+00:00"
    assert "did not confirm it: make sure that it was not paid" in question.waits(now=NOW + 3 * HOUR)


def test_what_billing_confirmed_goes_unless_the_text_says_may() -> None:
    assert asked().confirmed("event shop/1").waits(now=NOW + 5 * HOUR) == ""
    assert asked("the policy says 'may'").confirmed("e").waits(now=NOW) == "the policy says 'may' (billing has confirmed it)"


def test_where_nobody_can_be_asked_a_person_makes_sure() -> None:
    assert asked(wait=None).waits(now=NOW).startswith("make sure that it was not paid")
    assert asked("may", wait=None).waits(now=NOW).endswith("; may")


TERMS = Terms(policy=POLICY, calendar=CALENDAR)


def why(service: Service, now: datetime, made: datetime = DUE) -> str:
    """Why the job that was made for the termination of ``suspended()`` is not to be done then."""
    (ends,) = [each for each in deadlines(suspended(), TERMS, told={}) if each.action == Action.TERMINATE]
    job = replace(JOB, created_at=made, arguments={DEADLINE: [ends.action.value, ends.occurrence]})
    return hindered(job, service, TERMS, told={}, now=now)


def test_a_job_that_waits_may_go_while_its_deadline_is_due_and_nothing_is_in_its_way() -> None:
    late = DUE + 30 * DAY
    assert why(suspended(), late) == ""
    assert why(replace(suspended(), state=Lifecycle.TERMINATING), late) == "", "it has begun"
    assert why(suspended(), DUE).startswith("it falls due at ")
    assert why(suspended(), DUE, made=late) == "", "a clock that is set back calls nothing off"
    assert why(replace(suspended(), holds=()), late) == "what it was to be done for is over", "its suspension was lifted"
    keep = replace(hold(HoldReason.MANUAL), effect=HoldEffect.NO_ERASE)
    assert why(replace(suspended(), holds=(*suspended().holds, keep)), late) == "a hold forbids erasing"
    assert why(replace(suspended(), payments=9), late) == "what it was to be done for is over"
    assert hindered(JOB, suspended(), TERMS, told={}, now=DUE) == "", "no deadline made it"
