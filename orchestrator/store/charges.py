"""Charges, and what billing is told of them. Every function runs inside the caller's transaction.

Billing is told in the same transaction of each that is made, as ``charge.made``, and of each that is taken back, as
``charge.taken_back``.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from orchestrator.domain.charges import Charge, ChargeKind
from orchestrator.domain.errors import NotFound, WrongState
from orchestrator.store import outbox
from orchestrator.store.database import Connection
from orchestrator.store.paging import page
from orchestrator.store.tables import charges, services


@dataclass(frozen=True, slots=True, kw_only=True)
class ChargeRecord:
    """A charge with what became of it. ``times``: how often it was made, having been taken back between."""

    id: str
    service_id: str
    kind: ChargeKind
    amount: int
    quantity: int
    reason: str
    clause: str
    policy: str
    job_id: str
    made_at: datetime
    taken_back_at: datetime | None
    why_taken_back: str
    by_operation: bool
    times: int

    @property
    def open(self) -> bool:
        """It stands."""
        return self.taken_back_at is None


def make(conn: Connection, charge: Charge, *, job_id: str, now: datetime) -> None:
    """Charge it, once: the same id again changes nothing, unless it was taken back because its operation had failed."""
    known = find(conn, charge.id)
    if known is not None:
        if known.by_operation and not known.open:
            _make_again(conn, known, job_id=job_id, now=now)
        return
    conn.execute(sa.insert(charges).values(**asdict(charge) | {"kind": charge.kind.value, "job_id": job_id, "made_at": now}))
    _tell_made(conn, get(conn, charge.id), now=now)


def take_back(conn: Connection, charge_id: str, *, why: str, now: datetime, by_operation: bool = False) -> ChargeRecord:
    """It is not owed any more. Raises NotFound, and WrongState where it was taken back before."""
    known = get(conn, charge_id)
    if not known.open:
        raise WrongState(f"charge {charge_id} was taken back before: {known.why_taken_back}")
    values = {"taken_back_at": now, "why_taken_back": why, "by_operation": by_operation}
    conn.execute(sa.update(charges).where(charges.c.id == charge_id).values(**values))
    after = get(conn, charge_id)
    suffix = ".back" if known.times == 1 else f".back-{known.times}"
    _tell(conn, after, kind="charge.taken_back", message_id=f"{charge_id}{suffix}", now=now)
    return after


def operation_failed(conn: Connection, job_id: str, *, why: str, now: datetime) -> None:
    """Take back what was charged for what the job was to do."""
    query = sa.select(charges.c.id).where(charges.c.job_id == job_id, charges.c.taken_back_at.is_(None)).order_by(charges.c.id)
    for charge_id in conn.scalars(query).all():
        take_back(conn, charge_id, why=why, now=now, by_operation=True)


def operation_done(conn: Connection, service_id: str, kind: ChargeKind, *, job_id: str, now: datetime) -> None:
    """What failed was done after all, by the same job or another: what was taken back for that is owed again."""
    whose = (charges.c.service_id == service_id, charges.c.kind == kind.value, charges.c.by_operation)
    query = sa.select(charges).where(*whose, charges.c.taken_back_at.is_not(None)).order_by(charges.c.id)
    for row in conn.execute(query).all():
        _make_again(conn, _record(row), job_id=job_id, now=now)


def owed_again(conn: Connection, charge_id: str, *, job_id: str, now: datetime) -> None:
    """The operation of this one charge failed and was done after all. A charge that a person took back stays so."""
    known = find(conn, charge_id)
    if known is not None and known.by_operation and not known.open:
        _make_again(conn, known, job_id=job_id, now=now)


def find(conn: Connection, charge_id: str) -> ChargeRecord | None:
    row = conn.execute(sa.select(charges).where(charges.c.id == charge_id)).one_or_none()
    return None if row is None else _record(row)


def get(conn: Connection, charge_id: str) -> ChargeRecord:
    """The charge. Raises NotFound."""
    found = find(conn, charge_id)
    if found is None:
        raise NotFound(f"there is no charge {charge_id}", hint="`orchestrator charge list` shows all of them")
    return found


def list_page(
    conn: Connection,
    *,
    limit: int = 100,
    after: str | None = None,
    service_id: str | None = None,
    kind: str | None = None,
    since: datetime | None = None,
    standing: bool | None = None,
) -> tuple[tuple[ChargeRecord, ...], str | None]:
    """Charges by id. ``since``: made then or later; ``standing``: only those not taken back, or only those that were."""
    query = sa.select(charges)
    if service_id is not None:
        query = query.where(charges.c.service_id == service_id)
    if kind is not None:
        query = query.where(charges.c.kind == kind)
    if since is not None:
        query = query.where(charges.c.made_at >= since)
    if standing is not None:
        query = query.where(charges.c.taken_back_at.is_(None) if standing else charges.c.taken_back_at.is_not(None))
    return page(conn, query, key=charges.c.id, limit=limit, after=after, newest_first=False, make=_record)


def latest(conn: Connection, service_id: str, *, limit: int) -> tuple[ChargeRecord, ...]:
    """Those of one service, the newest first."""
    query = sa.select(charges).where(charges.c.service_id == service_id)
    return tuple(_record(row) for row in conn.execute(query.order_by(charges.c.made_at.desc(), charges.c.id).limit(limit)))


def totals(conn: Connection) -> dict[tuple[str, str], tuple[int, int]]:
    """How many stand, and how many rupiah that is, by (kind, plan)."""
    query = (
        sa.select(charges.c.kind, services.c.plan, sa.func.count(), sa.func.sum(charges.c.amount))
        .join(services, services.c.id == charges.c.service_id)
        .where(charges.c.taken_back_at.is_(None))
        .group_by(charges.c.kind, services.c.plan)
    )
    return {(kind, plan): (int(number), int(amount)) for kind, plan, number, amount in conn.execute(query)}


def _make_again(conn: Connection, known: ChargeRecord, *, job_id: str, now: datetime) -> None:
    values = {"taken_back_at": None, "why_taken_back": "", "by_operation": False, "times": known.times + 1, "job_id": job_id}
    conn.execute(sa.update(charges).where(charges.c.id == known.id).values(**values))
    _tell_made(conn, get(conn, known.id), now=now)


def _tell_made(conn: Connection, charge: ChargeRecord, *, now: datetime) -> None:
    message_id = charge.id if charge.times == 1 else f"{charge.id}.again-{charge.times}"
    _tell(conn, charge, kind="charge.made", message_id=message_id, now=now)


def _tell(conn: Connection, charge: ChargeRecord, *, kind: str, message_id: str, now: datetime) -> None:
    client = conn.execute(sa.select(services.c.client_id).where(services.c.id == charge.service_id)).scalar()
    data = {
        "charge_id": charge.id,
        "service_id": charge.service_id,
        "client_id": client or "",
        "kind": charge.kind.value,
        "amount": charge.amount,
        "quantity": charge.quantity,
        "reason": charge.reason,
        "policy": charge.policy,
        "clause": charge.clause,
        "job_id": charge.job_id,
    }
    if charge.taken_back_at is not None:
        data["why"] = charge.why_taken_back
    outbox.add(conn, message_id=message_id, kind=kind, service_id=charge.service_id, data=data, now=now)


def _record(row: sa.Row[Any]) -> ChargeRecord:
    values = dict(row._mapping)
    return ChargeRecord(**values | {"kind": ChargeKind(values["kind"])})
