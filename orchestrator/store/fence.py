"""The fence in the store (port Fence): the last word before a destructive act, on the state of this very moment."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from orchestrator.domain.errors import FenceClosed, Frozen
from orchestrator.domain.fence import closed
from orchestrator.domain.intents import CANCELLATION, IntentKind, JobState
from orchestrator.domain.services import Service
from orchestrator.ports.clock import Clock
from orchestrator.store import services, settings
from orchestrator.store.database import Connection, Database
from orchestrator.store.tables import fence_passes, jobs


class StoreFence:
    """Evaluates in one write transaction, so that a payment is either seen here or comes after the act was let through."""

    def __init__(self, db: Database, clock: Clock) -> None:
        self._db = db
        self._clock = clock

    def require(self, *, service_id: str, job_id: str, act: str, destroys: bool = True) -> None:
        """See the port. Also raises FenceClosed for a job that is over, and for a job of another service."""
        with self._db.write() as conn:
            freeze = settings.freeze(conn)
            if freeze is not None:
                raise Frozen(
                    f"{act} of {service_id} is held back: frozen by {freeze.by} ({freeze.why})", hint="orchestrator freeze off"
                )
            service = services.get(conn, service_id)
            if service is None:
                raise FenceClosed(f"{act}: there is no service {service_id}")
            job = _job(conn, service_id=service_id, job_id=job_id, act=act)
            kind = IntentKind(job.intent)
            reason = closed(service, kind=kind, payments=job.payments, cancellation=job.arguments.get(CANCELLATION, ""))
            if not reason and kind.ends and job.stop_requested and service.point_of_no_return is None:
                reason = "the job was asked to stop, and nothing is destroyed yet"
            if not reason and kind == IntentKind.ERASE:
                reason = _brought_back(conn, service_id)
            if reason:
                raise FenceClosed(f"{act} of {service_id} is refused: {reason}", service=service_id, job=job_id, act=act)
            if destroys and kind.ends:
                self._pass(conn, service, job_id=job_id, act=act)

    def withdraw(self, *, service_id: str, job_id: str) -> None:
        """See the port. Where more than one act was let through nothing is taken back: one of them may have destroyed."""
        with self._db.write() as conn:
            query = sa.select(fence_passes.c.job_id).where(fence_passes.c.service_id == service_id)
            if list(conn.scalars(query)) != [job_id]:
                return
            conn.execute(sa.delete(fence_passes).where(fence_passes.c.service_id == service_id))
            service = services.get(conn, service_id)
            if service is not None:
                services.put(conn, replace(service, point_of_no_return=None), now=self._clock.now())

    def stopped(self, *, service_id: str) -> tuple[str, ...]:
        """See the port."""
        with self._db.read() as conn:
            service = services.get(conn, service_id)
        return () if service is None else tuple(service.stop_reasons)

    def _pass(self, conn: Connection, service: Service, *, job_id: str, act: str) -> None:
        now = self._clock.now()
        own = (fence_passes.c.service_id == service.id, fence_passes.c.job_id == job_id, fence_passes.c.act == act)
        if conn.execute(sa.update(fence_passes).where(*own).values(passed_at=now)).rowcount == 0:
            conn.execute(sa.insert(fence_passes).values(service_id=service.id, job_id=job_id, act=act, passed_at=now))
        if service.point_of_no_return is None:
            services.put(conn, replace(service, point_of_no_return=now), now=now)


def begin_anew(conn: Connection, service_id: str) -> None:
    """Forget what was let through: it ended with the data in another place, where it is whole."""
    conn.execute(sa.delete(fence_passes).where(fence_passes.c.service_id == service_id))


def _brought_back(conn: Connection, service_id: str) -> str:
    """Why the archive may not go: a guest of it is there, or half there; '' = none is."""
    wanted = (jobs.c.service_id == service_id, jobs.c.intent == IntentKind.REACTIVATE.value)
    for row in conn.execute(sa.select(jobs.c.id, jobs.c.state).where(*wanted)):
        if not JobState(row.state).final:
            return f"job {row.id} brings it back, and is not over"
    return ""


def _job(conn: Connection, *, service_id: str, job_id: str, act: str) -> Any:
    """Its row: intent, payments, state, arguments and stop_requested."""
    wanted = sa.select(jobs.c.intent, jobs.c.payments, jobs.c.state, jobs.c.arguments, jobs.c.stop_requested)
    row = conn.execute(wanted.where(jobs.c.id == job_id, jobs.c.service_id == service_id)).one_or_none()
    if row is None:
        raise FenceClosed(f"{act} of {service_id} is refused: job {job_id} is no job of this service")
    if JobState(row.state).final:
        raise FenceClosed(f"{act} of {service_id} is refused: job {job_id} is over ({row.state})")
    return row
