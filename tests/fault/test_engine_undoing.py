"""A job that undoes what it made, broken off in the middle, and carried to its end by who goes on with it."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from orchestrator.domain.errors import InDoubt, PermanentDriverError, TransientDriverError, Unreachable
from orchestrator.domain.intents import JobState
from orchestrator.domain.playbooks import OnFailure, Playbook
from orchestrator.domain.services import HoldReason
from orchestrator.store import services
from tests.fault import things
from tests.fault.conftest import Builder
from tests.fault.house import Broken, House, Options
from tests.fault.test_engine_absences import waits
from tests.fault.test_engine_brakes import Wound
from tests.fault.things import make, playbook, playbooks

FULL = PermanentDriverError("the disk is full")


def broken_off(build: Builder, point: str, *books: dict[str, Playbook], **given: Any) -> tuple[House, str]:
    """A house whose job's second step fails, and that is ended at this point; and the job."""
    broken = Broken(f"vps-provision/{point}")
    house = build(*books, at=broken, **given)
    house.world.fault("thing.make", nth=2, error=FULL)
    job_id = house.order("s1").job_id
    assert broken.off.wait(10)
    house.engine.stop()
    return house, job_id


def as_older(house: House, job_id: str) -> None:
    """As a version leaves it that wrote down neither why a job undoes nor what its steps came to."""
    with house.db.write() as conn:
        conn.execute(sa.text("UPDATE jobs SET error_code = '', error = '' WHERE id = :job"), {"job": job_id})
        conn.execute(sa.text("UPDATE job_steps SET run = 0, outcome = NULL WHERE job_id = :job"), {"job": job_id})


@pytest.mark.parametrize("point", ["b/undo-before", "b/undo-during", "a/undo-before", "a/undo-after", "finish/before"])
def test_what_failed_is_undone_to_the_end_and_its_error_is_kept(build: Builder, point: str) -> None:
    broken = Broken(f"vps-provision/{point}")
    house = build(at=broken)
    house.world.fault("thing.make", nth=2, error=PermanentDriverError("the disk is full"))
    job_id = house.order("s1").job_id
    assert broken.off.wait(10)
    house.engine.stop()
    left = house.job(job_id)
    assert (left.state, left.error) == (JobState.UNDOING, "step b: the disk is full")
    again = build()
    job = again.wait(job_id)
    assert (job.state, job.error_code, job.error) == (JobState.FAILED, "driver-permanent", "step b: the disk is full")
    assert things.things(again.world) == {}


@pytest.mark.parametrize("point", ["b/undo-before", "a/undo-before"])
def test_what_an_older_version_began_to_undo_has_failed_and_was_not_stopped(build: Builder, point: str) -> None:
    house, job_id = broken_off(build, point)
    as_older(house, job_id)
    job = build().wait(job_id)
    assert (job.state, job.error_code, job.error) == (JobState.FAILED, "driver-permanent", "step b: the disk is full")


def test_of_several_that_failed_under_an_older_version_the_last_is_why(build: Builder) -> None:
    books = playbooks(provision=playbook("vps-provision", make("a"), make("x", on_failure=OnFailure.CONTINUE), make("b")))
    broken = Broken("vps-provision/a/undo-before")
    house = build(books, at=broken)
    house.world.fault("thing.look", nth=2, error=PermanentDriverError("no matter"))
    house.world.fault("thing.look", nth=3, error=FULL)
    job_id = house.order("s1").job_id
    assert broken.off.wait(10)
    house.engine.stop()
    as_older(house, job_id)
    job = build(books).wait(job_id)
    assert (job.state, job.error) == (JobState.FAILED, "step b: the disk is full")


def test_a_suspension_that_failed_under_an_older_version_keeps_its_hold(build: Builder) -> None:
    broken = Broken("vps-suspend/held/undo-before")
    house = build(at=broken)
    house.wait(house.order("s1").job_id)
    house.world.fault("thing.make", nth=1, error=FULL)
    job_id = house.event("service.suspend", "s1", version=1).job_id
    assert broken.off.wait(10)
    house.engine.stop()
    as_older(house, job_id)
    again = build()
    assert again.wait(job_id).state == JobState.FAILED
    with again.db.read() as conn:
        service = services.get(conn, "s1")
    assert service is not None
    assert [hold.reason for hold in service.holds] == [HoldReason.NONPAYMENT]


def test_what_it_had_waited_for_before_it_failed_counts_no_more(build: Builder) -> None:
    clock, options = Wound(), Options(wait_for_nodes=timedelta(minutes=10))
    broken = Broken("vps-provision/b/undo-before")
    house = build(clock=clock, options=options, at=broken)
    away = Unreachable("n1 does not answer", retry_after=0.01)
    for number in (2, 3, 4):
        house.world.fault("thing.look", nth=number, error=away)
    house.world.fault("thing.make", nth=2, error=FULL)
    job_id = house.order("s1").job_id
    waits(house, job_id)
    clock.ahead += timedelta(minutes=2)
    assert broken.off.wait(10)
    house.engine.stop()
    clock.ahead += timedelta(minutes=11)
    house.world.clear_faults()
    house.world.fault("thing.look", nth=0, error=away)
    again = build(clock=clock, options=options)
    assert waits(again, job_id, seconds=10).tries == 1
    assert (again.job(job_id).state, again.job(job_id).error) == (JobState.QUEUED, "step b: the disk is full")


def test_an_undo_whose_outcome_was_in_doubt_is_not_tried_again(build: Builder) -> None:
    broken = Broken("vps-provision/finish/before")
    house = build(at=broken)
    house.world.fault("thing.make", nth=2, error=FULL)
    house.world.fault("thing.unmake", nth=1, error=InDoubt("half unmade"))
    job_id = house.order("s1").job_id
    assert broken.off.wait(10)
    house.engine.stop()
    job = build().wait(job_id)
    assert (job.state, job.error) == (JobState.NEEDS_OPERATOR, "step b: the disk is full; undoing a failed: half unmade")


def test_a_wait_for_the_next_attempt_at_undoing_is_not_cut_short_by_a_restart(build: Builder) -> None:
    house = build()
    house.world.fault("thing.make", nth=2, error=FULL)
    house.world.fault("thing.unmake", nth=0, error=TransientDriverError("busy", retry_after=60.0))
    job_id = house.order("s1").job_id
    until = time.monotonic() + 10
    while "undoing it failed" not in "".join(step.error for step in house.steps(job_id)):
        assert time.monotonic() < until
        time.sleep(0.02)
    house.engine.stop()
    house.world.clear_faults()
    again = build()
    again.clock.sleep(1.0)
    assert (again.job(job_id).state, set(things.things(again.world))) == (JobState.UNDOING, {"s1.a"})
