"""Webhooks that come at the same time are taken one by one, the newest first, and none waits long for that. Those about the same
service keep the order in which they came.

Each has its transaction's turn after the others (docs/decisions/0018-newest-first.md). First come, first served would have every
one of fifty senders wait for nearly all of the others; the newest first, most are answered at once.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

# Seconds. Billing systems wait for some tens of them.
PATIENCE = 0.5
_SERVICE = re.compile(rb'"service_id"\s{0,9}:\s{0,9}"([^"]{1,200})"')


def service_of(body: bytes) -> str:
    """The service that a webhook seems to be about, or nothing. It is not known to be true: ask it only who is next."""
    found = _SERVICE.search(body)
    return "" if found is None else found[1].decode(errors="replace")


class Admission:
    """Of one event loop. ``patience`` in seconds: who has waited so long waits no more. Those all go on together, and share
    transactions (store/together.py).
    """

    def __init__(self, *, patience: float = PATIENCE) -> None:
        self._free = True
        self._patience = patience
        # By what they are about, the one with the newest last. What each is told is whether it has the turn, and hands it on.
        self._waiting: dict[str, list[asyncio.Future[bool]]] = {}

    @asynccontextmanager
    async def turn(self, about: str) -> AsyncIterator[None]:
        """Wait for the turn, not longer than ``patience``, and keep it for as long as the block takes."""
        has_it = await self._wait(about)
        try:
            yield
        finally:
            if has_it:
                self._hand_on()

    async def _wait(self, about: str) -> bool:
        if self._free:
            self._free = False
            return True
        loop = asyncio.get_running_loop()
        told: asyncio.Future[bool] = loop.create_future()
        self._waiting[about] = [*self._waiting.pop(about, ()), told]
        late = loop.call_later(self._patience, _tell, told, False)
        try:
            return await told
        except asyncio.CancelledError:
            if not told.cancelled() and told.result():  # at that very moment it was given the turn
                self._hand_on()
            raise
        finally:
            late.cancel()
            self._forget(about, told)

    def _hand_on(self) -> None:
        while self._waiting:
            about = next(reversed(self._waiting))
            told = self._waiting[about][0]
            self._forget(about, told)
            if _tell(told, True):
                return
        self._free = True

    def _forget(self, about: str, told: asyncio.Future[bool]) -> None:
        line = self._waiting.get(about, [])
        if told in line:
            line.remove(told)
            if not line:
                del self._waiting[about]


def _tell(told: asyncio.Future[bool], has_it: bool) -> bool:
    """Whether it still waited."""
    if told.done():
        return False
    told.set_result(has_it)
    return True
