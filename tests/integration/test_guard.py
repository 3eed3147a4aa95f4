"""What keeps deadlines from terminating, on the engine: short gaps, clocks that jump, restored stores, other policies."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from orchestrator.domain.calendar import Days
from orchestrator.domain.errors import Refused, WrongState
from orchestrator.domain.guards import Wait, WaitReason
from orchestrator.domain.policies import Overdue, Policy, Suspend, Terminate, TerminateSince
from orchestrator.domain.services import Hold, HoldEffect, HoldReason, Lifecycle, Service
from orchestrator.engine.mark import MARK_FILE
from orchestrator.store import services, settings
from orchestrator.store.database import Database, sqlite_url
from tests.fault.house import PLAN, House
from tests.integration.test_due import DAY, HOUR, Year, acts, overdue
from tests.integration.test_reconciliation import given, reconcile, row, trail

MINUTE = timedelta(minutes=1)
# Nobody is told before, so that a termination comes at its time.
PLAIN = Policy(
    name="default",
    provider="Example Hosting",
    overdue=Overdue(
        suspend=Suspend(clause="2", after=Days(2)),
        terminate=Terminate(clause="3", after=Days(7), since=TerminateSince.SUSPENSION),
    ),
)


@pytest.fixture
def year(tmp_path: Path) -> Iterator[Year]:
    made = Year(tmp_path / "state")
    yield made
    made.close()


def waits(house: House) -> dict[WaitReason, Wait]:
    with house.db.read() as conn:
        return settings.waits(conn)


def reasons(house: House) -> set[str]:
    return {reason.value for reason in waits(house)}


def about_to_end(year: Year, *, turn: timedelta | None = None) -> House:
    """A service that would be terminated in an hour."""
    house = year.open(PLAIN)
    overdue(house, year)
    year.later(9 * DAY)
    assert acts(house) == ["provision", "suspend"]
    if turn is not None:
        house = year.open(PLAIN, turn=turn)
        house.engine.fall_due()
    assert reasons(house) == set()
    return house


def passes(year: Year, house: House, time: timedelta, *, turn: timedelta = MINUTE) -> None:
    """Time in which it looks as often as it should."""
    end = year.clock.ahead + time
    while year.clock.ahead < end:
        year.clock.ahead += turn
        house.engine.fall_due()


def test_after_a_short_gap_terminations_wait_by_themselves_until_billing_has_tried_again(year: Year) -> None:
    house = about_to_end(year, turn=MINUTE)
    year.clock.ahead += 20 * MINUTE
    house.engine.fall_due()
    (pause,) = waits(house).values()
    assert pause.reason == WaitReason.PAUSE
    assert pause.until is not None
    assert 34 * MINUTE < pause.until - year.clock.now() <= 35 * MINUTE
    year.clock.step = 3 * MINUTE  # a clock that is set a little is nothing
    passes(year, house, 30 * MINUTE)
    assert (reasons(house), acts(house)[-1]) == ({"pause"}, "suspend")
    passes(year, house, 4 * HOUR, turn=4 * MINUTE)
    assert (reasons(house), acts(house)[-1]) == (set(), "terminate")
    (began,), (ended,) = trail(house, "terminations wait"), trail(house, "terminations released")
    assert (began.who, ended.who) == ("orchestrator", "orchestrator")
    assert ended.facts["waited"] == began.facts["why"] == pause.why


def test_after_a_quick_restart_nothing_waits(year: Year) -> None:
    about_to_end(year, turn=MINUTE)
    year.close()
    year.clock.ahead += 4 * MINUTE
    house = year.open(PLAIN, turn=MINUTE)
    house.engine.fall_due()
    assert reasons(house) == set()


def test_a_restart_after_a_short_outage_waits_as_a_gap_does(year: Year) -> None:
    about_to_end(year, turn=MINUTE)
    year.close()
    year.clock.ahead += 40 * MINUTE
    house = year.open(PLAIN, turn=MINUTE)
    house.engine.fall_due()
    assert reasons(house) == {"pause"}


@pytest.mark.parametrize("step", [2 * DAY, -6 * MINUTE, -2 * DAY])
def test_a_clock_that_jumps_within_a_process_stops_destruction_until_somebody_releases_it(year: Year, step: timedelta) -> None:
    house = about_to_end(year)
    year.clock.step = step
    house.engine.fall_due()
    assert "clock" in reasons(house)
    year.clock.step = timedelta(0)
    year.later(DAY)
    assert "clock" in reasons(house)
    assert acts(house)[-1] == "suspend"
    house.engine.release("anna", "the clock is right again")
    assert reasons(house) == set()
    year.later(HOUR)
    assert acts(house)[-1] == "terminate"


def test_suspensions_go_on_while_the_clock_is_in_doubt(year: Year) -> None:
    house = year.open(PLAIN)
    overdue(house, year)
    year.later(HOUR)
    year.clock.step = 10 * MINUTE
    year.later(2 * DAY)
    assert "clock" in reasons(house)
    assert acts(house) == ["provision", "suspend"]


def test_billings_list_ends_the_wait_for_payments_and_leaves_the_others(year: Year) -> None:
    house = about_to_end(year)
    year.clock.step = 3 * HOUR
    house.engine.fall_due()
    assert reasons(house) == {"clock", "downtime"}
    looked = house.engine.reconciliation.look(given(row("s1", "suspended", None)), keep_waiting=False)
    assert ("does not settle it" in looked.terminations, looked.releases) == (True, False)
    done = reconcile(house, row("s1", "suspended", None))
    assert (done.releases, reasons(house)) == (False, {"clock"})
    assert "go on waiting" in done.terminations
    (released,) = trail(house, "terminations released")
    assert "nothing was looked at" in released.facts["waited"]
    assert "the clock" not in released.facts["waited"]


def copied(year: Year, to: Path) -> None:
    """A copy of the database as it is made while the controller runs."""
    assert year.house is not None
    with year.house.db.engine.connect() as conn:
        conn.exec_driver_sql(f"VACUUM INTO '{to}'")


def brought_back(year: Year, copy: Path) -> None:
    year.close()
    for beside in ("-wal", "-shm"):
        (year.directory / f"orchestrator.sqlite{beside}").unlink(missing_ok=True)
    shutil.copy(copy, year.directory / "orchestrator.sqlite")


def test_a_store_that_was_restored_from_a_moment_ago_waits_until_the_payments_are_known(year: Year, tmp_path: Path) -> None:
    house = about_to_end(year, turn=MINUTE)
    copied(year, tmp_path / "copy.sqlite")
    passes(year, house, 3 * MINUTE)
    brought_back(year, tmp_path / "copy.sqlite")
    house = year.open(PLAIN, turn=MINUTE)
    house.engine.fall_due()
    assert reasons(house) == {"restored"}
    passes(year, house, 2 * HOUR)
    assert (reasons(house), acts(house)[-1]) == ({"restored"}, "suspend")
    assert len(trail(house, "terminations wait")) == 1
    assert reconcile(house, row("s1", "suspended", None)).releases
    assert reasons(house) == set()
    passes(year, house, 15 * MINUTE)
    assert (reasons(house), acts(house)[-1]) == (set(), "terminate")


def test_a_store_that_comes_without_its_mark_came_from_elsewhere(year: Year) -> None:
    about_to_end(year)
    year.close()
    (year.directory / MARK_FILE).unlink()
    house = year.open(PLAIN)
    house.engine.fall_due()
    assert reasons(house) == {"restored"}


def test_a_controller_that_looked_on_has_the_mark_when_the_lead_comes_to_it(year: Year) -> None:
    """Its own state directory has never seen a turn of its own; the store is the one that it followed all the time."""
    house = about_to_end(year)
    (year.directory / MARK_FILE).unlink()
    house.engine._brakes.follow()
    house.engine.fall_due()
    assert reasons(house) == set()


def test_who_looks_on_leaves_a_mark_that_is_ahead_of_a_restored_store(year: Year) -> None:
    house = about_to_end(year)
    (year.directory / MARK_FILE).write_text("9999", encoding="ascii")
    house.engine._brakes.follow()
    house.engine.fall_due()
    assert reasons(house) == {"restored"}


def test_a_mark_that_fell_behind_says_nothing(year: Year) -> None:
    about_to_end(year)
    year.close()
    (year.directory / MARK_FILE).write_text("1", encoding="ascii")
    house = year.open(PLAIN)
    house.engine.fall_due()
    assert reasons(house) == set()


# -- policies ------------------------------------------------------------


def after(days: int) -> Policy:
    """The same, but for the days from the suspension to the termination."""
    terminate = Terminate(clause="3", after=Days(days), since=TerminateSince.SUSPENSION)
    return replace(PLAIN, overdue=replace(PLAIN.overdue, terminate=terminate))


SHORTER = after(3)


def changed(year: Year, *, policy: Policy = SHORTER, suspended: int = 3) -> House:
    """Services that were suspended four days ago, under a policy that ends them after seven; then another policy."""
    house = year.open(PLAIN)
    since = year.clock.now() - 4 * DAY
    hold = Hold(reason=HoldReason.NONPAYMENT, effect=HoldEffect.STOP, by="t", why="", since=since)
    with house.db.write() as conn:
        for number in range(suspended):
            put = Service(
                id=f"v{number}",
                client_id="c",
                plan=PLAN.name,
                state=Lifecycle.ACTIVE,
                due_at=since - 2 * DAY,
                holds=(hold,),
                suspension_proven_at=since,
            )
            services.put(conn, put, now=since)
        services.put(conn, Service(id="good", client_id="c", plan=PLAN.name, state=Lifecycle.ACTIVE), now=since)
    house.engine.fall_due()
    house = year.open(policy)
    house.engine.fall_due()
    return house


def ended(house: House) -> list[str]:
    return [name for name in ("v0", "v1", "v2", "good") if "terminate" in acts(house, name)]


def test_policies_that_terminate_nobody_at_once_are_adopted_and_the_audit_says_so(year: Year) -> None:
    house = changed(year, policy=after(30))
    assert reasons(house) == set()
    adopted = trail(house, "policies adopted")
    assert [row.facts["changed"] for row in adopted] == [["policy default"], ["policy default", "plan small"]]
    year.later(4 * DAY)
    assert ended(house) == []


def test_a_policy_that_would_terminate_at_once_terminates_nobody_before_an_operator_says_how_many(year: Year) -> None:
    house = changed(year)
    (consent,) = waits(house).values()
    assert (consent.reason, consent.count, consent.services) == (WaitReason.POLICY, 3, ("v0", "v1", "v2"))
    year.later(DAY)
    assert ended(house) == []
    with pytest.raises(Refused, match="would terminate 3 services") as plain:
        house.engine.release("anna", "I am sure")
    assert "--yes-terminate 3" in plain.value.hint
    for wrong in (0, 2, 4):
        with pytest.raises(Refused, match=f"3 services would be terminated within 24 hours, not {wrong}"):
            house.engine.release("anna", "I am sure", terminates=wrong)
    assert reasons(house) == {"policy"}
    house.engine.release("anna", "the new terms are in force", terminates=3)
    assert reasons(house) == set()
    (released,) = trail(house, "terminations released")
    assert (released.who, released.facts["terminates"]) == ("anna", 3)
    assert trail(house, "policies adopted")[0].who == "anna"
    year.later(HOUR)
    assert ended(house) == ["v0", "v1", "v2"]


def test_who_agreed_once_is_not_asked_again_at_the_next_start(year: Year) -> None:
    house = changed(year)
    house.engine.release("anna", "yes", terminates=3)
    house = year.open(SHORTER)
    house.engine.fall_due()
    assert reasons(house) == set()
    assert len(trail(house, "terminations wait")) == 1


def test_a_restart_does_not_adopt_what_nobody_agreed_to(year: Year) -> None:
    changed(year)
    house = year.open(SHORTER)
    year.later(HOUR)
    assert reasons(house) == {"policy"}
    assert ended(house) == []
    assert len(trail(house, "terminations wait")) == 1


def test_the_old_policy_put_back_ends_the_wait(year: Year) -> None:
    changed(year)
    house = year.open(PLAIN)
    house.engine.fall_due()
    assert reasons(house) == set()
    year.later(2 * DAY)
    assert ended(house) == []
    year.later(2 * DAY)
    assert ended(house) == ["v0", "v1", "v2"]


def test_who_is_counted_is_counted_anew_when_somebody_agrees(year: Year) -> None:
    house = changed(year)
    house.event("invoice.paid", "v1", invoice_id="i", paid_until=(year.clock.now() + 30 * DAY).isoformat())
    with pytest.raises(Refused, match="2 services would be terminated within 24 hours, not 3"):
        house.engine.release("anna", "yes", terminates=3)
    assert waits(house)[WaitReason.POLICY].services == ("v0", "v2")
    house.engine.release("anna", "yes", terminates=2)
    year.later(HOUR)
    assert ended(house) == ["v0", "v2"]


def test_a_change_that_concerns_nobody_any_more_is_adopted_by_itself(year: Year) -> None:
    house = changed(year, suspended=1)
    house.event("invoice.paid", "v0", invoice_id="i", paid_until=(year.clock.now() + 30 * DAY).isoformat())
    year.later(2 * HOUR)
    assert reasons(house) == set()
    assert trail(house, "policies adopted")[0].who == "orchestrator"


def test_billings_list_agrees_to_no_policy(year: Year) -> None:
    changed(year)
    year.close()
    year.clock.ahead += 2 * HOUR
    house = year.open(SHORTER)
    house.engine.fall_due()
    assert reasons(house) == {"policy", "downtime"}
    rows = [row(name, "suspended", None) for name in ("v0", "v1", "v2")] + [row("good", "active", None)]
    assert not reconcile(house, *rows).releases
    assert reasons(house) == {"policy"}


def test_a_number_where_no_change_waits_releases_nothing(year: Year) -> None:
    house = about_to_end(year)
    year.clock.step = DAY
    house.engine.fall_due()
    with pytest.raises(WrongState, match="no change of policies waits"):
        house.engine.release("anna", "yes", terminates=1)
    assert "clock" in reasons(house)


def test_what_was_adopted_and_cannot_be_read_any_more_promised_nothing(year: Year) -> None:
    house = changed(year, policy=PLAIN)
    assert reasons(house) == set()
    year.later(2 * DAY + 12 * HOUR)
    year.close()
    database = Database(sqlite_url(year.directory / "orchestrator.sqlite"))
    with database.write() as conn:
        kept = settings.get(conn, settings.ADOPTED)
        assert kept is not None
        settings.put(conn, settings.ADOPTED, kept | {"policies": {"default": '{"name": 5}'}}, now=year.clock.now())
    database.close()
    house = year.open(PLAIN)
    house.engine.fall_due()
    assert waits(house)[WaitReason.POLICY].count == 3


def test_a_plan_that_is_given_another_policy_is_a_change_too(year: Year) -> None:
    house = changed(year, policy=PLAIN)
    year.close()
    year.plan = replace(PLAN, policy="strict")
    house = year.open(replace(SHORTER, name="strict"))
    house.engine.fall_due()
    assert waits(house)[WaitReason.POLICY].count == 3
    assert "plan small" in waits(house)[WaitReason.POLICY].why
