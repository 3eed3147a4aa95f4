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
            begun = service.point_of_no_return is not None or passed(conn, job_id)
            if not reason and kind.wipes and job.stop_requested and not begun:
                reason = "the job was asked to stop, and nothing is destroyed yet"
            if not reason and kind == IntentKind.ERASE:
                reason = _brought_back(conn, service_id)
            if reason:
                said = f"{kind} of {service_id} is refused ({act}): {reason}"
                raise FenceClosed(said, service=service_id, job=job_id, act=act)
            if destroys and kind.wipes:
                self._pass(conn, service, job_id=job_id, act=act, ends=kind.ends)

    def withdraw(self, *, service_id: str, job_id: str) -> None:
        """See the port. Where more than one act was let through nothing is taken back: one of them may have destroyed."""
        with self._db.write() as conn:
            if _let_through(conn, service_id, job_id) != [job_id]:
                return
            conn.execute(sa.delete(fence_passes).where(fence_passes.c.service_id == service_id, fence_passes.c.job_id == job_id))
            service = services.get(conn, service_id)
            if service is not None:
                services.put(conn, replace(service, point_of_no_return=None), now=self._clock.now())

    def stopped(self, *, service_id: str) -> tuple[str, ...]:
        """See the port."""
        with self._db.read() as conn:
            service = services.get(conn, service_id)
        return () if service is None else tuple(service.stop_reasons)

    def _pass(self, conn: Connection, service: Service, *, job_id: str, act: str, ends: bool) -> None:
        """``ends``: the service ends with it, and no payment brings its data back any more."""
        now = self._clock.now()
        own = (fence_passes.c.service_id == service.id, fence_passes.c.job_id == job_id, fence_passes.c.act == act)
        if conn.execute(sa.update(fence_passes).where(*own).values(passed_at=now)).rowcount == 0:
            conn.execute(sa.insert(fence_passes).values(service_id=service.id, job_id=job_id, act=act, passed_at=now))
        if ends and service.point_of_no_return is None:
            services.put(conn, replace(service, point_of_no_return=now), now=now)


def passed(conn: Connection, job_id: str) -> bool:
    """Whether a destructive act of the job was let through."""
    query = sa.select(sa.func.count()).select_from(fence_passes).where(fence_passes.c.job_id == job_id)
    return bool(conn.execute(query).scalar_one())


def _let_through(conn: Connection, service_id: str, job_id: str) -> list[str]:
    """The jobs whose acts were: this one, and those that end the service; what it was installed anew by says nothing of them."""
    ending = [kind.value for kind in IntentKind if kind.ends]
    query = sa.select(fence_passes.c.job_id).join(jobs, jobs.c.id == fence_passes.c.job_id)
    mine = sa.or_(fence_passes.c.job_id == job_id, jobs.c.intent.in_(ending))
    return list(conn.scalars(query.where(fence_passes.c.service_id == service_id, mine)))


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
