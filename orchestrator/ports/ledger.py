"""What the steps write down beyond their own facts: capacity promised on nodes, and certificates."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from orchestrator.domain.plans import Node


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation:
    """Capacity promised to a service on one node. Bytes; vCPUs unweighted."""

    service_id: str
    job_id: str
    node: str
    vcpus: int
    memory_bytes: int
    disk_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeState:
    """A node with what it has (None = never seen) and what is promised on it. ``seen_at`` UTC."""

    node: Node
    enrolled: bool
    up: bool
    cpus: int | None
    memory_bytes: int | None
    disk_bytes: int | None
    promised_vcpus: int
    promised_memory_bytes: int
    promised_disk_bytes: int
    guests: int
    seen_at: datetime | None = None


class Ledger(Protocol):
    def nodes(self) -> tuple[NodeState, ...]: ...

    def reserve(self, reservation: Reservation, *, limit: NodeState) -> None:
        """Promise the capacity if, with all other promises, it still fits the node's ratios; else NoCapacity.

        One transaction; the same reservation again is success; one of the service on another node raises AlreadyExists.
        """
        ...

    def reservation(self, service_id: str) -> Reservation | None: ...

    def release_reservation(self, service_id: str) -> None: ...

    def nodes_ever(self, service_id: str) -> tuple[str, ...]:
        """Every node the service was ever promised on or ran on."""
        ...

    def keep_certificate(self, *, service_id: str, job_id: str, certificate: dict[str, Any]) -> None:
        """Keep the signed certificate; the same job's again replaces nothing and is success."""
        ...

    def certificate(self, service_id: str) -> dict[str, Any] | None: ...
