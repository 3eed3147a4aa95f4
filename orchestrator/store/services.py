"""Services: the record of what each customer has, its holds, and what our jobs made for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from orchestrator.domain import account_settings
from orchestrator.domain.complaints import Closed, Complaint, ComplaintKind
from orchestrator.domain.kept_volumes import KeptKind, KeptVolume
from orchestrator.domain.planned import PlannedRestart
from orchestrator.domain.policies import Effect
from orchestrator.domain.services import (
    Cancellation,
    CancellationKind,
    Chargeback,
    DisputedInvoice,
    Hold,
    HoldEffect,
    HoldReason,
    Lifecycle,
    Refund,
    Service,
    ServiceFacts,
    Traffic,
)
from orchestrator.store.database import Connection
from orchestrator.store.inserting import insert_new
from orchestrator.store.paging import page
from orchestrator.store.tables import holds, service_nodes, services

# A record that was written has its deadlines looked at in the next turn: this is before any of them.
# Of these nothing is left.
_LEFT = (Lifecycle.ERASED.value, Lifecycle.CANCELLED.value)
AT_ONCE = datetime(1970, 1, 1, tzinfo=UTC)
# What a record is read from: not what our jobs made, which can be much.
_RECORD = [column for column in services.c if column.name not in ("facts", "next_due_at")]
# A service's node is written with its facts alone.
_FIELDS = tuple(field.name for field in fields(Service) if field.name not in ("holds", "node"))
# Made once: making a statement costs more than running it.
_ITS_HOLDS = [column.label(f"hold_{column.name}") for column in holds.c]
_ONE = sa.select(*_RECORD, *_ITS_HOLDS).select_from(services.outerjoin(holds, holds.c.service_id == services.c.id))
_ONE = _ONE.where(services.c.id == sa.bindparam("service")).order_by(holds.c.since, holds.c.reason)
_REST = sa.select(services.c.state, services.c.forgotten_at).where(services.c.id == sa.bindparam("service"))
_SEVERAL = sa.select(*_RECORD).where(services.c.id.in_(sa.bindparam("which", expanding=True))).order_by(services.c.id)
_WRITE = sa.update(services).where(services.c.id == sa.bindparam("service"))
_ADD = sa.insert(services)
_LIFT = sa.delete(holds).where(holds.c.service_id == sa.bindparam("whose"))
_HOLD = sa.insert(holds)
_HOLDS = sa.select(holds).where(holds.c.service_id.in_(sa.bindparam("whose", expanding=True)))
_HOLDS = _HOLDS.order_by(holds.c.since, holds.c.reason)

_WAS_ON = sa.select(service_nodes.c.node).where(service_nodes.c.service_id == sa.bindparam("whose"))
_WAS_ON = _WAS_ON.order_by(service_nodes.c.since, service_nodes.c.node)
_FACTS = sa.select(services.c.node, services.c.facts, service_nodes.c.node.label("ever")).select_from(
    services.outerjoin(service_nodes, service_nodes.c.service_id == services.c.id)
)
_FACTS = _FACTS.where(services.c.id == sa.bindparam("service")).order_by(service_nodes.c.since, service_nodes.c.node)
# What falls due depends on where it is.
_SET_FACTS = _WRITE.values(
    node=sa.bindparam("there"),
    facts=sa.bindparam("known", type_=services.c.facts.type),
    next_due_at=sa.case((services.c.node != sa.bindparam("there"), AT_ONCE), else_=services.c.next_due_at),
)
_NOTE_NODE = insert_new(
    service_nodes,
    ("service_id", "node", "since"),
    known=sa.and_(service_nodes.c.service_id == sa.bindparam("service_id"), service_nodes.c.node == sa.bindparam("node")),
)


def get(conn: Connection, service_id: str) -> Service | None:
    """The service with its holds, or None."""
    rows = conn.execute(_ONE, {"service": service_id}).all()
    return _service(rows[0], tuple(_hold(row, "hold_") for row in rows if row.hold_reason is not None)) if rows else None


@dataclass(frozen=True, slots=True)
class Rest:
    """What is left of a service: its state, and since when nothing personal is known of it any more."""

    state: Lifecycle
    forgotten_at: datetime | None


def rest(conn: Connection, service_id: str) -> Rest | None:
    """The same of a service without reading its record, or None."""
    row = conn.execute(_REST, {"service": service_id}).one_or_none()
    return None if row is None else Rest(Lifecycle(row.state), row.forgotten_at)


def put(conn: Connection, service: Service, *, now: datetime, before: Service | None = None) -> None:
    """Write the whole record and its holds; what our jobs made (``facts``) is left alone.

    Read it with ``get`` in the same write transaction: another's change in between would be lost. ``now`` is kept as
    ``created_at`` of a new service that has none. ``before``: the record as it was read there, so that only what is other than it
    needs to be written.
    """
    values = _values(service, before)
    if service.created_at is None:
        values.pop("created_at", None)
    changed = conn.execute(_WRITE, {"service": service.id, **values})
    if changed.rowcount == 0:
        add(conn, service, now=now)
        return
    if before is not None and before.holds == service.holds:
        return
    if before is None or before.holds:
        conn.execute(_LIFT, {"whose": service.id})
    _write_holds(conn, service)


def add(conn: Connection, service: Service, *, now: datetime) -> None:
    """Write the record of a service that has none yet, and its holds. ``now``: as ``put``."""
    conn.execute(_ADD, _values(service, None) | {"created_at": service.created_at or now, "facts": {}})
    _write_holds(conn, service)


def several(conn: Connection, service_ids: Sequence[str]) -> tuple[Service, ...]:
    """Those of these services that there are, by id, with their holds. Two queries."""
    rows = conn.execute(_SEVERAL, {"which": list(service_ids)}).all()
    standing = _holds(conn, [row.id for row in rows])
    return tuple(_service(row, standing.get(row.id, ())) for row in rows)


def list_page(
    conn: Connection,
    *,
    limit: int = 100,
    after: str | None = None,
    state: str | None = None,
    plan: str | None = None,
    node: str | None = None,
    client_id: str | None = None,
    hold: str | None = None,
    suspended: bool | None = None,
    leaving: bool = False,
    limited: bool | None = None,
) -> tuple[tuple[Service, ...], str | None]:
    """Services by id, with their holds. ``hold``: with a hold of this reason; ``suspended``: with a hold that stops, or none;
    ``leaving``: cancelled or terminated, with something left of it;
    ``limited``: with a hold that limits, or none.
    """
    query = sa.select(*_RECORD)
    for column, wanted in (("state", state), ("plan", plan), ("node", node), ("client_id", client_id)):
        if wanted is not None:
            query = query.where(services.c[column] == wanted)
    if leaving:
        cancelled = sa.and_(services.c.cancellation.is_not(None), services.c.state.not_in(_LEFT))
        query = query.where(sa.or_(services.c.state == Lifecycle.ARCHIVED.value, cancelled))
    if hold is not None:
        query = query.where(services.c.id.in_(sa.select(holds.c.service_id).where(holds.c.reason == hold)))
    for effect, asked in ((HoldEffect.STOP, suspended), (HoldEffect.LIMIT, limited)):
        if asked is not None:
            held = services.c.id.in_(sa.select(holds.c.service_id).where(holds.c.effect == effect.value))
            query = query.where(held if asked else ~held)
    rows, following = page(conn, query, key=services.c.id, limit=limit, after=after, newest_first=False, make=lambda row: row)
    standing = _holds(conn, [row.id for row in rows])
    return tuple(_service(row, standing.get(row.id, ())) for row in rows), following


def facts(conn: Connection, service_id: str) -> ServiceFacts:
    """What our jobs made for the service; empty where nothing was made or the service is unknown."""
    rows = conn.execute(_FACTS, {"service": service_id}).all()
    if not rows:
        return ServiceFacts()
    ever = tuple(row.ever for row in rows if row.ever is not None)
    return ServiceFacts(node=rows[0].node, nodes_ever=ever, values=dict(rows[0].facts))


def set_facts(conn: Connection, service_id: str, observed: ServiceFacts, *, now: datetime) -> None:
    """Replace what is known of the service's things. Nodes once known are never forgotten."""
    conn.execute(_SET_FACTS, {"service": service_id, "there": observed.node, "known": dict(observed.values)})
    for node in (observed.node, *observed.nodes_ever):
        if node:
            note_node(conn, service_id, node, now=now)


