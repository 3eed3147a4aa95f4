"""What runs beside the jobs: telling billing, keeping slots, finding jobs that fell out of the queue, tidying up."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from datetime import timedelta

from orchestrator.domain.errors import InDoubt, OrchestratorError
from orchestrator.domain.intents import JobState
from orchestrator.engine.acts import Works
from orchestrator.engine.durable import GONE, Durable, run_id
from orchestrator.engine.endings import OPEN, Ending, Endings
from orchestrator.engine.slots import Slots
from orchestrator.ports.notifier import Notifier
from orchestrator.store import events, outbox
from orchestrator.store import jobs as job_store
from orchestrator.store.outbox import Message

_log = logging.getLogger(__name__)
_RETRY_SECONDS = 5.0
_RETRY_CEILING_SECONDS = 3600.0
_TIDY_SECONDS = 3600.0
_JOIN_SECONDS = 5.0


class Mail:
    """Posts the outbox until each message is taken; one thread."""

    def __init__(self, works: Works, notifier: Notifier) -> None:
        self._works = works
        self._notifier = notifier

    def post_due(self) -> int:
        """Post what is due, a batch at most; returns how many were taken."""
        settings = self._works.settings
        with self._works.db.read() as conn:
            due = outbox.due(conn, now=self._works.clock.now(), limit=settings.outbox_batch)
        return sum(self._post(message) for message in due if not self._works.halting.is_set())

    def _post(self, message: Message) -> bool:
        deadline = self._works.settings.notify_deadline_seconds
        answer = self._notifier.post(message_id=message.id, body=message.body.encode(), deadline=deadline)
        now = self._works.clock.now()
        with self._works.db.write() as conn:
            if answer.taken:
                outbox.mark_taken(conn, message.id, status=answer.status, now=now)
            else:
                again = now + timedelta(seconds=mail_delay(message.attempts + 1))
                outbox.mark_failed(conn, message.id, status=answer.status, problem=answer.detail, next_attempt_at=again)
        return answer.taken


def mail_delay(attempts: int) -> float:
    """Seconds until a message that so many attempts have failed for is posted again: doubling, an hour at most."""
    return float(min(_RETRY_SECONDS * 2 ** min(attempts - 1, 16), _RETRY_CEILING_SECONDS))


class Sweep:
    """The engine's own housekeeping; each part may be called at any time and repeated."""

    def __init__(self, works: Works, durable: Durable, *, endings: Endings, slots: Slots) -> None:
        self._works = works
        self._durable = durable
        self._endings = endings
        self._slots = slots
        self._tidy_at = 0.0

    def once(self) -> None:
        self._slots.renew()
        self.find_lost()
        if self._works.clock.monotonic() >= self._tidy_at:
            self._tidy_at = self._works.clock.monotonic() + _TIDY_SECONDS
            self.tidy()

    def find_lost(self) -> int:
        """Jobs that are to run and that the queue does not know (any more): enqueued again, or shown to an operator.

        The first is what a restored store leaves behind, the second a job that ended the process again and again.
        """
        with self._works.db.read() as conn:
            waiting = job_store.in_line(conn)
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
                self._durable.enqueue(conn, job_id=job.id, run=job.run, since=job.created_at)
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
            events.forget(conn, before=now - self._works.settings.keep_events)


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
