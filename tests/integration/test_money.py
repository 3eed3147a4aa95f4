"""Charges, disputes and chargebacks through the engine, on the simulated node and a clock that the test puts forward."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from orchestrator.domain.calendar import DayKind, Days
from orchestrator.domain.errors import PermanentDriverError, WrongState
from orchestrator.domain.intents import IntentKind, JobState
from orchestrator.domain.plans import Plan
from orchestrator.domain.policies import (
    Chargeback,
    Dispute,
    Effect,
    Hourly,
    Overdue,
    Policy,
    Reactivation,
    ReactivationFees,
    Rule,
    Suspend,
    Terminate,
    TerminateSince,
)
from orchestrator.engine.engine import Engine
from orchestrator.store import audit, charges
from orchestrator.store.charges import ChargeRecord
from tests.fault.house import CALENDAR, PLAN, House
from tests.fault.things import Pause
from tests.integration.test_due import DAY, HOUR, Year, acts, overdue, record, told

TB = 10**12
SOLD = replace(PLAN, traffic_bytes=TB, traffic_over_per_gb=5_000, price_per_hour=1_200)
POLICY = Policy(
    name="default",
    provider="Example Hosting",
    overdue=Overdue(
        suspend=Suspend(clause="2", after=Days(2)),
        terminate=Terminate(clause="3", after=Days(7), since=TerminateSince.SUSPENSION),
        chargeback=Chargeback(clause="7.3.16", effect=Effect.SUSPEND, asks=True),
    ),
    reactivation=Reactivation(fees=ReactivationFees(clause="4", kinds={"vps": 50_000})),
    traffic=Rule(clause="7.3.8"),
    hourly=Hourly(clause="9", minimum_hours=2),
    dispute=Dispute(
        clause="7.2",
        raise_within=Days(10),
        verdict_within=Days(5, DayKind.BUSINESS),
        pay_within=Days(2, DayKind.BUSINESS),
    ),
)


class Killed(Exception):
    """The process ends here."""


class Sales(Year):
    """A year of a plan that has prices. ``dies_at``: at this point, once. ``pause`` holds a job at its point."""

    dies_at = ""
    pause = Pause("")
    plan: Plan = SOLD
    policy = POLICY

    def at(self, point: str) -> None:
        self.pause(point)
        if point == self.dies_at:
            self.dies_at = ""
            raise Killed(point)


@pytest.fixture
def year(tmp_path: Path) -> Iterator[Sales]:
    made = Sales(tmp_path / "state")
    yield made
    made.close()


def owed(house: House) -> list[ChargeRecord]:
    with house.db.read() as conn:
        return list(charges.list_page(conn)[0])


def messages(house: House) -> list[tuple[str, str, int]]:
    """What billing took of charges: type, the message's id, the amount."""
    bodies = [json.loads(body) for _, body, _ in house.notifier.deliveries()]
    return [(b["type"], b["id"], b["data"]["amount"]) for b in bodies if b["type"].startswith("charge.")]


def suspended(house: House, year: Year) -> datetime:
    due = overdue(house, year)
    year.later(3 * DAY)
    assert record(house).suspension_proven_at is not None
    return due


def pay(house: House, due: datetime, invoice: str = "i1", days: int = 60, event_id: str = "") -> str:
    until = (due + days * DAY).isoformat()
    return house.event("invoice.paid", "s1", invoice_id=invoice, paid_until=until, event_id=event_id).job_id


def reactivation_id(house: House) -> str:
    proven = record(house).suspension_proven_at
    assert proven is not None
    return f"s1.reactivation.{proven.astimezone(UTC):%Y%m%dT%H%M%SZ}"


# -- coming back ------------------------------------------------------------------------------------------------


def test_who_pays_after_a_cut_off_is_charged_for_coming_back_and_billing_is_told_once(year: Sales) -> None:
    house = year.open()
    due = suspended(house, year)
    expected = reactivation_id(house)
    job_id = pay(house, due)
    for double in range(3):
        pay(house, due, event_id=f"again-{double}")
    year.rest()
    (charge,) = owed(house)
    assert (charge.id, charge.amount, charge.job_id, charge.clause, charge.open) == (expected, 50_000, job_id, "4", True)
    assert messages(house) == [("charge.made", expected, 50_000)]
    assert (record(house).stopped, record(house).suspension_proven_at) == (False, None)


@pytest.mark.parametrize("point", ["accept/before", "accept/after"])
def test_a_controller_that_dies_while_it_takes_the_payment_charges_once(year: Sales, point: str) -> None:
    house = year.open()
    due = suspended(house, year)
    year.dies_at = point
    with pytest.raises(Killed):
        pay(house, due)
    assert len(owed(house)) == (point == "accept/after")
    house = year.open()
    pay(house, due)
    year.rest()
    assert [kind for kind, _, _ in messages(house)] == ["charge.made"]
    assert [charge.times for charge in owed(house)] == [1]


