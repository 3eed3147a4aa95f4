"""What will happen to a service, act after act, and what another policy would change in it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from orchestrator.domain.calendar import Days
from orchestrator.domain.deadlines import Action, Deadline, Waiting
from orchestrator.domain.forecast import changes, forecast
from orchestrator.domain.policies import SILENT, Notices, Policy, TerminateSince
from orchestrator.domain.services import Cancellation, HoldReason, Lifecycle, Service
from orchestrator.domain.terms import Terms
from tests.unit.test_deadlines import CALENDAR, DAY, DUE, POLICY, SERVICE, hold, since, suspended


def ahead(service: Service, policy: Policy = POLICY, *, now: int = 0, days: int = 60) -> tuple[Deadline, ...]:
    """From so many days after the due date on."""
    terms = Terms(policy=policy, calendar=CALENDAR)
    return forecast(service, terms, now=DUE + now * DAY, until=DUE + (now + days) * DAY, told={})


def days_of(found: tuple[Deadline, ...]) -> list[tuple[str, float]]:
    return [(d.action.value, (d.at - DUE) / DAY) for d in found]


def test_an_overdue_service_is_suspended_on_day_two_and_terminated_on_day_nine() -> None:
    assert days_of(ahead(SERVICE)) == [("suspend", 2), ("terminate", 9)]


def test_the_horizon_ends_it() -> None:
    assert days_of(ahead(SERVICE, days=8)) == [("suspend", 2)]
    assert days_of(ahead(SERVICE, days=1)) == []


def test_what_is_late_comes_now_and_what_follows_counts_from_there() -> None:
    assert days_of(ahead(SERVICE, now=5)) == [("suspend", 5), ("terminate", 12)]


def test_notices_and_reminders_come_in_their_place() -> None:
    policy = replace(since(TerminateSince.SUSPENSION, 7, notice=Days(3)), notices=Notices(clause="r", before_suspend=(Days(1),)))
    wanted = [("remind-suspend", 1), ("suspend", 2), ("notice-terminate", 6), ("terminate", 9)]
    assert days_of(ahead(SERVICE, policy)) == wanted


def test_a_late_notice_puts_the_termination_off() -> None:
    policy = since(TerminateSince.SUSPENSION, 7, notice=Days(3))
    assert days_of(ahead(suspended(), policy, now=8)) == [("notice-terminate", 8), ("terminate", 11)]


def test_what_stands_in_the_way_is_said_and_nothing_after_it() -> None:
    held = replace(suspended(), holds=(hold(), hold(HoldReason.LEGAL)))
    (only,) = ahead(held)
    assert (only.action, only.waits) == (Action.TERMINATE, "a hold forbids erasing")


def test_an_unpaid_order_ends() -> None:
    ordered = replace(SERVICE, state=Lifecycle.ORDERED, due_at=None)
    assert days_of(ahead(ordered, now=-40)) == [("cancel-order", -38)]


def test_what_was_seen_to_does_not_come_again() -> None:
    seen = frozenset((d.action, d.occurrence) for d in ahead(SERVICE) if d.action == Action.SUSPEND)
    assert forecast(SERVICE, Terms(policy=POLICY, calendar=CALENDAR), now=DUE, until=DUE + 60 * DAY, told={}, settled=seen) == ()


def test_another_policy_changes_who_is_touched_and_when() -> None:
    before = ahead(SERVICE)
    assert changes("s1", before, before) is None
    sooner = changes("s1", before, ahead(SERVICE, since(TerminateSince.SUSPENSION, 3)))
    assert sooner is not None
    assert (days_of(sooner.comes), days_of(sooner.goes)) == ([("terminate", 5)], [("terminate", 9)])
    silent = changes("s1", before, ahead(SERVICE, SILENT))
    assert silent is not None
    assert (silent.comes, len(silent.goes)) == ((), 2)


def test_an_act_that_would_not_be_asked_about_any_more_is_a_change() -> None:
    asked = since(TerminateSince.SUSPENSION, 7, asks=True)
    change = changes("s1", ahead(SERVICE, asked), ahead(SERVICE))
    assert change is not None
    assert [(act.action, act.asks) for act in (*change.goes, *change.comes)] == [
        (Action.TERMINATE, True),
        (Action.TERMINATE, False),
    ]


def test_every_act_moves_by_as_much_as_the_due_date_does() -> None:
    later = ahead(replace(SERVICE, due_at=DUE + timedelta(days=10)))
    assert days_of(later) == [("suspend", 12), ("terminate", 19)]


def test_what_has_a_job_that_waits_stands_with_it_and_another_of_its_kind_behind_it() -> None:
    (act,) = [each for each in ahead(suspended()) if each.action == Action.TERMINATE]
    key = (act.action, act.occurrence)
    terms = Terms(policy=POLICY, calendar=CALENDAR)

    def with_job(service: Service) -> tuple[Deadline, ...]:
        waiting = {key: Waiting("j7", "billing is asked")}
        return forecast(service, terms, now=DUE, until=DUE + 60 * DAY, told={}, settled=frozenset({key}), waiting=waiting)

    (own,) = with_job(suspended())
    assert (own.at, own.waits, own.job) == (act.at, "job j7: billing is asked", "j7")
    leaves = replace(suspended(), cancellation=Cancellation(asked_at=DUE, by="anna", why="", at=DUE + 20 * DAY))
    ended = [(each.action.value, each.waits) for each in with_job(leaves) if each.action == Action.END]
    assert ended == [("end", "job j7 waits to terminate it already")]
