"""Where two parts meet: a dispute, a refusal, a payment or a cancellation that comes while a job of another part is under way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from orchestrator.domain.calendar import Days
from orchestrator.domain.errors import PermanentDriverError, Refused, WrongState
from orchestrator.domain.guards import Wait, WaitReason
from orchestrator.domain.intents import IntentKind, JobState
from orchestrator.domain.jobs import Job
from orchestrator.domain.policies import Archive
from orchestrator.domain.services import CancellationKind, HoldReason
from orchestrator.store import settings
from tests.fault.house import House
from tests.integration.test_archives import LATE, LETTERS, archives, disk, waiting
from tests.integration.test_archives import POLICY as KEEPS
from tests.integration.test_confirming import confirm, disputed, due_to_die
from tests.integration.test_due import DAY, HOUR, POLICY, Year, acts, record

ARCHIVING = replace(POLICY, archive=Archive(keep={"vps": Days(2)}, clause="back"), late_payment=LATE)


@pytest.fixture
def year(tmp_path: Path) -> Iterator[Year]:
    made = Year(tmp_path / "state")
    yield made
    made.close()


def under_way(house: House, job: Job) -> None:
    """Wait until the job runs."""
    house.wait(job.id, JobState.RUNNING)


def nothing(_conn: object, _result: object) -> None:
    """Nothing besides."""


def cancelled(house: House, year: Year, in_days: int = 3) -> None:
    house.engine.leaving.cancel(
        "s1",
        who="anna",
        why="asked by letter",
        kind=CancellationKind.CUSTOMER,
        confirmed=True,
        on=year.clock.now() + timedelta(days=in_days),
        beside=nothing,
    )


# -- disputes -------------------------------------------------------------------------------------------------


def test_a_dispute_stops_a_termination_for_nonpayment_that_runs_and_has_destroyed_nothing(year: Year) -> None:
    house = year.open(ARCHIVING)
    job = due_to_die(house, year)
    house.world.fault("backups.keep", delay=2.0)
    house.engine.approve(job.id, "anna")
    under_way(house, job)
    house.event("invoice.disputed", "s1", invoice_id="i1")
    year.rest()
    assert (house.job(job.id).state, house.state("s1")) == (JobState.CANCELLED, "active")
    assert record(house).hold(HoldReason.DISPUTE) is not None
    assert house.world.node("n1")["guests"]["orch.s1"]["power"] == "stopped", "its suspension stays"


def test_a_dispute_stops_a_wipe_that_has_begun_and_has_not_come_to_the_fence(year: Year, monkeypatch: pytest.MonkeyPatch) -> None:
    def at(point: str) -> None:
        if point == "vps-terminate/wipe/before" and year.house is not None:
            year.house.event("invoice.disputed", "s1", invoice_id="i1")

    monkeypatch.setattr(year, "at", at)
    house = year.open()
    job = due_to_die(house, year)
    house.world.plant("n1", disk(house), LETTERS)
    confirm(house, year, job)
    assert (house.job(job.id).state, house.state("s1"), record(house).point_of_no_return) == (JobState.CANCELLED, "active", None)
    assert LETTERS in repr(house.world.node("n1")["volumes"][disk(house)])


def test_a_dispute_does_not_keep_a_cancelled_service_for_ever(year: Year) -> None:
    house = year.open(KEEPS)
    assert house.wait(house.order("s1").job_id).state == JobState.DONE
    cancelled(house, year)
    year.later(4 * DAY)
    job = house.jobs("s1")[-1]
    assert (job.intent, job.state) == (IntentKind.TERMINATE, JobState.WAITING_APPROVAL)
    house.event("invoice.disputed", "s1", invoice_id="i1")
    year.later(HOUR)
    job = house.jobs("s1")[-1]
    assert (job.intent, job.state) == (IntentKind.TERMINATE, JobState.WAITING_APPROVAL)
    confirm(house, year, job)
    assert house.state("s1") == "archived"


# -- billing's word ---------------------------------------------------------------------------------------------


def test_what_billing_refuses_is_called_off_also_where_somebody_has_approved_it(year: Year) -> None:
    house = year.open(ARCHIVING)
    job = due_to_die(house, year)
    house.world.fault("backups.keep", delay=2.0)
    house.engine.approve(job.id, "anna")
    under_way(house, job)
    assert confirm(house, year, job, kind="termination.refused", reason="we talk to the customer") == "accepted"
    assert (house.job(job.id).state, house.state("s1")) == (JobState.CANCELLED, "active")


def test_what_was_confirmed_in_a_freeze_still_waits_with_all_others_when_that_ends(year: Year) -> None:
    house = year.open()
    job = due_to_die(house, year)
    now = year.clock.now()
    with house.db.write() as conn:
        settings.put_waits(conn, [Wait(reason=WaitReason.POLICY, why="a change", since=now, count=1, services=("s1",))], now=now)
    house.engine.freeze("anna", "a look at the books")
    confirm(house, year, job)
    house.engine.unfreeze("anna")
    year.rest()
    assert (house.job(job.id).state, house.state("s1")) == (JobState.WAITING_APPROVAL, "active")
    assert "terminations wait" in house.job(job.id).approval_reason


def test_nobody_approves_what_is_over_before_the_clock_has_called_it_off(year: Year) -> None:
    house = year.open()
    job = due_to_die(house, year)
    disputed(house, year)
    with pytest.raises(WrongState, match="is over"):
        house.engine.approve(job.id, "anna")
    year.later(HOUR)
    assert (house.job(job.id).state, house.state("s1")) == (JobState.CANCELLED, "active")
    with pytest.raises(WrongState, match="is over"):
        house.engine.retry(job.id, "anna")


# -- payments and archives ----------------------------------------------------------------------------------------


def test_who_paid_while_it_was_destroyed_comes_back_also_when_the_termination_needed_an_operator(year: Year) -> None:
    house = year.open(KEEPS)
    assert house.wait(house.order("s1").job_id).state == JobState.DONE
    house.world.plant("n1", disk(house), LETTERS)
    house.world.fault("volumes.prove", nth=0, error=PermanentDriverError("no"))
    house.world.fault("agent.residue", nth=0, error=PermanentDriverError("no"))
    ended = house.engine.command(IntentKind.TERMINATE, "s1", who="anna", why="asked", arguments={})
    job = house.wait(ended.job_id)
    assert (job.state, record(house).point_of_no_return is not None) == (JobState.NEEDS_OPERATOR, True), job.error
    said = house.event("invoice.paid", "s1", invoice_id="i1").detail
    assert "brought back out of its archive" in said
    house.world.clear_faults()
    house.engine.retry(job.id, "anna")
    year.rest()
    assert (acts(house), house.state("s1")) == (["provision", "terminate", "reactivate"], "active")
    assert list(archives(house).values()) == [[LETTERS]]


def test_what_was_paid_while_it_was_destroyed_is_not_erased_where_it_could_not_be_brought_back(year: Year) -> None:
    house = year.open(KEEPS)
    assert house.wait(house.order("s1").job_id).state == JobState.DONE
    house.world.plant("n1", disk(house), LETTERS)
    house.world.fault("agent.residue", delay=2.0)
    house.world.fault("hypervisor.define", nth=0, error=PermanentDriverError("no"))
    ended = house.engine.command(IntentKind.TERMINATE, "s1", who="anna", why="asked", arguments={})
    until = house.clock.monotonic() + 30
    while record(house).point_of_no_return is None:
        assert house.clock.monotonic() < until
    house.event("invoice.paid", "s1", invoice_id="i1")
    year.rest()
    assert (house.job(ended.job_id).state, acts(house)[-1], house.state("s1")) == (JobState.DONE, "reactivate", "archived")
    year.later(5 * DAY)
    assert (acts(house)[-1], len(archives(house))) == ("reactivate", 1)


def test_nothing_is_erased_while_a_guest_of_it_is_half_brought_back(year: Year) -> None:
    house = year.open(KEEPS)
    assert house.wait(house.order("s1").job_id).state == JobState.DONE
    ended = house.engine.command(IntentKind.TERMINATE, "s1", who="anna", why="asked", arguments={})
    assert house.wait(ended.job_id).state == JobState.DONE
    house.world.fault("volumes.delete", nth=0, error=PermanentDriverError("no"))
    back = house.engine.command(IntentKind.REACTIVATE, "s1", who="anna", why="asked", arguments={})
    assert house.wait(back.job_id).state == JobState.NEEDS_OPERATOR
    house.world.clear_faults()
    year.later(4 * DAY)
    assert acts(house)[-1] == "reactivate", "nothing is to be erased"
    with pytest.raises(Refused, match="brings it back"):
        house.engine.command(IntentKind.ERASE, "s1", who="anna", why="asked", arguments={})
    house.engine.retry(back.job_id, "anna")
    year.rest()
    assert (house.state("s1"), len(archives(house))) == ("active", 1)


def test_an_erasure_that_waited_before_somebody_brought_it_back_destroys_nothing(year: Year) -> None:
    house = year.open(KEEPS)
    assert house.wait(house.order("s1").job_id).state == JobState.DONE
    ended = house.engine.command(IntentKind.TERMINATE, "s1", who="anna", why="asked", arguments={})
    assert house.wait(ended.job_id).state == JobState.DONE
    year.later(3 * DAY)
    erase = waiting(house)
    house.world.fault("volumes.delete", nth=0, error=PermanentDriverError("no"))
    back = house.engine.command(IntentKind.REACTIVATE, "s1", who="anna", why="asked", arguments={})
    assert house.wait(back.job_id).state == JobState.NEEDS_OPERATOR
    house.world.clear_faults()
    house.engine.approve(erase.id, "anna")
    year.rest()
    assert (house.job(erase.id).state, len(archives(house)), record(house).point_of_no_return) == (JobState.FAILED, 1, None)
    house.engine.retry(back.job_id, "anna")
    year.rest()
    assert (house.state("s1"), len(archives(house))) == ("active", 1)


@pytest.mark.parametrize("upheld", [True, False])
def test_the_archive_of_what_was_terminated_for_a_debt_that_is_disputed_since_waits_for_the_verdict(
    year: Year, upheld: bool
) -> None:
    house = year.open(ARCHIVING)
    job = due_to_die(house, year)
    confirm(house, year, job)
    assert house.state("s1") == "archived"
    house.event("invoice.disputed", "s1", invoice_id="i1")
    year.later(4 * DAY)
    assert acts(house)[-1] == "terminate"
    with pytest.raises(Refused, match="disputed"):
        house.engine.command(IntentKind.ERASE, "s1", who="anna", why="asked", arguments={})
    house.event("invoice.dispute_settled", "s1", invoice_id="i1", upheld=upheld)
    year.later(HOUR)
    if upheld:
        assert (acts(house)[-1], house.state("s1"), len(archives(house)), record(house).holds) == ("reactivate", "active", 1, ())
    else:
        waiting(house)


def test_an_erasure_that_waits_destroys_nothing_once_the_debt_is_disputed(year: Year) -> None:
    house = year.open(ARCHIVING)
    confirm(house, year, due_to_die(house, year))
    year.later(3 * DAY)
    erase = waiting(house)
    house.event("invoice.disputed", "s1", invoice_id="i1")
    confirm(house, year, erase)
    assert (house.job(erase.id).state, house.state("s1"), len(archives(house))) == (JobState.CANCELLED, "archived", 1)
    year.later(DAY)
    assert house.jobs("s1")[-1].id == erase.id
    house.event("invoice.dispute_settled", "s1", invoice_id="i1", upheld=False)
    year.later(DAY)
    assert (waiting(house).id != erase.id, record(house).point_of_no_return) == (True, None)
