"""Whether what fell due was done in time: within an hour of being possible and let through."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from orchestrator.domain.deadlines import Action
from orchestrator.domain.simulation.report import Missed, Report
from orchestrator.domain.simulation.scenario import HOUR, Scenario

Key = tuple[Action, str]


class Punctuality:
    """Knows when nothing could be done: while the controller was away, and nothing destroyed while terminations waited."""

    def __init__(self, scenario: Scenario, report: Report) -> None:
        self._report = report
        self._away = [(outage.start, outage.end) for outage in scenario.outages]
        self._waits: list[tuple[datetime, datetime | None]] = []
        self._pauses: tuple[tuple[datetime, datetime], ...] = ()

    def terminations_wait(self, now: datetime) -> None:
        if not self._waits or self._waits[-1][1] is not None:
            self._waits.append((now, None))

    def terminations_go_on(self, now: datetime) -> None:
        if self._waits and self._waits[-1][1] is None:
            self._waits[-1] = (self._waits[-1][0], now)

    def pauses(self, known: Sequence[tuple[datetime, datetime]]) -> None:
        """After shorter outages terminations wait by themselves, from one moment to another."""
        self._pauses = tuple(known)

    def compare(self, service_id: str, before: Mapping[Key, datetime], after: Mapping[Key, datetime], now: datetime) -> None:
        """What was expected and is no more was done just now, or is not wanted any more: either way it must not be late."""
        for key, possible in before.items():
            if key not in after and now > possible:
                self._judge(service_id, key[0], possible, now)

    def done(self, service_id: str, action: Action, *, allowed_at: datetime, now: datetime) -> None:
        """A job that was let through at that moment is done."""
        self._judge(service_id, action, allowed_at, now)

    def _judge(self, service_id: str, action: Action, possible: datetime, now: datetime) -> None:
        lost = sum((_common(possible, now, start, end) for start, end in self._away), timedelta(0))
        if action.destroys:
            lost += sum((_common(possible, now, start, end or now) for start, end in self._waits), timedelta(0))
            lost += sum((_common(possible, now, start, end) for start, end in self._pauses), timedelta(0))
        if now - possible - lost > HOUR:
            self._report.missed.append(Missed(service_id=service_id, action=action.value, possible=possible, seen=now))


def _common(start: datetime, end: datetime, other_start: datetime, other_end: datetime) -> timedelta:
    return max(min(end, other_end) - max(start, other_start), timedelta(0))
