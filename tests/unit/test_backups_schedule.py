"""When backups are made: each service's slots, the hours, what was missed, and the week of all services."""

from __future__ import annotations

import time as clock
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from itertools import islice, pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.domain.backups.offer import Hours, NodeBackups, Offer, Span
from orchestrator.domain.backups.schedule import (
    WEEK,
    LeftOut,
    Week,
    interval,
    left_out,
    misdated,
    missed,
    next_slot,
    open_now,
    plan_week,
    slots_after,
)
from orchestrator.domain.calendar import Calendar, DayKind, Days
from orchestrator.domain.policies import SILENT, Act, Backup, BackupSchedule, Forbids, Overdue, Policy, Rule
from orchestrator.domain.services import Hold, HoldEffect, HoldReason, Lifecycle, Service
from orchestrator.domain.terms import Terms

JAKARTA = Calendar(ZoneInfo("Asia/Jakarta"))
BERLIN = Calendar(ZoneInfo("Europe/Berlin"))
NOW = datetime(2026, 11, 20, 3, tzinfo=UTC)
DAY = timedelta(days=1)
NIGHT = Hours(opens=time(1), closes=time(5), slot=timedelta(minutes=30))
POLICY = replace(
    SILENT,
    name="herza",
    backup=Backup(schedule=BackupSchedule(clause="VPS 5", every={"vps": Days(7)}, bought=Days(1))),
)
NODE = NodeBackups(target="main", hours=NIGHT)
ACTIVE = Service(id="s1", client_id="c", plan="small", state=Lifecycle.ACTIVE, activated_at=NOW, node="n1")


def terms(
    *, policy: Policy = POLICY, node: NodeBackups | None = NODE, bought: bool = False, calendar: Calendar = JAKARTA
) -> Terms:
    return Terms(policy=policy, calendar=calendar, backups=Offer(node=node, plan="small", bought=bought))


def every(days: int) -> Policy:
    return replace(POLICY, backup=Backup(schedule=BackupSchedule(clause="1", every={"vps": Days(days)})))


def first(service_id: str, by: Terms, number: int = 4, since: datetime = NOW) -> list[datetime]:
    return list(islice(slots_after(service_id, since, by), number))


# -- the slots of one service ------------------------------------------------------------


@pytest.mark.parametrize(("days", "number"), [(1, 30), (3, 20), (7, 9), (30, 5)])
def test_a_service_has_one_slot_in_each_interval_and_always_the_same(days: int, number: int) -> None:
    by = terms(policy=every(days))
    found = first("s1", by, number)
    assert [later - earlier for earlier, later in pairwise(found)] == [days * DAY] * (number - 1)
    assert NOW < found[0] <= NOW + days * DAY
    assert first("s1", by, number, since=found[0]) == first("s1", by, number + 1)[1:]
    assert first("s1", by, 1, since=found[0] - timedelta(seconds=1)) == found[:1]


def test_the_services_are_spread_over_the_days_and_the_hours() -> None:
    found = Counter(first(f"vps-{number}", terms(), 1)[0] for number in range(5600))
    assert len(found) == 56  # seven nights of eight half hours
    assert 50 < min(found.values()) <= max(found.values()) < 160


def test_every_slot_lies_inside_the_hours_of_the_providers_zone() -> None:
    for number in range(300):
        for slot in first(f"vps-{number}", terms(bought=True), 3):
            local = slot.astimezone(JAKARTA.zone)
            assert time(1) <= local.time() <= time(4, 30)
            assert local.minute in (0, 30)


def test_hours_may_go_over_midnight() -> None:
    hours = Hours(opens=time(22), closes=time(2), slot=timedelta(hours=1))
    assert hours.slots[0] == (22 * 60, 23 * 60, 24 * 60, 25 * 60)
    found = {
        slot.astimezone(JAKARTA.zone).hour
        for number in range(200)
        for slot in first(f"vps-{number}", terms(node=NodeBackups(target="main", hours=hours)), 1)
    }
    assert found == {22, 23, 0, 1}
    assert [hours.open_at(0, minute * 60) for minute in (21, 22, 23, 0, 1, 2)] == [False, True, True, True, True, False]


def test_nothing_is_begun_in_maintenance_and_a_day_that_is_all_closed_gives_its_slot_to_the_next() -> None:
    weekend = Hours(opens=time(1), closes=time(5), closed=(Span(5 * 1440, 7 * 1440), Span(90, 150)))
    assert weekend.slots[5] == weekend.slots[6] == ()
    assert weekend.slots[0] == (60, 150, 180, 210, 240, 270)
    by = terms(node=NodeBackups(target="main", hours=weekend))
    for number in range(200):
        found = first(f"vps-{number}", by)
        assert all(slot.astimezone(JAKARTA.zone).weekday() < 5 for slot in found)
        assert [later - earlier for earlier, later in pairwise(found)] == [WEEK] * 3
    daily = first("s1", terms(node=NodeBackups(target="main", hours=weekend), bought=True), 10)
    assert len(set(daily)) == 10
    assert {slot.astimezone(JAKARTA.zone).weekday() for slot in daily} == {0, 1, 2, 3, 4}


