"""What is taken back, or comes after all: refunds, holds for a dispute, and orders that had lapsed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator.domain.deadlines import Action
from orchestrator.domain.intents import JobState
from orchestrator.domain.reconciliation import BillingList, BillingState, Entry, Reconciled
from orchestrator.domain.services import HoldEffect, HoldReason
from orchestrator.engine.conduct import HoldAsked
from orchestrator.store import deadlines
from tests.fault.house import PLAN, House
from tests.integration.test_due import DAY, HOUR, POLICY, Year, acts, overdue, record
from tests.integration.test_leaving import LEFT, cancel, running, said
from tests.integration.test_money import POLICY as DISPUTES
from tests.integration.test_seams import nothing


@pytest.fixture
def year(tmp_path: Path) -> Iterator[Year]:
    made = Year(tmp_path / "state")
    yield made
    made.close()


# -- refunds ------------------------------------------------------------------------------------------------


def refunds(house: House) -> list[tuple[str, str]]:
    """What billing took of refunds: type and refund, each message once, whatever had to be posted again."""
    bodies = [json.loads(body) for _, body, _ in house.notifier.deliveries()]
    seen = dict.fromkeys((b["id"], b["type"], b["data"]["refund_id"]) for b in bodies if b["type"].startswith("refund."))
    return [(kind, refund) for _, kind, refund in seen]


def test_money_back_that_is_kept_and_asked_for_once_more_is_due_once(year: Year) -> None:
    house = year.open(LEFT)
    running(house, year, days=30)
    for version, kind in enumerate(["service.cancel", "service.keep", "service.cancel"], 1):
        data: dict[str, Any] = {"money_back": True} if kind == "service.cancel" else {}
        house.event(kind, "s1", version=version, **data)
        house.event(kind, "s1", version=version, event_id=f"again-{version}", **data)
        year.turn()
    first, back, second = refunds(house)
    assert [first[0], back[0], second[0]] == ["refund.due", "refund.taken_back", "refund.due"]
    assert (first[1] == back[1], second[1] == first[1]) == (True, False)
    assert house.jobs("s1")[-1].state == JobState.WAITING_APPROVAL
    year.later(DAY)
    house = year.open(LEFT)
    year.later(HOUR)
    assert len(refunds(house)) == 3


def test_an_operator_who_keeps_it_takes_the_refund_back_too(year: Year) -> None:
    house = year.open(LEFT)
    running(house, year, days=30)
    cancel(house, money_back=True)
    house.engine.leaving.keep("s1", who="anna", why="stays", beside=nothing)
    year.rest()
    due, back = refunds(house)
    assert (due[1], [told["why"] for told in said(house, "refund.taken_back")]) == (
        back[1],
        ["the service is kept: its cancellation is taken back"],
    )


# -- holds for a dispute ------------------------------------------------------------------------------------


def held(house: House) -> bool:
    return record(house).hold(HoldReason.DISPUTE) is not None


def by_hand(house: House) -> None:
    asked = HoldAsked(reason=HoldReason.DISPUTE, effect=HoldEffect.NONE, why="their lawyer called")
    house.engine.conduct.hold("s1", asked, "anna")


@pytest.mark.parametrize("upheld", [True, False])
def test_the_settlement_of_another_invoice_leaves_the_hold_of_a_person_and_the_clock_stands(year: Year, upheld: bool) -> None:
    house = year.open(DISPUTES)
    overdue(house, year)
    by_hand(house)
    house.event("invoice.dispute_settled", "s1", invoice_id="i-other", upheld=upheld)
    house.event("invoice.disputed", "s1", invoice_id="i1")
    house.event("invoice.dispute_settled", "s1", invoice_id="i1", upheld=False)
    year.later(4 * DAY)
    assert (held(house), acts(house)) == (True, ["provision"])
    house.engine.conduct.lift("s1", HoldReason.DISPUTE, "anna", "no more")
    year.later(6 * DAY)
    assert (held(house), "suspend" in acts(house)) == (False, not upheld)


def test_the_hold_that_billing_s_dispute_set_is_lifted_by_the_settlement_of_its_invoice_only(year: Year) -> None:
    house = year.open(DISPUTES)
    overdue(house, year)
    house.event("invoice.disputed", "s1", invoice_id="i1")
    house.event("invoice.dispute_settled", "s1", invoice_id="i2", upheld=False)
    house = year.open(DISPUTES)
    assert held(house)
    house.event("invoice.dispute_settled", "s1", invoice_id="i1", upheld=False)
    assert not held(house)


# -- orders -------------------------------------------------------------------------------------------------


def lapsed(house: House, year: Year) -> None:
    house.event("order.created", "s1", client_id="c1", plan=PLAN.name, order_id="o1")
    year.later(2 * DAY + HOUR)
    assert (house.state("s1"), acts(house), record(house).lapsed_at is not None) == ("cancelled", [], True)


def listed(house: House, year: Year, state: BillingState) -> Reconciled:
    paid_until = year.clock.now() + 30 * DAY
    entries = (Entry(service_id="s1", paid_until=paid_until, state=state),)
    return house.engine.reconciliation.mend(BillingList(name="l", sha256="ab" * 32, entries=entries), "anna", keep_waiting=False)


@pytest.mark.parametrize("how", ["order.paid", "service.create", "list"])
@pytest.mark.parametrize("restarted", [False, True])
def test_an_order_that_lapsed_is_made_when_it_turns_out_to_be_paid(year: Year, how: str, restarted: bool) -> None:
    house = year.open()
    lapsed(house, year)
    house = year.open() if restarted else house
    if how == "list":
        listed(house, year, BillingState.ACTIVE)
    else:
        data: dict[str, Any] = {"version": 1} if how == "service.create" else {"order_id": "o1"}
        house.event(how, "s1", client_id="c1", plan=PLAN.name, **data)
    year.rest()
    (job,) = house.jobs("s1")
    assert (house.wait(job.id).state, house.state("s1")) == (JobState.DONE, "active")
    assert said(house, "payment.too_late") == []
    assert next(told["is"]["state"] for told in said(house, "service.changed")) == "cancelled"
    year.later(3 * DAY)
    assert (house.state("s1"), acts(house)) == ("active", ["provision"])


def test_an_invoice_that_was_paid_first_is_not_too_late_and_the_order_is_made_when_its_own_word_comes(year: Year) -> None:
    house = year.open()
    lapsed(house, year)
    house.event("invoice.paid", "s1", invoice_id="i1")
    year.later(3 * DAY)
    assert (house.state("s1"), acts(house), said(house, "payment.too_late")) == ("ordered", [], [])
    assert house.wait(house.order("s1").job_id).state == JobState.DONE


def test_an_order_that_billing_withdrew_after_it_lapsed_is_not_made_and_its_payment_is_too_late(year: Year) -> None:
    house = year.open()
    lapsed(house, year)
    house.event("order.cancelled", "s1")
    house.order("s1")
    year.rest()
    assert (house.state("s1"), acts(house), len(said(house, "payment.too_late"))) == ("cancelled", [], 1)


def test_billing_s_list_makes_nothing_that_billing_calls_cancelled_too(year: Year) -> None:
    house = year.open()
    lapsed(house, year)
    found = listed(house, year, BillingState.CANCELLED)
    year.rest()
    assert (found.found, house.state("s1"), acts(house)) == ((), "cancelled", [])


def test_what_was_made_before_it_was_paid_ends_by_no_lapse(year: Year) -> None:
    house = year.open(replace(POLICY, overdue=replace(POLICY.overdue, suspend=None, terminate=None)))
    house.wait(house.event("service.create", "s1", version=1, client_id="c1", plan=PLAN.name).job_id)
    year.later(5 * DAY)
    assert (house.state("s1"), acts(house), record(house).payments) == ("active", ["provision"], 0)
    with house.db.read() as conn:
        seen = deadlines.seen_to(conn, ["s1"])["s1"]
    assert not [action for action, _ in seen.settled if action == Action.CANCEL_ORDER]
