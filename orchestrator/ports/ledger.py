"""What the steps write down beyond their own facts: capacity promised on nodes, and certificates."""

from __future__ import annotations

from typing import Any, Protocol

from orchestrator.domain.placement import NodeState, Reservation


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
