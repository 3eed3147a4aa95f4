"""When a cancelled service ends, with days worked out by hand. The provider's zone is Jakarta's: midnight there is 17:00 UTC."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.config.policies import load_policies
from orchestrator.domain import leaving
from orchestrator.domain.calendar import Calendar, DayKind, Days
from orchestrator.domain.leaving import Leave, effective, leave
from orchestrator.domain.policies import (
    SILENT,
    BillingPeriod,
    Cancellation,
    CancellationEffect,
    EndingWithoutCause,
    MinimumTerm,
    Period,
    Policy,
)
from orchestrator.domain.services import Cancellation as Asked
from orchestrator.domain.services import CancellationKind, Lifecycle, Service
from orchestrator.domain.terms import Terms

JAKARTA = ZoneInfo("Asia/Jakarta")
# Two days before the new year on which nobody works, in a row; Eid's joint leave is of that kind, too.
LEAVE = frozenset({date(2027, 1, 1), date(2026, 12, 31)})
CALENDAR = Calendar(JAKARTA, LEAVE)
POLICIES = load_policies(Path(__file__).parents[2] / "configs" / "policies")
HOUR = timedelta(hours=1)


def at(text: str) -> datetime:
    """A time of Jakarta; a day alone is its first moment."""
    return datetime.fromisoformat(text).replace(tzinfo=JAKARTA).astimezone(UTC)


def left(
    policy: Policy | str,
    asked: str | datetime,
    *,
    kind: str = "vps",
    paid_until: str = "",
    activated: str = "",
    cancellation: CancellationKind = CancellationKind.CUSTOMER,
    confirmed: str = "",
    on: str = "",
    paid_since: str = "",
) -> Leave:
    when = at(asked) if isinstance(asked, str) else asked
    paid = at(paid_until) if paid_until else None
    found = leave(
        Service(
            id="s1",
            client_id="c1",
            plan="p",
            state=Lifecycle.ACTIVE,
            paid_until=at(paid_since) if paid_since else paid,
            activated_at=at(activated) if activated else None,
            cancellation=Asked(
                asked_at=when,
                by="test",
                why="it moves",
                kind=cancellation,
                confirmed_at=at(confirmed) if confirmed else None,
                paid_until=paid,
                at=at(on) if on else None,
            ),
        ),
        Terms(policy=POLICIES[policy] if isinstance(policy, str) else policy, calendar=CALENDAR, kind=kind),
    )
    assert found is not None
    return found


def when(*args: object, **values: object) -> str:
    """The day and time in Jakarta, or what is needed."""
    found = left(*args, **values)  # type: ignore[arg-type] # the arguments of left
    return found.needs if found.at is None else found.at.astimezone(JAKARTA).strftime("%Y-%m-%d %H:%M")


def test_who_never_cancelled_has_no_end() -> None:
    service = Service(id="s1", client_id="c", plan="p")
    assert leave(service, Terms(policy=POLICIES["herza"])) is None
    assert effective(service, Terms(policy=POLICIES["herza"])) is None


# -- herza: 14 days before the anniversary ------------------------------------


@pytest.mark.parametrize(
    ("asked", "wanted"),
    [
        ("2026-11-20", "2026-12-20 09:00"),
        # 14 days before 20 December, 9:00, is 6 December, 9:00: that very moment is in time, the next is not.
        ("2026-12-06T09:00", "2026-12-20 09:00"),
        ("2026-12-06T09:01", "2027-01-20 09:00"),
        ("2026-12-07T09:00", "2027-01-20 09:00"),
        ("2026-12-05T09:00", "2026-12-20 09:00"),
        # Asked for when the period that is paid for is over: the anniversaries go on.
        ("2026-12-21", "2027-01-20 09:00"),
    ],
)
def test_a_notice_of_14_days_counts_to_the_end_of_what_is_paid_for(asked: str, wanted: str) -> None:
    known = {"paid_until": "2026-12-20T09:00", "activated": "2026-06-20T09:00"}
    assert when("herza", asked, **known) == wanted


@pytest.mark.parametrize(
    ("activated", "asked", "wanted"),
    [
        # Of a 31st: the last day of a short month, and the 31st again after it.
        ("2026-08-31", "2026-09-10", "2026-09-30 00:00"),
        ("2026-08-31", "2026-10-02", "2026-10-31 00:00"),
        ("2027-01-31", "2027-02-10", "2027-02-28 00:00"),  # 14 days before the 28th are the 14th
        ("2027-01-31", "2027-02-15", "2027-03-31 00:00"),  # too late for the 28th
        ("2028-01-31", "2028-02-10", "2028-02-29 00:00"),  # a leap year
        ("2028-01-31", "2028-02-16", "2028-03-31 00:00"),
        ("2028-02-29", "2029-02-10", "2029-02-28 00:00"),
        ("2028-02-29", "2029-02-20", "2029-03-29 00:00"),
    ],
)
def test_anniversaries_of_the_last_days_of_a_month(activated: str, asked: str, wanted: str) -> None:
    assert when("herza", asked, activated=activated) == wanted


@pytest.mark.parametrize(
    ("paid_until", "wanted"),
    [
        ("2027-02-28", "2027-03-31 00:00"),  # the anniversary of a 31st
        ("2027-02-27", "2027-03-27 00:00"),  # billing's own day, which is none of ours
        ("2027-02-28T23:59:59", "2027-03-31 23:59"),
    ],
)
def test_the_period_after_the_one_that_is_paid_for_ends_on_billings_day(paid_until: str, wanted: str) -> None:
    assert when("herza", "2027-02-20", activated="2026-10-31", paid_until=paid_until) == wanted


def test_a_last_day_goes_to_a_last_day_where_no_anniversary_says_otherwise() -> None:
    assert when("herza", "2027-02-20", activated="2026-10-15", paid_until="2027-02-28") == "2027-03-31 00:00"


@pytest.mark.parametrize(
    ("kind", "wanted"), [("colocation", "2027-02-15 00:00"), ("half-rack", "2027-11-15 00:00"), ("vps", "2026-12-15 00:00")]
)
def test_nothing_ends_before_the_minimum_term(kind: str, wanted: str) -> None:
    found = {"kind": kind, "activated": "2026-11-15"}
    assert when("herza", "2026-11-20", **found) == wanted


def test_the_clauses_of_both_rules_are_told_where_the_minimum_term_decides() -> None:
    found = left("herza", "2026-11-20", kind="colocation", activated="2026-11-15")
    assert (found.why, found.clause) == (
        "at the end of the minimum term",
        "Kebijakan Billing, Penagihan; Masa Berlaku Perjanjian",
    )


def test_why_it_ends_only_a_period_later_is_told() -> None:
    found = left("herza", "2026-12-10", activated="2026-06-20", paid_until="2026-12-20")
    assert found.why.startswith("at the end of the next period: it was asked for later than 14 days before")


def test_a_minimum_term_of_which_nobody_knows_the_beginning_is_for_an_operator() -> None:
    found = left("herza", "2026-11-20", paid_until="2026-12-20")
    assert (found.at, found.needs) == (None, "date")
    assert "--on DATE" in found.why


# -- zettagrid: 1 business day before the end of a calendar month ---------------


@pytest.mark.parametrize(
    ("asked", "wanted"),
    [
        # November 2026 ends in the night to Tuesday: one business day before is Monday, 0:00.
        ("2026-11-29T23:59", "2026-12-01 00:00"),
        ("2026-11-30T00:00", "2026-12-01 00:00"),
        ("2026-11-30T00:01", "2027-01-01 00:00"),
        # 31 December and 1 January are free: the month's last business day is Wednesday, the 30th, and it has to be whole.
        ("2026-12-30T00:00", "2027-01-01 00:00"),
        ("2026-12-30T00:01", "2027-02-01 00:00"),
        ("2026-12-31T12:00", "2027-02-01 00:00"),
        # Saturday and Sunday, 30 and 31 January 2027: Friday has to be whole.
        ("2027-01-29T00:00", "2027-02-01 00:00"),
        ("2027-01-30T12:00", "2027-03-01 00:00"),
        # A leap year's February ends in the night from Tuesday.
        ("2028-02-29T00:00", "2028-03-01 00:00"),
        ("2028-02-29T00:01", "2028-04-01 00:00"),
    ],
)
def test_a_business_day_before_the_end_of_the_month(asked: str, wanted: str) -> None:
    assert when("zettagrid", asked) == wanted


@pytest.mark.parametrize(
    ("asked", "paid_until", "wanted"),
    [
        ("2026-11-20", "2027-01-01", "2027-01-01 00:00"),  # paid ahead
        ("2026-11-30T12:00", "2026-12-01", "2027-01-01 00:00"),
        ("2026-11-30T12:00", "2026-11-30T23:59:59", "2027-01-01 00:00"),  # the last second is the end
        ("2026-11-16T12:00", "2026-11-17", "2026-12-01 00:00"),  # a broken month goes on to its end
    ],
)
def test_what_is_paid_for_counts_as_the_period_with_calendar_months_too(asked: str, paid_until: str, wanted: str) -> None:
    assert when("zettagrid", asked, paid_until=paid_until) == wanted


# -- what billing and operators have to say ------------------------------------


@pytest.mark.parametrize("policy", ["tnet", "enterpage"])
def test_without_the_customers_confirmation_nothing_ends_and_without_a_day_neither(policy: str) -> None:
    known = {"paid_until": "2026-12-20", "activated": "2026-06-20"}
    assert when(policy, "2026-11-20", **known) == "confirmation"
    assert when(policy, "2026-11-20", on="2026-12-01", **known) == "confirmation"
    assert when(policy, "2026-11-20", confirmed="2026-11-21", **known) == "date"
    assert when(policy, "2026-11-20", confirmed="2026-11-21", on="2026-12-01", **known) == "2026-12-01 00:00"


@pytest.mark.parametrize("policy", [SILENT, POLICIES["masternet"]])
def test_a_policy_that_says_nothing_of_cancellations_leaves_the_day_to_an_operator(policy: Policy) -> None:
    known = {"paid_until": "2026-12-20", "activated": "2026-06-20"}
    assert when(policy, "2026-11-20", **known) == "date"
    assert when(policy, "2026-11-20", on="2026-11-22", **known) == "2026-11-22 00:00"
    assert policy.name in left(policy, "2026-11-20").why


def test_the_default_policy_ends_with_what_is_paid_for_once_confirmed() -> None:
    known = {"paid_until": "2026-12-20", "activated": "2026-06-20"}
    assert when("default", "2026-11-20", **known) == "confirmation"
    assert when("default", "2026-11-20", confirmed="2026-11-25", **known) == "2026-12-20 00:00"
    assert when("default", "2026-11-20", confirmed="2026-11-25") == "date"  # no period is known


def test_what_has_to_be_confirmed_counts_from_the_confirmation() -> None:
    rule = Cancellation(clause="1", effect=CancellationEffect.PERIOD_END, notice=Days(14), needs_confirmation=True)
    policy = Policy(
        name="p", provider="P", cancellation=rule, billing_period=BillingPeriod(clause="2", period=Period.ANNIVERSARY)
    )
    known = {"paid_until": "2026-12-20", "activated": "2026-06-20"}
    assert when(policy, "2026-12-01", confirmed="2026-12-06", **known) == "2026-12-20 00:00"
    assert when(policy, "2026-12-01", confirmed="2026-12-07", **known) == "2027-01-20 00:00"


def test_effective_on_confirmation_is_not_before_what_is_paid_for() -> None:
    policy = Policy(name="p", provider="P", cancellation=Cancellation(clause="1", effect=CancellationEffect.CONFIRMED))
    assert when(policy, "2026-11-20") == "confirmation"
    assert when(policy, "2026-11-20", confirmed="2026-11-21") == "2026-11-21 00:00"
    assert when(policy, "2026-11-20", confirmed="2026-11-21", paid_until="2026-12-20") == "2026-12-20 00:00"


@pytest.mark.parametrize(
    ("paid_until", "wanted"),
    [
        ("2026-12-01", "2026-12-20 12:00"),  # 30 days from 20 November
        ("2026-12-20T12:00", "2026-12-20 12:00"),
        ("2026-12-20T12:01", "2026-12-20 12:01"),  # the term is longer
        ("2027-06-01", "2027-06-01 00:00"),
    ],
)
def test_without_cause_by_30_days_notice_or_the_term_whichever_is_longer(paid_until: str, wanted: str) -> None:
    given = {"cancellation": CancellationKind.WITHOUT_CAUSE, "paid_until": paid_until}
    assert when("zettagrid", "2026-11-20T12:00", **given) == wanted


def test_without_cause_needs_no_confirmation_and_minds_the_minimum_term() -> None:
    policy = replace(
        POLICIES["tnet"],
        ending_without_cause=EndingWithoutCause(clause="9", notice=Days(30)),
        minimum_term=MinimumTerm(clause="8", months={"vps": 3}),
    )
    given = {"cancellation": CancellationKind.WITHOUT_CAUSE, "activated": "2026-11-15"}
    assert when(policy, "2026-11-20", **given) == "2027-02-15 00:00"
    assert when("herza", "2026-11-20", **given) == "date"


def test_money_back_ends_at_once() -> None:
    given = {"cancellation": CancellationKind.MONEY_BACK, "paid_until": "2027-01-01"}
    assert when("zettagrid", "2026-11-20T12:00", **given) == "2026-11-20 12:00"


# -- what holds for all ---------------------------------------------------------


def test_a_payment_after_the_cancellation_moves_nothing_earlier_and_is_not_destroyed() -> None:
    late = {"paid_until": "2026-12-20", "activated": "2026-06-20"}
    assert when("herza", "2026-12-10", **late) == "2027-01-20 00:00"
    assert when("herza", "2026-12-10", paid_since="2027-01-10", **late) == "2027-01-20 00:00"
    assert when("herza", "2026-12-10", paid_since="2027-02-20", **late) == "2027-02-20 00:00"


times = st.datetimes(datetime(2026, 1, 1), datetime(2031, 1, 1)).map(lambda t: t.replace(tzinfo=UTC))  # noqa: DTZ001
notices = st.none() | st.builds(Days, st.integers(0, 70), st.sampled_from(list(DayKind)))
rules = st.none() | st.builds(
    Cancellation,
    clause=st.just("1"),
    effect=st.none() | st.sampled_from(list(CancellationEffect)),
    notice=notices,
    needs_confirmation=st.booleans(),
)
policies = st.builds(
    Policy,
    name=st.just("p"),
    provider=st.just("P"),
    cancellation=rules,
    billing_period=st.none() | st.builds(BillingPeriod, clause=st.just("2"), period=st.sampled_from(list(Period))),
    minimum_term=st.none() | st.builds(MinimumTerm, clause=st.just("3"), months=st.just({"vps": 3})),
    ending_without_cause=st.none() | st.builds(EndingWithoutCause, clause=st.just("4"), notice=st.just(Days(30))),
)
cancelled = st.builds(
    Asked,
    asked_at=times,
    by=st.just("t"),
    why=st.just("w"),
    kind=st.sampled_from([CancellationKind.CUSTOMER, CancellationKind.WITHOUT_CAUSE]),
    confirmed_at=st.none() | times,
    paid_until=st.none() | times,
)
services = st.builds(
    Service,
    id=st.just("s1"),
    client_id=st.just("c"),
    plan=st.just("p"),
    state=st.just(Lifecycle.ACTIVE),
    activated_at=st.none() | times,
    purchased_at=st.none() | times,
    paid_until=st.none() | times,
    cancellation=cancelled,
)


@given(services, policies)
def test_nothing_ends_before_it_was_asked_for_nor_before_the_minimum_term_nor_before_what_is_paid_for_ends(
    service: Service, policy: Policy
) -> None:
    terms = Terms(policy=policy, calendar=CALENDAR)
    end = effective(service, terms)
    assert service.cancellation is not None
    limits = (service.cancellation.asked_at, leaving.minimum_end(service, terms), service.paid_until)
    assert end is None or all(limit is None or end >= limit for limit in limits)


@given(services, policies, times)
def test_paying_never_moves_the_end_forward(service: Service, policy: Policy, paid_until: datetime) -> None:
    terms = Terms(policy=policy, calendar=CALENDAR)
    paid = replace(service, paid_until=max(paid_until, service.paid_until or paid_until), payments=service.payments + 1)
    before, after = effective(service, terms), effective(paid, terms)
    assert (before is None) == (after is None)
    assert before is None or after is None or after >= before


@given(services, policies)
def test_an_end_that_is_not_known_says_what_it_needs(service: Service, policy: Policy) -> None:
    found = leave(service, Terms(policy=policy, calendar=CALENDAR))
    assert found is not None
    assert (found.at is None) == bool(found.needs)
    assert found.why