def test_a_span_of_maintenance_may_go_over_the_end_of_the_week() -> None:
    hours = Hours(opens=time(0), closes=time(3), slot=timedelta(hours=1), closed=(Span(6 * 1440 + 1380, 60),))
    assert (hours.slots[0], hours.slots[6]) == ((60, 120), (0, 60, 120))
    late = Hours(opens=time(23), closes=time(1), slot=timedelta(hours=1), closed=(Span(6 * 1440 + 1380, 60),))
    assert (late.slots[6], late.slots[5]) == ((), (1380, 1440))


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Hours(opens=time(1), closes=time(1, 20)),
        lambda: Hours(slot=timedelta(0)),
        lambda: Hours(slot=timedelta(seconds=90)),
        lambda: Hours(closed=(Span(0, 7 * 1440),)),
    ],
)
def test_hours_without_a_slot_are_no_hours(wrong: Callable[[], Hours]) -> None:
    with pytest.raises(ValueError, match="slot"):
        wrong()


def test_where_clocks_are_put_forward_a_slot_keeps_its_time_on_the_wall() -> None:
    hours = Hours(opens=time(2), closes=time(3), slot=timedelta(hours=1))
    by = terms(policy=every(1), node=NodeBackups(target="main", hours=hours), calendar=BERLIN)
    found = first("s1", by, 3, since=datetime(2026, 3, 28, 12, tzinfo=UTC))
    assert [slot.astimezone(BERLIN.zone).strftime("%d %H:%M") for slot in found] == ["29 03:00", "30 02:00", "31 02:00"]


@pytest.mark.parametrize(("business", "calendar"), [(1, 1), (3, 3), (5, 7), (7, 9), (10, 14)])
def test_business_days_are_never_more_than_was_promised(business: int, calendar: int) -> None:
    rule = BackupSchedule(clause="1", every={"vps": Days(business, DayKind.BUSINESS)})
    assert interval(terms(policy=replace(POLICY, backup=Backup(schedule=rule)))) == calendar


def test_what_is_bought_comes_more_often() -> None:
    assert (interval(terms()), interval(terms(bought=True))) == (7, 1)
    assert interval(terms(policy=every(7), bought=True)) == 7
    assert interval(terms(policy=SILENT)) is None
    assert interval(replace(terms(), kind="hosting")) is None


# -- what is due, and what was missed ------------------------------------------------------------


def test_the_first_slot_comes_after_the_activation_and_each_after_what_is_seen_to() -> None:
    slot = next_slot(ACTIVE, terms())
    assert slot == first("s1", terms())[0]
    assert next_slot(replace(ACTIVE, backups_seen_to=slot), terms()) == slot + WEEK
    assert next_slot(replace(ACTIVE, activated_at=None), terms()) is None


def test_however_many_slots_were_missed_one_run_sees_to_all_of_them() -> None:
    slots = first("s1", terms(), 5)
    late = slots[2] + timedelta(hours=3)
    assert missed(ACTIVE, terms(), now=late) == tuple(slots[:3])
    assert next_slot(ACTIVE, terms()) == slots[0]
    caught_up = replace(ACTIVE, backups_seen_to=late)
    assert (missed(caught_up, terms(), now=late), next_slot(caught_up, terms())) == ((), slots[3])


def test_a_last_backup_that_lies_further_ahead_than_the_next_one_may_was_dated_by_a_wrong_clock() -> None:
    def ahead(by: timedelta, **sold: Any) -> bool:
        return misdated(replace(ACTIVE, backups_seen_to=NOW + by), terms(**sold), now=NOW)

    assert (ahead(WEEK), ahead(WEEK + timedelta(seconds=1))) == (False, True)
    assert ahead(timedelta(days=2), bought=True), "of what is made every day"
    assert not ahead(52 * WEEK, policy=SILENT)
    assert not misdated(ACTIVE, terms(), now=NOW)


def test_a_slot_is_missed_when_it_is_over_and_not_before() -> None:
    slot = first("s1", terms())[0]
    assert missed(ACTIVE, terms(), now=slot + timedelta(minutes=29)) == ()
    assert missed(ACTIVE, terms(), now=slot + timedelta(minutes=30)) == (slot,)


def test_it_is_begun_inside_the_hours_only() -> None:
    local = datetime(2026, 11, 21, tzinfo=JAKARTA.zone)
    at = [local + timedelta(minutes=minutes) for minutes in (59, 60, 299, 300)]
    assert [open_now(terms(), moment.astimezone(UTC)) for moment in at] == [False, True, True, False]
    assert not open_now(terms(node=None), NOW)


