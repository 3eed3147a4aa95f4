"""What holds destruction back: the fence, the freeze, the brakes."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal

import pytest

from orchestrator.domain.brakes import BrakeLimits
from orchestrator.domain.errors import Frozen, InDoubt, PermanentDriverError, WrongState
from orchestrator.domain.intents import IntentKind, JobState
from orchestrator.domain.jobs import FROZEN_REASON
from orchestrator.drivers.local.clock import SystemClock
from tests.fault import things
from tests.fault.conftest import Builder
from tests.fault.house import House, Options
from tests.fault.things import make, playbook, playbooks

TERMINATE = IntentKind.TERMINATE


def provisioned(house: House, *services: str) -> None:
    for service in services:
        assert house.wait(house.order(service).job_id).state == JobState.DONE


def paid(house: House, service: str, number: int = 1) -> None:
    house.event("invoice.paid", service, event_id=f"paid-{service}-{number}", invoice_id=f"i{number}")


def test_a_termination_destroys_everything_and_billing_gets_the_end(build: Builder) -> None:
    house = build()
    provisioned(house, "s1")
    job = house.wait(house.engine.command(TERMINATE, "s1", who="anna", why="asked", arguments={}).job_id)
    assert (job.state, house.state("s1"), things.things(house.world)) == (JobState.DONE, "erased", {})


def test_a_payment_before_the_first_destructive_act_stops_the_termination_and_undoes_it(build: Builder) -> None:
    house: House = build(at=lambda point: paid(house, "s1") if point == "vps-terminate/no-c/before" else None)
    provisioned(house, "s1")
    job = house.wait(house.engine.command(TERMINATE, "s1", who="anna", why="", arguments={}).job_id)
    assert (job.state, job.error_code, house.state("s1")) == (JobState.FAILED, "fence-closed", "active")
    assert set(things.things(house.world)) == {"s1.a", "s1.b", "s1.c"}


def test_a_payment_past_the_point_of_no_return_leaves_the_rest_standing_for_an_operator(build: Builder) -> None:
    house: House = build(at=lambda point: paid(house, "s1") if point == "vps-terminate/no-b/before" else None)
    provisioned(house, "s1")
    job = house.wait(house.engine.command(TERMINATE, "s1", who="anna", why="", arguments={}).job_id)
    assert (job.state, job.error_code, house.state("s1")) == (JobState.NEEDS_OPERATOR, "fence-closed", "terminating")
    assert set(things.things(house.world)) == {"s1.a", "s1.b", "s1.ending"}
    with pytest.raises(WrongState, match="point of no return"):
        house.engine.cancel(job.id, "anna")
    kinds = [kind for _, body, _ in deliveries(house) for kind in [body.partition('"type":"')[2].partition('"')[0]]]
    assert kinds.count("payment.too_late") == 1


def deliveries(house: House) -> tuple[tuple[str, str, int], ...]:
    """What billing got, once the outbox is empty."""
    until = house.clock.monotonic() + 10
    while house.clock.monotonic() < until:
        sent = house.notifier.deliveries()
        if any("payment.too_late" in body for _, body, _ in sent):
            return sent
        house.clock.sleep(0.05)
    return house.notifier.deliveries()


def test_money_for_an_erased_service_is_told_to_be_too_late(build: Builder) -> None:
    house = build()
    provisioned(house, "s1")
    house.wait(house.engine.command(TERMINATE, "s1", who="anna", why="", arguments={}).job_id)
    paid(house, "s1")
    assert any("payment.too_late" in body for _, body, _ in deliveries(house))


def test_money_in_a_stale_renewal_of_an_erased_service_is_told_to_be_too_late(build: Builder) -> None:
    house = build()
    provisioned(house, "s1")
    house.wait(house.event("service.terminate", "s1", version=5).job_id)
    assert house.event("service.renew", "s1", version=4).outcome == "stale"
    assert any("payment.too_late" in body for _, body, _ in deliveries(house))


def test_a_second_termination_of_what_is_being_provisioned_starts_no_second_job(build: Builder) -> None:
    pause = things.Pause("thing.make s1.a")
    house = build(on_apply=pause)
    house.order("s1")
    assert pause.reached.wait(10)
    house.event("service.terminate", "s1", version=1)
    again = house.event("service.terminate", "s1", version=2)
    assert (again.outcome, house.engine.command(TERMINATE, "s1", who="anna", why="", arguments={}).job_id) == ("nothing", "")
    pause.go_on.set()
    assert settled(house, "s1") == [(IntentKind.PROVISION, JobState.DONE), (TERMINATE, JobState.DONE)]
    assert house.state("s1") == "erased"


def test_a_termination_that_came_after_a_payment_is_not_taken_for_the_one_before(build: Builder) -> None:
    pause = things.Pause("thing.make s1.a")
    house = build(on_apply=pause)
    house.order("s1")
    assert pause.reached.wait(10)
    house.event("service.terminate", "s1", version=1)
    paid(house, "s1")
    assert house.event("service.terminate", "s1", version=2).outcome == "accepted"
    pause.go_on.set()
    assert [state for _, state in settled(house, "s1")] == [JobState.DONE, JobState.FAILED, JobState.DONE]
    assert house.state("s1") == "erased"


def test_a_freeze_parks_a_termination_under_way_and_lifting_it_lets_it_go_on(build: Builder) -> None:
    pause = things.Pause("thing.make s1.ending")
    house = build(on_apply=pause)
    provisioned(house, "s1")
    job_id = house.engine.command(TERMINATE, "s1", who="anna", why="", arguments={}).job_id
    assert pause.reached.wait(10)
    house.engine.freeze("anna", "something is wrong")
    pause.go_on.set()
    job = house.wait(job_id)
    assert (job.state, job.approval_reason) == (JobState.WAITING_APPROVAL, FROZEN_REASON)
    assert set(things.things(house.world)) == {"s1.a", "s1.b", "s1.c", "s1.ending"}
    with pytest.raises(Frozen):
        house.engine.approve(job_id, "anna")
    assert [each.id for each in house.engine.unfreeze("anna")] == [job_id], "who lifts it is told what goes on"
    assert house.wait(job_id, JobState.DONE).run == 2
    assert things.things(house.world) == {}


def test_a_freeze_stops_a_suspension_between_two_steps(build: Builder) -> None:
    pause = things.Pause("thing.make s1.held")
    house = build(playbooks(suspend=playbook("vps-suspend", make("held"), make("off"))), on_apply=pause)
    provisioned(house, "s1")
    job_id = house.event("service.suspend", "s1", version=1).job_id
    assert pause.reached.wait(10)
    house.engine.freeze("anna", "wait")
    pause.go_on.set()
    assert house.wait(job_id).state == JobState.WAITING_APPROVAL
    assert "s1.off" not in things.things(house.world)
    house.engine.unfreeze("anna")
    assert house.wait(job_id, JobState.DONE).state == JobState.DONE


def test_during_a_freeze_what_destroys_waits_and_everything_else_runs(build: Builder) -> None:
    house = build()
    provisioned(house, "s1")
    house.engine.freeze("anna", "no more")
    held = house.event("service.suspend", "s1", version=1)
    assert (held.outcome, house.job(held.job_id).state) == ("accepted", JobState.WAITING_APPROVAL)
    provisioned(house, "s2")
    house.engine.unfreeze("anna")
    assert house.wait(held.job_id, JobState.DONE).state == JobState.DONE


def test_a_parked_job_that_is_cancelled_is_undone_even_while_frozen(build: Builder) -> None:
    pause = things.Pause("thing.make s1.ending")
    house = build(on_apply=pause)
    provisioned(house, "s1")
    job_id = house.engine.command(TERMINATE, "s1", who="anna", why="", arguments={}).job_id
    assert pause.reached.wait(10)
    house.engine.freeze("anna", "wait")
    pause.go_on.set()
    house.wait(job_id, JobState.WAITING_APPROVAL)
    house.engine.cancel(job_id, "anna")
    assert house.wait(job_id, JobState.CANCELLED).state == JobState.CANCELLED
    assert (house.state("s1"), set(things.things(house.world))) == ("active", {"s1.a", "s1.b", "s1.c"})


def test_more_than_the_limit_in_an_hour_waits_for_approval(build: Builder) -> None:
    house = build(options=Options(limits=BrakeLimits(suspensions_per_hour=2, terminations_per_hour=0)))
    provisioned(house, "s1", "s2", "s3")
    jobs = [house.job(house.event("service.suspend", name, version=1).job_id) for name in ("s1", "s2", "s3")]
    assert [job.approval_reason == "" for job in jobs] == [True, True, False]
    house.wait(jobs[0].id)
    house.wait(jobs[1].id)
    assert house.job(jobs[2].id).state == JobState.WAITING_APPROVAL
    house.engine.approve(jobs[2].id, "anna")
    assert house.wait(jobs[2].id, JobState.DONE).approved_by == "anna"
    submitted = house.engine.command(TERMINATE, "s1", who="anna", why="", arguments={})
    assert submitted.waits
    assert house.job(submitted.job_id).state == JobState.WAITING_APPROVAL
    house.engine.cancel(submitted.job_id, "anna")
    assert (house.job(submitted.job_id).state, house.state("s1")) == (JobState.CANCELLED, "active")


class Wound(SystemClock):
    """A clock that a test can put forward."""

    def __init__(self) -> None:
        self.ahead = timedelta(0)

    def now(self) -> datetime:
        return super().now() + self.ahead


def test_what_a_freeze_held_for_long_counts_from_when_it_is_let_through(build: Builder) -> None:
    clock = Wound()
    house = build(clock=clock, options=Options(limits=BrakeLimits(suspensions_per_hour=2, terminations_per_hour=0)))
    names = ("s1", "s2", "s3", "s4")
    provisioned(house, *names)
    house.engine.freeze("anna", "something is wrong")
    jobs = [house.event("service.suspend", name, version=1).job_id for name in names[:3]]
    clock.ahead = timedelta(hours=5)
    house.engine.unfreeze("anna")
    assert [house.wait(job).state for job in jobs] == [JobState.DONE, JobState.DONE, JobState.WAITING_APPROVAL]
    assert house.job(house.event("service.suspend", "s4", version=1).job_id).state == JobState.WAITING_APPROVAL
    clock.ahead = timedelta(hours=7)
    assert house.wait(house.event("service.suspend", "s4", version=2).job_id).state == JobState.DONE


def suspended(house: House, service: str) -> None:
    provisioned(house, service)
    job_id = house.event("service.suspend", service, event_id=f"suspend-{service}", version=2, reason="nonpayment").job_id
    assert house.wait(job_id).state == JobState.DONE


def settled(house: House, service: str) -> list[tuple[IntentKind, JobState]]:
    """The service's jobs, oldest first, once none is under way."""
    until = house.clock.monotonic() + 20
    while any(job.state in (JobState.QUEUED, JobState.RUNNING, JobState.UNDOING) for job in house.jobs(service)):
        assert house.clock.monotonic() < until, house.jobs(service)
        house.clock.sleep(0.05)
    return [(job.intent, job.state) for job in sorted(house.jobs(service), key=lambda job: job.id)]


