"""The lock of a service and the slots of a node: rows with tokens, so that a late holder is told from the present one.

Every function runs inside the caller's write transaction. Times are aware, UTC.
"""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from orchestrator.store.inserting import insert_new
from orchestrator.store.tables import jobs, node_slots, service_locks

# Made once: making a statement costs more than running it.
_OF_SERVICE = service_locks.c.service_id == sa.bindparam("whose")
_HOLDER = sa.select(service_locks.c.job_id).where(_OF_SERVICE)
_FREE = service_locks.c.service_id == sa.bindparam("service_id")
_TAKE = insert_new(service_locks, ("service_id", "job_id", "token", "taken_at"), known=_FREE)
_TAKE_OVER = sa.update(service_locks).where(_OF_SERVICE)
_RELEASE = sa.delete(service_locks).where(_OF_SERVICE, service_locks.c.job_id == sa.bindparam("job"))
_HELD = sa.select(jobs.c.stop_requested).join(service_locks, service_locks.c.service_id == jobs.c.service_id)
_HELD = _HELD.where(jobs.c.id == sa.bindparam("job"), service_locks.c.token == sa.bindparam("held"))


def take_service(conn: sa.Connection, service_id: str, *, job_id: str, token: str, now: datetime) -> str:
    """Take the service's lock for the job and return the job that holds it now: the caller's own id = taken.

    A lock that the same job holds is taken over with the new token: the former execution of that job is over, and
    whatever it still tries to write is refused by its old token.
    """
    taken = conn.execute(_TAKE, {"service_id": service_id, "job_id": job_id, "token": token, "taken_at": now})
    if taken.rowcount:
        return job_id
    holder = conn.execute(_HOLDER, {"whose": service_id}).scalar_one()
    if holder == job_id:
        conn.execute(_TAKE_OVER, {"whose": service_id, "token": token, "taken_at": now})
    return str(holder)


def stop_requested(conn: sa.Connection, job_id: str, *, token: str) -> bool | None:
    """Whether the job is asked to stop; None where the token is not the one in force any more."""
    found = conn.execute(_HELD, {"job": job_id, "held": token}).scalar_one_or_none()
    return None if found is None else bool(found)


def release_service(conn: sa.Connection, service_id: str, *, job_id: str) -> None:
    """Give the lock back; nothing happens where another job holds it."""
    conn.execute(_RELEASE, {"whose": service_id, "job": job_id})


def take_slot(
    conn: sa.Connection, node: str, *, slots: int, job_id: str, token: str, now: datetime, expires_at: datetime
) -> int | None:
    """Take a free slot of the node (0 … slots - 1), an expired one included, or None where all are held."""
    expired = sa.and_(node_slots.c.node == node, sa.or_(node_slots.c.expires_at <= now, node_slots.c.job_id == job_id))
    conn.execute(sa.delete(node_slots).where(expired))
    taken = set(conn.execute(sa.select(node_slots.c.slot).where(node_slots.c.node == node)).scalars())
    free = next((slot for slot in range(slots) if slot not in taken), None)
    if free is not None:
        row = {"node": node, "slot": free, "job_id": job_id, "token": token, "expires_at": expires_at}
        conn.execute(sa.insert(node_slots).values(row))
    return free


def renew_slot(conn: sa.Connection, token: str, *, expires_at: datetime) -> bool:
    """Hold the slot longer; False where it was lost meanwhile."""
    renewed = conn.execute(sa.update(node_slots).where(node_slots.c.token == token).values(expires_at=expires_at))
    return renewed.rowcount == 1


def release_slot(conn: sa.Connection, token: str) -> None:
    conn.execute(sa.delete(node_slots).where(node_slots.c.token == token))