def note_node(conn: Connection, service_id: str, node: str, *, now: datetime) -> None:
    """Remember that the service was promised on the node or ran there."""
    conn.execute(_NOTE_NODE, {"service_id": service_id, "node": node, "since": now})


def nodes_ever(conn: Connection, service_id: str) -> tuple[str, ...]:
    """Every node the service ever was on, the first first."""
    return tuple(conn.scalars(_WAS_ON, {"whose": service_id}))


def count(conn: Connection) -> dict[tuple[str, str], int]:
    """How many services there are by (plan, state)."""
    query = sa.select(services.c.plan, services.c.state, sa.func.count()).group_by(services.c.plan, services.c.state)
    return {(plan, state): number for plan, state, number in conn.execute(query)}


def _holds(conn: Connection, ids: list[str]) -> dict[str, tuple[Hold, ...]]:
    found: dict[str, tuple[Hold, ...]] = {}
    for row in conn.execute(_HOLDS, {"whose": ids}):
        found[row.service_id] = (*found.get(row.service_id, ()), _hold(row))
    return found


# How a field is kept that is no plain value.
_COLUMNS: Mapping[str, Callable[[Any], Any]] = {
    "ssh_keys": list,
    "refunds": lambda refunds: [[refund.invoice_id, refund.until.isoformat()] for refund in refunds],
    "chargebacks": lambda chargebacks: [[each.invoice_id, each.at.isoformat()] for each in chargebacks],
    "disputes": lambda disputes: [_dispute_row(dispute) for dispute in disputes],
    "traffic": lambda months: [[month.period, month.bytes, month.charged_gb] for month in months],
    "complaints": lambda complaints: [_complaint_values(complaint) for complaint in complaints],
    "kept": lambda volumes: [_kept_values(volume) for volume in volumes],
    "state": str,
    "account": lambda account: None if account is None else account_settings.to_store(account),
    "restart": lambda restart: None if restart is None else _restart_values(restart),
    "cancellation": lambda cancellation: None if cancellation is None else _cancellation_values(cancellation),
}


