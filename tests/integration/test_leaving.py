"""How services are left, by the controller on the simulated node and a clock that the test puts forward."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from orchestrator.domain.calendar import Days
from orchestrator.domain.errors import PermanentDriverError, Refused
from orchestrator.domain.intents import IntentKind, JobState
from orchestrator.domain.policies import (
    Cancellation,
    CancellationEffect,
    KeepPersonal,
    MoneyBack,
    MoneyBackSince,
    PersonalData,
    Rule,
    Undeliverable,
)
from orchestrator.domain.services import CancellationKind
from orchestrator.store import audit, events, jobs
from tests.fault.house import House
from tests.integration.test_due import DAY, HOUR, POLICY, Year, acts, agree, record

LEFT = replace(
    POLICY,
    cancellation=Cancellation(clause="5", effect=CancellationEffect.PERIOD_END, notice=Days(2)),
    money_back=MoneyBack(clause="6", within=Days(7), since=MoneyBackSince.PURCHASE, setup_fees=False),
    undeliverable=Undeliverable(clause="7", refund_within=Days(3)),
    personal_data=PersonalData(keep=KeepPersonal(clause="8", years=1), delete_on_request=Rule(clause="9")),
)


@pytest.fixture
def year(tmp_path: Path) -> Iterator[Year]:
    made = Year(tmp_path / "state")
    yield made
    made.close()


def said(house: House, kind: str) -> list[dict[str, Any]]:
    """What billing was told of this kind."""
    bodies = [json.loads(body) for _, body, _ in house.notifier.deliveries()]
    return [body["data"] for body in bodies if body["type"] == kind]


def running(house: House, year: Year, days: int = 5) -> None:
    """A service that is paid for so many days."""
    until = (year.clock.now() + days * DAY).isoformat()
    answer = house.event(
        "order.paid",
        "s1",
        client_id="client-of-yore",
        plan="small",
        order_id="order-of-yore",
        hostname="h.example",
        paid_until=until,
    )
    assert house.wait(answer.job_id).state == JobState.DONE


def cancel(house: House, **data: Any) -> None:
    assert house.event("service.cancel", "s1", version=data.pop("version", 1), reason="moves away", **data).outcome == "nothing"


def test_a_cancelled_service_runs_to_the_end_of_what_is_paid_for_and_is_terminated_then(year: Year) -> None:
    house = year.open(LEFT)
    running(house, year)
    assert record(house).activated_at is not None
    assert record(house).purchased_at is not None
    cancel(house)
    # The renewal's invoice comes all the same, and falls due before the end.
    house.event("invoice.overdue", "s1", due_at=(year.clock.now() + DAY).isoformat())
    year.later(5 * DAY - HOUR)
    assert (acts(house), house.state("s1"), record(house).holds) == (["provision"], "active", ())
    (noted,) = said(house, "cancellation.noted")
    paid_until = record(house).paid_until
    assert paid_until is not None
    assert (noted["what"], noted["effective_at"], noted["clause"]) == ("asked", paid_until.isoformat(), "5")
    year.later(2 * HOUR)
    agree(house, year)
    ended = record(house)
    assert (ended.state, acts(house)) == ("erased", ["provision", "terminate"])
    assert ended.ended_at is not None
    assert ended.ended_at >= paid_until


def test_what_is_paid_after_the_cancellation_is_not_destroyed_and_takes_nothing_back(year: Year) -> None:
    house = year.open(LEFT)
    running(house, year)
    cancel(house)
    year.later(5 * DAY + HOUR)
    (waiting,) = house.jobs("s1")[1:]
    assert (waiting.intent, waiting.state) == (IntentKind.TERMINATE, JobState.WAITING_APPROVAL)
    until = year.clock.now() + 3 * DAY
    house.event("invoice.paid", "s1", invoice_id="i2", paid_until=until.isoformat())
    year.rest()
    assert (house.job(waiting.id).state, house.state("s1")) == (JobState.CANCELLED, "active")
    year.later(3 * DAY - HOUR)
    assert acts(house) == ["provision", "terminate"]
    year.later(2 * HOUR)
    assert acts(house) == ["provision", "terminate", "terminate"]
    agree(house, year)
    assert house.state("s1") == "erased"


def test_kept_after_all_the_termination_that_waits_is_called_off(year: Year) -> None:
    house = year.open(LEFT)
    running(house, year)
    cancel(house)
    year.later(5 * DAY + HOUR)
    waiting = house.jobs("s1")[-1]
    assert waiting.state == JobState.WAITING_APPROVAL
    house.engine.leaving.keep("s1", who="anna", why="stays", beside=lambda _conn, _submitted: None)
    year.rest()
    assert (house.job(waiting.id).state, house.state("s1")) == (JobState.CANCELLED, "active")
    assert record(house).cancellation is None
    assert [told["what"] for told in said(house, "cancellation.noted")] == ["asked", "withdrawn"]
    year.later(1 * DAY)
    assert IntentKind.TERMINATE not in [job.intent for job in house.jobs("s1")[2:]]


def test_billing_keeps_it_too(year: Year) -> None:
    house = year.open(LEFT)
    running(house, year)
    cancel(house)
    year.later(5 * DAY + HOUR)
    house.event("service.keep", "s1", version=2)
    year.rest()
    assert (house.jobs("s1")[-1].state, house.state("s1")) == (JobState.CANCELLED, "active")


def test_a_job_that_an_operator_let_run_stops_at_the_fence_once_it_was_kept(year: Year) -> None:
    """A freeze holds it back in the middle, and it is kept meanwhile."""
    house = year.open(LEFT)
    running(house, year)
    cancel(house)
    year.later(5 * DAY + HOUR)
    waiting = house.jobs("s1")[-1]
    house.engine.freeze("anna", "wait")
    house.engine.leaving.keep("s1", who="anna", why="stays", beside=lambda _conn, _submitted: None)
    house.engine.unfreeze("anna")
    year.rest()
    assert house.job(waiting.id).state == JobState.CANCELLED
    assert (house.state("s1"), record(house).point_of_no_return) == ("active", None)


def test_another_day_calls_off_what_was_asked_for_the_first(year: Year) -> None:
    house = year.open(LEFT)
    running(house, year)
    cancel(house)
    year.later(5 * DAY + HOUR)
    waiting = house.jobs("s1")[-1]
    on = year.clock.now() + DAY
    given = {"kind": CancellationKind.CUSTOMER, "confirmed": False, "on": on}
    assert house.engine.leaving.would_end("s1", **given).at == on  # type: ignore[arg-type] # the options above
    house.engine.leaving.cancel("s1", who="anna", why="later", beside=lambda _c, _s: None, **given)  # type: ignore[arg-type]
    year.rest()
    assert (house.job(waiting.id).state, house.state("s1")) == (JobState.CANCELLED, "active")
    year.later(DAY - HOUR)
    assert len(house.jobs("s1")) == 2
    year.later(2 * HOUR)
    agree(house, year)


def test_money_back_is_told_once_and_the_service_ends_at_once(year: Year) -> None:
    house = year.open(LEFT)
    running(house, year, days=30)
    cancel(house, money_back=True)
    year.turn()
    agree(house, year)
    assert house.state("s1") == "erased"
    (due,) = said(house, "refund.due")
    assert (due["reason"], due["setup_fees"], due["clause"], due["client_id"]) == ("money-back", False, "6", "client-of-yore")


def test_money_back_outside_the_window_is_refused_and_nothing_ends(year: Year) -> None:
    house = year.open(LEFT)
    running(house, year, days=30)
    year.clock.ahead += 8 * DAY
    answer = house.event("service.cancel", "s1", version=1, money_back=True)
    assert answer.outcome == "refused"
    assert "within 7 days of the purchase" in answer.detail
    assert record(house).cancellation is None


def test_a_paid_order_that_failed_is_refunded_when_it_is_given_up(year: Year) -> None:
    house = year.open(LEFT)
    house.world.fault("hypervisor.define", nth=0, error=PermanentDriverError("no"))
    assert house.wait(house.order("s1").job_id).state == JobState.FAILED
    house.event("order.cancelled", "s1")
    year.rest()
    assert house.state("s1") == "cancelled"
    (due,) = said(house, "refund.due")
    assert due["reason"] == "undeliverable"


# -- personal data -------------------------------------------------------------------


def gone(house: House, year: Year) -> None:
    running(house, year)
    cancel(house)  # of which billing is told, with its own name of the customer
    job = house.engine.command(IntentKind.TERMINATE, "s1", who="anna", why="x", arguments={}, beside=lambda _c, _s: None)
    assert house.wait(job.job_id).state == JobState.DONE
    year.rest()


def kept(house: House) -> str:
    """All that is kept of the service but the audit trail and the certificate, as text."""
    with house.db.read() as conn:
        page, _ = events.list_page(conn, service_id="s1")
        mine, _ = jobs.list_page(conn, limit=500, service_id="s1")
        steps = [step for job in mine for step in jobs.steps(conn, job.id)]
        told = conn.exec_driver_sql("SELECT body FROM outbox WHERE service_id = 's1'").scalars().all()
    return repr((record(house), page, mine, steps, told))


PERSONAL = ("client-of-yore", "order-of-yore", "h.example")
"""Words that no identifier of ours can hold by chance."""


def test_a_year_after_the_end_what_is_personal_is_gone_and_the_trail_holds(year: Year) -> None:
    house = year.open(LEFT)
    gone(house, year)
    assert all(word in kept(house) for word in PERSONAL)
    year.clock.ahead += 364 * DAY
    year.turn()
    assert all(word in kept(house) for word in PERSONAL)
    year.clock.ahead += 2 * DAY
    year.turn()
    assert [word for word in PERSONAL if word in kept(house)] == []
    assert record(house).forgotten_at is not None
    with house.db.read() as conn:
        assert audit.verify_chain(conn).ok
        trail, _ = audit.list_page(conn, service_id="s1", limit=500)
    assert trail[0].what == "deadline forget"
    assert [word for word in PERSONAL for entry in trail if word in repr(entry)] == []
    year.turn()
    assert len([entry for entry in trail if entry.what == "deadline forget"]) == 1


def test_on_request_it_is_deleted_at_once_and_what_comes_afterwards_too(year: Year) -> None:
    house = year.open(LEFT)
    running(house, year)
    with pytest.raises(Refused, match="only what has ended is forgotten"):
        forget(house)
    job = house.engine.command(IntentKind.TERMINATE, "s1", who="anna", why="x", arguments={}, beside=lambda _c, _s: None)
    assert house.wait(job.job_id).state == JobState.DONE
    year.rest()
    forget(house)
    assert [word for word in PERSONAL if word in kept(house)] == []
    house.event("invoice.paid", "s1", client_id="client-of-yore", order_id="order-of-yore", invoice_id="i-99")
    year.rest()
    assert [word for word in (*PERSONAL, "i-99") if word in kept(house)] == []
    assert said(house, "payment.too_late")


def forget(house: House) -> None:
    house.engine.leaving.forget("s1", who="anna", why="asked by mail", beside=lambda _c, _s: None)


def test_a_policy_without_such_a_rule_is_named(year: Year) -> None:
    house = year.open(POLICY)
    gone(house, year)
    with pytest.raises(Refused, match="policy default has no rule by which personal data is deleted on request"):
        forget(house)


def test_what_is_kept_of_a_cancellation_is_read_as_it_was_written(year: Year) -> None:
    house = year.open(LEFT)
    running(house, year)
    on = year.clock.now() + timedelta(days=2)
    given = {"kind": CancellationKind.WITHOUT_CAUSE, "confirmed": True, "on": on}
    house.engine.leaving.cancel("s1", who="anna", why="ends", beside=lambda _c, _s: None, **given)  # type: ignore[arg-type]
    found = record(house).cancellation
    assert found is not None
    assert (found.by, found.why, found.kind, found.at) == ("anna", "ends", CancellationKind.WITHOUT_CAUSE, on)
    assert found.confirmed_at == found.asked_at
    assert found.paid_until == record(house).paid_until