def test_a_charge_is_posted_until_billing_takes_it(year: Sales) -> None:
    house = year.open()
    due = suspended(house, year)
    house.notifier.answer(*[503] * 3)
    pay(house, due)
    year.later(HOUR)
    assert [kind for kind, _, _ in messages(house)].count("charge.made") >= 1
    assert {message_id for _, message_id, _ in messages(house)} == {owed(house)[0].id}


def test_a_fee_is_taken_back_when_its_job_fails_for_good_and_owed_again_when_it_is_done_after_all(year: Sales) -> None:
    house = year.open()
    due = suspended(house, year)
    charge_id = reactivation_id(house)
    house.world.fault("hypervisor.mark", nth=0, error=PermanentDriverError("no"))
    job_id = pay(house, due)
    assert house.wait(job_id).state == JobState.FAILED
    year.rest()
    (back,) = owed(house)
    assert (back.open, back.by_operation, f"job {job_id} failed" in back.why_taken_back) == (False, True, True)
    house.world.clear_faults()
    house.engine.retry(job_id, "anna")
    assert house.wait(job_id).state == JobState.DONE
    year.rest()
    assert [(c.id, c.open, c.times) for c in owed(house)] == [(charge_id, True, 2)]
    assert messages(house) == [
        ("charge.made", charge_id, 50_000),
        ("charge.taken_back", f"{charge_id}.back", 50_000),
        ("charge.made", f"{charge_id}.again-2", 50_000),
    ]


def test_what_a_person_took_back_stays_taken_back_whatever_is_paid_or_done_again(year: Sales) -> None:
    house = year.open()
    due = suspended(house, year)
    house.world.fault("hypervisor.mark", nth=1, error=PermanentDriverError("no"))
    year.pause = Pause("vps-unsuspend/release/before")
    job_id = pay(house, due)
    assert year.pause.reached.wait(20)
    charge_id = owed(house)[0].id
    house.engine.money.take_back(charge_id, who="anna", why="a kindness", beside=_nothing)
    with pytest.raises(WrongState, match="taken back before"):
        house.engine.money.take_back(charge_id, who="bert", why="once more", beside=_nothing)
    year.pause.go_on.set()
    assert house.wait(job_id).state == JobState.FAILED
    house.engine.command(IntentKind.UNSUSPEND, "s1", who="anna", why="", arguments={"reason": "nonpayment"})
    pay(house, due, event_id="again")
    year.rest()
    assert record(house).suspension_proven_at is None
    assert [(c.open, c.why_taken_back) for c in owed(house)] == [(False, "a kindness")]
    with house.db.read() as conn:
        rows = [row for row in audit.list_page(conn, limit=500)[0] if row.what == "charge taken back"]
    assert [(row.who, row.facts["charge"], row.facts["why"]) for row in rows] == [("anna", charge_id, "a kindness")]


# -- traffic and hours ------------------------------------------------------------------------------------------------


def traffic(house: House, period: str, total: int, event_id: str = "") -> str:
    return house.event("usage.traffic", "s1", period=period, bytes=total, event_id=event_id).detail


def test_a_month_s_traffic_is_charged_when_the_month_is_over_and_a_late_larger_total_for_the_difference(year: Sales) -> None:
    house = year.open()
    house.wait(house.order("s1").job_id)
    now = year.clock.now()
    period, (_, end) = f"{CALENDAR.day(now):%Y-%m}", CALENDAR.month(now)
    for number, total in enumerate([2 * TB, TB + 1, 2 * TB, 5]):
        traffic(house, period, total, event_id=f"t{number}")
    year.later(end - year.clock.now() - 2 * HOUR)
    assert owed(house) == []
    year.dies_at = "due/before"
    year.later(3 * HOUR)
    assert [(c.id, c.quantity, c.amount) for c in owed(house)] == [(f"s1.traffic.{period}", 1_000, 5_000_000)]
    assert year.dies_at == ""
    traffic(house, period, 2 * TB + 1, event_id="late")
    traffic(house, period, 2 * TB, event_id="later-and-smaller")
    year.later(2 * HOUR)
    assert [(c.id, c.amount) for c in owed(house)] == [
        (f"s1.traffic.{period}", 5_000_000),
        (f"s1.traffic.{period}.1001", 5_000),
    ]
    year.later(2 * DAY)
    assert len(messages(house)) == 2


