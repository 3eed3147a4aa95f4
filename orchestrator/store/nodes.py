"""Nodes as enrolled and last seen; what is declared of them is in the configuration."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from orchestrator.domain.certificates import utc_text
from orchestrator.domain.lost_nodes import Lost
from orchestrator.domain.placement import Filled, NodeState
from orchestrator.domain.planned import Announced
from orchestrator.domain.plans import Node
from orchestrator.ports.hypervisor import NodeFacts
from orchestrator.store.database import Connection
from orchestrator.store.tables import moving_reservations, node_statements, nodes, reservations, services

_ANNOUNCED_TIMES = ("at", "until", "announced_at")


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeRecord:
    """What is known of a node. ``host_key`` is the pinned known_hosts line; ``facts`` the last NodeFacts as JSON, or empty.

    ``drained_at``: since when nothing new is placed on it, None = it takes services. ``announced``: the maintenance that was
    announced last, where that was not called off; it may be over. ``lost``: by an operator's statement.
    """

    name: str
    host_key: str = ""
    agent_version: str = ""
    agent_sha256: str = ""
    enrolled_at: datetime | None = None
    up: bool = False
    seen_at: datetime | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    problem: str = ""
    drained_at: datetime | None = None
    drained_by: str = ""
    drained_why: str = ""
    announced: Announced | None = None
    lost: Lost | None = None

    @property
    def trouble(self) -> str:
        """Why nothing can be done on it now, in a sentence; '' where it answers, or was never asked."""
        if self.lost is not None:
            return f"{self.lost}{', and answers all the same' if self.up else ''}"
        if self.up or self.enrolled_at is None:
            return ""
        return f"down{f', seen last {utc_text(self.seen_at)}' if self.seen_at else ''}: {self.problem}"


def get(conn: Connection, name: str) -> NodeRecord | None:
    """The node's record, or None where it was neither enrolled nor seen."""
    row = conn.execute(sa.select(nodes).where(nodes.c.name == name)).one_or_none()
    return None if row is None else _record(row)


def list_all(conn: Connection) -> tuple[NodeRecord, ...]:
    """Every node's record, by name; there are few."""
    return tuple(_record(row) for row in conn.execute(sa.select(nodes).order_by(nodes.c.name)))


def set_enrolled(conn: Connection, name: str, *, host_key: str, agent_version: str, agent_sha256: str, now: datetime) -> None:
    """The node was enrolled: its host key is pinned, its agent known."""
    _put(conn, name, host_key=host_key, agent_version=agent_version, agent_sha256=agent_sha256, enrolled_at=now)


def set_seen(conn: Connection, name: str, facts: NodeFacts, *, now: datetime) -> None:
    """The node answered."""
    _put(conn, name, up=True, seen_at=now, facts=asdict(facts), problem="")


def set_unreachable(conn: Connection, name: str, problem: str) -> None:
    """The node did not answer; what was known of it stays."""
    _put(conn, name, up=False, problem=problem)


def set_drained(conn: Connection, name: str, *, who: str, why: str, now: datetime) -> None:
    """Nothing new is placed on the node from now on."""
    _put(conn, name, drained_at=now, drained_by=who, drained_why=why)


def set_undrained(conn: Connection, name: str) -> None:
    """The node takes services again."""
    _put(conn, name, drained_at=None, drained_by="", drained_why="")


def set_announced(conn: Connection, name: str, announced: Announced | None) -> None:
    """This maintenance is announced, or none is any more."""
    values = None if announced is None else asdict(announced)
    _put(conn, name, announced=values and values | {key: values[key].isoformat() for key in _ANNOUNCED_TIMES})


def set_lost(conn: Connection, name: str, lost: Lost) -> None:
    """Nothing is sent to the node from now on."""
    _put(conn, name, lost_at=lost.at, lost_by=lost.by, lost_why=lost.why, lost_statement=lost.statement)


def set_found(conn: Connection, name: str) -> None:
    """The node is there again."""
    _put(conn, name, lost_at=None, lost_by="", lost_why="", lost_statement="")


def is_lost(conn: Connection, name: str) -> bool:
    """Also of a node that is not known, or is no node: it is not."""
    return conn.execute(_IS_LOST, {"name": name}).scalar() is not None


# Made once: every job that is accepted or begins asks.
_IS_LOST = sa.select(sa.literal(1)).where(nodes.c.name == sa.bindparam("name"), nodes.c.lost_at.is_not(None))
_LOST_OF = (
    sa.select(nodes)
    .join(services, services.c.node == nodes.c.name)
    .where(services.c.id == sa.bindparam("service"), nodes.c.lost_at.is_not(None))
)


