"""Days, business days, months and anniversaries: as tables of known dates, and as properties of any moment."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain.calendar import MOST_DAYS, Calendar, DayKind, Days

JAKARTA = ZoneInfo("Asia/Jakarta")  # UTC+7, the same all year
AMSTERDAM = ZoneInfo("Europe/Amsterdam")  # 29 March 2026: 2:00 is 3:00; 25 October 2026: 3:00 is 2:00
HAVANA = ZoneInfo("America/Havana")  # 8 March 2026: 0:00 is 1:00
IDUL_FITRI = frozenset((date(2026, 3, 20), date(2026, 3, 21), date(2026, 3, 23)))  # Friday, Saturday, and Monday off


def local(text: str, zone: tzinfo = JAKARTA, fold: int = 0) -> datetime:
    """A local time of the zone, as UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=zone, fold=fold).astimezone(UTC)


def business(count: int) -> Days:
    return Days(count, DayKind.BUSINESS)


def shown(moment: datetime, zone: tzinfo = JAKARTA) -> str:
    assert moment.tzinfo is UTC
    return moment.astimezone(zone).strftime("%Y-%m-%d %H:%M")


@pytest.mark.parametrize(
    ("start", "count", "end"),
    [
        ("2026-11-20 14:30", 0, "2026-11-20 14:30"),
        ("2026-11-20 14:30", 2, "2026-11-22 14:30"),
        ("2026-02-28 23:59", 1, "2026-03-01 23:59"),
        ("2028-02-28 00:00", 1, "2028-02-29 00:00"),
        ("2026-12-31 06:59", 1, "2027-01-01 06:59"),  # still the year before in UTC
    ],
)
def test_calendar_days_keep_the_time_of_day(start: str, count: int, end: str) -> None:
    calendar = Calendar(JAKARTA, IDUL_FITRI)
    assert shown(calendar.add(local(start), Days(count))) == end
    assert shown(calendar.subtract(local(end), Days(count))) == start


@pytest.mark.parametrize(
    ("start", "end", "hours"),
    [
        ("2026-03-28 12:00", "2026-03-30 12:00", 47),
        ("2026-10-24 12:00", "2026-10-26 12:00", 49),
        ("2026-03-27 02:30", "2026-03-29 03:30", 48),  # 2:30 does not exist on the 29th
        ("2026-10-23 02:30", "2026-10-25 02:30", 48),  # 2:30 is there twice: the first
    ],
)
def test_two_days_later_is_the_same_local_time_also_where_the_clocks_change(start: str, end: str, hours: int) -> None:
    found = Calendar(AMSTERDAM).add(local(start, AMSTERDAM), Days(2))
    assert shown(found, AMSTERDAM) == end
    assert found - local(start, AMSTERDAM) == timedelta(hours=hours)


def test_no_day_later_is_the_moment_itself_also_in_the_second_of_two_equal_hours() -> None:
    second = local("2026-10-25 02:30", AMSTERDAM, fold=1)
    calendar = Calendar(AMSTERDAM)
    assert calendar.add(second, Days(0)) == calendar.subtract(second, Days(0)) == calendar.add_months(second, 0) == second


@pytest.mark.parametrize(
    ("start", "count", "end"),
    [
        ("2026-11-20 14:00", 0, "2026-11-20 14:00"),  # a Friday
        ("2026-11-20 14:00", 1, "2026-11-23 14:00"),
        ("2026-11-20 14:00", 5, "2026-11-27 14:00"),
        ("2026-11-21 14:00", 0, "2026-11-23 00:00"),  # a Saturday: as if on Monday, 0:00
        ("2026-11-21 14:00", 1, "2026-11-24 00:00"),
        ("2026-11-22 23:59", 1, "2026-11-24 00:00"),
        ("2026-11-23 00:00", 1, "2026-11-24 00:00"),
        ("2026-03-19 09:00", 1, "2026-03-24 09:00"),  # over Idul Fitri
        ("2026-03-20 09:00", 1, "2026-03-25 00:00"),  # on it
        ("2026-03-23 00:00", 0, "2026-03-24 00:00"),
        ("2026-01-05 10:00", 30, "2026-02-16 10:00"),
    ],
)
def test_adding_business_days_counts_each_whole(start: str, count: int, end: str) -> None:
    assert shown(Calendar(JAKARTA, IDUL_FITRI).add(local(start), business(count))) == end


