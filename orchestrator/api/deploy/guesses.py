"""Whoever comes with tokens or URLs that nobody was given is let try only so often: by address, within a minute."""

from __future__ import annotations

import threading
from collections import deque

from orchestrator.ports.clock import Clock

MOST = 20
SECONDS = 60.0
_PEERS = 4096


class Guesses:
    """Wrong guesses by address. Kept in memory: a restart forgives."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._wrong: dict[str, deque[float]] = {}

    def too_many(self, peer: str) -> bool:
        with self._lock:
            return len(self._recent(peer)) >= MOST

    def wrong(self, peer: str) -> None:
        with self._lock:
            recent = self._recent(peer)
            recent.append(self._clock.monotonic())
            self._wrong.pop(peer, None)
            self._wrong[peer] = recent
            while len(self._wrong) > _PEERS:
                del self._wrong[next(iter(self._wrong))]

    def _recent(self, peer: str) -> deque[float]:
        recent = self._wrong.get(peer, deque())
        while recent and self._clock.monotonic() - recent[0] > SECONDS:
            recent.popleft()
        return recent
