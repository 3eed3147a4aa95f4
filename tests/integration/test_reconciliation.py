"""Billing's list on the engine: a suspended service that it says is paid runs again, and terminations that waited go on."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import pytest

from orchestrator.domain.audit_chain import AuditEntry
from orchestrator.domain.errors import WrongState
from orchestrator.domain.intents import JobState
from orchestrator.domain.policies import Policy
from orchestrator.domain.reconciliation import BillingList, BillingState, Entry, Kind, Reconciled
from orchestrator.domain.services import Service
from orchestrator.store import audit, settings
from tests.fault.house import PLAN, House
from tests.integration.test_due import DAY, HOUR, Wound, Year, acts, overdue, record

SILENT = Policy(name="default", provider="p")


@pytest.fixture
def year(tmp_path: Path) -> Iterator[Year]:
    made = Year(tmp_path / "state")
    yield made
    made.close()


def row(service_id: str, state: str, paid_until: datetime | None) -> Entry:
    return Entry(service_id=service_id, paid_until=paid_until, state=BillingState(state))


def given(*rows: Entry, name: str = "list.json") -> BillingList:
    return BillingList(name=name, sha256=hashlib.sha256(repr(rows).encode()).hexdigest(), entries=rows)


def reconcile(house: House, *rows: Entry, keep_waiting: bool = False) -> Reconciled:
    return house.engine.reconciliation.mend(given(*rows), "anna", keep_waiting=keep_waiting)


def trail(house: House, what: str) -> list[AuditEntry]:
    with house.db.read() as conn:
        rows, _ = audit.list_page(conn, limit=500)
    return [one for one in rows if one.what == what]


def waiting(house: House) -> bool:
    with house.db.read() as conn:
        return settings.get(conn, settings.TERMINATIONS_WAIT) is not None


def running(house: House, service_id: str) -> Service:
    assert house.wait(house.order(service_id).job_id).state == JobState.DONE
    return record(house, service_id)


def suspended(house: House, service_id: str, version: int = 1) -> None:
    running(house, service_id)
    assert house.wait(house.event("service.suspend", service_id, version=version).job_id).state == JobState.DONE


def test_a_suspended_service_that_billing_says_is_paid_runs_again(year: Year) -> None:
    house = year.open(SILENT)
    suspended(house, "s1")
    until = year.clock.now() + 30 * DAY
    before = record(house).payments
    (one,) = reconcile(house, row("s1", "active", until)).found[:1]
    difference, mended = one
    assert (difference.kind, mended and mended.outcome) == (Kind.PAID_FURTHER, "accepted")
    assert mended is not None
    assert house.wait(mended.job_id).state == JobState.DONE
    service = record(house)
    assert (service.holds, service.paid_until, service.payments) == ((), until, before + 1)
    assert service.suspension_proven_at is None
    assert acts(house) == ["provision", "suspend", "unsuspend"]


def test_each_mended_service_has_a_row_in_the_audit_that_names_the_list(year: Year) -> None:
    house = year.open(SILENT)
    running(house, "s1")
    until = year.clock.now() + 30 * DAY
    rows = (row("s1", "active", until), row("new", "active", until))
    reconcile(house, *rows)
    (mended,) = trail(house, "reconciled")
    assert (mended.who, mended.service_id) == ("anna", "s1")
    assert mended.facts["list"] == "list.json"
    assert mended.facts["sha256"] == given(*rows).sha256
    assert mended.facts["paid_until"] == {"was": None, "billing": until.isoformat()}
    (whole,) = trail(house, "reconciliation")
    assert whole.facts["sha256"] == given(*rows).sha256
    assert (whole.facts["services"], whole.facts["differences"]["unknown-here"]) == (2, 1)


def test_a_second_time_changes_nothing_but_the_audit(year: Year) -> None:
    house = year.open(SILENT)
    suspended(house, "s1")
    until = year.clock.now() + 30 * DAY
    rows = (row("s1", "active", until),)
    reconcile(house, *rows)
    year.rest()
    first = record(house)
    assert reconcile(house, *rows).found == ()
    assert record(house) == first
    assert len(trail(house, "reconciled")) == 1


def test_looking_changes_nothing(year: Year) -> None:
    house = year.open(SILENT)
    suspended(house, "s1")
    first = record(house)
    looked = house.engine.reconciliation.look(given(row("s1", "active", year.clock.now() + DAY)), keep_waiting=False)
    assert [(one.kind, mended) for one, mended in looked.found] == [(Kind.PAID_FURTHER, None), (Kind.STATE, None)]
    assert record(house) == first
    assert acts(house) == ["provision", "suspend"]
    assert trail(house, "reconciliation") == []


def test_no_list_suspends_terminates_or_takes_a_payment_back(year: Year) -> None:
    house = year.open(SILENT)
    until = year.clock.now() + 30 * DAY
    for service_id in ("s1", "s2", "s3"):
        running(house, service_id)
        house.event("invoice.paid", service_id, paid_until=until.isoformat())
    reconcile(house, row("s1", "suspended", None), row("s2", "terminated", until - DAY))
    year.rest()
    for service_id in ("s1", "s2", "s3"):
        assert (record(house, service_id).paid_until, acts(house, service_id)) == (until, ["provision"])


def test_an_older_list_does_not_bring_back_what_was_refunded_since(year: Year) -> None:
    house = year.open(SILENT)
    running(house, "s1")
    until = year.clock.now() + 30 * DAY
    rows = (row("s1", "active", until),)
    reconcile(house, *rows)
    house.event("invoice.refunded", "s1", invoice_id="i9", paid_until=(until - 20 * DAY).isoformat())
    ((_, mended),) = reconcile(house, *rows).found
    assert mended is not None
    assert (mended.outcome, "given back since" in mended.detail) == ("duplicate", True)
    assert len(trail(house, "reconciled")) == 1
    assert record(house).paid_until == until - 20 * DAY


class Interrupting(Wound):
    """Once it is armed, something happens when the test's own thread asks for the time."""

    def __init__(self) -> None:
        super().__init__()
        self.then: Callable[[], object] | None = None
        self._thread = threading.get_ident()

    def now(self) -> datetime:
        if self.then is not None and threading.get_ident() == self._thread:
            then, self.then = self.then, None
            then()
        return super().now()