def test_a_payment_calls_off_a_termination_that_waits_and_the_suspended_guest_runs_again(build: Builder) -> None:
    house = build()
    suspended(house, "s1")
    house.engine.freeze("anna", "something is wrong")
    house.event("service.terminate", "s1", event_id="end-s1", version=3)
    paid(house, "s1")
    ends = settled(house, "s1")
    assert ends[-2:] == [(TERMINATE, JobState.CANCELLED), (IntentKind.UNSUSPEND, JobState.DONE)]
    assert house.state("s1") == "active"


def test_a_termination_stopped_half_way_leaves_no_paid_guest_switched_off(build: Builder) -> None:
    pause = things.Pause("thing.make s1.ending")
    house = build(on_apply=pause)
    suspended(house, "s1")
    job_id = house.event("service.terminate", "s1", event_id="end-s1", version=3).job_id
    assert pause.reached.wait(10)
    house.engine.freeze("anna", "something is wrong")
    pause.go_on.set()
    assert house.wait(job_id).state == JobState.WAITING_APPROVAL
    paid(house, "s1")
    ends = settled(house, "s1")
    assert (TERMINATE, JobState.CANCELLED) in ends
    assert ends[-1] == (IntentKind.UNSUSPEND, JobState.DONE)
    assert house.state("s1") == "active"
    assert "s1.ending" not in things.things(house.world)


