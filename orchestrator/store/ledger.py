"""The ledger in the store (port Ledger): capacity promised on nodes, and certificates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import sqlalchemy as sa

from orchestrator.domain.errors import AlreadyExists, NoCapacity, NotFound
from orchestrator.domain.placement import NodeState, Reservation, shortages
from orchestrator.domain.plans import Node
from orchestrator.ports.clock import Clock
from orchestrator.store import certificates, nodes, services
from orchestrator.store.database import Connection, Database
from orchestrator.store.tables import moving_reservations, reservations


class StoreLedger:
    """``declared``: the nodes of the configuration."""

    def __init__(self, db: Database, declared: Sequence[Node], clock: Clock) -> None:
        self._db = db
        self._declared = tuple(declared)
        self._clock = clock

    def nodes(self) -> tuple[NodeState, ...]:
        """See the port."""
        with self._db.read() as conn:
            return nodes.states(conn, self._declared)

    def reserve(self, reservation: Reservation, *, limit: NodeState, moving: bool = False) -> None:
        """See the port. On the same node another size takes the place of the former, if it fits.

        ``limit`` says what the node has; what is promised on it is read again here.
        """
        table = _table(moving=moving)
        with self._db.write() as conn:
            standing = _reservation(conn, reservation.service_id, table)
            if standing == reservation:
                return
            if standing is not None and standing.node != reservation.node:
                raise AlreadyExists(
                    f"{reservation.service_id} is promised on {standing.node} already", hint="release that reservation first"
                )
            lacking = shortages(
                _beside_others(conn, reservation, limit),
                vcpus=reservation.vcpus,
                memory_bytes=reservation.memory_bytes,
                disk_bytes=reservation.disk_bytes,
            )
            if lacking:
                raise NoCapacity(f"{reservation.node} cannot take {reservation.service_id}: {'; '.join(lacking)}")
            _put(conn, table, reservation)
            services.note_node(conn, reservation.service_id, reservation.node, now=self._clock.now())

    def reservation(self, service_id: str, *, moving: bool = False) -> Reservation | None:
        """See the port."""
        with self._db.read() as conn:
            return _reservation(conn, service_id, _table(moving=moving))

    def release_reservation(self, service_id: str, *, moving: bool = False) -> None:
        """See the port. The node stays among those the service ever was on."""
        table = _table(moving=moving)
        with self._db.write() as conn:
            conn.execute(sa.delete(table).where(table.c.service_id == service_id))

    def swap_reservations(self, service_id: str, *, standing: str) -> None:
        """See the port."""
        with self._db.write() as conn:
            first, second = (_reservation(conn, service_id, table) for table in (reservations, moving_reservations))
            if first is not None and first.node == standing:
                return
            if second is None or second.node != standing:
                raise NotFound(f"nothing is promised to {service_id} on {standing}", hint="an operator has to look")
            _put(conn, reservations, second)
            if first is None:
                conn.execute(sa.delete(moving_reservations).where(moving_reservations.c.service_id == service_id))
            else:
                _put(conn, moving_reservations, first)

    def nodes_ever(self, service_id: str) -> tuple[str, ...]:
        """See the port."""
        with self._db.read() as conn:
            return services.nodes_ever(conn, service_id)

    def keep_certificate(self, *, service_id: str, job_id: str, certificate: dict[str, Any]) -> None:
        """See the port. The certificate's own ``id`` is its key."""
        with self._db.write() as conn:
            certificates.add(
                conn,
                certificates.CertificateRecord(
                    id=str(certificate["id"]),
                    service_id=service_id,
                    job_id=job_id,
                    certificate=certificate,
                    created_at=self._clock.now(),
                ),
            )

    def certificate(self, service_id: str) -> dict[str, Any] | None:
        """See the port; the newest."""
        with self._db.read() as conn:
            record = certificates.of_service(conn, service_id)
        return None if record is None else record.certificate


def _beside_others(conn: Connection, wanted: Reservation, limit: NodeState) -> NodeState:
    """The node with what is promised on it at this moment to everyone else."""
    both = sa.union_all(sa.select(reservations), sa.select(moving_reservations)).subquery()
    columns = (both.c.vcpus, both.c.memory_bytes, both.c.disk_bytes)
    query = sa.select(*(sa.func.coalesce(sa.func.sum(column), 0) for column in columns)).where(
        both.c.node == wanted.node, both.c.service_id != wanted.service_id
    )
    vcpus, memory, disk = conn.execute(query).one()
    return replace(limit, promised_vcpus=int(vcpus), promised_memory_bytes=int(memory), promised_disk_bytes=int(disk))


def _table(*, moving: bool) -> sa.Table:
    return moving_reservations if moving else reservations


def _put(conn: Connection, table: sa.Table, reservation: Reservation) -> None:
    conn.execute(sa.delete(table).where(table.c.service_id == reservation.service_id))
    conn.execute(sa.insert(table).values(**asdict(reservation)))


def _reservation(conn: Connection, service_id: str, table: sa.Table) -> Reservation | None:
    row = conn.execute(sa.select(table).where(table.c.service_id == service_id)).one_or_none()
    return None if row is None else Reservation(**row._mapping)