def test_a_payment_that_comes_between_looking_and_counting_counts_once(year: Year) -> None:
    year.clock = clock = Interrupting()
    house = year.open(SILENT)
    running(house, "s1")
    until = clock.now() + 30 * DAY
    clock.then = lambda: house.event("invoice.paid", "s1", paid_until=until.isoformat())
    ((_, mended),) = reconcile(house, row("s1", "active", until)).found
    assert mended is not None
    assert (mended.outcome, mended.detail) == ("nothing", "the payment came meanwhile")
    assert record(house).payments == 2, "the order's and this one"


def test_a_payment_from_a_list_calls_off_a_termination_that_waits(year: Year) -> None:
    house = year.open(SILENT)
    running(house, "s1")
    house.engine.freeze("anna", "looking")
    job_id = house.event("service.terminate", "s1", version=3).job_id
    assert house.job(job_id).state == JobState.WAITING_APPROVAL
    reconcile(house, row("s1", "active", year.clock.now() + 30 * DAY))
    assert house.wait(job_id).state == JobState.CANCELLED
    house.engine.unfreeze("anna")
    year.rest()
    assert house.state("s1") == "active"


def test_a_payment_from_a_list_closes_the_fence_and_the_replay_of_what_asked_for_the_debt(year: Year) -> None:
    house = year.open(SILENT)
    house.event("order.created", "s1", client_id="c1", plan=PLAN.name, order_id="o1")
    refused = house.event("service.suspend", "s1", version=1)
    assert refused.outcome == "refused"
    reconcile(house, row("s1", "pending", year.clock.now() + 30 * DAY))
    with pytest.raises(WrongState, match="was paid"):
        house.engine.replay(2, "anna")