def _write_holds(conn: Connection, service: Service) -> None:
    if service.holds:
        conn.execute(_HOLD, [{"service_id": service.id, **_hold_values(hold)} for hold in service.holds])


def _hold_values(hold: Hold) -> dict[str, Any]:
    return {name: getattr(hold, name) for name in Hold.__dataclass_fields__}


def _hold(row: sa.Row[Any], prefix: str = "") -> Hold:
    values = {name: row._mapping[f"{prefix}{name}"] for name in Hold.__dataclass_fields__}
    return Hold(**values | {"reason": HoldReason(values["reason"]), "effect": HoldEffect(values["effect"])})


_MOMENTS = ("raised_at", "settled_at", "pay_by")


def _dispute_row(dispute: DisputedInvoice) -> dict[str, Any]:
    row = asdict(dispute)
    return row | {name: None if row[name] is None else row[name].isoformat() for name in _MOMENTS}


def _dispute(row: dict[str, Any]) -> DisputedInvoice:
    return DisputedInvoice(**row | {name: None if row[name] is None else datetime.fromisoformat(row[name]) for name in _MOMENTS})


def _values(service: Service, before: Service | None) -> dict[str, Any]:
    """The columns of the record, without those that are as they were."""
    known = {name: getattr(service, name) for name in _FIELDS}
    written = {name: value for name, value in known.items() if before is None or value != getattr(before, name)}
    return {name: _COLUMNS[name](value) if name in _COLUMNS else value for name, value in written.items()} | {
        "next_due_at": AT_ONCE
    }


