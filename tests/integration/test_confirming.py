"""Before a deadline destroys anything billing is asked, and its answer decides; without one a person does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator.domain.brakes import BrakeLimits
from orchestrator.domain.confirmation import Confirmation
from orchestrator.domain.intents import IntentKind, JobState
from orchestrator.domain.jobs import Job
from orchestrator.domain.policies import Overdue
from orchestrator.domain.services import Hold, HoldEffect, HoldReason
from orchestrator.store import services
from tests.fault.house import House, Options
from tests.integration.test_due import DAY, HOUR, POLICY, Year, overdue, record


@pytest.fixture
def year(tmp_path: Path) -> Iterator[Year]:
    made = Year(tmp_path / "state")
    yield made
    made.close()


def questions(house: House) -> list[dict[str, Any]]:
    """What billing was asked, in order."""
    bodies = [json.loads(body) for _, body, _ in house.notifier.deliveries()]
    return [body["data"] for body in bodies if body["type"] == "termination.confirm"]


def due_to_die(house: House, year: Year, service_id: str = "s1") -> Job:
    """A service whose termination has fallen due; its job."""
    overdue(house, year, service_id)
    year.later(10 * DAY)
    job = house.jobs(service_id)[-1]
    assert (job.intent, job.state) == (IntentKind.TERMINATE, JobState.WAITING_APPROVAL)
    return job


def confirm(house: House, year: Year, job: Job, *, kind: str = "termination.confirmed", **data: Any) -> str:
    outcome = house.event(kind, job.service_id, event_id=f"answer-{job.id}", job_id=job.id, **data).outcome
    year.rest()
    return outcome


def disputed(house: House, year: Year) -> None:
    hold = Hold(reason=HoldReason.DISPUTE, effect=HoldEffect.NONE, by="anna", why="", since=year.clock.now())
    with house.db.write() as conn:
        services.put(conn, record(house).with_hold(hold), now=year.clock.now())


def test_billing_is_asked_once_and_what_it_confirms_is_done(year: Year) -> None:
    house = year.open()
    job = due_to_die(house, year)
    asked = questions(house)
    assert [one["job_id"] for one in asked] == [job.id]
    assert (asked[0]["service_id"], asked[0]["policy"], asked[0]["clause"]) == ("s1", "default", "3")
    assert job.approval_reason.startswith("billing is asked to confirm it, until ")
    assert confirm(house, year, job) == "accepted"
    assert (house.job(job.id).state, house.state("s1")) == (JobState.DONE, "erased")
    assert house.job(job.id).approved_by == f"billing, event shop/answer-{job.id}"


def test_what_billing_refuses_is_called_off_and_not_asked_again(year: Year) -> None:
    house = year.open()
    job = due_to_die(house, year)
    confirm(house, year, job, kind="termination.refused", reason="we talk to the customer")
    assert (house.job(job.id).state, house.state("s1")) == (JobState.CANCELLED, "active")
    assert "we talk to the customer" in house.job(job.id).error
    year.later(10 * DAY)
    assert (len(questions(house)), house.state("s1"), record(house).stop_reasons) == (1, "active", ["nonpayment"])


def test_a_refusal_that_says_until_when_it_is_paid_is_the_payment_that_was_lost(year: Year) -> None:
    house = year.open()
    job = due_to_die(house, year)
    paid_until = year.clock.now() + 20 * DAY
    assert confirm(house, year, job, kind="termination.refused", paid_until=paid_until.isoformat()) == "accepted"
    assert (house.job(job.id).state, house.state("s1"), record(house).holds) == (JobState.CANCELLED, "active", ())
    assert (record(house).paid_until, [job.intent.value for job in house.jobs("s1")][-1]) == (paid_until, "unsuspend")


def test_without_an_answer_a_person_decides_and_nothing_is_destroyed(year: Year) -> None:
    house = year.open()
    job = due_to_die(house, year)
    year.later(3 * DAY)
    job = house.job(job.id)
    assert (job.state, "did not confirm it" in job.approval_reason) == (JobState.WAITING_APPROVAL, True)
    house.engine.approve(job.id, "anna")
    year.rest()
    assert house.state("s1") == "erased"


def test_an_answer_that_comes_late_still_counts_while_nobody_has_decided(year: Year) -> None:
    house = year.open()
    job = due_to_die(house, year)
    year.later(5 * DAY)
    confirm(house, year, job)
    assert house.state("s1") == "erased"


def test_where_the_text_says_may_billing_alone_is_not_enough(year: Year) -> None:
    rule = POLICY.overdue.terminate
    assert rule is not None
    house = year.open(replace(POLICY, overdue=Overdue(suspend=POLICY.overdue.suspend, terminate=replace(rule, asks=True))))
    job = due_to_die(house, year)
    confirm(house, year, job)
    job = house.job(job.id)
    waits = "the policy says 'may': default, 3 (billing has confirmed it)"
    assert (job.state, job.approval_reason) == (JobState.WAITING_APPROVAL, waits)
    year.later(5 * DAY)
    assert house.job(job.id).approval_reason == waits
    house.engine.approve(job.id, "anna")
    year.rest()
    assert house.state("s1") == "erased"


def test_what_billing_confirmed_passes_the_brakes(year: Year) -> None:
    house = year.open(options=Options(limits=BrakeLimits(suspensions_per_hour=9, terminations_per_hour=1)))
    for service_id in ("s1", "s2"):
        overdue(house, year, service_id)
    year.later(10 * DAY)
    for service_id in ("s1", "s2"):
        confirm(house, year, house.jobs(service_id)[-1])
    states = [house.jobs(service_id)[-1].state for service_id in ("s1", "s2")]
    assert states == [JobState.DONE, JobState.WAITING_APPROVAL]
    assert "termination in the last hour" in house.jobs("s2")[-1].approval_reason


def test_what_billing_confirmed_waits_for_a_freeze_and_goes_on_with_its_end(year: Year) -> None:
    house = year.open()
    job = due_to_die(house, year)
    house.engine.freeze("anna", "a look at the books")
    confirm(house, year, job)
    assert (house.job(job.id).state, house.state("s1")) == (JobState.WAITING_APPROVAL, "active")
    house.engine.unfreeze("anna")
    year.rest()
    assert house.state("s1") == "erased"


def test_an_answer_to_no_question_does_nothing(year: Year) -> None:
    house = year.open()
    job = due_to_die(house, year)
    assert house.event("termination.confirmed", "s1", job_id="another").outcome == "nothing"
    assert house.event("termination.confirmed", "s2", job_id=job.id).outcome == "nothing"
    year.rest()
    assert house.job(job.id).state == JobState.WAITING_APPROVAL
    assert confirm(house, year, job) == "accepted"
    assert house.event("termination.refused", "s1", job_id=job.id).outcome == "nothing"
    assert house.state("s1") == "erased"


def test_what_an_operator_or_billing_asks_for_needs_no_confirmation(year: Year) -> None:
    house = year.open()
    assert house.wait(house.order("s1").job_id).state == JobState.DONE
    assert house.wait(house.event("service.terminate", "s1", version=1).job_id).state == JobState.DONE
    year.rest()
    assert questions(house) == []


def test_where_no_billing_system_is_told_anything_a_person_is_asked_at_once(year: Year) -> None:
    house = year.open(options=Options(asks_billing=False))
    job = due_to_die(house, year)
    assert (questions(house), "no billing system can be asked" in job.approval_reason) == ([], True)


def test_a_payment_while_billing_is_asked_ends_it_and_a_confirmation_on_its_way_does_nothing(year: Year) -> None:
    house = year.open()
    job = due_to_die(house, year)
    house.event("invoice.paid", "s1", invoice_id="i1", paid_until=(year.clock.now() + 30 * DAY).isoformat())
    assert confirm(house, year, job) == "nothing"
    assert (house.job(job.id).state, house.state("s1"), record(house).holds) == (JobState.CANCELLED, "active", ())


def test_what_waits_for_a_deadline_that_is_none_any_more_is_called_off(year: Year) -> None:
    """A dispute stops the clock of nonpayment: the termination that waits is not to be let through by anybody."""
    house = year.open()
    job = due_to_die(house, year)
    disputed(house, year)
    year.later(HOUR)
    assert (house.job(job.id).state, house.state("s1")) == (JobState.CANCELLED, "active")


def test_a_confirmation_of_what_does_not_fall_due_any_more_calls_it_off_at_once(year: Year) -> None:
    house = year.open()
    job = due_to_die(house, year)
    disputed(house, year)
    confirm(house, year, job)
    assert (house.job(job.id).state, house.state("s1")) == (JobState.CANCELLED, "active")


def test_the_question_outlives_the_controller(year: Year) -> None:
    house = year.open()
    job = due_to_die(house, year)
    house = year.open()
    assert Confirmation.in_job(house.job(job.id)) is not None
    confirm(house, year, job)
    assert (house.state("s1"), len(questions(house))) == ("erased", 1)
