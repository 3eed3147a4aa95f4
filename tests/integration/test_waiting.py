"""A job that waits for somebody: the service goes on as it is until the job begins, and what calls it off does not use it up."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.domain.errors import PermanentDriverError
from orchestrator.domain.intents import IntentKind, JobState
from orchestrator.domain.jobs import Job
from orchestrator.domain.services import HoldEffect, HoldReason
from orchestrator.engine.conduct import HoldAsked
from tests.fault.house import House
from tests.integration.test_archives import POLICY as KEEPS
from tests.integration.test_archives import archives, waiting
from tests.integration.test_confirming import confirm, due_to_die, questions
from tests.integration.test_due import DAY, HOUR, Year, record
from tests.integration.test_seams import ARCHIVING, cancelled


@pytest.fixture
def year(tmp_path: Path) -> Iterator[Year]:
    made = Year(tmp_path / "state")
    yield made
    made.close()


def hold(house: House, reason: HoldReason, effect: HoldEffect) -> str:
    asked = HoldAsked(reason=reason, effect=effect, why="a letter")
    return house.engine.conduct.hold("s1", asked, "anna").job_id


def release(house: House, reason: HoldReason) -> None:
    house.engine.conduct.lift("s1", reason, "anna", "a letter")


def ends(house: House) -> list[Job]:
    return [job for job in house.jobs("s1") if job.intent == IntentKind.TERMINATE]


# -- the service goes on -----------------------------------------------------------------------------------------


def test_while_the_end_of_a_cancelled_service_waits_it_is_suspended_limited_and_held_as_any_other(year: Year) -> None:
    house = year.open(KEEPS)
    assert house.wait(house.order("s1").job_id).state == JobState.DONE
    cancelled(house, year)
    year.later(4 * DAY)
    (job,) = ends(house)
    assert (job.state, house.state("s1")) == (JobState.WAITING_APPROVAL, "active")
    limited = house.engine.command(IntentKind.LIMIT, "s1", who="anna", why="spam", arguments={"reason": "quota"})
    assert house.wait(limited.job_id).state == JobState.DONE
    assert house.wait(hold(house, HoldReason.ABUSE, HoldEffect.STOP)).state == JobState.DONE
    assert record(house).suspension_proven_at is not None
    assert house.world.node("n1")["guests"]["orch.s1"]["power"] == "stopped"
    assert house.job(job.id).state == JobState.WAITING_APPROVAL, "nothing of that is in its way, nor it in theirs"
    confirm(house, year, job)
    assert (house.job(job.id).state, house.state("s1")) == (JobState.DONE, "archived")


def test_between_its_approval_and_its_beginning_the_service_is_as_it_was_also_over_a_crash(year: Year) -> None:
    house = year.open()
    job = due_to_die(house, year)
    house.engine.stop()  # nothing begins any more
    house.engine.approve(job.id, "anna")
    assert (house.job(job.id).state, house.state("s1")) == (JobState.QUEUED, "active")
    house = year.open()
    year.rest()
    assert (house.job(job.id).state, house.state("s1")) == (JobState.DONE, "erased")


def test_no_second_job_is_made_while_the_first_waits_whatever_else_ends_the_service(year: Year) -> None:
    house = year.open()
    job = due_to_die(house, year)
    cancelled(house, year, in_days=1)
    year.later(2 * DAY)
    assert house.event("service.terminate", "s1", version=1).outcome == "nothing"
    assert ([job.id], len(questions(house))) == ([one.id for one in ends(house)], 1)
    confirm(house, year, job, kind="termination.refused", reason="not for the debt")
    year.later(HOUR)
    assert [one.state for one in ends(house)] == [JobState.CANCELLED, JobState.WAITING_APPROVAL]
    assert "cancelled" in ends(house)[-1].reason


# -- what calls it off does not use it up ------------------------------------------------------------------------


def test_a_termination_whose_suspension_was_lifted_is_called_off_and_comes_when_it_is_in_force_again(year: Year) -> None:
    house = year.open()
    job = due_to_die(house, year)
    lifted = house.engine.command(IntentKind.UNSUSPEND, "s1", who="anna", why="he pays", arguments={"reason": "nonpayment"})
    assert house.wait(lifted.job_id).state == JobState.DONE
    year.later(HOUR)
    assert (house.job(job.id).state, house.state("s1")) == (JobState.CANCELLED, "active")
    year.later(8 * DAY)
    assert ends(house) == [house.job(job.id)]
    house.engine.command(IntentKind.SUSPEND, "s1", who="anna", why="he does not", arguments={"reason": "nonpayment"})
    year.later(7 * DAY - HOUR)
    assert len(ends(house)) == 1
    year.later(2 * HOUR)
    assert [one.state for one in ends(house)] == [JobState.CANCELLED, JobState.WAITING_APPROVAL]


@pytest.mark.parametrize("reason", [HoldReason.LEGAL, HoldReason.MANUAL])
def test_a_hold_that_keeps_the_data_calls_it_off_and_when_it_is_lifted_billing_is_asked_anew(
    year: Year, reason: HoldReason
) -> None:
    house = year.open()
    job = due_to_die(house, year)
    hold(house, reason, HoldEffect.NO_ERASE)
    year.later(HOUR)
    assert (house.job(job.id).state, "forbids erasing" in house.job(job.id).error) == (JobState.CANCELLED, True)
    year.later(3 * DAY)
    assert len(ends(house)) == 1
    release(house, reason)
    year.later(HOUR)
    assert ([one.state for one in ends(house)][1:], len(questions(house))) == ([JobState.WAITING_APPROVAL], 2)


def test_what_a_dispute_called_off_comes_again_when_an_operator_lifts_its_hold(year: Year) -> None:
    house = year.open()
    job = due_to_die(house, year)
    said = house.event("invoice.disputed", "s1", invoice_id="i1").detail
    assert (house.job(job.id).state, f"called off: job {job.id}" in said) == (JobState.CANCELLED, True)
    year.later(2 * DAY)
    assert len(ends(house)) == 1
    release(house, HoldReason.DISPUTE)
    year.later(HOUR)
    assert [one.state for one in ends(house)] == [JobState.CANCELLED, JobState.WAITING_APPROVAL]
    confirm(house, year, ends(house)[-1])
    assert house.state("s1") == "erased"


def test_what_a_person_or_billing_has_called_off_stays_so(year: Year) -> None:
    house = year.open()
    job = due_to_die(house, year)
    house.engine.cancel(job.id, "anna")
    hold(house, HoldReason.LEGAL, HoldEffect.NO_ERASE)
    year.later(HOUR)
    release(house, HoldReason.LEGAL)
    year.later(DAY)
    assert ([one.state for one in ends(house)], house.state("s1")) == ([JobState.CANCELLED], "active")


@pytest.mark.parametrize("takes_back", ["invoice.refunded", "invoice.charged_back"])
def test_an_erasure_that_a_payment_called_off_comes_again_when_that_payment_is_taken_back(year: Year, takes_back: str) -> None:
    house, erase = to_be_erased(year)
    house.world.fault("hypervisor.define", nth=0, error=PermanentDriverError("no"))
    paid(house, year)
    back = house.jobs("s1")[-1]
    assert (house.job(erase.id).state, back.intent, back.state) == (JobState.CANCELLED, IntentKind.REACTIVATE, JobState.FAILED)
    year.later(DAY)
    assert house.jobs("s1")[-1].id == back.id, "what was paid for is not erased"
    taken_back(house, year, takes_back)
    year.later(HOUR)
    assert waiting(house).id != erase.id
    confirm(house, year, waiting(house))
    assert (house.state("s1"), archives(house)) == ("erased", {})


def test_what_waits_to_bring_a_service_back_is_called_off_with_the_payment_that_asked_for_it(year: Year) -> None:
    house, erase = to_be_erased(year, held=True)
    paid(house, year)
    back = house.jobs("s1")[-1]
    assert (house.job(erase.id).state, back.intent, back.state) == (
        JobState.CANCELLED,
        IntentKind.REACTIVATE,
        JobState.WAITING_APPROVAL,
    )
    assert f"called off: job {back.id}" in taken_back(house, year, "invoice.refunded")
    assert house.job(back.id).state == JobState.CANCELLED
    year.later(HOUR)
    assert waiting(house).id != erase.id


def to_be_erased(year: Year, *, held: bool = False) -> tuple[House, Job]:
    """An archived service whose archive's time is over, and the job that is to erase it."""
    house = year.open(ARCHIVING)
    job = due_to_die(house, year)
    if held:
        hold(house, HoldReason.ABUSE, HoldEffect.STOP)
    confirm(house, year, job)
    assert house.state("s1") == "archived"
    year.later(3 * DAY)
    return house, waiting(house)


def paid(house: House, year: Year) -> None:
    house.event("invoice.paid", "s1", invoice_id="i1", paid_until=(year.clock.now() + 30 * DAY).isoformat())
    year.rest()


def taken_back(house: House, year: Year, how: str) -> str:
    until = year.clock.now() - 20 * DAY
    return house.event(how, "s1", invoice_id="i1", paid_until=until.isoformat()).detail