def _service(row: sa.Row[Any], standing: tuple[Hold, ...]) -> Service:
    return Service(
        id=row.id,
        client_id=row.client_id,
        plan=row.plan,
        state=Lifecycle(row.state),
        version=row.version,
        order_id=row.order_id,
        domain=row.domain,
        hostname=row.hostname,
        template=row.template,
        ssh_keys=tuple(row.ssh_keys),
        password_hash=row.password_hash,
        zone=row.zone,
        due_at=row.due_at,
        paid_until=row.paid_until,
        payments=row.payments,
        refunds=tuple(Refund(invoice_id, datetime.fromisoformat(until)) for invoice_id, until in row.refunds),
        overdue_at=row.overdue_at,
        paid_at=row.paid_at,
        chargebacks=tuple(Chargeback(invoice_id, datetime.fromisoformat(at)) for invoice_id, at in row.chargebacks),
        disputes=tuple(_dispute(each) for each in row.disputes),
        traffic=tuple(Traffic(period, total, charged) for period, total, charged in row.traffic),
        cut_off_at=row.cut_off_at,
        cut_off_paid=row.cut_off_paid,
        holds=standing,
        created_at=row.created_at,
        activated_at=row.activated_at,
        ended_at=row.ended_at,
        point_of_no_return=row.point_of_no_return,
        suspension_proven_at=row.suspension_proven_at,
        limited_proven_at=row.limited_proven_at,
        archived_at=row.archived_at,
        purchased_at=row.purchased_at,
        forgotten_at=row.forgotten_at,
        cancellation=None if row.cancellation is None else _cancellation(row.cancellation),
        complaints=tuple(_complaint(kept) for kept in row.complaints),
        domain_expired_at=row.domain_expired_at,
        domain_renewed_at=row.domain_renewed_at,
        lapsed_at=row.lapsed_at,
        node=row.node,
        backups_seen_to=row.backups_seen_to,
        backup_asked_at=row.backup_asked_at,
        kept=tuple(_kept(each) for each in row.kept),
        account=None if row.account is None else account_settings.from_store(row.account),
        databases_full=row.databases_full,
        restart=None if row.restart is None else _restart(row.restart),
        mail_out=row.mail_out,
    )


_RESTART_TIMES = ("at", "until", "planned_at")


def _restart_values(restart: PlannedRestart) -> dict[str, str]:
    values = asdict(restart)
    return values | {name: values[name].isoformat() for name in _RESTART_TIMES}


def _restart(kept: Mapping[str, str]) -> PlannedRestart:
    times = {name: datetime.fromisoformat(kept[name]) for name in _RESTART_TIMES}
    return PlannedRestart(node=kept["node"], why=kept["why"], **times)


_KEPT_TIMES = ("kept_at", "until")


def _kept_values(volume: KeptVolume) -> dict[str, str]:
    values = asdict(volume)
    return values | {name: values[name].isoformat() for name in _KEPT_TIMES}


def _kept(values: Mapping[str, str]) -> KeptVolume:
    return KeptVolume(
        name=values["name"],
        kind=KeptKind(values["kind"]),
        node=values["node"],
        path=values["path"],
        job_id=values["job_id"],
        kept_at=datetime.fromisoformat(values["kept_at"]),
        until=datetime.fromisoformat(values["until"]),
    )


def _cancellation_values(cancellation: Cancellation) -> dict[str, str | None]:
    """As JSON; times with their zone."""
    values = asdict(cancellation)
    return {key: value.isoformat() if isinstance(value, datetime) else value for key, value in values.items()}


def _cancellation(kept: dict[str, Any]) -> Cancellation:
    def time(key: str) -> datetime | None:
        return None if kept.get(key) is None else datetime.fromisoformat(kept[key])

    return Cancellation(
        asked_at=datetime.fromisoformat(kept["asked_at"]),
        by=kept["by"],
        why=kept["why"],
        kind=CancellationKind(kept["kind"]),
        confirmed_at=time("confirmed_at"),
        paid_until=time("paid_until"),
        at=time("at"),
        refund_at=time("refund_at"),
    )


_COMPLAINT_TIMES = ("received_at", "held_at", "closed_at")


def _complaint_values(complaint: Complaint) -> dict[str, Any]:
    values = asdict(complaint)
    return values | {name: values[name].isoformat() for name in _COMPLAINT_TIMES if values[name] is not None}


def _complaint(kept: Mapping[str, Any]) -> Complaint:
    times = {name: datetime.fromisoformat(kept[name]) for name in _COMPLAINT_TIMES if kept[name] is not None}
    closed = None if kept["closed"] is None else Closed(kept["closed"])
    words = {"kind": ComplaintKind(kept["kind"]), "effect": Effect(kept["effect"]), "closed": closed}
    return Complaint(**{**kept, **times, **words})