def lost_of(conn: Connection, service_id: str) -> NodeRecord | None:
    """The node that the service is on, where that is lost; else None."""
    row = conn.execute(_LOST_OF, {"service": service_id}).one_or_none()
    return None if row is None else _record(row)


def lost(conn: Connection) -> frozenset[str]:
    """The nodes that are."""
    return frozenset(conn.scalars(sa.select(nodes.c.name).where(nodes.c.lost_at.is_not(None))))


def add_statement(conn: Connection, node: str, statement: dict[str, Any], *, now: datetime) -> None:
    """Keep what was stated, as it was signed; its own ``id`` is its key."""
    values = {"id": str(statement["id"]), "node": node, "statement": statement, "created_at": now}
    conn.execute(sa.insert(node_statements).values(**values))


def statements(conn: Connection, node: str) -> tuple[dict[str, Any], ...]:
    """What was ever stated of the node, the newest first."""
    query = sa.select(node_statements.c.statement).where(node_statements.c.node == node)
    return tuple(conn.scalars(query.order_by(node_statements.c.created_at.desc(), node_statements.c.id.desc())))


def services_on(conn: Connection, name: str) -> tuple[str, ...]:
    """The services that are on the node, by id."""
    return tuple(conn.scalars(sa.select(services.c.id).where(services.c.node == name).order_by(services.c.id)))


def services_of(conn: Connection, name: str) -> tuple[str, ...]:
    """The services that are on the node, or are promised on it, by id: those that a job is about to bring there or to take away
    are among them."""
    tables = (reservations, moving_reservations)
    promised = {key for table in tables for key in conn.scalars(sa.select(table.c.service_id).where(table.c.node == name))}
    return tuple(sorted({*services_on(conn, name), *promised}))


def states(conn: Connection, declared: tuple[Node, ...]) -> tuple[NodeState, ...]:
    """Each declared node with what it has and what is promised on it."""
    known = {record.name: record for record in list_all(conn)}
    both = sa.union_all(sa.select(reservations), sa.select(moving_reservations)).subquery()
    query = sa.select(
        both.c.node,
        sa.func.sum(both.c.vcpus).label("vcpus"),
        sa.func.sum(both.c.memory_bytes).label("memory"),
        sa.func.sum(both.c.disk_bytes).label("disk"),
        sa.func.count().label("guests"),
    ).group_by(both.c.node)
    promised = {row.node: row for row in conn.execute(query)}
    return tuple(_state(node, known.get(node.name), promised.get(node.name)) for node in declared)


def _state(node: Node, record: NodeRecord | None, promised: sa.Row[Any] | None) -> NodeState:
    facts = {} if record is None else record.facts
    return NodeState(
        node=node,
        enrolled=record is not None and record.enrolled_at is not None,
        up=record is not None and record.up,
        cpus=facts.get("cpus"),
        memory_bytes=facts.get("memory_bytes"),
        disk_bytes=facts.get("pool_capacity_bytes"),
        filled=_filled(facts),
        promised_vcpus=0 if promised is None else int(promised.vcpus),
        promised_memory_bytes=0 if promised is None else int(promised.memory),
        promised_disk_bytes=0 if promised is None else int(promised.disk),
        guests=0 if promised is None else int(promised.guests),
        seen_at=None if record is None else record.seen_at,
        drained="" if record is None or record.drained_at is None else record.drained_why,
        lost=None if record is None else record.lost,
    )


def _filled(facts: dict[str, Any]) -> Filled:
    """How full the pool was when the node was last seen; what its hypervisor alone can tell where its agent told nothing."""
    data, capacity, free = (facts.get(f"pool_{name}") for name in ("data_percent", "capacity_bytes", "available_bytes"))
    if data is None and capacity:
        data = 100 * (1 - min(free or 0, capacity) / capacity)
    return Filled(data_percent=data, metadata_percent=facts.get("pool_metadata_percent"))


def _put(conn: Connection, name: str, **values: Any) -> None:
    changed = conn.execute(sa.update(nodes).where(nodes.c.name == name).values(**values))
    if changed.rowcount == 0:
        conn.execute(sa.insert(nodes).values({"name": name, "facts": {}, **values}))


def _record(row: sa.Row[Any]) -> NodeRecord:
    values = dict(row._mapping)
    if (kept := values.pop("announced")) is not None:
        kept = Announced(**kept | {key: datetime.fromisoformat(kept[key]) for key in _ANNOUNCED_TIMES})
    at, by, why, statement = (values.pop(f"lost_{name}") for name in ("at", "by", "why", "statement"))
    stated = None if at is None else Lost(at=at, by=by, why=why, statement=statement)
    return NodeRecord(**values, announced=kept, lost=stated)
