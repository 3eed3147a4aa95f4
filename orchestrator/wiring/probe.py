"""Whether the controller could take work now. The store is asked by writing to it: reading goes on when a disk is full."""

from __future__ import annotations

import logging
import threading

from orchestrator.domain.errors import StoreUnavailable
from orchestrator.ports.clock import Clock
from orchestrator.store import settings
from orchestrator.store.database import Database

log = logging.getLogger("orchestrator.wiring")

WRITTEN = "write_probe"
# Seconds for which an answer stands: supervisors and strangers ask as often as they like.
EVERY_SECONDS = 5.0


class WriteProbe:
    """``problems()`` writes a row of its own, at most once in some seconds; any thread may ask."""

    def __init__(self, db: Database, clock: Clock) -> None:
        self._db = db
        self._clock = clock
        self._lock = threading.Lock()
        self._asked: float | None = None
        self._found: tuple[str, ...] = ()

    def problems(self) -> tuple[str, ...]:
        """What keeps the store from being written to, as sentences; empty = nothing."""
        # Who finds it being asked just now takes the last answer: a store that hangs must not hold a thread per question.
        if not self._lock.acquire(blocking=False):
            return self._found
        try:
            now = self._clock.monotonic()
            if self._asked is None or now - self._asked >= EVERY_SECONDS:
                self._found = self._look()
                self._asked = self._clock.monotonic()
            return self._found
        finally:
            self._lock.release()

    def _look(self) -> tuple[str, ...]:
        at = self._clock.now()
        try:
            with self._db.write() as conn:
                # The value differs each time: what is the same already would not be written.
                settings.put(conn, WRITTEN, at.isoformat(), now=at)
        except StoreUnavailable as exc:
            log.error("not ready", extra={"problem": exc.message})
            return (exc.message,)
        return ()
