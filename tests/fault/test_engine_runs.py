"""Jobs from their event to their end, on steps of the tests: what is done, undone, retried, told."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from orchestrator.domain.brakes import BrakeLimits
from orchestrator.domain.errors import EventConflict, InDoubt, PermanentDriverError, TransientDriverError, WrongState
from orchestrator.domain.intents import IntentKind, JobState, StepState
from orchestrator.domain.playbooks import OnFailure
from orchestrator.store import events, services
from tests.fault import things
from tests.fault.conftest import Builder
from tests.fault.house import NODES, PLAN, House, Options
from tests.fault.things import make, playbook, playbooks


def told(house: House, message_id: str, seconds: float = 10.0) -> dict[str, object]:
    """The message as billing got it."""
    until = house.clock.monotonic() + seconds
    while house.clock.monotonic() < until:
        for sent_id, body, status in house.notifier.deliveries():
            if sent_id == message_id and status == 200:
                message: dict[str, object] = json.loads(body)
                return message
        house.clock.sleep(0.02)
    raise AssertionError(f"billing was never told {message_id}: {house.notifier.deliveries()}")


def test_a_paid_order_is_carried_out_and_billing_is_told(build: Builder) -> None:
    house = build()
    accepted = house.order("s1")
    assert (accepted.outcome, house.wait(accepted.job_id).state) == ("accepted", JobState.DONE)
    assert things.things(house.world, "s1") == {f"s1.{name}": accepted.job_id for name in "abc"}
    assert house.state("s1") == "active"
    assert [(step.id, step.state) for step in house.steps(accepted.job_id)] == [(n, StepState.DONE) for n in "abc"]
    message = told(house, f"{accepted.job_id}.1.done")
    assert (message["type"], message["data"]["service_id"]) == ("job.done", "s1")  # type: ignore[index]  # a JSON object


def test_twenty_deliveries_at_once_make_one_job(build: Builder) -> None:
    house = build()
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: house.order("s1"), range(20)))
    assert sorted(answer.outcome for answer in answers) == ["accepted"] + ["duplicate"] * 19
    assert len({answer.job_id for answer in answers}) == 1
    house.wait(answers[0].job_id)
    assert len(house.jobs("s1")) == 1
    assert len(house.world.node("n1")["files"]) == 3


def test_an_event_id_with_another_body_is_a_conflict(build: Builder) -> None:
    house = build()
    house.event("order.created", "s1", event_id="e1", client_id="c1", plan="small")
    with pytest.raises(EventConflict):
        house.event("order.created", "s1", event_id="e1", client_id="c1", plan="big")


def test_a_command_of_one_version_counts_once_under_whatever_event_id(build: Builder) -> None:
    house = build()
    house.wait(house.order("s1").job_id)
    outcomes = [
        house.event("service.suspend", "s1", event_id=name, version=version).outcome
        for name, version in (("e1", 5), ("e2", 5), ("e3", 4))
    ]
    assert outcomes == ["accepted", "duplicate-command", "stale"]


def test_whatever_became_of_an_event_the_sentence_that_said_so_is_kept_with_it(build: Builder) -> None:
    house = build(options=Options(limits=BrakeLimits(suspensions_per_hour=0, terminations_per_hour=0)))
    given = [
        house.event("order.created", "s1", client_id="c1", plan="small"),
        house.order("s1"),
        house.event("service.suspend", "s1", event_id="first", version=5),
        house.event("service.suspend", "s1", event_id="again", version=5),
        house.event("service.suspend", "s1", version=4),
        house.event("service.terminate", "s9", version=1),
        house.event("order.paid", "s8", client_id="c1", plan="unknown"),
    ]
    outcomes = ["nothing", "accepted", "accepted", "duplicate-command", "stale", "refused", "dead"]
    with house.db.read() as conn:
        kept = [events.by_seq(conn, seq) for seq in range(1, 8)]
    assert [(each.outcome, each.detail) for each in kept if each is not None] == [(each.outcome, each.detail) for each in given]
    assert [each.outcome for each in given] == outcomes
    assert [name for name, each in zip(outcomes, given, strict=True) if not each.detail] == ["accepted"]


def test_an_event_that_cannot_be_processed_is_kept_and_can_be_replayed(build: Builder) -> None:
    house = build()
    dead = house.event("order.paid", "s1", client_id="c1", plan="unknown")
    assert (dead.outcome, dead.job_id, house.state("s1"), house.jobs("s1")) == ("dead", "", "ordered", ())
    mend = "add it to plans/, restart the controller, then `orchestrator event replay 1`"
    assert dead.detail == f"there is no plan 'unknown' ({mend})"
    refused = house.event("service.suspend", "s2", version=1, reason="abuse")
    assert refused.outcome == "refused"
    house.wait(house.order("s2").job_id)
    replayed = house.engine.replay(2, "anna")
    assert (replayed.outcome, house.wait(replayed.job_id).state) == ("accepted", JobState.DONE)
    with pytest.raises(WrongState):
        house.engine.replay(2, "anna")


def payments(house: House, service_id: str) -> int:
    with house.db.read() as conn:
        service = services.get(conn, service_id)
    assert service is not None
    return service.payments


def test_the_payment_of_an_order_that_cannot_be_processed_counts_once_however_often_it_is_replayed(build: Builder) -> None:
    house = build()
    assert house.event("order.paid", "s1", client_id="c1", plan="unknown").outcome == "dead"
    assert payments(house, "s1") == 1
    assert house.engine.replay(1, "anna").outcome == "dead"
    assert payments(house, "s1") == 1
    named = house.event("order.created", "s1", client_id="c1", plan="small")
    assert house.wait(named.job_id).state == JobState.DONE
    assert house.engine.replay(1, "anna").outcome == "nothing"
    assert (payments(house, "s1"), house.state("s1")) == (1, "active")


def test_a_dead_order_is_provisioned_by_its_replay_once_the_plan_is_there(build: Builder) -> None:
    first = build(start=False, plan=replace(PLAN, name="other"))
    assert first.event("order.paid", "s1", client_id="c1", plan=PLAN.name).outcome == "dead"
    first.close()
    house = build()
    replayed = house.engine.replay(1, "anna")
    assert (replayed.outcome, house.wait(replayed.job_id).state) == ("accepted", JobState.DONE)
    assert (payments(house, "s1"), house.job(replayed.job_id).payments) == (1, 1)


def test_an_order_for_a_zone_without_nodes_is_dead_until_there_is_one_and_its_payment_counts(build: Builder) -> None:
    first = build(start=False)
    dead = first.event("order.paid", "s1", client_id="c1", plan="small", zone="z9")
    mend = "add one to nodes.yaml, restart the controller, then `orchestrator event replay 1`"
    assert (dead.outcome, dead.detail) == ("dead", f"there is no node in zone 'z9' ({mend})")
    assert (first.jobs("s1"), first.state("s1"), payments(first, "s1")) == ((), "ordered", 1)
    first.close()
    house = build(declared=(*NODES, replace(NODES[0], name="n9", zone="z9")))
    replayed = house.engine.replay(1, "anna")
    assert (replayed.outcome, payments(house, "s1")) == ("accepted", 1)
    assert house.wait(replayed.job_id).state == JobState.DONE


@pytest.mark.parametrize("step", [0, 1])  # the first one begins as the workflow is written down
def test_a_transient_fault_is_tried_again_and_leaves_no_trace(build: Builder, step: int) -> None:
    house = build()
    house.world.fault("thing.make", nth=step + 1, error=TransientDriverError("busy", retry_after=0.05))
    house.world.fault("thing.make", nth=step + 2, where="after", error=TransientDriverError("answer lost", retry_after=0.05))
    job = house.wait(house.order("s1").job_id, seconds=40)
    assert job.state == JobState.DONE
    assert sorted(house.world.node("n1")["files"]) == [f"s1.{name}@{job.id}" for name in "abc"]
    row = house.steps(job.id)[step]
    assert (row.attempts, row.error, row.started_at is not None) == (3, "", True)


def test_a_permanent_fault_undoes_what_the_job_made_and_nothing_else(build: Builder) -> None:
    house = build()
    with house.world.change() as state:
        state["nodes"]["n1"]["files"] = ["s1.a@another"]
    house.world.fault("thing.make", nth=2, error=PermanentDriverError("the disk is gone"))
    job = house.wait(house.order("s1").job_id)
    assert (job.state, job.error_code) == (JobState.FAILED, "driver-permanent")
    assert things.things(house.world) == {"s1.a": "another"}
    assert [step.state for step in house.steps(job.id)] == [StepState.DONE, StepState.UNDONE, StepState.UNDONE]
    assert house.state("s1") == "failed"
    assert told(house, f"{job.id}.1.failed")["type"] == "job.failed"


def test_a_step_that_failed_half_done_is_undone_too(build: Builder) -> None:
    house = build()
    house.world.fault("thing.make", nth=3, where="after", error=PermanentDriverError("it broke at the last moment"))
    job = house.wait(house.order("s1").job_id)
    assert job.state == JobState.FAILED
    assert things.things(house.world) == {}
    undone = [call.subject for call in house.world.journal() if call.method == "thing.unmake"]
    assert undone == ["s1.c", "s1.b", "s1.a"]


def test_what_nobody_foresaw_is_never_tried_again_and_asks_an_operator(build: Builder) -> None:
    def explode(act: str) -> None:
        if act == "thing.make s1.b":
            raise ZeroDivisionError("a bug")

    house = build(on_apply=explode)
    job = house.wait(house.order("s1").job_id)
    assert (job.state, job.error_code) == (JobState.NEEDS_OPERATOR, "in-doubt")
    assert "a bug" not in job.error
    assert things.things(house.world, "s1") == {"s1.a": job.id}
    assert house.steps(job.id)[1].attempts == 1
    assert told(house, f"{job.id}.1.needs_operator")["type"] == "job.needs_operator"


def test_an_undo_that_fails_asks_an_operator_and_says_what_stands(build: Builder) -> None:
    house = build()
    house.world.fault("thing.make", nth=3, error=PermanentDriverError("no"))
    house.world.fault("thing.unmake", nth=1, error=PermanentDriverError("still in use"))
    job = house.wait(house.order("s1").job_id)
    assert (job.state, job.error_code) == (JobState.NEEDS_OPERATOR, "undo-failed")
    assert "undoing b failed: still in use" in job.error
    assert set(things.things(house.world)) == {"s1.a", "s1.b"}
    house.engine.cancel(job.id, "anna")
    assert house.wait(job.id, JobState.CANCELLED).run == 2
    assert things.things(house.world) == {}
    assert house.state("s1") == "failed"


def test_a_job_that_was_stopped_and_cannot_be_undone_says_both(build: Builder) -> None:
    held = things.Pause("thing.make s1.b")
    house = build(on_apply=held)
    house.world.fault("thing.unmake", nth=1, error=PermanentDriverError("still in use"))
    job_id = house.order("s1").job_id
    assert held.reached.wait(10)
    house.engine.cancel(job_id, "anna")
    held.go_on.set()
    job = house.wait(job_id)
    assert (job.state, job.error_code) == (JobState.NEEDS_OPERATOR, "undo-failed")
    assert job.error == "it was stopped; undoing b failed: still in use"


def test_a_job_that_needs_an_operator_goes_on_where_it_stopped(build: Builder) -> None:
    house = build()
    house.world.fault("thing.make", nth=2, error=InDoubt("nobody knows"))
    job = house.wait(house.order("s1").job_id)
    assert job.state == JobState.NEEDS_OPERATOR
    house.engine.retry(job.id, "anna")
    assert house.wait(job.id, JobState.DONE).run == 2
    assert things.things(house.world) == {f"s1.{name}": job.id for name in "abc"}
    assert house.state("s1") == "active"


def test_a_failed_job_is_decided_and_resolved_afresh_when_it_is_tried_again(build: Builder) -> None:
    house = build()
    house.world.fault("thing.make", nth=3, error=PermanentDriverError("no"))
    job = house.wait(house.order("s1").job_id)
    assert (job.state, house.state("s1")) == (JobState.FAILED, "failed")
    house.engine.retry(job.id, "anna")
    assert house.wait(job.id, JobState.DONE).run == 2
    assert house.state("s1") == "active"
    with pytest.raises(WrongState):
        house.engine.retry(job.id, "anna")


def test_on_failure_halt_leaves_everything_for_an_operator_and_continue_goes_on(build: Builder) -> None:
    steps = (make("a"), make("b", on_failure=OnFailure.CONTINUE), make("c", on_failure=OnFailure.HALT))
    house = build(playbooks(provision=playbook("vps-provision", *steps)))
    house.world.fault("thing.make", nth=2, error=PermanentDriverError("no b"))
    house.world.fault("thing.make", nth=3, error=PermanentDriverError("no c"))
    job = house.wait(house.order("s1").job_id)
    assert (job.state, job.error) == (JobState.NEEDS_OPERATOR, "step c: no c")
    assert things.things(house.world) == {"s1.a": job.id}
    assert [step.state for step in house.steps(job.id)] == [StepState.DONE, StepState.FAILED, StepState.FAILED]


def test_a_running_job_is_stopped_before_its_next_step_and_undone(build: Builder) -> None:
    held = things.Pause("thing.make s1.b")
    house = build(on_apply=held)
    job_id = house.order("s1").job_id
    assert held.reached.wait(10)
    house.engine.cancel(job_id, "anna")
    held.go_on.set()
    assert house.wait(job_id).state == JobState.CANCELLED
    assert things.things(house.world) == {}
    assert house.state("s1") == "failed"


def test_two_jobs_of_one_service_never_overlap_and_keep_their_order(build: Builder) -> None:
    running: list[str] = []
    overlaps: list[str] = []
    guard = threading.Lock()

    def watch(act: str) -> None:
        service = act.split()[1].partition(".")[0]
        with guard:
            if service in running:
                overlaps.append(act)
            running.append(service)
        house.clock.sleep(0.02)
        with guard:
            running.remove(service)

    house = build(on_apply=watch, options=Options(workers=6))
    house.wait(house.order("s1").job_id)
    kinds = [IntentKind.STOP, IntentKind.START, IntentKind.REBOOT, IntentKind.CHECK]
    with ThreadPoolExecutor(8) as pool:
        submitted = list(pool.map(lambda n: house.engine.command(kinds[n % 4], "s1", who="a", why="", arguments={}), range(12)))
    done = [house.wait(item.job_id, seconds=60) for item in submitted]
    assert {job.state for job in done} == {JobState.DONE}
    assert overlaps == []
    started = [job.started_at for job in sorted(done, key=lambda job: job.id)]
    assert started == sorted(started, key=lambda moment: moment or house.clock.now())


def test_heavy_steps_hold_no_more_than_the_slots_of_their_node(build: Builder) -> None:
    at_once, most = 0, 0
    guard = threading.Lock()

    def watch(_act: str) -> None:
        nonlocal at_once, most
        with guard:
            at_once += 1
            most = max(most, at_once)
        house.clock.sleep(0.1)
        with guard:
            at_once -= 1

    books = playbooks(provision=playbook("vps-provision", make("a", heavy=True)))
    house = build(books, on_apply=watch, options=Options(workers=6, heavy_slots={"n1": 2}))
    ids = [house.order(f"s{n}").job_id for n in range(6)]
    assert {house.wait(job_id, seconds=60).state for job_id in ids} == {JobState.DONE}
    assert most == 2


def test_two_hundred_jobs_over_twenty_services_finish(build: Builder) -> None:
    house = build(options=Options(workers=8, poll_seconds=0.01))
    first = [house.order(f"s{n}").job_id for n in range(20)]
    for job_id in first:
        assert house.wait(job_id, seconds=60).state == JobState.DONE
    ids = [house.engine.command(IntentKind.CHECK, f"s{n % 20}", who="a", why="", arguments={}).job_id for n in range(180)]
    assert {house.wait(job_id, seconds=120).state for job_id in ids} == {JobState.DONE}


def test_a_dry_run_is_what_would_be_written_down_and_changes_nothing(build: Builder) -> None:
    house = build()
    house.wait(house.order("s1").job_id)
    workflow = house.engine.dry_run(IntentKind.TERMINATE, "s1", {})
    assert [call.id for call in workflow.calls] == ["ending", "no-c", "no-b", "no-a", "no-ending"]
    assert (house.state("s1"), len(house.jobs("s1"))) == ("active", 1)


def test_billing_is_told_again_until_it_takes_the_message(build: Builder) -> None:
    house = build(start=False)
    house.notifier.answer(503)
    house.engine.start()
    job = house.wait(house.order("s1").job_id)
    assert told(house, f"{job.id}.1.done", seconds=20)["type"] == "job.done"
    assert [status for sent_id, _, status in house.notifier.deliveries() if sent_id == f"{job.id}.1.done"] == [503, 200]


def test_a_second_controller_on_the_same_directory_is_refused(build: Builder) -> None:
    build()
    second = build(start=False)
    with pytest.raises(WrongState, match="another controller"):
        second.engine.start()