@pytest.mark.parametrize(
    ("start", "count", "end"),
    [
        ("2026-04-01 00:00", 1, "2026-03-31 00:00"),  # the end of March: the whole of the 31st, a Tuesday, lies between
        ("2026-03-01 00:00", 1, "2026-02-27 00:00"),  # the end of February, a Sunday: the whole of Friday
        ("2026-08-01 00:00", 1, "2026-07-31 00:00"),  # a Saturday: the whole of Friday
        ("2026-06-01 00:00", 1, "2026-05-29 00:00"),  # a Monday: the whole of Friday
        ("2026-11-24 14:00", 1, "2026-11-23 14:00"),
        ("2026-11-23 14:00", 1, "2026-11-20 14:00"),
        ("2026-11-22 18:00", 2, "2026-11-19 00:00"),
        ("2026-03-24 09:00", 1, "2026-03-19 09:00"),  # over Idul Fitri
        ("2026-03-23 09:00", 1, "2026-03-19 00:00"),  # on it
        ("2026-11-20 14:00", 0, "2026-11-20 14:00"),
        ("2026-11-22 14:00", 0, "2026-11-21 00:00"),  # the end of Friday
    ],
)
def test_subtracting_business_days_leaves_them_whole(start: str, count: int, end: str) -> None:
    assert shown(Calendar(JAKARTA, IDUL_FITRI).subtract(local(start), business(count))) == end


def test_a_business_day_is_monday_to_friday_without_holidays() -> None:
    calendar = Calendar(JAKARTA, IDUL_FITRI)
    week = [date(2026, 3, day) for day in range(16, 25)]
    assert [day.day for day in week if calendar.business(day)] == [16, 17, 18, 19, 24]


def test_the_day_is_that_of_the_zone() -> None:
    moment = datetime(2026, 11, 20, 18, tzinfo=UTC)
    assert Calendar(JAKARTA).day(moment) == date(2026, 11, 21)
    assert Calendar(UTC).day(moment) == date(2026, 11, 20)


@pytest.mark.parametrize(
    ("zone", "moment", "start"),
    [
        (JAKARTA, "2026-11-20T18:00", "2026-11-20T17:00"),
        (JAKARTA, "2026-11-20T17:00", "2026-11-20T17:00"),
        (JAKARTA, "2026-11-20T16:59:59.999999", "2026-11-19T17:00"),
        (AMSTERDAM, "2026-03-29T12:00", "2026-03-28T23:00"),
        (AMSTERDAM, "2026-10-25T12:00", "2026-10-24T22:00"),
        (HAVANA, "2026-03-08T12:00", "2026-03-08T05:00"),  # that day begins at 1:00
    ],
)
def test_a_day_begins_at_its_first_moment(zone: tzinfo, moment: str, start: str) -> None:
    assert Calendar(zone).start_of_day(local(moment, UTC)) == local(start, UTC)


@pytest.mark.parametrize(
    ("moment", "first", "after"),
    [
        ("2026-11-20 10:00", "2026-11-01 00:00", "2026-12-01 00:00"),
        ("2026-12-31 23:59", "2026-12-01 00:00", "2027-01-01 00:00"),
        ("2027-01-01 00:00", "2027-01-01 00:00", "2027-02-01 00:00"),  # 31 December, 17:00 in UTC
    ],
)
def test_a_month_is_that_of_the_zone(moment: str, first: str, after: str) -> None:
    start, end = Calendar(JAKARTA).month(local(moment))
    assert (shown(start), shown(end)) == (first, after)


@pytest.mark.parametrize(
    ("start", "months", "end"),
    [
        ("2026-01-31 10:00", 1, "2026-02-28 10:00"),
        ("2028-01-31 10:00", 1, "2028-02-29 10:00"),
        ("2026-01-31 10:00", 2, "2026-03-31 10:00"),
        ("2026-02-28 10:00", 1, "2026-03-28 10:00"),
        ("2026-03-31 10:00", -1, "2026-02-28 10:00"),
        ("2026-01-15 10:00", -1, "2025-12-15 10:00"),
        ("2028-02-29 10:00", 12, "2029-02-28 10:00"),
        ("2028-02-29 10:00", 48, "2032-02-29 10:00"),
        ("2026-11-30 10:00", 3, "2027-02-28 10:00"),
        ("2026-02-01 02:00", 1, "2026-03-01 02:00"),  # 31 January in UTC: counted in the zone
    ],
)
def test_months_end_on_the_same_day_or_on_the_months_last(start: str, months: int, end: str) -> None:
    assert shown(Calendar(JAKARTA).add_months(local(start), months)) == end