def test_a_hold_that_came_before_a_termination_stops_the_guest_also_where_the_termination_is_overtaken(build: Builder) -> None:
    pause = things.Pause("thing.make s1.checked")
    house = build(on_apply=pause)
    provisioned(house, "s1")
    house.engine.command(IntentKind.CHECK, "s1", who="anna", why="", arguments={})
    assert pause.reached.wait(10)  # both wait behind it: the service is not terminating before its turn comes
    house.event("service.suspend", "s1", version=1, reason="abuse")
    house.event("service.terminate", "s1", version=2)
    assert house.state("s1") == "active"
    paid(house, "s1")
    pause.go_on.set()
    ends = settled(house, "s1")
    assert ends[2:] == [(IntentKind.SUSPEND, JobState.DONE), (TERMINATE, JobState.FAILED)]
    assert (house.state("s1"), "s1.held" in things.things(house.world)) == ("active", True)


def test_a_second_termination_makes_no_second_job_whatever_the_first_waits_for(build: Builder) -> None:
    house = build(options=Options(limits=BrakeLimits(suspensions_per_hour=9, terminations_per_hour=0)))
    provisioned(house, "s1")
    first = house.event("service.terminate", "s1", version=1)
    assert (house.job(first.job_id).state, house.state("s1")) == (JobState.WAITING_APPROVAL, "active")
    again = house.event("service.terminate", "s1", version=2)
    asked = house.engine.command(TERMINATE, "s1", who="anna", why="", arguments={})
    assert (again.outcome, again.job_id, asked.job_id) == ("nothing", "", "")
    assert f"job {first.job_id} terminates it, and waits: " in again.detail
    house.engine.cancel(first.job_id, "anna")
    third = house.event("service.terminate", "s1", version=3)
    with pytest.raises(WrongState, match=f"job {third.job_id} terminates it"):
        house.engine.retry(first.job_id, "anna")
    house.engine.approve(third.job_id, "anna")
    assert (house.wait(third.job_id).state, house.state("s1")) == (JobState.DONE, "erased")