def test_a_service_by_the_hour_is_charged_once_when_it_has_ended(year: Sales) -> None:
    house = year.open()
    house.wait(house.order("s1").job_id)
    year.later(30 * HOUR)
    assert owed(house) == []
    house.wait(house.event("service.terminate", "s1", version=1).job_id)
    year.later(2 * DAY)
    service = record(house)
    assert service.activated_at is not None
    assert service.ended_at is not None
    hours = -(-(service.ended_at - service.activated_at) // HOUR)
    assert hours == 31
    life = f"s1.hours.{service.activated_at.astimezone(UTC):%Y%m%dT%H%M%SZ}"
    assert [(c.id, c.amount) for c in owed(house)] == [(life, 31 * 1_200)]
    assert [kind for kind, _, _ in messages(house)] == ["charge.made"]


# -- disputes ------------------------------------------------------------------------------------------------


def test_a_dispute_is_answered_and_holds_off_the_suspension_until_two_business_days_after_it_is_lost(year: Sales) -> None:
    house = year.open()
    due = overdue(house, year)
    answer = house.event("invoice.disputed", "s1", invoice_id="i1", issued_at=(due - 5 * DAY).isoformat(), reason="not ours")
    assert (answer.outcome, answer.detail) == ("nothing", "invoice i1 is disputed: the clock of nonpayment stands")
    year.later(9 * DAY)
    assert (acts(house), told(house)) == (["provision"], ["notice.verdict-due"])
    settled = year.clock.now()
    house.event("invoice.dispute_settled", "s1", invoice_id="i1", upheld=False)
    suspends = CALENDAR.add(settled, Days(2, DayKind.BUSINESS)) + 2 * DAY
    year.later(suspends - year.clock.now() - HOUR)
    assert acts(house) == ["provision"]
    year.later(2 * HOUR)
    assert acts(house) == ["provision", "suspend"]


def test_a_dispute_that_comes_too_late_is_answered_so_and_stops_nothing(year: Sales) -> None:
    house = year.open()
    due = overdue(house, year)
    answer = house.event("invoice.disputed", "s1", invoice_id="i1", issued_at=(due - 14 * DAY).isoformat())
    assert "disputed too late, more than 10 days after its issue" in answer.detail
    year.later(3 * DAY)
    assert (acts(house), record(house).stopped) == (["provision", "suspend"], True)


@pytest.mark.parametrize("by", ["billing", "operator"])
def test_a_dispute_calls_off_a_termination_that_waits_and_a_won_one_brings_the_service_back_free_of_charge(
    year: Sales, by: str
) -> None:
    house = year.open()
    overdue(house, year)
    year.later(10 * DAY)
    waiting = house.jobs("s1")[-1]
    assert (waiting.intent, waiting.state) == (IntentKind.TERMINATE, JobState.WAITING_APPROVAL)
    raise_it, settle_it = _by(house, by)
    raise_it()
    assert house.job(waiting.id).state == JobState.CANCELLED
    year.later(5 * DAY)
    assert (record(house).stop_reasons, acts(house)) == (["nonpayment"], ["provision", "suspend", "terminate"])
    settle_it(True)
    year.rest()
    assert (record(house).holds, record(house).suspension_proven_at) == ((), None)
    year.later(20 * DAY)
    assert (acts(house), owed(house)) == (["provision", "suspend", "terminate", "unsuspend"], [])


def test_a_lost_dispute_lets_the_termination_that_it_called_off_come_again(year: Sales) -> None:
    house = year.open()
    overdue(house, year)
    year.later(10 * DAY)
    raise_it, settle_it = _by(house, "operator")
    raise_it()
    settle_it(False)
    year.later(12 * DAY)
    assert acts(house) == ["provision", "suspend", "terminate", "terminate"]


def _nothing(_conn: Any, _result: Any) -> None:
    """Nothing beside."""


def _by(house: House, by: str) -> tuple[Callable[[], Any], Callable[[bool], Any]]:
    """How a dispute of i1 is raised and settled."""
    engine: Engine = house.engine

    if by == "billing":
        return (
            lambda: house.event("invoice.disputed", "s1", invoice_id="i1"),
            lambda upheld: house.event("invoice.dispute_settled", "s1", invoice_id="i1", upheld=upheld),
        )
    return (
        lambda: engine.money.dispute("s1", "i1", who="anna", why="x", part=False, issued_at=None, beside=_nothing),
        lambda upheld: engine.money.settle("s1", "i1", who="anna", why="x", upheld=upheld, beside=_nothing),
    )


# -- chargebacks ------------------------------------------------------------------------------------------------


def test_a_chargeback_asks_suspends_and_is_cleared_by_the_next_payment(year: Sales) -> None:
    house = year.open()
    house.wait(house.order("s1").job_id)
    end = year.clock.now() + 30 * DAY
    pay(house, end, days=0)
    house.event("invoice.charged_back", "s1", invoice_id="i1")
    year.later(HOUR)
    job = house.jobs("s1")[-1]
    assert (job.intent, job.state, "7.3.16" in job.approval_reason) == (IntentKind.SUSPEND, JobState.WAITING_APPROVAL, True)
    house.engine.approve(job.id, "anna")
    year.later(HOUR)
    assert (record(house).stop_reasons, record(house).paid_until) == (["nonpayment"], end)
    pay(house, end, invoice="i2", days=30)
    year.later(2 * DAY)
    assert (acts(house), record(house).holds) == (["provision", "suspend", "unsuspend"], ())


def test_a_payment_calls_off_the_suspension_that_a_chargeback_asks_for(year: Sales) -> None:
    house = year.open()
    house.wait(house.order("s1").job_id)
    house.event("invoice.charged_back", "s1", invoice_id="i1")
    year.later(HOUR)
    pay(house, year.clock.now(), invoice="i2")
    year.later(DAY)
    assert [job.state for job in house.jobs("s1") if job.intent == IntentKind.SUSPEND] == [JobState.CANCELLED]
    assert record(house).holds == ()