def test_months_keep_the_local_time_where_the_clocks_change() -> None:
    calendar = Calendar(AMSTERDAM)
    assert shown(calendar.add_months(local("2026-03-15 12:00", AMSTERDAM), 1), AMSTERDAM) == "2026-04-15 12:00"
    assert shown(calendar.add_months(local("2026-02-28 02:30", AMSTERDAM), 1), AMSTERDAM) == "2026-03-28 02:30"
    assert shown(calendar.add_months(local("2026-02-28 00:30", AMSTERDAM), 8), AMSTERDAM) == "2026-10-28 00:30"


def test_anniversaries_are_counted_from_the_first_day() -> None:
    first = local("2027-10-31 08:00")
    found = [shown(Calendar(JAKARTA).anniversary(first, number))[:10] for number in range(7)]
    assert found == ["2027-10-31", "2027-11-30", "2027-12-31", "2028-01-31", "2028-02-29", "2028-03-31", "2028-04-30"]
    yearly = [shown(Calendar(JAKARTA).anniversary(local("2028-02-29 08:00"), number, months=12))[:10] for number in (0, 1, 4)]
    assert yearly == ["2028-02-29", "2029-02-28", "2032-02-29"]


@pytest.mark.parametrize(
    ("months", "moment", "start", "end"),
    [
        (1, "2026-01-31 10:00", "2026-01-31 10:00", "2026-02-28 10:00"),
        (1, "2026-02-28 09:59", "2026-01-31 10:00", "2026-02-28 10:00"),
        (1, "2026-02-28 10:00", "2026-02-28 10:00", "2026-03-31 10:00"),
        (1, "2026-03-30 10:00", "2026-02-28 10:00", "2026-03-31 10:00"),
        (3, "2026-04-30 09:00", "2026-01-31 10:00", "2026-04-30 10:00"),
        (3, "2026-06-30 09:00", "2026-04-30 10:00", "2026-07-31 10:00"),
        (12, "2027-01-31 10:00", "2027-01-31 10:00", "2028-01-31 10:00"),
    ],
)
def test_a_term_runs_from_anniversary_to_anniversary(months: int, moment: str, start: str, end: str) -> None:
    found = Calendar(JAKARTA).term(local("2026-01-31 10:00"), local(moment), months=months)
    assert (shown(found[0]), shown(found[1])) == (start, end)


def test_what_cannot_be_counted_is_refused() -> None:
    calendar, moment = Calendar(JAKARTA), local("2026-01-31 10:00")
    for count in (-1, MOST_DAYS + 1):
        with pytest.raises(ValueError, match=f"between 0 and {MOST_DAYS}, not {count}"):
            Days(count)
    with pytest.raises(ValueError, match="needs a time zone"):
        calendar.add(datetime(2026, 1, 1), Days(1))  # noqa: DTZ001 -- a naive one is the point
    with pytest.raises(ValueError, match="before the first"):
        calendar.term(moment, moment - timedelta(seconds=1))
    with pytest.raises(ValueError, match="at least 1 month, not 0"):
        calendar.term(moment, moment, months=0)


def test_days_say_themselves() -> None:
    assert [str(days) for days in (Days(1), Days(14), business(1), business(30))] == [
        "1 day",
        "14 days",
        "1 business day",
        "30 business days",
    ]


