"""What a step under way says of itself, and how it hears that its job is to stop."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from orchestrator.domain.errors import StoreUnavailable
from orchestrator.store import jobs as job_store

if TYPE_CHECKING:
    from orchestrator.engine.acts import Works

_log = logging.getLogger(__name__)
# Of fifty steps under way each report is a write: they are not to keep the controller busy.
_PROGRESS_SECONDS = 1.0


class Progress:
    """Writes a step's progress down, at most once a second; a store that is away costs a report, not the step."""

    def __init__(self, works: Works, job_id: str, position: int) -> None:
        self._works = works
        self._job_id = job_id
        self._position = position
        self._next = 0.0

    def __call__(self, fraction: float, sentence: str) -> None:
        now = self._works.clock.monotonic()
        if now < self._next:
            return
        self._next = now + _PROGRESS_SECONDS
        self.say(fraction, sentence)

    def say(self, fraction: float, sentence: str) -> None:
        shown = {"progress": min(max(fraction, 0.0), 1.0), "message": sentence[:500]}
        try:
            with self._works.db.write() as conn:
                job_store.change_step(conn, self._job_id, self._position, **shown)
        except StoreUnavailable:
            _log.warning("the progress of a step could not be written")


class BrokenOff(Exception):
    """A step has ended before its end, because its job is asked to stop."""


class Yielding:
    """Progress that ends the step where it stands once its job is asked to stop. The driver's call ends with it."""

    def __init__(self, progress: Progress, stopping: Callable[[], bool]) -> None:
        self._progress = progress
        self._stopping = stopping

    def __call__(self, fraction: float, sentence: str) -> None:
        self._progress(fraction, sentence)
        if self._stopping():
            raise BrokenOff


class StopFlag:
    """Whether the job is asked to stop, looked up at most once a second."""

    def __init__(self, works: Works, job_id: str) -> None:
        self._works = works
        self._job_id = job_id
        self._next = 0.0
        self._stop = False

    def __call__(self) -> bool:
        now = self._works.clock.monotonic()
        if not self._stop and now >= self._next:
            self._next = now + _PROGRESS_SECONDS
            try:
                with self._works.db.read() as conn:
                    self._stop = job_store.stop_requested(conn, self._job_id)
            except StoreUnavailable:
                _log.warning("whether a job is to stop could not be looked up")
        return self._stop


def never() -> bool:
    return False
