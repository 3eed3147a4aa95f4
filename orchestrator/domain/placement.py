"""Which node takes a guest, and why the others do not."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

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