def held(reason: HoldReason, effect: HoldEffect) -> Service:
    return ACTIVE.with_hold(Hold(reason=reason, effect=effect, by="x", why="", since=NOW))


def test_who_is_left_out_is_told_why() -> None:
    for state in Lifecycle:
        why = left_out(replace(ACTIVE, state=state), terms())
        assert why == ("" if state == Lifecycle.ACTIVE else f"it is {state}")
    assert left_out(held(HoldReason.ABUSE, HoldEffect.STOP), terms()) == "it is suspended, held for abuse"
    assert left_out(held(HoldReason.ABUSE, HoldEffect.LIMIT), terms()) == ""
    assert left_out(ACTIVE, terms(node=None)) == "its node has no target for backups"
    assert left_out(ACTIVE, terms(node=replace(NODE, shut="its node is in maintenance"))) == "its node is in maintenance"
    forbids = replace(POLICY, overdue=Overdue(forbids=(Forbids(clause="4", acts=frozenset({Act.BACKUP})),)))
    limited = held(HoldReason.NONPAYMENT, HoldEffect.LIMIT)
    assert left_out(limited, terms(policy=forbids)) == "backup refused while suspended for late payment [herza: 4]"
    bought = replace(POLICY, backup=replace(POLICY.backup, only_bought=Rule(clause="5.6.2")))
    assert "bought" in left_out(ACTIVE, terms(policy=bought))
    assert left_out(ACTIVE, terms(policy=bought, bought=True)) == ""


# -- the week ------------------------------------------------------------


def services(number: int, nodes: int) -> list[Service]:
    return [replace(ACTIVE, id=f"vps-{each}", node=f"n{each % nodes}") for each in range(number)]


def week(of: Sequence[Service], by: Terms, start: datetime = NOW, refused: dict[str, str] | None = None) -> Week:
    return plan_week(of, lambda _service: by, calendar=JAKARTA, start=start, refused=refused)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 150), st.integers(1, 4), st.integers(1, 3), st.booleans(), st.integers(0, 10_000))
def test_no_node_begins_more_at_a_time_than_it_works_on_and_nobody_is_lost(
    number: int, nodes: int, at_once: int, bought: bool, minute: int
) -> None:
    by = terms(node=replace(NODE, at_once=at_once), bought=bought)
    of = services(number, nodes)
    planned = week(of, by, start=NOW + timedelta(minutes=minute))
    at_a_time = Counter((each.node, each.at) for each in planned.planned)
    assert max(at_a_time.values(), default=0) <= at_once
    assert len(planned.planned) + sum(planned.crowded.values()) == number * (7 if bought else 1)
    assert len({(each.service_id, each.slot) for each in planned.planned}) == len(planned.planned)
    for each in planned.planned:
        assert planned.start <= each.slot <= each.at < planned.start + WEEK
        assert open_now(by, each.at)
    assert week(list(reversed(of)), by, start=planned.start) == planned


def test_each_begins_in_its_own_slot_where_the_node_has_a_place() -> None:
    planned = week(services(20, 20), terms())
    assert all(each.at == each.slot == first(each.service_id, terms())[0] for each in planned.planned)
    assert len(planned.planned) == 20


def test_of_services_that_are_over_the_week_says_nothing() -> None:
    told = {state: [each.service_id for each in week([replace(ACTIVE, state=state)], terms()).left_out] for state in Lifecycle}
    over = {Lifecycle.ARCHIVED, Lifecycle.ERASED, Lifecycle.CANCELLED}
    assert told == {state: [] if state in over | {Lifecycle.ACTIVE} else ["s1"] for state in Lifecycle}


def test_a_node_that_cannot_do_all_of_it_is_named() -> None:
    planned = week(services(60, 1), terms())
    assert len(planned.planned) <= 56
    assert planned.crowded == {"n0": 60 - len(planned.planned)}
    assert week(services(60, 1), terms(node=replace(NODE, at_once=5))).crowded == {}


def test_who_is_left_out_of_the_week_stands_there_with_the_reason_and_who_has_no_schedule_does_not() -> None:
    suspended = replace(held(HoldReason.ABUSE, HoldEffect.STOP), id="s2")
    large = replace(ACTIVE, id="s3")
    planned = week([ACTIVE, suspended, large], terms(), refused={"s3": "over its cap"})
    assert [each.service_id for each in planned.planned] == ["s1"]
    assert planned.left_out == (LeftOut("s2", "it is suspended, held for abuse"), LeftOut("s3", "over its cap"))
    assert week([ACTIVE], terms(policy=SILENT)) == Week(start=NOW, planned=(), left_out=())


def test_the_week_of_twenty_thousand_services_is_planned_in_a_moment() -> None:
    """Two seconds of CPU are promised; the benchmark measures it, this finds what is of another order."""
    of = services(20_000, 200)
    began = clock.process_time()
    planned = week(of, terms())
    assert clock.process_time() - began < 4
    assert len(planned.planned) + sum(planned.crowded.values()) == 20_000
