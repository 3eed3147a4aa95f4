"""Planned restarts, as operators call them off."""

from __future__ import annotations

from datetime import datetime

from orchestrator.domain import plan_changes, restarts
from orchestrator.domain.errors import WrongState
from orchestrator.domain.received import Received
from orchestrator.domain.services import Service
from orchestrator.domain.terms import Terms
from orchestrator.engine.clerk import Clerk, Submitted
from orchestrator.engine.settings import Beside
from orchestrator.store import jobs as job_store
from orchestrator.store.database import Connection


class Restarting:
    """Raises what the store raises."""

    def __init__(self, clerk: Clerk) -> None:
        self._clerk = clerk

    def call_off(self, service_id: str, *, who: str, why: str, beside: Beside[Submitted]) -> Submitted:
        """Nobody restarts its guest for its plan any more; its customer's next stop and start does.

        Raises NotFound, and WrongState where its window has come and a job is about to restart it.
        """

        def decide(service: Service, _terms: Terms, _now: datetime) -> Received:
            return restarts.call_off(service, why=why)

        def in_time(conn: Connection, submitted: Submitted) -> None:
            _require_none_at_work(conn, service_id)
            beside(conn, submitted)

        return self._clerk.act(service_id, decide, who=who, what="restart called off", facts={"why": why}, beside=in_time)


def _require_none_at_work(conn: Connection, service_id: str) -> None:
    for job in job_store.unfinished(conn, service_id):
        if plan_changes.NOT_AFTER in job.arguments:
            raise WrongState(
                f"its window has come: job {job.id} restarts it, and is {job.state}", hint=f"orchestrator job cancel {job.id}"
            )
