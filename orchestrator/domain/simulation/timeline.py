"""What is to happen, in order of time; of two at the same moment the one that was planned first."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from datetime import datetime, timedelta

Happening = Callable[[datetime], None]
_MINUTE = timedelta(minutes=1)


class Timeline:
    """The virtual clock: it jumps from one happening to the next."""

    def __init__(self) -> None:
        self._heap: list[tuple[datetime, int, Happening]] = []
        self._planned = 0

    def at(self, moment: datetime, happening: Happening) -> None:
        """Called with the moment, once that has come."""
        heapq.heappush(self._heap, (moment, self._planned, happening))
        self._planned += 1

    def run(self, until: datetime) -> None:
        """All that lies before ``until``."""
        while self._heap and self._heap[0][0] < until:
            moment, _, happening = heapq.heappop(self._heap)
            happening(moment)


def whole_minute(moment: datetime) -> datetime:
    """The moment, or the next whole minute after it."""
    down = moment.replace(second=0, microsecond=0)
    return down if down == moment else down + _MINUTE


def next_minute(moment: datetime) -> datetime:
    """The next whole minute after the moment."""
    return moment.replace(second=0, microsecond=0) + _MINUTE
