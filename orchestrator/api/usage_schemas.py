"""What a hosting account uses, for the API."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, Field

from orchestrator.domain import usage
from orchestrator.domain.plans import HostingPlan, Plan
from orchestrator.domain.usage import Metered


class ShareOut(BaseModel):
    """So much of what is sold is used: ``of`` disk (files and databases together), inodes, or traffic of this month."""

    of: str
    used: int
    sold: int
    per_cent: int


class UsageOut(BaseModel):
    """The last reading. Bytes; ``cpu_seconds`` since the first one. ``shares`` is empty where its plan is not sold any more."""

    service_id: str
    node: str
    at: datetime
    bytes: int
    inodes: int
    database_bytes: int
    cpu_seconds: float
    traffic: dict[str, int] = Field(description="Bytes by calendar month, as the node's logs have them.")
    shares: list[ShareOut]
    databases_full: bool = Field(description="Its databases take no more until its disk has room again.")

    @classmethod
    def of(cls, metered: Metered, plan: Plan | None, month: str, *, full: bool) -> UsageOut:
        found = usage.shares(metered, plan, month) if isinstance(plan, HostingPlan) else ()
        return cls(
            service_id=metered.service_id,
            node=metered.node,
            at=metered.at,
            bytes=metered.bytes,
            inodes=metered.inodes,
            database_bytes=metered.database_bytes,
            cpu_seconds=metered.cpu_seconds,
            traffic=dict(metered.traffic),
            databases_full=full,
            shares=[ShareOut(of=s.of.value, used=s.used, sold=s.sold, per_cent=s.per_cent) for s in found],
        )
