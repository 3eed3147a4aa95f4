"""What a hosting account uses, and what went through a guest's network, for the API."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, Field

from orchestrator.domain import traffic, usage
from orchestrator.domain.plans import HostingPlan, Plan
from orchestrator.domain.traffic import GuestTraffic
from orchestrator.domain.usage import Metered, Share


class ShareOut(BaseModel):
    """So much of what is sold is used: ``of`` disk (files and databases together), inodes, or traffic of this month."""

    of: str
    used: int
    sold: int
    per_cent: int

    @classmethod
    def made(cls, share: Share) -> ShareOut:
        return cls(of=share.of.value, used=share.used, sold=share.sold, per_cent=share.per_cent)


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
            shares=[ShareOut.made(share) for share in found],
        )


class GuestUsageOut(BaseModel):
    """What went through a guest's network until it was last read. Bytes, in and out together."""

    service_id: str
    node: str
    at: datetime
    traffic: dict[str, int] = Field(description="Bytes by calendar month of the provider's zone.")
    shares: list[ShareOut]
    throttled: bool = Field(description="Its network is throttled until the month ends: the traffic of its plan is used up.")

    @classmethod
    def of(cls, counted: GuestTraffic, plan: Plan | None, month: str, *, throttled: bool) -> GuestUsageOut:
        share = None if plan is None else traffic.share(counted, plan, month)
        return cls(
            service_id=counted.service_id,
            node=counted.node,
            at=counted.at,
            traffic=dict(counted.traffic),
            shares=[] if share is None else [ShareOut.made(share)],
            throttled=throttled,
        )
