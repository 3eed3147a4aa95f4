"""Deadlines as the controller keeps them, on the simulated node and a clock that the test puts forward."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from orchestrator import wiring
from orchestrator.domain.brakes import BrakeLimits
from orchestrator.domain.calendar import Days
from orchestrator.domain.errors import PermanentDriverError, Refused
from orchestrator.domain.intents import IntentKind, JobState
from orchestrator.domain.plans import Node, Plan
from orchestrator.domain.policies import CancelUnpaid, Notices, Order, Overdue, Policy, Suspend, Terminate, TerminateSince
from orchestrator.domain.services import Service
from orchestrator.drivers.local.clock import SystemClock
from orchestrator.ports.notifier import Notifier
from orchestrator.steps.registry import STEPS
from orchestrator.store import audit, deadlines, jobs, outbox, services, settings
from tests.fault.house import NODES, PLAN, House, Options, prepared
from tests.store_files import fresh_database

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
LOOK = timedelta(minutes=55)
POLICY = Policy(
    name="default",
    provider="Example Hosting",
    order=Order(cancel_unpaid=CancelUnpaid(clause="1", after=Days(2))),
    overdue=Overdue(
        suspend=Suspend(clause="2", after=Days(2)),
        terminate=Terminate(clause="3", after=Days(7), since=TerminateSince.SUSPENSION, notice=Days(3)),
    ),
    notices=Notices(clause="4", before_suspend=(Days(1),)),
)


class Wound(SystemClock):
    """A clock that the test lets run ahead; ``step`` sets the one on the wall alone."""

    def __init__(self) -> None:
        self.ahead = timedelta(0)
        self.step = timedelta(0)

    def now(self) -> datetime:
        return super().now() + self.ahead + self.step

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead.total_seconds()


class Year:
    """A house whose days the test lets pass."""

    plan: Plan = PLAN
    more_plans: tuple[Plan, ...] = ()
    declared: tuple[Node, ...] = NODES
    policy: Policy = POLICY

    def at(self, _point: str) -> None:
        """A point in the engine is passed at which somebody might end it."""

    def __init__(self, directory: Path) -> None:
        self.directory = prepared(directory, fresh_database)
        self.clock = Wound()
        self.house: House | None = None

    def open(
        self,
        policy: Policy | None = None,
        options: Options | None = None,
        posts_to: Notifier | None = None,
        *,
        turn: timedelta = LOOK,
    ) -> House:
        """``turn``: how often it is to look; five of them that it does not are a gap."""
        self.close()
        kept = policy or self.policy
        self.house = House(
            self.directory,
            steps=STEPS,
            playbooks=wiring.load_all_playbooks(),
            clock=self.clock,
            at=self.at,
            plan=self.plan,
            more_plans=self.more_plans,
            declared=self.declared,
            options=replace(options or Options(), due_seconds=turn.total_seconds()),
            policies={kept.name: kept},
            posts_to=posts_to,
        )
        self.house.engine.start()
        return self.house

    def close(self) -> None:
        if self.house is not None:
            self.house.close()
            self.house = None

    def later(self, by: timedelta) -> None:
        """Time passes with the controller up: it looks often enough, and its jobs and letters get done."""
        end = self.clock.ahead + by
        while self.clock.ahead < end:
            self.clock.ahead = min(self.clock.ahead + LOOK, end)
            self.turn()

    def turn(self) -> None:
        assert self.house is not None
        while self.house.engine.fall_due():
            self.rest()
        self.rest()

    def rest(self) -> None:
        """Until no job runs and no letter is to be posted now."""
        house = self.house
        assert house is not None
        until = house.clock.monotonic() + 60
        while not self.at_rest():
            assert house.clock.monotonic() < until, "it does not come to rest"
            house.clock.sleep(0.01)

    def at_rest(self) -> bool:
        house = self.house
        assert house is not None
        with house.db.read() as conn:
            now = self.clock.now()
            posted = not (outbox.new(conn, now=now, limit=1) or outbox.again(conn, now=now, limit=1))
            return posted and not jobs.in_states(conn, [JobState.QUEUED, JobState.RUNNING, JobState.UNDOING])


@pytest.fixture
def year(tmp_path: Path) -> Iterator[Year]:
    made = Year(tmp_path / "state")
    yield made
    made.close()


def record(house: House, service_id: str = "s1") -> Service:
    with house.db.read() as conn:
        found = services.get(conn, service_id)
    assert found is not None
    return found


def told(house: House) -> list[str]:
    """The notices that billing took, in order."""
    kinds = [body.partition('"type":"')[2].partition('"')[0] for _, body, _ in house.notifier.deliveries()]
    return [kind for kind in kinds if kind.startswith("notice.")]


def acts(house: House, service_id: str = "s1") -> list[str]:
    return [job.intent.value for job in house.jobs(service_id)]


def agree(house: House, year: Year, service_id: str = "s1") -> None:
    """An operator lets the termination through that a deadline asks for."""
    job = house.jobs(service_id)[-1]
    assert (job.intent, job.state) == (IntentKind.TERMINATE, JobState.WAITING_APPROVAL)
    house.engine.approve(job.id, "anna")
    year.rest()


def overdue(house: House, year: Year, service_id: str = "s1") -> datetime:
    """A running service whose invoice falls due now."""
    assert house.wait(house.order(service_id).job_id).state == JobState.DONE
    due = year.clock.now()
    house.event("invoice.overdue", service_id, invoice_id="i1", due_at=due.isoformat())
    return due


def test_who_never_pays_is_reminded_suspended_told_and_terminated_by_the_clock(year: Year) -> None:
    house = year.open()
    due = overdue(house, year)
    year.later(2 * DAY - HOUR)
    assert (acts(house), told(house)) == (["provision"], ["notice.remind-suspend"])
    year.later(2 * HOUR)
    service = record(house)
    assert (acts(house), service.stop_reasons) == (["provision", "suspend"], ["nonpayment"])
    assert service.suspension_proven_at is not None
    assert timedelta(0) <= service.suspension_proven_at - (due + 2 * DAY) <= 2 * HOUR
    year.later(7 * DAY - 3 * HOUR)
    assert (acts(house), told(house)) == (["provision", "suspend"], ["notice.remind-suspend", "notice.notice-terminate"])
    year.later(4 * HOUR)
    assert (acts(house)[-1], house.state("s1")) == ("terminate", "active")
    agree(house, year)
    assert house.state("s1") == "erased"
    year.later(2 * DAY)
    assert acts(house) == ["provision", "suspend", "terminate"]


def test_a_payment_ends_all_of_it_and_the_next_due_date_begins_anew(year: Year) -> None:
    house = year.open()
    due = overdue(house, year)
    year.later(5 * DAY)
    house.event("invoice.paid", "s1", invoice_id="i1", paid_until=(due + 30 * DAY).isoformat())
    year.later(20 * DAY)
    assert (acts(house), record(house).holds) == (["provision", "suspend", "unsuspend"], ())
    year.later(8 * DAY)
    assert acts(house) == ["provision", "suspend", "unsuspend", "suspend"]


def test_an_unpaid_order_is_cancelled(year: Year) -> None:
    house = year.open()
    house.event("order.created", "s1", client_id="c1", plan=PLAN.name, order_id="o1")
    year.later(2 * DAY - HOUR)
    assert house.state("s1") == "ordered"
    year.later(2 * HOUR)
    assert (house.state("s1"), acts(house)) == ("cancelled", [])


def test_a_silent_policy_leaves_an_overdue_service_alone(year: Year) -> None:
    house = year.open(Policy(name="default", provider="p"))
    overdue(house, year)
    year.later(30 * DAY)
    assert (acts(house), told(house)) == (["provision"], [])


def test_a_controller_that_slept_a_week_catches_up_and_destroys_nothing_before_it_is_released(year: Year) -> None:
    house = year.open()
    overdue(house, year)
    year.turn()
    year.close()
    year.clock.ahead += 7 * DAY
    house = year.open()
    year.later(HOUR)
    assert (acts(house), told(house)) == (["provision", "suspend"], ["notice.remind-suspend"])
    year.later(8 * DAY)
    assert acts(house) == ["provision", "suspend"]
    with house.db.read() as conn:
        waits = settings.terminations_wait(conn)
    assert waits is not None
    assert "nothing was looked at" in waits.why
    house.engine.release("anna", "billing was asked")
    year.later(HOUR)
    assert acts(house) == ["provision", "suspend", "terminate"]


def test_a_notice_that_billing_takes_late_puts_the_termination_off_by_as_much(year: Year) -> None:
    house = year.open(options=Options(give_up_after=30 * DAY))
    overdue(house, year)
    year.later(5 * DAY)
    house.notifier.answer(*[503] * 50)  # tried again in every second look: taken on day 9 or 10
    year.later(5 * DAY)
    assert acts(house) == ["provision", "suspend"]
    year.later(2 * DAY)
    assert acts(house) == ["provision", "suspend"]
    year.later(2 * DAY)
    assert acts(house) == ["provision", "suspend", "terminate"]


def test_what_billing_asked_for_itself_is_not_done_twice(year: Year) -> None:
    house = year.open(options=Options(limits=BrakeLimits(suspensions_per_hour=0, terminations_per_hour=0)))
    overdue(house, year)
    house.event("service.suspend", "s1", version=1, reason="overdue")
    year.later(3 * DAY)
    assert acts(house) == ["provision", "suspend"]


@pytest.mark.parametrize("approved", [True, False])
def test_where_the_text_says_may_an_operator_decides(year: Year, approved: bool) -> None:
    asks = replace(POLICY, overdue=Overdue(suspend=Suspend(clause="7.3.16", after=Days(0), asks=True)), notices=None)
    house = year.open(asks)
    overdue(house, year)
    year.later(HOUR)
    job = house.jobs("s1")[-1]
    assert (job.state, "7.3.16" in job.approval_reason) == (JobState.WAITING_APPROVAL, True)
    if approved:
        house.engine.approve(job.id, "anna")
    else:
        house.engine.cancel(job.id, "anna")
    year.later(2 * DAY)
    assert acts(house) == ["provision", "suspend"]
    assert (record(house).suspension_proven_at is not None, record(house).stopped) == (approved, approved)


def test_more_than_the_brakes_let_through_waits_and_is_asked_for_once(year: Year) -> None:
    house = year.open(options=Options(limits=BrakeLimits(suspensions_per_hour=1, terminations_per_hour=0)))
    for service_id in ("s1", "s2"):
        overdue(house, year, service_id)
    year.later(3 * DAY)
    states = sorted(job.state.value for s in ("s1", "s2") for job in house.jobs(s) if job.intent == IntentKind.SUSPEND)
    assert states == ["done", "waiting_approval"]


def test_a_suspension_that_failed_is_tried_again_until_it_is_in_force(year: Year) -> None:
    house = year.open()
    overdue(house, year)
    house.world.fault("hypervisor.mark", nth=0, error=PermanentDriverError("no"))
    year.later(2 * DAY + 12 * HOUR)
    assert record(house).suspension_proven_at is None
    failures = [job.state for job in house.jobs("s1") if job.intent == IntentKind.SUSPEND]
    assert set(failures) == {JobState.FAILED}
    assert 3 <= len(failures) <= 10, "tried again, and less and less often"
    house.world.clear_faults()
    year.later(7 * HOUR)
    assert record(house).suspension_proven_at is not None


def test_each_deadline_is_in_the_audit_with_its_policy_and_clause(year: Year) -> None:
    house = year.open()
    overdue(house, year)
    year.later(3 * DAY)
    with house.db.read() as conn:
        rows, _ = audit.list_page(conn, limit=500)
    found = {row.what: row for row in rows if row.what.startswith("deadline ")}
    assert found["deadline suspend"].who == "policy default"
    assert found["deadline suspend"].facts["clause"] == "2"
    assert found["deadline suspend"].job_id
    assert found["deadline remind-suspend"].facts["message_id"]


def test_the_store_looks_when_the_record_says(year: Year) -> None:
    house = year.open()
    due = overdue(house, year)
    year.turn()
    with house.db.read() as conn:
        looks: Mapping[str, Any] = deadlines.next_looks(conn)
    assert looks == {"s1": due + DAY}


def test_what_a_payment_called_off_is_not_taken_up_again_by_a_retry(year: Year) -> None:
    house = year.open()
    due = overdue(house, year)
    year.later(10 * DAY)
    job = house.jobs("s1")[-1]
    assert (job.intent, job.state) == (IntentKind.TERMINATE, JobState.WAITING_APPROVAL)
    house.event("invoice.paid", "s1", invoice_id="i1", paid_until=(due + 60 * DAY).isoformat())
    year.rest()
    assert (house.job(job.id).state, house.state("s1")) == (JobState.CANCELLED, "active")
    with pytest.raises(Refused, match="paid since"):
        house.engine.retry(job.id, "anna")
    year.later(3 * DAY)
    assert (house.state("s1"), record(house).holds) == ("active", ())


def test_a_payment_calls_off_a_suspension_that_waits_for_somebody(year: Year) -> None:
    house = year.open(options=Options(limits=BrakeLimits(suspensions_per_hour=0, terminations_per_hour=0)))
    due = overdue(house, year)
    year.later(3 * DAY)
    job = house.jobs("s1")[-1]
    assert (job.intent, job.state) == (IntentKind.SUSPEND, JobState.WAITING_APPROVAL)
    house.event("invoice.paid", "s1", invoice_id="i1", paid_until=(due + 10 * DAY).isoformat())
    assert house.job(job.id).state == JobState.CANCELLED
    year.later(10 * DAY)
    later = house.jobs("s1")[-1]
    assert (later.intent, later.state, later.id != job.id) == (IntentKind.SUSPEND, JobState.WAITING_APPROVAL, True)


def test_a_payment_without_a_date_settles_what_was_overdue(year: Year) -> None:
    house = year.open()
    overdue(house, year)
    year.later(3 * DAY)
    house.event("invoice.paid", "s1", invoice_id="i1")
    year.later(20 * DAY)
    assert acts(house) == ["provision", "suspend", "unsuspend"]


def test_a_debt_that_comes_back_by_a_refund_has_its_own_notice(year: Year) -> None:
    house = year.open()
    due = overdue(house, year)
    year.later(7 * DAY)
    assert told(house).count("notice.notice-terminate") == 1
    house.event("invoice.paid", "s1", invoice_id="i1", paid_until=(due + 30 * DAY).isoformat())
    year.later(3 * DAY)
    house.event("invoice.refunded", "s1", invoice_id="i1", paid_until=due.isoformat())
    year.later(2 * HOUR)
    assert acts(house) == ["provision", "suspend", "unsuspend", "suspend"]
    year.later(6 * DAY)
    assert told(house).count("notice.notice-terminate") == 2
    assert acts(house)[-1] == "suspend"


def test_a_cancelled_suspension_takes_back_its_own_hold_only(year: Year) -> None:
    house = year.open(options=Options(limits=BrakeLimits(suspensions_per_hour=0, terminations_per_hour=0)))
    overdue(house, year)
    first = house.engine.command(IntentKind.SUSPEND, "s1", who="anna", why="a court", arguments={"reason": "legal"})
    second = house.event("service.suspend", "s1", version=1, reason="legal")
    house.engine.cancel(second.job_id, "bert")
    assert [hold.reason.value for hold in record(house).holds] == ["legal"]
    house.engine.cancel(first.job_id, "anna")
    assert record(house).holds == ()


def test_a_policy_that_is_adopted_later_holds_for_those_who_are_there(year: Year) -> None:
    house = year.open(Policy(name="default", provider="Example Hosting"))
    overdue(house, year)
    year.later(3 * DAY)
    assert acts(house) == ["provision"]
    house = year.open()
    year.later(HOUR)
    assert acts(house) == ["provision", "suspend"]
