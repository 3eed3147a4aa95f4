"""What is sold of backups with a service, where its copies go, and at which hours they are made."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import time, timedelta

DAY_MINUTES = 24 * 60
WEEK_MINUTES = 7 * DAY_MINUTES
_MINUTE = timedelta(minutes=1)
# How long a disk that a restore replaced is kept, and what was restored beside one, where the provider says nothing else.
KEEP_RESTORED = timedelta(days=7)
# So many restore drills a week on each node, where the provider says nothing else.
DRILLS = 1


@dataclass(frozen=True, slots=True)
class Span:
    """A part of every week, in minutes since Monday 0:00 of the provider's zone; ``end`` before ``start`` goes over Sunday."""

    start: int
    end: int

    def __post_init__(self) -> None:
        if not (0 <= self.start < WEEK_MINUTES and 0 <= self.end <= WEEK_MINUTES) or self.start == self.end:
            raise ValueError("a span of the week lies between Monday 0:00 and Sunday 24:00, and is not empty")

    @property
    def minutes(self) -> int:
        """How long it is, where the clocks are not changed in it."""
        return (self.end - self.start) % WEEK_MINUTES

    def touches(self, start: int, end: int) -> bool:
        """Whether it shares a minute with the time from ``start`` to ``end`` (it may go on into the next week)."""
        parts = ((self.start, self.end),) if self.start < self.end else ((self.start, WEEK_MINUTES), (0, self.end))
        return any(first + turn < end and start < last + turn for first, last in parts for turn in (0, WEEK_MINUTES))


@dataclass(frozen=True, slots=True, kw_only=True)
class Hours:
    """When backups are begun: from ``opens`` to ``closes`` each day of the provider's zone, in slots of this length.

    Equal times: all day; ``closes`` before ``opens``: over midnight, and what lies behind it belongs to the day before.
    ``closed``: maintenance, in which none is begun or goes on. Raises ValueError where not one slot of a week is left.
    """

    opens: time = time(0)
    closes: time = time(0)
    slot: timedelta = timedelta(minutes=30)
    closed: tuple[Span, ...] = ()
    slots: tuple[tuple[int, ...], ...] = field(init=False, repr=False, compare=False)
    """By weekday (Monday first): when the slots of that day begin, in minutes since its midnight; those after the next midnight
    are more than a day's."""

    def __post_init__(self) -> None:
        if self.slot < _MINUTE or self.slot % _MINUTE:
            raise ValueError("a slot is a whole number of minutes, at least 1")
        found = tuple(self._of(weekday) for weekday in range(7))
        if not any(found):
            raise ValueError("no slot for a backup is left in the week: widen the hours or shorten the slot")
        object.__setattr__(self, "slots", found)

    @property
    def slot_minutes(self) -> int:
        return self.slot // _MINUTE

    @property
    def bounds(self) -> tuple[int, int]:
        """Where the hours of a day begin and end, in minutes since its midnight."""
        opens, closes = (at.hour * 60 + at.minute for at in (self.opens, self.closes))
        return opens, closes if closes > opens else closes + DAY_MINUTES

    def _of(self, weekday: int) -> tuple[int, ...]:
        opens, closes = self.bounds
        length = self.slot_minutes
        begins = range(opens, closes - length + 1, length)
        return tuple(begin for begin in begins if not self._shut(weekday * DAY_MINUTES + begin, length))

    def _shut(self, begin: int, length: int) -> bool:
        return any(span.touches(begin, begin + length) for span in self.closed)

    def open_at(self, weekday: int, minute: int) -> bool:
        """Whether a backup may be begun at this minute of that day."""
        opens, closes = self.bounds
        inside = opens <= minute < closes or opens <= minute + DAY_MINUTES < closes
        return inside and not self._shut(weekday * DAY_MINUTES + minute, 1)


ALL_DAY = Hours()


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeBackups:
    """Where the copies of a node's services go: the name of a target. ``at_once``: so many backups of the node at a time."""

    target: str
    at_once: int = 1
    hours: Hours = ALL_DAY
    shut: str = ""
    """Why none is made on the node now, such as its maintenance; '' = nothing is in the way."""

    def __post_init__(self) -> None:
        if self.at_once < 1:
            raise ValueError("a node makes at least 1 backup at a time")


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What holds for one service. ``node`` None: its node has no target, so that no backup of it can be made.

    ``plan``: its name, for what is told. ``bought``: it has bought backups, or more of them than are included. ``cap_bytes`` and
    ``cap_inodes``: the plan's own, in place of the policy's. ``keep_restored``: how long a disk that a restore replaced is kept,
    and what was restored beside one.
    """

    node: NodeBackups | None = None
    plan: str = ""
    bought: bool = False
    keep_restored: timedelta = KEEP_RESTORED
    cap_bytes: int | None = None
    cap_inodes: int | None = None


NO_BACKUPS = Offer()
"""None can be made."""
