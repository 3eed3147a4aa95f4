"""Writes that come at the same time, in one transaction: what a transaction costs (the order among writers, the look at the
lease, the disk's own time for the commit) is paid once for all of them.

Whoever comes first leads: it waits for the writers' turn, takes up whatever has come meanwhile, and carries it out. Those who
wait are told when all of it has held. Where one of the changes raises, which is rare, nothing of them is written, and each is
carried out again in a transaction of its own.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from contextvars import copy_context
from typing import Any

import sqlalchemy as sa

from orchestrator.domain.errors import StoreUnavailable

# So many changes at most are one transaction: the first of them waits for the last.
MOST = 16
# Where a write transaction's connection keeps what is to be done once it has held.
LATER = "after-commit"
Change = Callable[[sa.Connection], Any]


class _Asked:
    """A change that somebody waits for. It is carried out by another thread, in the context (contextvars) of who asked."""

    def __init__(self, change: Change) -> None:
        self._change = change
        self._context = copy_context()
        self._result: Any = None
        self._problem: BaseException | None = None
        self._later: list[Callable[[], None]] = []
        self.told = threading.Event()
        self.leads = False

    def carry(self, conn: sa.Connection) -> None:
        """Raises what the change raises. Once more is as if it had not been before: what was written then was taken back."""
        later: list[Callable[[], None]] = conn.info[LATER]
        before = len(later)
        try:
            self._result = self._context.run(self._change, conn)
            self._later = later[before:]
        finally:
            del later[before:]

    def failed(self, problem: BaseException) -> None:
        """The transaction did: whatever became of the change in it."""
        self._problem = problem

    def answer(self) -> Any:
        """Once it was told: the result, after what is to be done then. Raises what the change did, or why it was not written."""
        if self._problem is not None:
            raise self._problem
        for act in self._later:
            act()
        return self._result


class _OneRaised(Exception):
    """One of several changes did, and the session is whole."""


def _carry_all(conn: sa.Connection, taken: Sequence[_Asked]) -> None:
    for each in taken:
        try:
            each.carry(conn)
        except BaseException as exc:
            if len(taken) == 1 or conn.invalidated:
                raise
            raise _OneRaised from exc


class Together:
    """``write`` opens a write transaction, as ``Database.write`` does."""

    def __init__(self, write: Callable[[], AbstractContextManager[sa.Connection]]) -> None:
        self._write = write
        self._guard = threading.Lock()
        self._waiting: deque[_Asked] = deque()
        self._led = False

    def run(self, change: Change) -> Any:
        """Carry it out and return what it returns, when the transaction that held it has held. Raises as ``write``, and what
        the change raises."""
        asked = _Asked(change)
        with self._guard:
            self._waiting.append(asked)
            if not self._led:
                self._led = asked.leads = True
        if not asked.leads:
            asked.told.wait()
        if asked.leads:
            self._lead(asked)
        return asked.answer()

    def _lead(self, asked: _Asked) -> None:
        """Write what waits, whose first is ``asked``; then somebody else leads on."""
        taken: list[_Asked] = []
        try:
            with self._write() as conn:
                taken = self._take()
                _carry_all(conn, taken)
        except _OneRaised:
            self._apart(taken)
        except BaseException as exc:  # noqa: BLE001 - all who wait are told, the one in whose thread it was raised as it is
            for each in taken or (taken := self._take()):
                each.failed(exc if each is asked or isinstance(exc, StoreUnavailable) else _unfinished())
        finally:
            self._hand_on()
            for each in taken:
                each.told.set()

    def _apart(self, taken: Sequence[_Asked]) -> None:
        """Each by itself. Where the store is away none of the rest waits for it in turn: they are told at once."""
        away: StoreUnavailable | None = None
        for each in taken:
            try:
                if away is not None:
                    raise away
                with self._write() as conn:
                    each.carry(conn)
            except StoreUnavailable as exc:
                away = exc
                each.failed(exc)
            except BaseException as exc:  # noqa: BLE001 - it is told in its caller's thread
                each.failed(exc)

    def _take(self) -> list[_Asked]:
        with self._guard:
            return [self._waiting.popleft() for _ in range(min(MOST, len(self._waiting)))]

    def _hand_on(self) -> None:
        with self._guard:
            if self._waiting:
                self._waiting[0].leads = True
                self._waiting[0].told.set()
            else:
                self._led = False


def _unfinished() -> StoreUnavailable:
    return StoreUnavailable("the database cannot be used: the transaction was not finished", hint="try again in a moment")
