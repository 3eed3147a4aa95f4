"""A job whose node cannot be reached waits for it, holds no worker meanwhile, and goes on where it was."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import timedelta

from orchestrator.domain.absences import Absence
from orchestrator.domain.errors import PermanentDriverError, Unreachable
from orchestrator.domain.intents import JobState
from orchestrator.engine.watch import NodeWatch
from orchestrator.store import absences, audit, jobs
from tests.fault import things
from tests.fault.conftest import Builder
from tests.fault.house import NODES, House, Options
from tests.fault.test_engine_brakes import Wound

MINUTE = timedelta(minutes=1)
TWO = (*NODES, replace(NODES[0], name="n2"))


def away(house: House, method: str = "thing.make") -> None:
    house.world.fault(method, nth=0, error=Unreachable("n1 does not answer", retry_after=0.01))


def waits(house: House, job_id: str, *, tries: int = 1, seconds: float = 30.0) -> Absence:
    """What the job waits for, once it does."""
    until = time.monotonic() + seconds
    while True:
        with house.db.read() as conn:
            found = absences.waiting(conn).get(job_id)
        if found is not None and found.tries >= tries:
            return found
        assert time.monotonic() < until, (house.job(job_id), house.steps(job_id))
        time.sleep(0.02)


def test_it_waits_for_as_long_as_is_said_and_goes_on_when_the_node_is_back(build: Builder) -> None:
    clock = Wound()
    house = build(clock=clock)
    away(house)
    job_id = house.order("s1").job_id
    first = waits(house, job_id)
    job, step = house.job(job_id), house.steps(job_id)[0]
    assert (job.state, job.run, first.away, first.why) == (JobState.QUEUED, 2, "n1", "n1 does not answer")
    assert (step.state, step.message) == ("pending", str(first))
    for tries in range(2, 6):
        clock.ahead += 2 * MINUTE
        later = waits(house, job_id, tries=tries)
        assert (later.since, later.position) == (first.since, first.position)
    house.world.clear_faults()
    clock.ahead += 2 * MINUTE
    assert house.wait(job_id).state == JobState.DONE
    with house.db.read() as conn:
        assert absences.get(conn, job_id) is None
        told = [entry.what for entry in audit.list_page(conn)[0] if entry.job_id == job_id]
    assert told.count("job waits: not reached") == 1, "once for all of it"
    assert set(things.things(house.world, "s1").values()) == {job_id}


def test_after_that_it_fails_with_the_error_and_undoes_what_it_made(build: Builder) -> None:
    clock = Wound()
    house = build(clock=clock, options=Options(wait_for_nodes=10 * MINUTE))
    house.world.fault("thing.make", nth=2, error=Unreachable("n1 does not answer", retry_after=0.01))
    for nth in range(3, 12):
        house.world.fault("thing.make", nth=nth, error=Unreachable("n1 does not answer", retry_after=0.01))
    job_id = house.order("s1").job_id
    waits(house, job_id)
    assert things.things(house.world, "s1"), "it made something, and keeps it while it waits"
    clock.ahead += 11 * MINUTE
    job = house.wait(job_id)
    assert (job.state, job.error_code, "n1 does not answer" in job.error) == (JobState.FAILED, "driver-unreachable", True)
    assert things.things(house.world, "s1") == {}


def test_any_other_error_fails_as_quickly_as_ever(build: Builder) -> None:
    house = build()
    house.world.fault("thing.make", nth=1, error=PermanentDriverError("no"))
    job = house.wait(house.order("s1").job_id)
    assert (job.state, job.run) == (JobState.FAILED, 1)


def test_where_nothing_is_waited_for_it_fails_after_its_attempts(build: Builder) -> None:
    house = build(options=Options(wait_for_nodes=timedelta(0)))
    away(house)
    job = house.wait(house.order("s1").job_id)
    assert (job.state, house.steps(job.id)[0].attempts) == (JobState.FAILED, 3)


def test_it_holds_no_worker_and_the_later_jobs_of_its_service_stay_behind_it(build: Builder) -> None:
    house = build(options=Options(workers=1))
    house.world.fault("thing.make", nth=1, error=Unreachable("gone", retry_after=0.01))
    house.world.fault("thing.make", nth=2, error=Unreachable("gone", retry_after=0.01))
    house.world.fault("thing.make", nth=3, error=Unreachable("gone", retry_after=0.01))
    waiting = house.order("s1").job_id
    waits(house, waiting)
    later = house.event("service.suspend", "s1", version=1).job_id
    assert house.wait(house.order("s2").job_id).state == JobState.DONE
    assert (house.job(later).state, house.job(waiting).state) == (JobState.QUEUED, JobState.QUEUED)
    with house.db.read() as conn:
        assert jobs.in_line(conn) == ()
        assert jobs.queue_depth(conn).jobs == 1, "only the one behind it"


def test_of_several_nodes_the_others_jobs_of_one_that_is_away_are_not_begun(build: Builder) -> None:
    house = build(declared=TWO, options=Options(workers=5))
    done = house.wait(house.order("s1").job_id)
    assert done.state == JobState.DONE
    other = house.order("s2")
    house.wait(other.job_id)
    away(house)
    first = house.event("service.suspend", "s1", version=1).job_id
    waits(house, first)
    second = house.event("service.suspend", "s2", version=1).job_id
    with house.db.read() as conn:
        placed = {jobs.place_of(conn, name) for name in ("s1", "s2")}
        assert (placed, jobs.in_line(conn, share=2)) == ({"n1"}, ())
    assert house.job(second).started_at is None
    house.world.clear_faults()
    with house.db.write() as conn:
        absences.is_back(conn, "n1", now=house.clock.now())
    assert [house.wait(job_id).state for job_id in (first, second)] == [JobState.DONE, JobState.DONE]


def test_it_notices_at_once_that_the_watch_has_seen_its_node_again(build: Builder) -> None:
    clock = Wound()
    house = build(clock=clock)
    watch = NodeWatch(house.db, NODES, lambda name, left: house.ports.hypervisor(name).node_facts(deadline=left), house.clock)
    away(house, "hypervisor.node_facts")
    watch.once()
    away(house)
    job_id = house.order("s1").job_id
    for tries in range(1, 5):
        before = waits(house, job_id, tries=tries)
        clock.ahead += 2 * MINUTE
    before = waits(house, job_id, tries=5)
    watch.once()
    with house.db.read() as conn:
        assert absences.get(conn, job_id) == before, "it is not back yet"
    house.world.clear_faults()
    watch.once()
    job = house.wait(job_id)
    assert (job.state, job.finished_at is not None and job.finished_at < before.until) == (JobState.DONE, True)


def test_it_can_be_cancelled_meanwhile(build: Builder) -> None:
    house = build()
    away(house)
    job_id = house.order("s1").job_id
    waits(house, job_id)
    house.world.clear_faults()
    house.engine.cancel(job_id, "anna")
    assert house.wait(job_id).state == JobState.CANCELLED
    with house.db.read() as conn:
        assert absences.get(conn, job_id) is None


def test_a_cancelled_job_waits_with_what_it_has_to_undo_too(build: Builder) -> None:
    clock = Wound()
    house = build(clock=clock)
    house.world.fault("thing.make", nth=2, error=Unreachable("gone", retry_after=0.01))
    house.world.fault("thing.make", nth=3, error=Unreachable("gone", retry_after=0.01))
    house.world.fault("thing.make", nth=4, error=Unreachable("gone", retry_after=0.01))
    away(house, "thing.unmake")
    job_id = house.order("s1").job_id
    first = waits(house, job_id)
    house.engine.cancel(job_id, "anna")
    again = waits(house, job_id, tries=2)
    assert (again.since, house.job(job_id).state) == (first.since, JobState.QUEUED)
    house.world.clear_faults()
    clock.ahead += 2 * MINUTE
    assert house.wait(job_id).state == JobState.CANCELLED
    assert things.things(house.world, "s1") == {}


def failing(house: House) -> str:
    """A job whose second step fails, and whose node is away when it is to undo the first; it waits."""
    house.world.fault("thing.make", nth=2, error=PermanentDriverError("the second one cannot be had"))
    away(house, "thing.unmake")
    job_id = house.order("s1").job_id
    waits(house, job_id)
    return job_id


def made_so_far(house: House) -> int:
    return sum(call.method == "thing.make" for call in house.world.journal())


def test_a_failed_job_waits_with_what_it_has_to_undo_and_then_goes_on_with_that_alone(build: Builder) -> None:
    clock = Wound()
    house = build(clock=clock)
    job_id = failing(house)
    first, job = waits(house, job_id), house.job(job_id)
    assert (job.state, job.error_code, "the second one cannot be had" in job.error) == (JobState.QUEUED, "driver-permanent", True)
    clock.ahead += 2 * MINUTE
    assert waits(house, job_id, tries=2).since == first.since
    house.world.clear_faults()
    made = made_so_far(house)
    clock.ahead += 2 * MINUTE
    after = house.wait(job_id)
    assert (after.state, after.error_code, after.error) == (JobState.FAILED, job.error_code, job.error)
    assert (things.things(house.world, "s1"), made_so_far(house)) == ({}, made), "it did not go forward again"
    house.engine.retry(job_id, "anna")
    assert house.wait(job_id, JobState.DONE).error == ""


def test_a_freeze_does_not_keep_it_from_undoing(build: Builder) -> None:
    """As it keeps no job from that which is to stop."""
    clock = Wound()
    suspending = things.playbook("vps-suspend", things.make("x"), things.make("y"))
    house = build(things.playbooks(suspend=suspending), clock=clock)
    house.wait(house.order("s1").job_id)
    house.world.fault("thing.make", nth=2, error=PermanentDriverError("no"))
    away(house, "thing.unmake")
    job_id = house.event("service.suspend", "s1", version=1).job_id
    waits(house, job_id)
    house.engine.freeze("anna", "a look")
    house.world.clear_faults()
    clock.ahead += 2 * MINUTE
    assert house.wait(job_id).state == JobState.FAILED
    assert sorted(things.things(house.world, "s1")) == ["s1.a", "s1.b", "s1.c"]


def test_it_goes_on_undoing_after_a_kill(build: Builder) -> None:
    clock = Wound()
    house = build(clock=clock)
    job_id = failing(house)
    house.close()
    house = build(clock=clock, start=False)
    house.world.clear_faults()
    clock.ahead += 2 * MINUTE
    house.engine.start()
    assert house.wait(job_id).state == JobState.FAILED
    assert things.things(house.world, "s1") == {}


def test_where_what_it_has_to_undo_stays_away_an_operator_looks(build: Builder) -> None:
    clock = Wound()
    house = build(clock=clock, options=Options(wait_for_nodes=10 * MINUTE))
    job_id = failing(house)
    clock.ahead += 11 * MINUTE
    job = house.wait(job_id)
    assert (job.state, job.error_code) == (JobState.NEEDS_OPERATOR, "undo-failed")
    assert "the second one cannot be had" in job.error
    assert set(things.things(house.world, "s1").values()) == {job_id}


def test_a_kill_keeps_since_when_it_waits_and_how_often_it_has_tried(build: Builder) -> None:
    clock = Wound()
    house = build(clock=clock)
    away(house)
    job_id = house.order("s1").job_id
    waits(house, job_id)
    clock.ahead += 2 * MINUTE
    before = waits(house, job_id, tries=2)
    house.close()
    house = build(clock=clock, start=False)
    with house.db.read() as conn:
        assert absences.get(conn, job_id) == before
    clock.ahead += 2 * MINUTE
    house.engine.start()
    after = waits(house, job_id, tries=3)
    assert (after.since, after.tries) == (before.since, 3)
