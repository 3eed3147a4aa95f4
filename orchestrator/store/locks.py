"""The lock of a service and the slots of a node: rows with tokens, so that a late holder is told from the present one.

Every function runs inside the caller's write transaction. Times are aware, UTC.
"""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from orchestrator.store.tables import node_slots, service_locks


def take_service(conn: sa.Connection, service_id: str, *, job_id: str, token: str, now: datetime) -> str:
    """Take the service's lock for the job and return the job that holds it now: the caller's own id = taken.

    A lock that the same job holds is taken over with the new token: the former execution of that job is over, and
    whatever it still tries to write is refused by its old token.
    """
    holder = conn.execute(sa.select(service_locks.c.job_id).where(service_locks.c.service_id == service_id)).scalar()
    if holder is None:
        conn.execute(sa.insert(service_locks).values(service_id=service_id, job_id=job_id, token=token, taken_at=now))
        return job_id
    if holder == job_id:
        mine = service_locks.c.service_id == service_id
        conn.execute(sa.update(service_locks).where(mine).values(token=token, taken_at=now))
    return str(holder)


def holds_service(conn: sa.Connection, service_id: str, *, token: str) -> bool:
    """Whether the token is the one in force."""
    found = conn.execute(sa.select(service_locks.c.token).where(service_locks.c.service_id == service_id)).scalar()
    return found == token


def release_service(conn: sa.Connection, service_id: str, *, job_id: str) -> None:
    """Give the lock back; nothing happens where another job holds it."""
    conn.execute(sa.delete(service_locks).where(service_locks.c.service_id == service_id, service_locks.c.job_id == job_id))


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
