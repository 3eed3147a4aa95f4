"""What will happen to services, and what should have happened: their deadlines, with what the store knows of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar

from orchestrator.api.known import known
from orchestrator.domain import archives
from orchestrator.domain.backups.schedule import behind
from orchestrator.domain.deadlines import Action, Deadline, deadlines, pending
from orchestrator.domain.forecast import forecast
from orchestrator.domain.guards import ended_by
from orchestrator.domain.policies import Policy
from orchestrator.domain.services import Lifecycle, Service
from orchestrator.engine.due import AGAIN
from orchestrator.engine.settings import Catalog
from orchestrator.store import deadlines as store
from orchestrator.store import services, settings
from orchestrator.store.database import Connection, Database
from orchestrator.store.deadlines import Seen

Told = TypeVar("Told")
RELEASE = "terminations wait: `orchestrator terminations show` says what for"
# A look reads at most so many services; a page of the forecast then goes on behind them.
MOST_READ = 5000
_CHUNK = 500
# So long before the latest moment of an erasure it is told.
NEAR = timedelta(hours=24)


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """Now, how far to look ahead, and whether deadlines terminate."""

    now: datetime
    until: datetime
    terminations_wait: bool


def moment(conn: Connection, *, now: datetime, ahead: timedelta) -> Moment:
    """``ahead`` from ``now``, as things stand."""
    return Moment(now=now, until=now + ahead, terminations_wait=settings.terminations_wait(conn) is not None)


def to_come(service: Service, policy: Policy, catalog: Catalog, seen: Seen, at: Moment) -> tuple[Deadline, ...]:
    """The acts to come by this policy, the earliest first; with what each waits for."""
    terms = catalog.terms_of(service, policy=policy)
    found = forecast(service, terms, now=at.now, until=at.until, told=seen.told, settled=seen.settled, waiting=seen.waiting)
    said = (
        _destroying(deadline, at, asks_billing=catalog.asks_billing) if deadline.action.destroys else deadline
        for deadline in found
    )
    return tuple(sorted(said, key=lambda deadline: deadline.at))


def _destroying(deadline: Deadline, at: Moment, *, asks_billing: bool) -> Deadline:
    """None comes while terminations wait; where billing cannot be asked a person agrees to each, whatever the policy says.

    What has its job already waits for what that waits for.
    """
    if deadline.job:
        return deadline
    return replace(
        deadline, asks=deadline.asks or not asks_billing, waits=deadline.waits or (RELEASE if at.terminations_wait else "")
    )


def of_one(conn: Connection, catalog: Catalog, service: Service, at: Moment) -> tuple[Deadline, ...]:
    """The acts to come for one service."""
    seen = store.seen_to(conn, [service.id])[service.id]
    return to_come(service, catalog.policy_of(service), catalog, seen, at)


def walk(
    conn: Connection, make: Callable[[Service, Seen], Told | None], *, limit: int, after: str, service_id: str = ""
) -> tuple[list[Told], str | None]:
    """What ``make`` tells of services by id, ``limit`` at most, and the cursor behind the last that was read; None at the end.

    Raises NotFound for a ``service_id`` that is none.
    """
    if service_id:
        one = known(conn, service_id)
        return [told for each in _with_seen(conn, [one]) if (told := make(*each)) is not None], None
    found: list[Told] = []
    cursor: str | None = after or None
    for _ in range(MOST_READ // _CHUNK):
        page, following = services.list_page(conn, limit=_CHUNK, after=cursor)
        for service, seen in _with_seen(conn, page):
            told = make(service, seen)
            if told is not None:
                found.append(told)
            if len(found) == limit and (following is not None or service.id != page[-1].id):
                return found, service.id
        cursor = following
        if cursor is None:
            break
    return found, cursor


def ended_soon(
    conn: Connection, policy: Policy, catalog: Catalog, *, now: datetime, plans: Collection[str], service_id: str
) -> int:
    """How many services the policy would terminate within a day, in place of the one that they have: whoever adopts it has to
    agree to that number. ``service_id``: of this one alone; '' = of all."""

    def make(service: Service, seen: Seen) -> bool | None:
        if service.plan not in plans:
            return None
        ended = partial(ended_by, service, now=now, told=seen.told, settled=seen.settled)
        return (ended(catalog.terms_of(service, policy=policy)) and not ended(catalog.terms_of(service))) or None

    count, after = 0, ""
    while True:
        found, following = walk(conn, make, limit=MOST_READ, after=after, service_id=service_id)
        count += len(found)
        if following is None:
            return count
        after = following


def late(conn: Connection, catalog: Catalog, *, now: datetime) -> dict[Action, int]:
    """How many deadlines of each action are due, wait for nothing and are not seen to.

    What recurs waits for its turn, and is counted by its schedule.
    Looked for where the controller itself will look next: a deadline that has passed is looked at again within ``AGAIN``.
    """
    wait = settings.terminations_wait(conn) is not None
    counted: Counter[Action] = Counter()
    ids = store.due(conn, now=now + AGAIN, limit=MOST_READ)
    for start in range(0, len(ids), _CHUNK):
        for service, seen in _with_seen(conn, services.several(conn, ids[start : start + _CHUNK])):
            found = deadlines(service, catalog.terms_of(service), told=seen.told)
            # A job of the kind that waits for somebody is done first.
            waits = {action.intent for action, _ in seen.waiting}
            counted.update(
                deadline.action
                for deadline in pending(found, seen.settled)
                if deadline.at <= now
                and not (deadline.waits or deadline.action.marks or deadline.action.recurs)
                and not (wait and deadline.action.destroys)
                and (deadline.action.intent is None or deadline.action.intent not in waits)
            )
    return {action: counted[action] for action in Action}


def behind_with_backups(db: Database, catalog: Catalog, *, now: datetime) -> int:
    """How many services have two slots or more of their schedule behind them without a backup; page by page, each in a view of
    its own, for there may be many."""
    count, cursor = 0, None
    while True:
        with db.read() as conn:
            page, cursor = services.list_page(conn, limit=_CHUNK, after=cursor, state=Lifecycle.ACTIVE.value)
        count += sum(behind(service, catalog.terms_of(service), now=now) for service in page)
        if cursor is None:
            return count


def erasures(conn: Connection, catalog: Catalog, *, now: datetime) -> dict[str, int]:
    """How many services that have ended, or were cancelled, are to be erased within a day at the latest (``soon``), and how many
    were to be (``passed``)."""
    counted = {"soon": 0, "passed": 0}
    cursor: str | None = None
    while True:
        page, cursor = services.list_page(conn, limit=_CHUNK, after=cursor, leaving=True)
        for service in page:
            terms = catalog.terms_of(service)
            latest = archives.erase_by(service, terms) or archives.archive_until(service, terms)
            if latest is not None and latest <= now + NEAR:
                counted["passed" if latest <= now else "soon"] += 1
        if cursor is None:
            return counted


def _with_seen(conn: Connection, found: Iterable[Service]) -> Iterator[tuple[Service, Seen]]:
    page = tuple(found)
    seen = store.seen_to(conn, [service.id for service in page])
    for service in page:
        yield service, seen[service.id]
