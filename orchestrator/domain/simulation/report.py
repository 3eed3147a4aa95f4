"""What a simulated year came to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from orchestrator.domain.calendar import Calendar

# So many single cases a report names; all are counted.
NAMED = 50


@dataclass(frozen=True, slots=True)
class Act:
    """Something was done to a service, or told about it."""

    at: datetime
    service_id: str
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PaidWipe:
    """A service was destroyed that was paid for, by billing's books. ``under_way``: a webhook of it had not arrived yet."""

    service_id: str
    at: datetime
    paid_until: datetime
    under_way: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Missed:
    """A deadline that was not done within an hour of being possible and let through by the brakes."""

    service_id: str
    action: str
    possible: datetime
    seen: datetime


@dataclass(slots=True)
class Report:
    """Counted while it runs. ``watch`` is told every act.

    ``wrong_wipes``: destroyed although the books said, when billing confirmed it or somebody looked, that it was paid for; or
    although nobody looked. ``paid_after_the_word``: paid only after that, with a payment that did not arrive in time.
    """

    calendar: Calendar
    watch: Callable[[Act], None] | None = None
    days: dict[date, Counter[str]] = field(default_factory=dict)
    totals: Counter[str] = field(default_factory=Counter)
    hours: dict[datetime, Counter[str]] = field(default_factory=dict)
    wrong_wipes: list[PaidWipe] = field(default_factory=list)
    paid_after_the_word: list[PaidWipe] = field(default_factory=list)
    missed: list[Missed] = field(default_factory=list)
    webhooks: Counter[datetime] = field(default_factory=Counter)
    waiting: int = 0
    most_waiting: int = 0
    too_late: int = 0
    paid_orders_cancelled: int = 0
    lost: int = 0
    states: dict[str, int] = field(default_factory=dict)
    looks: int = 0

    def act(self, what: str, service_id: str, now: datetime) -> None:
        self.totals[what] += 1
        self.days.setdefault(self.calendar.day(now), Counter())[what] += 1
        hour = now.replace(minute=0, second=0, microsecond=0)
        self.hours.setdefault(hour, Counter())[what] += 1
        if self.watch is not None:
            self.watch(Act(now, service_id, what))

    def webhook(self, now: datetime) -> None:
        self.totals["webhook"] += 1
        self.webhooks[now.replace(second=0, microsecond=0)] += 1

    def waits(self, change: int) -> None:
        self.waiting += change
        self.most_waiting = max(self.most_waiting, self.waiting)

    @property
    def flawless(self) -> bool:
        """Nobody lost what was paid for, and everything was done in time."""
        return not self.wrong_wipes and not self.missed

    def peaks(self) -> dict[str, dict[str, Any]]:
        """The hour with the most of each thing, and the minute with the most webhooks."""
        found: dict[str, dict[str, Any]] = {}
        for hour in sorted(self.hours):
            for what, count in self.hours[hour].items():
                if count > found.get(what, {"count": 0})["count"]:
                    found[what] = {"count": count, "within": "an hour", "from": hour.isoformat()}
        if self.webhooks:
            minute, count = max(self.webhooks.items(), key=lambda item: (item[1], -item[0].timestamp()))
            found["webhook"] = {"count": count, "within": "a minute", "from": minute.isoformat()}
        return dict(sorted(found.items()))

    def as_json(self) -> dict[str, Any]:
        return {
            "flawless": self.flawless,
            "wrong_wipes": {"count": len(self.wrong_wipes), "first": [_plain(case) for case in self.wrong_wipes[:NAMED]]},
            "paid_after_the_word": {
                "count": len(self.paid_after_the_word),
                "first": [_plain(case) for case in self.paid_after_the_word[:NAMED]],
            },
            "missed_deadlines": {"count": len(self.missed), "first": [_plain(case) for case in self.missed[:NAMED]]},
            "totals": dict(sorted(self.totals.items())),
            "webhooks_lost": self.lost,
            "payments_too_late": self.too_late,
            "paid_orders_cancelled": self.paid_orders_cancelled,
            "most_jobs_waiting_for_approval": self.most_waiting,
            "states": dict(sorted(self.states.items())),
            "peaks": self.peaks(),
            "days": {day.isoformat(): dict(sorted(counts.items())) for day, counts in sorted(self.days.items())},
        }


def _plain(case: PaidWipe | Missed) -> dict[str, Any]:
    values = {name: getattr(case, name) for name in type(case).__slots__}
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in values.items()}