def test_an_order_whose_payment_was_lost_is_made(year: Year) -> None:
    house = year.open(SILENT)
    house.event("order.created", "s1", client_id="c1", plan=PLAN.name, order_id="o1")
    ((_, mended), *_) = reconcile(house, row("s1", "active", year.clock.now() + 30 * DAY)).found
    assert mended is not None
    assert house.wait(mended.job_id).state == JobState.DONE
    assert (house.state("s1"), record(house).payments) == ("active", 1)


def test_an_order_that_cannot_be_made_is_a_dead_letter_whose_payment_counts(year: Year) -> None:
    house = year.open(SILENT)
    house.event("order.created", "s1", client_id="c1", plan="no-such-plan", order_id="o1")
    until = year.clock.now() + 30 * DAY
    ((_, mended), *_) = reconcile(house, row("s1", "active", until)).found
    assert mended is not None
    assert (mended.outcome, "no-such-plan" in mended.detail) == ("dead", True)
    assert (record(house).payments, record(house).paid_until) == (1, until)
    assert house.engine.replay(2, "anna").outcome == "dead", "it is read and processed once more, as any other"
    assert record(house).payments == 1


def test_money_for_what_is_gone_is_told_to_billing_once(year: Year) -> None:
    house = year.open(SILENT)
    running(house, "s1")
    assert house.wait(house.event("service.terminate", "s1", version=3).job_id).state == JobState.DONE
    rows = (row("s1", "active", year.clock.now() + 30 * DAY),)
    reconcile(house, *rows)
    reconcile(house, *rows)
    year.rest()
    late = [body for _, body, _ in house.notifier.deliveries() if '"payment.too_late"' in body]
    assert len(late) == 1
    assert house.state("s1") == "erased"


def slept(year: Year) -> House:
    """A week away: a service was suspended and is to be terminated, and nobody knows what was paid."""
    house = year.open()
    overdue(house, year, "s1")
    overdue(house, year, "s2")
    year.turn()
    year.close()
    year.clock.ahead += 7 * DAY
    house = year.open()
    year.later(9 * DAY)
    assert acts(house, "s1") == acts(house, "s2") == ["provision", "suspend"]
    assert waiting(house)
    return house


def test_after_a_downtime_the_list_saves_who_paid_and_lets_the_others_end(year: Year) -> None:
    house = slept(year)
    done = reconcile(house, row("s1", "active", year.clock.now() + 30 * DAY), row("s2", "suspended", None))
    assert "are released" in done.terminations
    assert not waiting(house)
    (released,) = trail(house, "terminations released")
    assert "sha256" in released.facts["why"]
    year.later(HOUR)
    assert acts(house, "s1") == ["provision", "suspend", "unsuspend"]
    assert acts(house, "s2") == ["provision", "suspend", "terminate"]


@pytest.mark.parametrize(
    ("keep_waiting", "complete", "waits", "word"),
    [(False, True, False, "released"), (False, False, True, "lacks 1 of our services"), (True, True, True, "as was asked")],
)
def test_when_terminations_are_released(year: Year, keep_waiting: bool, complete: bool, waits: bool, word: str) -> None:
    house = slept(year)
    rows = [row("s1", "suspended", None), row("s2", "suspended", None)][: 2 if complete else 1]
    looked = house.engine.reconciliation.look(given(*rows), keep_waiting=keep_waiting)
    assert waiting(house)
    done = reconcile(house, *rows, keep_waiting=keep_waiting)
    assert word in looked.terminations
    assert word in done.terminations
    assert (looked.releases, done.releases) == (not waits, not waits)
    assert waiting(house) == waits
    year.later(HOUR)
    assert acts(house, "s1")[-1] == ("suspend" if waits else "terminate")


def test_where_nothing_waits_nothing_is_said_of_it(year: Year) -> None:
    house = year.open(SILENT)
    running(house, "s1")
    assert reconcile(house, row("s1", "active", None)).terminations == ""
    assert trail(house, "terminations released") == []
