"""Slots of a node: how many heavy steps run on it at a time. A slot is a lease with a token; a dead holder's runs out."""

from __future__ import annotations

import logging
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

from orchestrator.domain.errors import StoreUnavailable, TransientDriverError
from orchestrator.engine.settings import EngineSettings
from orchestrator.ports.clock import Clock
from orchestrator.store import locks
from orchestrator.store.database import Database

_log = logging.getLogger(__name__)
_POLL_SECONDS = 0.25


class SlotWaitEnded(Exception):
    """The job was asked to stop while it waited for a slot: nothing was done."""


class Slots:
    """Gives out the slots and keeps those that are held from running out."""

    def __init__(self, db: Database, clock: Clock, settings: EngineSettings) -> None:
        self._db = db
        self._clock = clock
        self._settings = settings
        self._lease = timedelta(seconds=settings.slot_lease_seconds)
        self._held: set[str] = set()
        self._guard = threading.Lock()

    @contextmanager
    def hold(self, node: str, *, job_id: str, stopping: Callable[[], bool], waiting: Callable[[str], None]) -> Iterator[None]:
        """Hold a slot of the node for the block. ``waiting`` is told once when there is none free yet.

        Raises TransientDriverError after ``slot_wait_seconds`` without one, SlotWaitEnded when ``stopping`` turns true.
        """
        token = self._take(node, job_id=job_id, stopping=stopping, waiting=waiting)
        with self._guard:
            self._held.add(token)
        try:
            yield
        finally:
            with self._guard:
                self._held.discard(token)
            self._give_back(token)

    def renew(self) -> None:
        """Hold on to every slot that is held now; called from the sweep, well within the lease."""
        with self._guard:
            tokens = tuple(self._held)
        if not tokens:
            return
        with self._db.write() as conn:
            until = self._clock.now() + self._lease
            lost = [token for token in tokens if not locks.renew_slot(conn, token, expires_at=until)]
        with self._guard:
            lost = [token for token in lost if token in self._held]  # the others were given back meanwhile
        for _ in lost:
            # Slots only bound the load: the step goes on, one more than wanted beside it.
            _log.warning("the slot of a running heavy step was given to another")

    def _take(self, node: str, *, job_id: str, stopping: Callable[[], bool], waiting: Callable[[str], None]) -> str:
        token = secrets.token_hex(8)
        slots = self._settings.heavy_slots.get(node, 1)
        until = self._clock.monotonic() + self._settings.slot_wait_seconds
        told = False
        while not self._try(node, slots=slots, job_id=job_id, token=token):
            if stopping():
                raise SlotWaitEnded
            if self._clock.monotonic() >= until:
                raise TransientDriverError(f"no slot of node {node} came free", retry_after=30.0)
            if not told:
                waiting(f"waits for one of the {slots} slots of node {node}")
                told = True
            self._clock.sleep(_POLL_SECONDS)
        return token

    def _try(self, node: str, *, slots: int, job_id: str, token: str) -> bool:
        now = self._clock.now()
        with self._db.write() as conn:
            slot = locks.take_slot(conn, node, slots=slots, job_id=job_id, token=token, now=now, expires_at=now + self._lease)
        return slot is not None

    def _give_back(self, token: str) -> None:
        try:
            with self._db.write() as conn:
                locks.release_slot(conn, token)
        except StoreUnavailable:
            _log.warning("a node's slot could not be given back; it runs out by itself")
