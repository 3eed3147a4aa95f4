"""Days, business days, months and anniversaries in the provider's zone.

A moment is an aware datetime; what is given back is in UTC. Every day that is counted is a whole day of the provider's zone, so
"2 days after" is the same wall-clock time two local days later, whatever the clocks did in between. A local time that does not
exist (clocks went forward) moves forward by what was left out, one that exists twice is the first of the two (RFC 5545,
section 3.3.5). Naive moments raise ValueError; results beyond the year 9999 raise OverflowError or ValueError.
"""

from __future__ import annotations

from calendar import monthrange
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from enum import StrEnum

MOST_DAYS = 36_525  # a hundred years; a promise that is longer is a slip of the pen
_DAY = timedelta(days=1)
_SATURDAY = 5  # date.weekday()


class DayKind(StrEnum):
    CALENDAR = "calendar"
    BUSINESS = "business"


@dataclass(frozen=True, slots=True)
class Days:
    """So many days, as a policy promises them. ``count`` is 0 to ``MOST_DAYS``; anything else raises ValueError."""

    count: int
    kind: DayKind = DayKind.CALENDAR

    def __post_init__(self) -> None:
        if not 0 <= self.count <= MOST_DAYS:
            raise ValueError(f"a number of days lies between 0 and {MOST_DAYS}, not {self.count}")

    def __str__(self) -> str:
        word = "day" if self.count == 1 else "days"
        return f"{self.count} business {word}" if self.kind == DayKind.BUSINESS else f"{self.count} {word}"


@dataclass(frozen=True, slots=True)
class Calendar:
    """Counts in ``zone``. A business day is Monday to Friday without ``holidays``, which are dates of that zone.

    Years of which ``holidays`` knows nothing count as years without holidays.
    """

    zone: tzinfo
    holidays: frozenset[date] = frozenset()

    def day(self, moment: datetime) -> date:
        """The day of the zone in which the moment lies."""
        return self._local(moment).date()

    def business(self, day: date) -> bool:
        """Whether that day is one on which business is done."""
        return day.weekday() < _SATURDAY and day not in self.holidays

    def add(self, moment: datetime, days: Days) -> datetime:
        """The moment so many days later, at the same time of day.

        Of business days each is counted whole. So the hours of a day that is none do not count: a moment in them counts
        as the first moment of the business day that follows, also for 0 days. Friday 14:00 and 1 business day is Monday 14:00;
        Saturday 14:00 and 1 business day is Tuesday 0:00, the end of Monday. The result lies on a business day.
        """
        local = self._local(moment)
        if days.kind == DayKind.CALENDAR:
            return self._moved(moment, local.date() + days.count * _DAY)
        day = local.date()
        if self.business(day):
            return self._moved(moment, self._business_day(day, days.count, _DAY))
        return self.start(self._business_day(day, days.count + 1, _DAY))

    def subtract(self, moment: datetime, days: Days) -> datetime:
        """The moment so many days earlier, at the same time of day.

        Of business days each is counted whole, as ``add`` does: a moment on a day that is none counts as the end of the business
        day before it. Monday 0:00, Sunday 18:00 and Saturday 0:00 less 1 business day are all Friday 0:00. The result lies
        on a business day, or for 0 business days at the very end of one.
        """
        local = self._local(moment)
        if days.kind == DayKind.CALENDAR:
            return self._moved(moment, local.date() - days.count * _DAY)
        day = local.date()
        if self.business(day):
            return self._moved(moment, self._business_day(day, days.count, -_DAY))
        last = self._business_day(day, 1, -_DAY)
        return self.start(self._business_day(last, days.count - 1, -_DAY) if days.count else last + _DAY)

    def start(self, day: date) -> datetime:
        """The first moment of a day of the zone, which is also the end of the day before."""
        return self._utc(datetime.combine(day, time.min))

    def at(self, day: date, minutes: int) -> datetime:
        """So many minutes of the wall's clock after the midnight with which that day begins; they may go beyond its end."""
        return self._utc(datetime.combine(day, time.min) + timedelta(minutes=minutes))

    def wall(self, moment: datetime) -> tuple[date, int]:
        """The day of the zone in which the moment lies, and the minute of that day as a wall's clock shows it."""
        local = self._local(moment)
        return local.date(), local.hour * 60 + local.minute

    def start_of_day(self, moment: datetime) -> datetime:
        """The first moment of the day in which the moment lies."""
        return self.start(self.day(moment))

    def month(self, moment: datetime) -> tuple[datetime, datetime]:
        """The calendar month in which the moment lies: its first moment, and that of the month after it."""
        first = self.day(moment).replace(day=1)
        return self.start(first), self.start(_months_later(first, 1))

    def add_months(self, moment: datetime, months: int) -> datetime:
        """The moment so many months later (earlier, where negative), at the same time of day.

        Where that month has no such day it is the month's last day: one month after 31 January is 28 or 29 February. The days
        lost so do not come back by adding to the result: for a series use ``anniversary``.
        """
        return self._moved(moment, _months_later(self.day(moment), months))

    def anniversary(self, first: datetime, number: int, *, months: int = 1) -> datetime:
        """The end of the ``number``-th term of so many months that began at ``first``; number 0 is ``first``.

        Counted from ``first``, not from the anniversary before it: a service of 31 January renews on 28 February and on 31 March.
        """
        return self.add_months(first, number * months)

    def term(self, first: datetime, moment: datetime, *, months: int = 1) -> tuple[datetime, datetime]:
        """The two anniversaries of ``first`` between which the moment lies: the first included, the second not.

        Raises ValueError where the moment is before ``first``, or a term shorter than a month.
        """
        if months < 1:
            raise ValueError(f"a term has at least 1 month, not {months}")
        if moment < first:
            raise ValueError("no term lies before the first one")
        began, now = self.day(first), self.day(moment)
        number = ((now.year - began.year) * 12 + now.month - began.month) // months
        start, end = self.anniversary(first, number, months=months), self.anniversary(first, number + 1, months=months)
        if moment < start:  # the month's anniversary is still to come
            start, end = self.anniversary(first, number - 1, months=months), start
        return start, end

    def _business_day(self, day: date, count: int, step: timedelta) -> date:
        """The ``count``-th business day after (before, by the step's sign) ``day``."""
        while count:
            day += step
            count -= self.business(day)
        return day

    def _moved(self, moment: datetime, day: date) -> datetime:
        """The moment's time of day on another day."""
        local = self._local(moment)
        if day == local.date():
            return moment.astimezone(UTC)  # itself, also where it is the second of two equal local times
        return self._utc(datetime.combine(day, local.time()))

    def _local(self, moment: datetime) -> datetime:
        if moment.utcoffset() is None:
            raise ValueError("a moment needs a time zone")
        return moment.astimezone(self.zone)

    def _utc(self, local: datetime) -> datetime:
        # fold=0 is the first of two equal local times; in a gap it counts by the offset before it, which moves forward.
        return local.replace(tzinfo=self.zone, fold=0).astimezone(UTC)


def _months_later(day: date, months: int) -> date:
    years, month = divmod(day.month - 1 + months, 12)
    year = day.year + years
    return date(year, month + 1, min(day.day, monthrange(year, month + 1)[1]))
