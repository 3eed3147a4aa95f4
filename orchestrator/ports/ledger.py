"""What the steps write down beyond their own facts: capacity promised on nodes, and certificates."""

from __future__ import annotations

from typing import Any, Protocol

from orchestrator.domain.placement import NodeState, Reservation


class Ledger(Protocol):
    def nodes(self) -> tuple[NodeState, ...]: ...

    def reserve(self, reservation: Reservation, *, limit: NodeState, moving: bool = False) -> None:
        """Promise the capacity if, with all other promises, it still fits the node's ratios; else NoCapacity.

        One transaction; the same reservation again is success; one of the service on another node raises AlreadyExists.
        ``moving``: a second one beside the standing one, of a service that moves; so here and below.
        """
        ...

    def reservation(self, service_id: str, *, moving: bool = False) -> Reservation | None: ...

    def release_reservation(self, service_id: str, *, moving: bool = False) -> None: ...

    def swap_reservations(self, service_id: str, *, standing: str) -> None:
        """Make the one on the node ``standing`` the standing one and the other the moving one; again changes nothing.

        Raises NotFound where the service has none on that node.
        """
        ...

    def nodes_ever(self, service_id: str) -> tuple[str, ...]:
        """Every node the service was ever promised on or ran on."""
        ...

    def keep_certificate(self, *, service_id: str, job_id: str, certificate: dict[str, Any]) -> None:
        """Keep the signed certificate; the same job's again replaces nothing and is success."""
        ...

    def certificate(self, service_id: str) -> dict[str, Any] | None: ...