MOMENTS = st.datetimes(datetime(2020, 1, 1), datetime(2040, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001 -- bounds are naive
ZONES = st.sampled_from((JAKARTA, AMSTERDAM, UTC))
HOLIDAYS = st.frozensets(st.dates(date(2020, 1, 1), date(2040, 12, 31)), max_size=20)
# Holidays near the moment that is counted from, as random ones of twenty years hardly ever are.
NEAR = st.frozensets(st.integers(-30, 30), max_size=12)
COUNTS = st.integers(0, 40)
KINDS = st.sampled_from(DayKind)


def around(moment: datetime, offsets: frozenset[int]) -> frozenset[date]:
    return frozenset(moment.date() + timedelta(days=offset) for offset in offsets)


@given(MOMENTS, NEAR, COUNTS, KINDS)
def test_adding_and_subtracting_as_much_is_the_moment_again(
    moment: datetime, near: frozenset[int], count: int, kind: DayKind
) -> None:
    calendar, days = Calendar(JAKARTA, around(moment, near)), Days(count, kind)
    counted = calendar.add(moment, Days(0, kind))  # a business moment stays, another becomes one
    assert calendar.subtract(calendar.add(moment, days), days) == counted


@given(MOMENTS, st.timedeltas(timedelta(), timedelta(days=10)), NEAR, COUNTS, KINDS)
def test_what_begins_later_ends_no_earlier(
    moment: datetime, later: timedelta, near: frozenset[int], count: int, kind: DayKind
) -> None:
    calendar, days = Calendar(JAKARTA, around(moment, near)), Days(count, kind)
    assert calendar.add(moment, days) <= calendar.add(moment + later, days)
    assert calendar.subtract(moment, days) <= calendar.subtract(moment + later, days)
    assert calendar.add_months(moment, count) <= calendar.add_months(moment + later, count)


@given(MOMENTS, ZONES, NEAR, COUNTS, KINDS)
def test_more_days_end_later(moment: datetime, zone: tzinfo, near: frozenset[int], count: int, kind: DayKind) -> None:
    calendar, days, more = Calendar(zone, around(moment, near)), Days(count, kind), Days(count + 1, kind)
    assert moment <= calendar.add(moment, days) < calendar.add(moment, more)
    assert moment >= calendar.subtract(moment, days) > calendar.subtract(moment, more)


@given(MOMENTS, ZONES, NEAR, COUNTS)
def test_business_days_end_on_a_business_day_with_as_many_between(
    moment: datetime, zone: tzinfo, near: frozenset[int], count: int
) -> None:
    calendar = Calendar(zone, around(moment, near))
    start, end = calendar.day(moment), calendar.day(calendar.add(moment, business(count)))
    assert calendar.business(end)
    within = (start + timedelta(days=offset) for offset in range((end - start).days))
    assert sum(calendar.business(day) for day in within) == count
    back = calendar.subtract(moment, business(count))
    assert calendar.business(calendar.day(back)) or (count == 0 and calendar.business(calendar.day(back) - timedelta(days=1)))


@given(MOMENTS, ZONES, HOLIDAYS, COUNTS)
def test_calendar_days_move_the_date_by_so_many_and_not_the_clock(
    moment: datetime, zone: tzinfo, holidays: frozenset[date], count: int
) -> None:
    before, after = moment.astimezone(zone), Calendar(zone, holidays).add(moment, Days(count)).astimezone(zone)
    assert (after.date() - before.date()).days == count
    gap = timedelta(hours=1) if before.time() != after.time() else timedelta()
    assert after.replace(tzinfo=None) - before.replace(tzinfo=None) == timedelta(days=count) + gap
    assert not gap or (zone is AMSTERDAM and after.month == 3)


@given(MOMENTS, ZONES, st.integers(0, 240), st.integers(1, 12))
def test_anniversaries_never_drift(moment: datetime, zone: tzinfo, number: int, months: int) -> None:
    calendar = Calendar(zone)
    first, found = moment.astimezone(zone), calendar.anniversary(moment, number, months=months).astimezone(zone)
    assert (found.year - first.year) * 12 + found.month - first.month == number * months
    last = (found.date() + timedelta(days=1)).month != found.month
    assert found.day == first.day or (last and found.day < first.day)
    assert calendar.anniversary(moment, 0) == moment


@given(MOMENTS, st.timedeltas(timedelta(), timedelta(days=4000)), ZONES, st.integers(1, 12))
def test_every_moment_lies_in_one_term(moment: datetime, later: timedelta, zone: tzinfo, months: int) -> None:
    calendar, asked = Calendar(zone), moment + later
    start, end = calendar.term(moment, asked, months=months)
    assert start <= asked < end
    number = next(n for n in range(140) if calendar.anniversary(moment, n, months=months) == start)
    assert calendar.anniversary(moment, number + 1, months=months) == end


@given(MOMENTS, ZONES)
def test_days_and_months_leave_nothing_out(moment: datetime, zone: tzinfo) -> None:
    calendar = Calendar(zone)
    start, end = calendar.start_of_day(moment), calendar.start(calendar.day(moment) + timedelta(days=1))
    assert start <= moment < end
    assert timedelta(hours=23) <= end - start <= timedelta(hours=25)
    first, after = calendar.month(moment)
    assert first <= start < end <= after
    assert calendar.month(after)[0] == after
