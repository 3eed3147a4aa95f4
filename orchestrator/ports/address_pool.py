"""Addresses and MACs, given out once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from orchestrator.domain.plans import Lease


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolUsage:
    """Counts of one address range. ``size`` of a v6 range is bounded to 2**63-1."""

    name: str
    zone: str
    family: int
    size: int
    leased: int
    cooling: int


class AddressPool(Protocol):
    def allocate(self, *, service_id: str, job_id: str, zone: str, ipv4: int, ipv6: int) -> Lease:
        """Take a MAC and so many addresses in one transaction, or return the lease this service already has.

        Raises NoCapacity, naming the range, when one family has too few left; nothing is then taken.
        """
        ...

    def lease(self, service_id: str) -> Lease | None: ...

    def release(self, *, service_id: str, proof: str) -> None:
        """Give back what the service holds, into the cool-down. ``proof`` says how absence from every node was shown.

        No lease = success. Callers pass proof from the nodes, never from our own tables.
        """
        ...

    def usage(self) -> tuple[PoolUsage, ...]: ...
