"""How much one caller may ask for: each token, and each address that is not of this very machine, has a bucket of its own.

In the memory of this process, so that it costs a request nothing, and forgotten with it. On the unix socket nothing is counted.
"""

from __future__ import annotations

import threading

from orchestrator.domain.errors import TooMany
from orchestrator.ports.clock import Clock

MINUTE = 60.0
# Buckets that are kept. A full one says nothing that a new one does not.
MOST = 10_000
# A TLS proxy here speaks for everybody: it counts for itself whom it lets through.
HERE = ("127.0.0.1", "::1")


class Rates:
    """``per_minute``: how many requests come back in a minute, and may come at once; 0 = no limit. Safe for many threads."""

    def __init__(self, per_minute: int, clock: Clock, *, what: str) -> None:
        self._most = float(per_minute)
        self._clock = clock
        self._what = what
        self._lock = threading.Lock()
        self._left: dict[str, tuple[float, float]] = {}

    def take(self, who: str) -> None:
        """One request of theirs. Raises TooMany, which says after how many seconds there is room for one."""
        if not self._most:
            return
        now = self._clock.monotonic()
        with self._lock:
            left = self._now(who, now)
            if left >= 1:
                self._left[who] = (left - 1, now)
                if len(self._left) > MOST:
                    self._forget(now)
                return
        seconds = (1 - left) * MINUTE / self._most
        raise TooMany(f"{self._what} made more than {self._most:g} requests in a minute", retry_after=seconds)

    def _now(self, who: str, now: float) -> float:
        left, at = self._left.get(who, (self._most, now))
        return min(self._most, left + (now - at) * self._most / MINUTE)

    def _forget(self, now: float) -> None:
        """Those that are full again; where that is not enough, the longest silent ones."""
        kept = {who: known for who, known in self._left.items() if self._now(who, now) < self._most}
        spare = sorted(kept, key=lambda who: kept[who][1])[: max(0, len(kept) - MOST)]
        self._left = {who: known for who, known in kept.items() if who not in set(spare)}
