"""What is tried again passes the brakes and the freeze as a new job of its kind would."""

from __future__ import annotations

from datetime import timedelta

import pytest

from orchestrator.domain.brakes import BrakeLimits
from orchestrator.domain.errors import InDoubt, OrchestratorError, PermanentDriverError
from orchestrator.domain.intents import IntentKind, JobState
from orchestrator.domain.jobs import FROZEN_REASON
from tests.fault import things
from tests.fault.conftest import Builder
from tests.fault.house import House, Options
from tests.fault.test_engine_brakes import Wound, provisioned

TERMINATE = IntentKind.TERMINATE
ONE_AN_HOUR = Options(limits=BrakeLimits(suspensions_per_hour=1, terminations_per_hour=1))


def broken(house: House, service: str, error: OrchestratorError) -> str:
    """A suspension that came to grief."""
    house.world.fault("thing.make", nth=1, error=error)
    job_id = house.event("service.suspend", service, version=1).job_id
    assert house.wait(job_id).state in (JobState.FAILED, JobState.NEEDS_OPERATOR)
    return job_id


@pytest.mark.parametrize("error", [PermanentDriverError("no"), InDoubt("who knows")])
def test_a_suspension_that_is_tried_again_waits_where_a_new_one_would(build: Builder, error: OrchestratorError) -> None:
    house = build(options=ONE_AN_HOUR)
    provisioned(house, "s1")
    job_id = broken(house, "s1", error)
    house.engine.retry(job_id, "anna")
    job = house.job(job_id)
    assert (job.state, job.error, job.finished_at) == (JobState.WAITING_APPROVAL, "", None)
    assert job.approval_reason == "1 suspension in the last hour; more than 1 wait for approval"
    house.engine.approve(job_id, "berta")
    done = house.wait(job_id, JobState.DONE)
    assert done.approved_by == "berta"
    assert "s1.held" in things.things(house.world)


def test_what_is_tried_again_counts_from_when_it_begins_again(build: Builder) -> None:
    clock = Wound()
    house = build(clock=clock, options=ONE_AN_HOUR)
    provisioned(house, "s1", "s2")
    job_id = broken(house, "s1", PermanentDriverError("no"))
    clock.ahead = timedelta(hours=5)
    house.engine.retry(job_id, "anna")
    assert house.wait(job_id).state == JobState.DONE
    assert house.job(house.event("service.suspend", "s2", version=1).job_id).state == JobState.WAITING_APPROVAL


def test_what_is_tried_again_during_a_freeze_waits_and_goes_past_the_brakes_when_it_is_lifted(build: Builder) -> None:
    house = build(options=Options(limits=BrakeLimits(suspensions_per_hour=2, terminations_per_hour=1)))
    provisioned(house, "s1", "s2", "s3")
    job_id = broken(house, "s1", PermanentDriverError("no"))
    house.engine.freeze("anna", "stop")
    house.engine.retry(job_id, "anna")
    assert (house.job(job_id).state, house.job(job_id).approval_reason) == (JobState.WAITING_APPROVAL, FROZEN_REASON)
    waiting = [house.event("service.suspend", name, version=1).job_id for name in ("s2", "s3")]
    house.engine.unfreeze("anna")
    assert [house.wait(each).state for each in (job_id, *waiting)] == [JobState.DONE, JobState.DONE, JobState.WAITING_APPROVAL]


def test_an_approval_is_of_one_try(build: Builder) -> None:
    house = build(options=Options(limits=BrakeLimits(suspensions_per_hour=0, terminations_per_hour=0)))
    provisioned(house, "s1")
    house.world.fault("thing.make", nth=1, error=PermanentDriverError("no"))
    job_id = house.event("service.suspend", "s1", version=1).job_id
    house.engine.approve(job_id, "berta")
    assert house.wait(job_id).state == JobState.FAILED
    house.engine.retry(job_id, "anna")
    assert (house.job(job_id).state, house.job(job_id).approved_by) == (JobState.WAITING_APPROVAL, "")
    house.engine.cancel(job_id, "anna")
    assert house.job(job_id).state == JobState.CANCELLED


def test_a_termination_that_has_begun_to_destroy_is_carried_to_its_end_without_asking_again(build: Builder) -> None:
    house = build(options=ONE_AN_HOUR)
    provisioned(house, "s1", "s2")
    house.world.fault("thing.destroy", nth=2, error=InDoubt("nobody knows"))
    job_id = house.engine.command(TERMINATE, "s1", who="anna", why="", arguments={}).job_id
    assert house.wait(job_id).state == JobState.NEEDS_OPERATOR
    other = house.engine.command(TERMINATE, "s2", who="anna", why="", arguments={})
    house.engine.approve(other.job_id, "anna")
    assert house.wait(other.job_id, JobState.DONE).state == JobState.DONE
    house.engine.freeze("anna", "stop")
    house.engine.retry(job_id, "anna")
    assert house.wait(job_id).approval_reason == FROZEN_REASON
    house.engine.unfreeze("anna")
    assert house.wait(job_id, JobState.DONE).state == JobState.DONE
