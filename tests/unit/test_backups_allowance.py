"""Restores are counted by the month of the provider's zone; a failed one gives back, a retry counts once."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain.backups.allowance import Granted, Request, ask, done, given_back, left, used
from orchestrator.domain.backups.words import Restore, RestoreState
from orchestrator.domain.calendar import Calendar
from orchestrator.domain.intents import Refusal
from orchestrator.domain.policies import SILENT
from orchestrator.domain.policies import Restore as Rule
from orchestrator.domain.terms import Terms
from tests.unit.test_deadlines import SERVICE

GB = 10**9
CALENDAR = Calendar(ZoneInfo("Asia/Jakarta"))
POLICY = replace(SILENT, name="tnet", restore=Rule(clause="Restore Data", per_month=1, over_per_gb=100_000))
TERMS = Terms(policy=POLICY, calendar=CALENDAR)
NOW = datetime(2026, 11, 20, 3, tzinfo=UTC)
LAST_OF_NOVEMBER = datetime(2026, 11, 30, 16, 59, 59, tzinfo=UTC)  # 23:59:59 in Jakarta
DECEMBER = LAST_OF_NOVEMBER + timedelta(seconds=1)


def request(number: int = 1, *, size: int = GB, pay: bool = False, snapshot: str = "x1") -> Request:
    return Request(id=f"r{number}", snapshot_id=snapshot, size_bytes=size, asked_by="anna", pay=pay)


def granted(asked: Request, *known: Restore, at: datetime = NOW, terms: Terms = TERMS) -> Granted:
    found = ask(SERVICE, asked, known, terms=terms, now=at)
    assert isinstance(found, Granted), found
    return found


def test_the_first_of_a_month_is_included_and_the_next_is_refused_with_the_number_and_the_price() -> None:
    first = granted(request(1))
    assert (first.charge, first.why) == (None, "0 of 1 used in November 2026")
    refusal = ask(SERVICE, request(2), [first.restore], terms=TERMS, now=NOW)
    assert refusal == Refusal(
        reason="restore refused: 1 of 1 used in November 2026, policy tnet; more at Rp 100,000 per GB: --pay "
        "(Rp 100,000 for this one)",
        rule="tnet: Restore Data",
    )


@pytest.mark.parametrize(("size", "started"), [(1, 1), (GB, 1), (GB + 1, 2), (25 * GB // 10, 3)])
def test_who_pays_is_charged_for_each_started_gigabyte_of_the_snapshot(size: int, started: int) -> None:
    paid = granted(request(2, size=size, pay=True), granted(request(1)).restore)
    assert paid.charge is not None
    assert (paid.charge.quantity, paid.charge.amount) == (started, started * 100_000)
    assert paid.restore.charge_id == paid.charge.id == f"{SERVICE.id}.restore.r2"


def test_who_would_pay_is_not_charged_while_something_is_included() -> None:
    assert granted(request(1, pay=True)).charge is None


def test_the_month_is_the_one_of_the_providers_zone() -> None:
    november = granted(request(1), at=LAST_OF_NOVEMBER).restore
    assert used([november], CALENDAR, LAST_OF_NOVEMBER) == 1
    assert used([november], CALENDAR, DECEMBER) == 0
    assert granted(request(2), november, at=DECEMBER).charge is None
    assert isinstance(ask(SERVICE, request(2), [november], terms=TERMS, now=LAST_OF_NOVEMBER), Refusal)


def test_the_same_request_counts_once_however_often_it_is_asked() -> None:
    first = granted(request(1)).restore
    again = granted(request(1), first, at=NOW + timedelta(days=40))
    assert (again.restore, again.charge) == (first, None)
    paid = granted(request(2, pay=True), first)
    once_more = granted(request(2), first, paid.restore)  # it was paid for: nobody has to say so again
    assert (once_more.restore, once_more.charge) == (paid.restore, None)


def test_a_requests_id_stands_for_one_snapshot() -> None:
    first = granted(request(1)).restore
    refusal = ask(SERVICE, request(1, snapshot="x2"), [first], terms=TERMS, now=NOW)
    assert isinstance(refusal, Refusal)
    assert "another snapshot" in refusal.reason


def test_what_failed_is_given_back_and_the_next_one_is_included() -> None:
    failed = given_back(granted(request(1)).restore, why="the disk is full", now=NOW)
    assert (failed.state, left([failed], TERMS, NOW)) == (RestoreState.GIVEN_BACK, 1)
    assert granted(request(2), failed).charge is None


def test_what_failed_is_decided_anew_when_it_is_asked_again() -> None:
    failed = given_back(granted(request(1)).restore, why="no", now=NOW)
    other = granted(request(2), failed).restore
    assert isinstance(ask(SERVICE, request(1), [failed, other], terms=TERMS, now=NOW), Refusal)
    later = granted(request(1), failed, other, at=DECEMBER)
    assert (later.restore.counted_at, later.restore.state, later.charge) == (DECEMBER, RestoreState.COUNTED, None)


def test_what_was_done_stays_counted_also_where_it_had_failed_before() -> None:
    first = granted(request(1)).restore
    well = done(first, now=NOW)
    assert given_back(well, why="late", now=NOW) == well
    after_all = done(given_back(first, why="no", now=NOW), now=DECEMBER)
    assert (after_all.state, after_all.why, after_all.given_back_at) == (RestoreState.COUNTED, "", None)
    assert (after_all.counted_at, after_all.done_at) == (NOW, DECEMBER)


def test_where_nothing_is_sold_beyond_the_allowance_paying_does_not_help() -> None:
    terms = replace(TERMS, policy=replace(POLICY, restore=Rule(clause="1", per_month=1)))
    assert isinstance(ask(SERVICE, request(2, pay=True), [granted(request(1)).restore], terms=terms, now=NOW), Refusal)


def test_a_policy_that_counts_none_refuses_none() -> None:
    silent = replace(TERMS, policy=SILENT)
    assert granted(request(9), *(granted(request(n), terms=silent).restore for n in range(5)), terms=silent).charge is None
    assert left([], silent, NOW) is None


HAPPENINGS = st.lists(
    st.tuples(st.integers(1, 4), st.sampled_from(["ask", "pay", "fail", "do"]), st.integers(0, 70)), max_size=30
)


@given(HAPPENINGS)
def test_in_no_month_more_is_free_than_the_policy_says(happenings: list[tuple[int, str, int]]) -> None:
    known: dict[str, Restore] = {}
    at = NOW
    for number, what, hours in happenings:
        at += timedelta(hours=hours)
        before = known.get(f"r{number}")
        if what in ("ask", "pay"):
            found = ask(SERVICE, request(number, pay=what == "pay"), known.values(), terms=TERMS, now=at)
            if isinstance(found, Granted):
                known[found.restore.id] = found.restore
        elif before is not None and before.state == RestoreState.COUNTED:
            known[before.id] = done(before, now=at) if what == "do" else given_back(before, why="no", now=at)
        free = [each for each in known.values() if each.state == RestoreState.COUNTED and not each.charge_id]
        months = [CALENDAR.month(each.counted_at) for each in free]
        assert len(months) == len(set(months))
