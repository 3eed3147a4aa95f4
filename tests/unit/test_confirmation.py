"""The question to billing before a deadline destroys."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from orchestrator.domain.confirmation import KEY, Confirmation
from orchestrator.domain.intents import IntentKind, JobState
from orchestrator.domain.jobs import Job

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
