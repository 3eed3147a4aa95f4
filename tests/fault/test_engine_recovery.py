"""A controller that stops, loses its queue or its store, and goes on."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
import sqlalchemy as sa

from orchestrator.domain.errors import InDoubt, PermanentDriverError, StoreUnavailable, TransientDriverError
from orchestrator.domain.intents import IntentKind, JobState, StepState
from orchestrator.store import jobs, locks
from tests.fault import things
from tests.fault.conftest import Builder, queue_of
from tests.fault.house import Broken, Options
from tests.fault.things import make, playbook, playbooks


def test_stopping_waits_for_the_step_under_way_and_the_next_start_goes_on(build: Builder) -> None:
    reached = threading.Event()

    def slow(act: str) -> None:
        if act == "thing.make s1.b":
            reached.set()
            house.clock.sleep(0.3)

    house = build(on_apply=slow)
    job_id = house.order("s1").job_id
    assert reached.wait(10)
    assert house.engine.stop()
    assert house.job(job_id).state == JobState.RUNNING
    assert set(things.things(house.world)) == {"s1.a", "s1.b"}
    again = build()
    assert again.wait(job_id).state == JobState.DONE
    assert len(house.world.node("n1")["files"]) == 3


def test_what_is_done_is_not_looked_at_again(build: Builder) -> None:
    broken = Broken("vps-provision/c/before")
    house = build(at=broken)
    job_id = house.order("s1").job_id
    assert broken.off.wait(10)
    house.engine.stop()
    with house.world.change() as state:
        files = state["nodes"]["n1"]["files"]
        files.remove(next(file for file in files if file.startswith("s1.a@")))
    again = build()
    assert again.wait(job_id).state == JobState.DONE
    assert set(things.things(again.world)) == {"s1.b", "s1.c"}
    assert [step.attempts for step in again.steps(job_id)] == [1, 1, 1]


def test_an_attempt_whose_outcome_was_in_doubt_is_not_made_again(build: Builder) -> None:
    broken = Broken("vps-provision/finish/before")
    house = build(at=broken)
    house.world.fault("thing.make", nth=2, error=InDoubt("half made"))
    job_id = house.order("s1").job_id
    assert broken.off.wait(10)
    house.engine.stop()
    again = build()
    job = again.wait(job_id)
    assert (job.state, job.error_code, job.error) == (JobState.NEEDS_OPERATOR, "in-doubt", "step b: half made")
    assert set(things.things(again.world)) == {"s1.a"}


def test_a_wait_for_the_next_attempt_is_not_cut_short_by_a_restart(build: Builder) -> None:
    house = build()
    house.world.fault("thing.make", nth=1, error=TransientDriverError("busy", retry_after=120.0))
    job_id = house.order("s1").job_id
    until = house.clock.monotonic() + 10
    while not any(step.message for step in house.steps(job_id)) and house.clock.monotonic() < until:
        house.clock.sleep(0.02)
    house.engine.stop()
    again = build()
    again.clock.sleep(0.5)
    assert (again.job(job_id).state, things.things(again.world)) == (JobState.RUNNING, {})
    again.engine.cancel(job_id, "anna")
    assert again.wait(job_id).state == JobState.CANCELLED


def test_a_step_that_ends_when_nothing_can_be_recorded_any_more_is_left_to_the_next_start(build: Builder) -> None:
    reached, ended = threading.Event(), threading.Event()

    def slow(act: str) -> None:
        if act == "thing.make s1.b" and not reached.is_set():
            reached.set()
            house.clock.sleep(0.5)
            ended.set()

    house = build(options=Options(drain_seconds=0.05), on_apply=slow)
    job_id = house.order("s1").job_id
    assert reached.wait(10)
    assert not house.engine.stop()
    assert ended.wait(10)
    house.clock.sleep(0.5)
    assert house.job(job_id).state == JobState.RUNNING
    again = build()
    assert again.wait(job_id).state == JobState.DONE
    assert len(house.world.node("n1")["files"]) == 3


def test_stopping_does_not_wait_out_a_retry(build: Builder) -> None:
    house = build()
    house.world.fault("thing.make", nth=1, error=TransientDriverError("busy", retry_after=120.0))
    job_id = house.order("s1").job_id
    until = house.clock.monotonic() + 10
    while "again at" not in "".join(step.message for step in house.steps(job_id)) and house.clock.monotonic() < until:
        house.clock.sleep(0.02)
    before = house.clock.monotonic()
    assert house.engine.stop()
    assert house.clock.monotonic() - before < 5


@pytest.mark.parametrize(("act", "left"), [("thing.make", StepState.UNDONE), ("thing.look", StepState.FAILED)])
def test_a_stop_cuts_the_wait_for_a_retry_short_and_undoes(build: Builder, act: str, left: StepState) -> None:
    house = build()
    house.world.fault(act, nth=2, error=TransientDriverError("busy", retry_after=120.0))
    job_id = house.order("s1").job_id
    until = house.clock.monotonic() + 10
    while not house.steps(job_id) or not house.steps(job_id)[1].message:
        assert house.clock.monotonic() < until
        house.clock.sleep(0.02)
    house.engine.cancel(job_id, "anna")
    assert house.wait(job_id).state == JobState.CANCELLED
    assert things.things(house.world) == {}
    waited = house.steps(job_id)[1]
    assert (waited.state, "stopped before it was tried again: busy" in waited.error) == (left, True), waited


def test_a_controller_that_cannot_drain_in_time_says_so_and_its_late_step_writes_nothing(build: Builder) -> None:
    held = things.Pause("thing.make s1.b")
    house = build(on_apply=held, options=Options(drain_seconds=0.2))
    job_id = house.order("s1").job_id
    assert held.reached.wait(10)
    assert not house.engine.stop()
    again = build()
    assert again.wait(job_id).state == JobState.DONE
    written = again.steps(job_id)
    held.go_on.set()
    house.clock.sleep(0.5)
    assert (again.job(job_id).state, again.steps(job_id)) == (JobState.DONE, written)


def test_a_job_that_the_queue_lost_is_put_back(build: Builder) -> None:
    house = build(start=False)
    house.engine.start()
    house.engine.stop()
    job_id = house.order("s1").job_id
    with house.db.write() as conn:
        conn.execute(sa.text(f"DELETE FROM {queue_of(house)} WHERE workflow_uuid = :run"), {"run": f"{job_id}.1"})
    again = build()
    again.engine.sweep()
    assert again.wait(job_id).state == JobState.DONE


def test_a_job_whose_run_broke_off_is_shown_to_an_operator(build: Builder) -> None:
    house = build()
    house.engine.stop()
    job_id = house.order("s1").job_id
    with house.db.write() as conn:
        broken = f"UPDATE {queue_of(house)} SET status = 'MAX_RECOVERY_ATTEMPTS_EXCEEDED' WHERE workflow_uuid = :run"
        conn.execute(sa.text(broken), {"run": f"{job_id}.1"})
    again = build()
    again.engine.sweep()
    job = again.wait(job_id)
    assert (job.state, job.error_code) == (JobState.NEEDS_OPERATOR, "in-doubt")
    again.engine.retry(job_id, "anna")
    assert again.wait(job_id, JobState.DONE).run == 2


def test_the_lock_of_a_job_that_is_over_does_not_stand_in_the_way(build: Builder) -> None:
    house = build()
    first = house.wait(house.order("s1").job_id)
    with house.db.write() as conn:
        locks.take_service(conn, "s1", job_id=first.id, token="left behind", now=house.clock.now())
    submitted = house.engine.command(IntentKind.CHECK, "s1", who="anna", why="", arguments={})
    assert house.wait(submitted.job_id).state == JobState.DONE


def test_a_store_that_is_away_is_said_so_and_nothing_is_taken(build: Builder) -> None:
    house = build()
    with house.db.write() as conn:
        conn.execute(sa.text("ALTER TABLE jobs RENAME TO jobs_away"))
    with pytest.raises(StoreUnavailable):
        house.order("s1")
    with house.db.write() as conn:
        conn.execute(sa.text("ALTER TABLE jobs_away RENAME TO jobs"))
    assert house.order("s1").outcome == "accepted"


def test_what_a_job_makes_after_a_store_outage_is_recorded(build: Builder) -> None:
    """The act is done while the store is away: the job waits and writes it down when the store is back."""

    def take_away(act: str) -> None:
        if act == "thing.make s1.b":
            with house.db.write() as conn:
                conn.execute(sa.text("ALTER TABLE job_steps RENAME TO job_steps_away"))
            threading.Timer(1.0, bring_back).start()

    def bring_back() -> None:
        with house.db.write() as conn:
            conn.execute(sa.text("ALTER TABLE job_steps_away RENAME TO job_steps"))

    house = build(on_apply=take_away)
    job_id = house.order("s1").job_id
    house.clock.sleep(1.5)
    assert house.wait(job_id).state == JobState.DONE
    assert len(house.world.node("n1")["files"]) == 3


def test_old_records_of_the_queue_go_and_the_jobs_stay(build: Builder) -> None:
    house = build()
    job = house.wait(house.order("s1").job_id)
    durable = house.engine._durable
    until = house.clock.monotonic() + 10
    while durable.states([f"{job.id}.1"]) != {f"{job.id}.1": "SUCCESS"}:
        assert house.clock.monotonic() < until
        house.clock.sleep(0.02)
    assert durable.forget(before=house.clock.now() - timedelta(days=1)) == 0
    assert durable.forget(before=house.clock.now() + timedelta(days=1)) == 1
    assert durable.states([f"{job.id}.1"]) == {}
    assert house.job(job.id).state == JobState.DONE


def test_facts_of_the_steps_become_the_service_s_and_later_workflows_see_them(build: Builder) -> None:
    later = playbook("vps-reboot", make("rebooted", of="$facts.a.by", node="$facts.node"))
    house = build(playbooks(reboot=later))
    first = house.wait(house.order("s1").job_id)
    submitted = house.engine.command(IntentKind.REBOOT, "s1", who="anna", why="", arguments={})
    job = house.wait(submitted.job_id)
    assert job.state == JobState.DONE
    args = house.steps(job.id)[0].args or {}
    assert (args["of"], args["node"]) == (first.id, "n1")


def test_a_workflow_that_cannot_be_resolved_fails_before_anything_runs(build: Builder) -> None:
    house = build(playbooks(reboot=playbook("vps-reboot", make("rebooted", of="$facts.nowhere"))))
    house.wait(house.order("s1").job_id)
    submitted = house.engine.command(IntentKind.REBOOT, "s1", who="anna", why="", arguments={})
    job = house.wait(submitted.job_id)
    assert (job.state, house.steps(job.id)) == (JobState.FAILED, ())
    assert "$facts.nowhere" in job.error


def test_a_termination_that_broke_off_past_the_point_of_no_return_is_carried_to_its_end_by_an_operator(build: Builder) -> None:
    house = build()
    house.wait(house.order("s1").job_id)
    house.world.fault("thing.destroy", nth=2, error=PermanentDriverError("the node burns"))
    job = house.wait(house.engine.command(IntentKind.TERMINATE, "s1", who="anna", why="", arguments={}).job_id)
    assert job.state == JobState.NEEDS_OPERATOR
    house.event("invoice.paid", "s1", invoice_id="i1")
    house.engine.retry(job.id, "anna")
    assert house.wait(job.id, JobState.DONE).run == 2
    assert (house.state("s1"), things.things(house.world)) == ("erased", {})
    with house.db.read() as conn:
        assert jobs.stop_requested(conn, job.id) is False


def test_what_this_job_made_is_known_by_its_tag_where_the_store_forgot_it(build: Builder) -> None:
    """As after a restore of the store: the world's tag says whose the things are."""
    house = build()
    house.world.fault("thing.make", nth=2, error=InDoubt("nobody knows"))
    job = house.wait(house.order("s1").job_id)
    assert job.state == JobState.NEEDS_OPERATOR
    with house.db.write() as conn:
        jobs.change_step(conn, job.id, 0, applied=False)
    house.world.clear_faults()
    house.world.fault("thing.make", nth=2, error=PermanentDriverError("no c"))
    house.engine.retry(job.id, "anna")
    assert house.wait(job.id, JobState.FAILED).run == 2
    assert things.things(house.world) == {}
