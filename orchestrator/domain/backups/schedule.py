"""When the backups of a service are made: its slots, which of them is due, and the plan of a week for all services.

A service's slots follow from its id alone, so that they stay where they are whoever comes and goes: of an interval of so many
days it has one day, and of that day's open slots one. Where more services of a node have the same slot than the node works on at
a time the others begin in the next ones, in an order that follows from their ids, too. The controller keeps that limit when a
slot is due, however long the backups before it take; the plan takes each as done within its slot.

A slot that was missed is caught up as soon as the hours are open, once, however many were missed; the slots that have passed by
then are seen to with it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from hashlib import sha256
from itertools import islice

from orchestrator.domain.backups.offer import Hours, NodeBackups
from orchestrator.domain.calendar import Calendar, DayKind
from orchestrator.domain.permissions import Ask, may, no_copies
from orchestrator.domain.plans import PlanKind
from orchestrator.domain.services import Lifecycle, Service
from orchestrator.domain.terms import Terms

_DAY = timedelta(days=1)
_DAYS_OF_WEEK = 7
WEEK = _DAYS_OF_WEEK * _DAY


def interval(terms: Terms) -> int | None:
    """In calendar days: how often a backup is made unasked; None where the policy has none for the kind.

    Business days are as few calendar days as they can take, so that it is never less often than was promised.
    """
    rule = terms.policy.backup.schedule
    if rule is None:
        return None
    days = rule.bought if terms.backups.bought and rule.bought is not None else rule.every.get(terms.kind)
    if days is None:
        return None
    weekends = days.count // 5 if days.kind == DayKind.BUSINESS else 0
    return max(days.count + 2 * weekends, 1)


# Of these nobody expects a backup: of all services that ever were, most.
_OVER = frozenset({Lifecycle.CANCELLED, Lifecycle.ARCHIVED, Lifecycle.ERASED})


def left_out(service: Service, terms: Terms) -> str:
    """Why no backup of the service is made unasked; '' where nothing is in the way. Whether the policy has any: ``interval``."""
    node = terms.backups.node
    if service.state != Lifecycle.ACTIVE:
        return f"it is {service.state}"
    if service.stopped:
        return f"it is suspended, held for {', '.join(service.stop_reasons)}"
    if terms.kind == PlanKind.DEDICATED:
        return no_copies("backup")
    if node is None:
        return "its node has no target for backups"
    if node.shut:
        return node.shut
    refusal = may(Ask.BACKUP, service, terms)
    return "" if refusal is None else f"{refusal.reason} [{refusal.rule}]"


# -- the slots of one service ------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Place:
    """Where the slots of one service lie: numbers to be taken by the days of an interval and by the slots of a day. ``turn``: its
    place among those that have the same slot."""

    day: int
    slot: int
    turn: int

    @classmethod
    def of(cls, service_id: str) -> Place:
        digest = sha256(service_id.encode()).digest()
        day, slot, turn = (int.from_bytes(digest[start : start + 8], "big") for start in (0, 8, 16))
        return cls(day, slot, turn)


def slots_after(service_id: str, since: datetime, terms: Terms) -> Iterator[datetime]:
    """The slots of the service later than ``since``, without end; none where it has no schedule, or its node no target."""
    every, node = interval(terms), terms.backups.node
    if every is None or node is None:
        return
    for day, minutes in _walls(Place.of(service_id), terms.calendar.day(since), every, node.hours):
        at = terms.calendar.at(day, minutes)
        if at > since:
            yield at


def _walls(place: Place, first: date, every: int, hours: Hours) -> Iterator[tuple[date, int]]:
    """Day and minute of the slots, from a little before ``first``. A day on which all is closed gives its slot to the next."""
    ordinal = first.toordinal() - (2 if all(hours.slots) else 1 + _DAYS_OF_WEEK)
    ordinal += (place.day - ordinal) % every
    last = 0
    while True:
        chosen = next(day for day in range(ordinal, ordinal + _DAYS_OF_WEEK) if hours.slots[_weekday(day)])
        if chosen > last:
            open_slots = hours.slots[_weekday(chosen)]
            yield date.fromordinal(chosen), open_slots[place.slot % len(open_slots)]
        last, ordinal = chosen, ordinal + every


def _weekday(ordinal: int) -> int:
    """Monday is 0. (Day 1 was one.)"""
    return (ordinal - 1) % _DAYS_OF_WEEK


def seen_to(service: Service) -> datetime | None:
    """Up to when the slots of the service need nothing any more: what was before its activation, or before its last run ended."""
    known = [moment for moment in (service.activated_at, service.backups_seen_to) if moment is not None]
    return max(known, default=None)


def next_slot(service: Service, terms: Terms) -> datetime | None:
    """The first slot that is not seen to. It may have passed: then it is caught up."""
    since = seen_to(service)
    return None if since is None else next(slots_after(service.id, since, terms), None)


def misdated(service: Service, terms: Terms, *, now: datetime) -> bool:
    """Whether the slots are said to be seen to up to a time so far ahead that none would come for more than an interval: a clock
    that was wrong said so. One that was set back by less doubles no slot."""
    every, said = interval(terms), service.backups_seen_to
    return every is not None and said is not None and said > now + every * _DAY


def missed(service: Service, terms: Terms, *, now: datetime) -> tuple[datetime, ...]:
    """The slots that are over and were not seen to, the first first: counted from the schedule, whatever was or was not begun."""
    return tuple(_missed(service, terms, now))


def behind(service: Service, terms: Terms, *, now: datetime) -> bool:
    """Whether it has missed two slots or more: one may still be caught up."""
    return len(tuple(islice(_missed(service, terms, now), 2))) > 1


def _missed(service: Service, terms: Terms, now: datetime) -> Iterator[datetime]:
    every, since, node = interval(terms), seen_to(service), terms.backups.node
    if every is None or since is None or node is None or left_out(service, terms):
        return
    for slot in slots_after(service.id, since, terms):
        if slot + node.hours.slot > now:
            return
        yield slot


def open_now(terms: Terms, now: datetime) -> bool:
    """Whether a backup of the service may be begun now: inside the hours, outside of maintenance."""
    node = terms.backups.node
    if node is None:
        return False
    return open_at(node.hours, terms.calendar, now)


def open_at(hours: Hours, calendar: Calendar, now: datetime) -> bool:
    """Whether something may be begun in these hours now."""
    day, minute = calendar.wall(now)
    return hours.open_at(day.weekday(), minute)


# -- the week of all services ------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """One backup to come. ``slot``: the service's own, by which it falls due; ``at``: when its node comes to it."""

    service_id: str
    node: str
    slot: datetime
    at: datetime


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A service of which no backup is made unasked, and why."""

    service_id: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Week:
    """What is planned from ``start`` on for a week, by time. ``crowded``: nodes that cannot do in a week what falls due in it,
    with the number of those that are put off beyond it; they wait for their turn as the others do."""

    start: datetime
    planned: tuple[Planned, ...]
    left_out: tuple[LeftOut, ...]
    crowded: Mapping[str, int] = field(default_factory=dict)


class _Wall:
    """The moments of the week from ``start`` on; each is reckoned once, for there are few and many services have them."""

    def __init__(self, calendar: Calendar, start: datetime) -> None:
        self.first = calendar.day(start)
        self._calendar = calendar
        self._start, self._end = start, start + WEEK
        self._known: dict[tuple[date, int], datetime] = {}

    def week(self, walls: Iterator[tuple[date, int]]) -> Iterator[datetime]:
        """Those of them that lie in the week."""
        for wall in walls:
            at = self._known.get(wall)
            if at is None:
                at = self._known[wall] = self._calendar.at(*wall)
            if at >= self._end:
                return
            if at >= self._start:
                yield at

    def grid(self, hours: Hours) -> list[datetime]:
        """Every slot of the week at which something is begun."""
        days = (self.first + number * _DAY for number in range(-2, _DAYS_OF_WEEK + 2))
        return list(self.week((day, minutes) for day in days for minutes in hours.slots[day.weekday()]))


@dataclass(slots=True)
class _Node:
    """What falls due on one node in the week: slot, turn and service."""

    backups: NodeBackups
    waiting: list[tuple[datetime, int, str]] = field(default_factory=list)


def plan_week(
    services: Iterable[Service],
    terms_of: Callable[[Service], Terms],
    *,
    calendar: Calendar,
    start: datetime,
    refused: Mapping[str, str] | None = None,
) -> Week:
    """The week from ``start`` on. ``refused``: by service, why its last run was refused (it was over its cap).

    Services that the policy gives no schedule, or that are over, stand nowhere in it. One that was refused is measured again in
    its slot, and is told as left out until it is within its cap.
    """
    known, wall = refused or {}, _Wall(calendar, start)
    nodes: dict[str, _Node] = {}
    out: list[LeftOut] = []
    for service in services:
        terms = terms_of(service)
        every = interval(terms)
        if every is None or service.state in _OVER:
            continue
        why, offered = left_out(service, terms) or known.get(service.id, ""), terms.backups.node
        if why or offered is None:
            out.append(LeftOut(service.id, why))
            continue
        place = Place.of(service.id)
        due = ((at, place.turn, service.id) for at in wall.week(_walls(place, wall.first, every, offered.hours)))
        nodes.setdefault(service.node, _Node(offered)).waiting.extend(due)
    planned, crowded = [], {}
    for name, node in sorted(nodes.items()):
        done, beyond = _in_turn(name, node, wall.grid(node.backups.hours))
        planned += done
        if beyond:
            crowded[name] = beyond
    planned.sort(key=lambda each: (each.at, each.node, each.service_id))
    return Week(start=start, planned=tuple(planned), left_out=tuple(out), crowded=crowded)


def _in_turn(name: str, node: _Node, grid: list[datetime]) -> tuple[list[Planned], int]:
    """At each slot of the week those that wait longest, as many as the node works on at a time; and how many are left then."""
    due, line, planned = sorted(node.waiting), deque[tuple[datetime, int, str]](), []
    taken = 0
    for at in grid:
        while taken < len(due) and due[taken][0] <= at:
            line.append(due[taken])
            taken += 1
        for _ in range(min(node.backups.at_once, len(line))):
            slot, _turn, service_id = line.popleft()
            planned.append(Planned(service_id=service_id, node=name, slot=slot, at=at))
    return planned, len(line)
