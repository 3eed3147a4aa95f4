"""Jobs that wait for something to be reached again: until when each does, and since when it has."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

import sqlalchemy as sa

from orchestrator.domain.absences import Absence
from orchestrator.store.database import Connection
from orchestrator.store.tables import absences, jobs

# Made once: every job that is put in its line asks.
_OF = sa.select(absences).where(absences.c.job_id == sa.bindparam("job"))
_WAITS = sa.select(sa.literal(1)).where(absences.c.job_id == sa.bindparam("job"), absences.c.waits)
_END = sa.update(absences).where(absences.c.job_id == sa.bindparam("job")).values(waits=False)
_DROP = sa.delete(absences).where(absences.c.job_id == sa.bindparam("job"))


def get(conn: Connection, job_id: str) -> Absence | None:
    """What the job waits for, or tries again to reach; None where it is nothing."""
    row = conn.execute(_OF, {"job": job_id}).one_or_none()
    return None if row is None else _absence(row)


def waits(conn: Connection, job_id: str) -> bool:
    """Whether the job waits, and is not to be in its line."""
    return conn.execute(_WAITS, {"job": job_id}).scalar() is not None


def waiting(conn: Connection, job_ids: Iterable[str] | None = None) -> dict[str, Absence]:
    """Those of these jobs that wait, by id; of all jobs where none are named."""
    query = sa.select(absences).where(absences.c.waits)
    if job_ids is not None:
        query = query.where(absences.c.job_id.in_(list(job_ids)))
    return {row.job_id: _absence(row) for row in conn.execute(query)}


def put(conn: Connection, job_id: str, absence: Absence) -> None:
    """The job waits from now on, and is not in its line."""
    drop(conn, job_id)
    values = {name: getattr(absence, name) for name in ("away", "since", "until", "why", "position", "tries")}
    conn.execute(sa.insert(absences).values(job_id=job_id, waits=True, **values))


def drop(conn: Connection, job_id: str) -> None:
    """It waits for nothing, and has not: none = success."""
    conn.execute(_DROP, {"job": job_id})


def is_back(conn: Connection, away: str, *, now: datetime) -> None:
    """What waits for it is to try again now."""
    conn.execute(sa.update(absences).where(absences.c.away == away, absences.c.waits).values(until=now))


def due(conn: Connection, *, now: datetime) -> tuple[tuple[str, str], ...]:
    """(job, service) of those that are to be in their line again: their time has come."""
    query = sa.select(jobs.c.id, jobs.c.service_id).join(absences, absences.c.job_id == jobs.c.id)
    query = query.where(absences.c.waits, absences.c.until <= now).order_by(jobs.c.id)
    return tuple((row.id, row.service_id) for row in conn.execute(query))


def end(conn: Connection, job_id: str) -> None:
    """The job may be in its line again; since when it has waited stays known."""
    conn.execute(_END, {"job": job_id})


def _absence(row: sa.Row[tuple[object, ...]]) -> Absence:
    return Absence(**{key: value for key, value in row._mapping.items() if key not in ("job_id", "waits")})
