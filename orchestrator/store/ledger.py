"""The ledger in the store (port Ledger): capacity promised on nodes, and certificates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import sqlalchemy as sa

from orchestrator.domain.errors import AlreadyExists, NoCapacity
from orchestrator.domain.placement import NodeState, Reservation, shortages
from orchestrator.domain.plans import Node
from orchestrator.ports.clock import Clock
from orchestrator.store import certificates, nodes, services
from orchestrator.store.database import Connection, Database
from orchestrator.store.tables import reservations


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

    def reserve(self, reservation: Reservation, *, limit: NodeState) -> None:
        """See the port. On the same node another size takes the place of the former, if it fits.

        ``limit`` says what the node has; what is promised on it is read again here.
        """
        with self._db.write() as conn:
            standing = _reservation(conn, reservation.service_id)
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
            conn.execute(sa.delete(reservations).where(reservations.c.service_id == reservation.service_id))
            conn.execute(sa.insert(reservations).values(**asdict(reservation)))
            services.note_node(conn, reservation.service_id, reservation.node, now=self._clock.now())

    def reservation(self, service_id: str) -> Reservation | None:
        """See the port."""
        with self._db.read() as conn:
            return _reservation(conn, service_id)

    def release_reservation(self, service_id: str) -> None:
        """See the port. The node stays among those the service ever was on."""
        with self._db.write() as conn:
            conn.execute(sa.delete(reservations).where(reservations.c.service_id == service_id))

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
    columns = (reservations.c.vcpus, reservations.c.memory_bytes, reservations.c.disk_bytes)
    query = sa.select(*(sa.func.coalesce(sa.func.sum(column), 0) for column in columns)).where(
        reservations.c.node == wanted.node, reservations.c.service_id != wanted.service_id
    )
    vcpus, memory, disk = conn.execute(query).one()
    return replace(limit, promised_vcpus=int(vcpus), promised_memory_bytes=int(memory), promised_disk_bytes=int(disk))


def _reservation(conn: Connection, service_id: str) -> Reservation | None:
    row = conn.execute(sa.select(reservations).where(reservations.c.service_id == service_id)).one_or_none()
    return None if row is None else Reservation(**row._mapping)
