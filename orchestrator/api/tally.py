"""What the metrics tell of all services at once, and that takes a look at each: counted beside the scrapes, kept for a while."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Generic, TypeVar

from orchestrator.api import outlook
from orchestrator.domain.deadlines import Action
from orchestrator.engine.settings import Catalog
from orchestrator.ports.clock import Clock
from orchestrator.store.database import Database

TALLY_SECONDS = 30.0
# How old each may be before it is counted anew; a scrape does that by itself only where nobody did for three times as long.
LATE_FOR = timedelta(minutes=1)
BEHIND_FOR = timedelta(minutes=10)
_PATIENCE = 3

Counted = TypeVar("Counted")


class _Kept(Generic[Counted]):
    """One number that takes long to count, and is good for ``lasts``."""

    def __init__(self, count: Callable[[datetime], Counted], clock: Clock, *, lasts: timedelta) -> None:
        self._count = count
        self._clock = clock
        self._lasts = lasts
        self._guard = threading.Lock()
        self._last: tuple[datetime, Counted] | None = None

    def get(self, *, patience: int = 1) -> Counted:
        """What was counted last, unless that is older than so many times ``lasts``, or of a time that is still to come."""
        last, now = self._last, self._clock.now()
        if last is not None and last[0] <= now < last[0] + patience * self._lasts:
            return last[1]
        with self._guard:
            if self._last is not last and self._last is not None:  # somebody else has counted meanwhile
                return self._last[1]
            found = self._count(now)
            self._last = (now, found)
            return found


class Tally:
    """``once`` is called again and again in the background; ``late`` and ``behind`` tell what it found.

    All raise StoreUnavailable where they have to count and cannot.
    """

    def __init__(self, db: Database, catalog: Catalog, clock: Clock) -> None:
        self._db = db
        self._catalog = catalog
        self._late = _Kept(self._count_late, clock, lasts=LATE_FOR)
        self._behind = _Kept(self._count_behind, clock, lasts=BEHIND_FOR)

    def once(self) -> None:
        """Count anew what is old."""
        self._late.get()
        self._behind.get()

    def late(self) -> Mapping[Action, int]:
        """See ``outlook.late``."""
        return self._late.get(patience=_PATIENCE)

    def behind(self) -> int:
        """See ``outlook.behind_with_backups``."""
        return self._behind.get(patience=_PATIENCE)

    def _count_late(self, now: datetime) -> Mapping[Action, int]:
        with self._db.read() as conn:
            return outlook.late(conn, self._catalog, now=now)

    def _count_behind(self, now: datetime) -> int:
        return outlook.behind_with_backups(self._db, self._catalog, now=now)
