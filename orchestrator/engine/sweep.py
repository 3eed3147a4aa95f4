"""What runs beside the jobs: keeping slots, finding jobs that fell out of the queue, tidying up."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from orchestrator.domain.errors import InDoubt, OrchestratorError
from orchestrator.domain.intents import JobState
from orchestrator.engine.acts import Works
from orchestrator.engine.durable import GONE, Durable, run_id
from orchestrator.engine.endings import OPEN, Ending, Endings
from orchestrator.engine.slots import Slots
from orchestrator.store import controllers, deployments, events, outbox
from orchestrator.store import jobs as job_store

_log = logging.getLogger(__name__)
_TIDY_SECONDS = 3600.0
_JOIN_SECONDS = 5.0


class Sweep:
    """The engine's own housekeeping; each part may be called at any time and repeated."""

    def __init__(self, works: Works, durable: Durable, *, endings: Endings, slots: Slots) -> None:
        self._works = works
        self._durable = durable
        self._endings = endings
        self._slots = slots
        self._tidy_at = 0.0

    def once(self, *, leads: bool = True) -> None:
        """``leads``: this controller is the one that does what one alone is to do; its own slots each keeps."""
        self._slots.renew()
        if not leads:
            return
        self.find_lost()
        if self._works.clock.monotonic() >= self._tidy_at:
            self._tidy_at = self._works.clock.monotonic() + _TIDY_SECONDS
            self.tidy()

    def find_lost(self) -> int:
        """Jobs that are to run and that the queue does not know (any more): enqueued again, or shown to an operator.

        The first is what a restored store leaves behind, the second a job that ended the process again and again.
        """
        with self._works.db.read() as conn:
            waiting = job_store.in_line(conn, share=self._durable.share)
        known = self._durable.states(run_id(job_id, run) for job_id, run in waiting)
        words = {(job_id, run): known.get(run_id(job_id, run)) for job_id, run in waiting}
        return sum(self._mend(job_id, run, word) for (job_id, run), word in words.items() if word in (None, *GONE))

    def _mend(self, job_id: str, run: int, word: str | None) -> bool:
        with self._works.db.write() as conn:
            job = job_store.get(conn, job_id)
            if job.run != run or job.state not in OPEN:  # it ended between our two looks
                return False
            if word is None:
                _log.warning("job %s was lost from the queue and is put back", job.id)
                self._durable.enqueue(conn, job_id=job.id, run=job.run, since=job.created_at, lost=True)
            else:
                _log.error("job %s is %s and its run is over (%s)", job.id, job.state, word)
                error = "its run broke off: see the controller's log, then retry or cancel it"
                ending = Ending(state=JobState.NEEDS_OPERATOR, code=InDoubt.code, error=error)
                self._endings.write(conn, job, ending)
        return True

    def tidy(self) -> None:
        """Delete what has been kept long enough."""
        now = self._works.clock.now()
        self._durable.forget(before=now - self._works.settings.keep_engine_rows)
        with self._works.db.write() as conn:
            deployments.forget(conn, before=now - self._works.settings.keep_engine_rows)
            events.forget(conn, before=now - self._works.settings.keep_events)
            outbox.forget(conn, before=now - self._works.settings.keep_messages)
            controllers.forget(conn, before=now - self._works.settings.keep_engine_rows)


class Beat:
    """One thread that does its part again and again. A turn that fails is logged; the next one tries again."""

    def __init__(self, name: str, act: Callable[[], object], *, seconds: float) -> None:
        self._act = act
        self._seconds = seconds
        self._woken = threading.Event()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._loop, name=f"engine-{name}", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Take the next turn now."""
        self._woken.set()

    def stop(self) -> None:
        self._ending.set()
        self._woken.set()
        self._thread.join(timeout=_JOIN_SECONDS)

    def _loop(self) -> None:
        while not self._ending.is_set():
            try:
                self._act()
            except OrchestratorError as exc:
                _log.warning("%s: %s", self._thread.name, exc)
            except Exception:  # noqa: BLE001 - the rim of a thread: without it one bad turn would end all the turns to come
                _log.exception("%s: a turn failed", self._thread.name)
            self._woken.wait(self._seconds)
            self._woken.clear()