def test_the_end_of_a_termination_that_waited_moves_nothing_where_another_has_begun(build: Builder) -> None:
    behind, ending = things.Pause("thing.make s1.checked"), things.Pause("thing.make s1.ending")

    def both(act: str) -> None:
        behind(act)
        ending(act)

    house = build(on_apply=both, options=Options(limits=BrakeLimits(suspensions_per_hour=9, terminations_per_hour=1)))
    provisioned(house, "s1")
    house.engine.command(IntentKind.CHECK, "s1", who="anna", why="", arguments={})
    assert behind.reached.wait(30)
    first = house.event("service.terminate", "s1", version=1).job_id
    paid(house, "s1")
    second = house.engine.command(TERMINATE, "s1", who="anna", why="", arguments={}).job_id
    assert house.job(second).state == JobState.WAITING_APPROVAL
    behind.go_on.set()
    assert ending.reached.wait(30)
    house.engine.cancel(second, "anna")
    assert (house.job(second).state, house.state("s1")) == (JobState.CANCELLED, "terminating")
    ending.go_on.set()
    assert (house.wait(first).error_code, house.state("s1")) == ("fence-closed", "active")


def test_what_waits_while_the_service_ends_can_be_done_no_more_and_ends_too(build: Builder) -> None:
    house = build(options=Options(limits=BrakeLimits(suspensions_per_hour=0, terminations_per_hour=9)))
    provisioned(house, "s1")
    suspend = house.event("service.suspend", "s1", version=1, reason="abuse").job_id
    assert house.job(suspend).state == JobState.WAITING_APPROVAL
    end = house.event("service.terminate", "s1", version=2).job_id
    assert house.wait(end).state == JobState.DONE
    house.engine.fall_due()
    assert (house.job(suspend).state, house.job(suspend).error_code) == (JobState.FAILED, "wrong-state")


def test_a_termination_that_waits_keeps_a_failed_order_from_being_made_and_a_payment_does_not_mind_it(build: Builder) -> None:
    house = build(options=Options(limits=BrakeLimits(suspensions_per_hour=9, terminations_per_hour=0)))
    house.world.fault("thing.make", nth=1, error=PermanentDriverError("the disk is gone"))
    assert house.wait(house.order("s1").job_id).state == JobState.FAILED
    end = house.event("service.terminate", "s1", version=1).job_id
    assert (house.job(end).state, house.state("s1")) == (JobState.WAITING_APPROVAL, "failed")
    asked = house.engine.command(IntentKind.PROVISION, "s1", who="anna", why="", arguments={})
    assert (asked.job_id, f"job {end} terminates it" in asked.detail, house.state("s1")) == ("", True, "failed")
    made = house.event("order.paid", "s1", event_id="again", client_id="c1", plan="small").job_id
    assert (house.wait(made).state, house.job(end).state, house.state("s1")) == (JobState.DONE, JobState.CANCELLED, "active")


def test_a_hold_that_came_while_provisioning_failed_stops_the_guest_of_the_next_attempt_past_the_brakes(build: Builder) -> None:
    pause = things.Pause("thing.make s1.a")
    house = build(on_apply=pause, options=Options(limits=BrakeLimits(suspensions_per_hour=1, terminations_per_hour=9)))
    house.world.fault("thing.make", nth=1, error=PermanentDriverError("the disk is gone"))
    house.order("s1")
    assert pause.reached.wait(10)
    house.event("service.suspend", "s1", version=1, reason="abuse")
    pause.go_on.set()
    settled(house, "s1")
    assert house.state("s1") == "failed"
    house.event("order.paid", "s1", event_id="again", client_id="c1", plan="small")
    ends = settled(house, "s1")
    assert ends[-2:] == [(IntentKind.PROVISION, JobState.DONE), (IntentKind.SUSPEND, JobState.WAITING_APPROVAL)]
    house.engine.approve(house.jobs("s1")[-1].id, "anna")
    assert settled(house, "s1")[-1] == (IntentKind.SUSPEND, JobState.DONE)


