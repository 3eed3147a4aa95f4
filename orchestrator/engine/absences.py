"""Puts jobs that wait for what they could not reach into their line again, when it is time."""

from __future__ import annotations

from orchestrator.engine.acts import Works
from orchestrator.engine.durable import Durable
from orchestrator.engine.line import line_up
from orchestrator.store import absences

BEAT_SECONDS = 1.0


class Absences:
    """``once`` may be called at any time, by any controller."""

    def __init__(self, works: Works, durable: Durable) -> None:
        self._works = works
        self._durable = durable

    def once(self) -> int:
        """How many are in their line again: their next try is due, or what they wait for was seen to be back."""
        now = self._works.clock.now()
        with self._works.db.read() as conn:
            if not absences.due(conn, now=now):
                return 0
        with self._works.db.write() as conn:
            found = absences.due(conn, now=now)
            for job_id, _service_id in found:
                absences.end(conn, job_id)
            for _job_id, service_id in found:
                line_up(conn, self._durable, service_id)
        return len(found)