def test_a_suspension_that_fails_is_not_tried_for_ever(build: Builder) -> None:
    house = build()
    provisioned(house, "s1")
    house.world.fault("thing.make", nth=1, error=PermanentDriverError("no"))
    job_id = house.event("service.suspend", "s1", version=1, reason="abuse").job_id
    assert house.wait(job_id).state == JobState.FAILED
    assert settled(house, "s1")[1:] == [(IntentKind.SUSPEND, JobState.FAILED)]


@pytest.mark.parametrize("where", ["before", "after"])
def test_a_payment_calls_off_a_termination_that_needs_an_operator_before_anything_was_destroyed(
    build: Builder, where: Literal["before", "after"]
) -> None:
    house = build()
    suspended(house, "s1")
    house.world.fault("thing.make", nth=1, where=where, error=InDoubt("nobody knows"))
    job_id = house.event("service.terminate", "s1", event_id="end-s1", version=3).job_id
    assert house.wait(job_id).state == JobState.NEEDS_OPERATOR
    paid(house, "s1")
    house.wait(job_id, JobState.CANCELLED)
    ends = settled(house, "s1")
    assert ends[-1] == (IntentKind.UNSUSPEND, JobState.DONE)
    assert house.state("s1") == "active"
    assert "s1.ending" not in things.things(house.world)


def test_a_payment_leaves_a_termination_alone_that_destroyed_something_and_needs_an_operator(build: Builder) -> None:
    house = build()
    provisioned(house, "s1")
    house.world.fault("thing.destroy", nth=2, error=InDoubt("nobody knows"))
    job_id = house.event("service.terminate", "s1", event_id="end-s1", version=3).job_id
    assert house.wait(job_id).state == JobState.NEEDS_OPERATOR
    paid(house, "s1")
    assert settled(house, "s1")[-1] == (TERMINATE, JobState.NEEDS_OPERATOR)
    assert not house.job(job_id).stop_requested


@pytest.mark.parametrize(("kind", "reason"), [("service.terminate", ""), ("service.suspend", "overdue")])
def test_a_command_against_a_debt_is_not_replayed_once_the_service_was_paid(build: Builder, kind: str, reason: str) -> None:
    house = build()
    assert house.event(kind, "s1", version=5, reason=reason).outcome == "refused"
    provisioned(house, "s1")
    for number in range(101):  # the payment is not on the first page
        house.event("invoice.overdue", "s1", event_id=f"news-{number}")
    with pytest.raises(WrongState, match="was paid") as refused:
        house.engine.replay(1, "anna")
    assert "new command" in refused.value.hint
    assert [job.intent for job in house.jobs("s1")] == [IntentKind.PROVISION]


def test_a_command_that_no_payment_followed_and_one_for_abuse_are_replayed(build: Builder) -> None:
    house = build()
    house.event("service.suspend", "s1", version=4, reason="abuse")
    provisioned(house, "s1")
    assert house.wait(house.engine.replay(1, "anna").job_id).state == JobState.DONE
    house.event("service.terminate", "s2", version=1)
    for number in range(101):  # more than a page
        house.event("invoice.overdue", "s2", event_id=f"news-{number}", client_id="c1", plan="small")
    paid(house, "s3")
    assert house.engine.replay(3, "anna").outcome == "nothing"
    assert house.state("s2") == "cancelled"


def test_a_controller_that_starts_frozen_holds_what_was_queued_before_it(build: Builder) -> None:
    house = build()
    provisioned(house, "s1")
    house.engine.stop()
    job_id = house.engine.command(IntentKind.TERMINATE, "s1", who="anna", why="", arguments={}).job_id
    again = build(start=False)
    again.engine.start(frozen=("anna", "brought back from a copy"))
    held = again.wait(job_id)
    assert (held.state, held.approval_reason) == (JobState.WAITING_APPROVAL, FROZEN_REASON)
    assert things.things(again.world) != {}
    again.engine.unfreeze("anna")
    assert again.wait(job_id, JobState.DONE).state == JobState.DONE
