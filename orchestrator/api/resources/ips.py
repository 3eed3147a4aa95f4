"""/v1/ips: the address ranges and who holds what of them."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel

from orchestrator.api.callers import Reader
from orchestrator.api.context import Context
from orchestrator.api.paging import After, Limit, Page
from orchestrator.api.resources.services import ServiceId
from orchestrator.domain.errors import NotFound
from orchestrator.domain.plans import Lease
from orchestrator.ports.address_pool import PoolUsage
from orchestrator.store import services

router = APIRouter(prefix="/v1/ips", tags=["ips"])


class RangeOut(BaseModel):
    """Counts of one range. ``cooling``: given back, and not given out again yet."""

    name: str
    zone: str
    family: int
    size: int
    used: int
    cooling: int
    free: int

    @classmethod
    def of(cls, usage: PoolUsage) -> RangeOut:
        return cls(
            name=usage.name,
            zone=usage.zone,
            family=usage.family,
            size=usage.size,
            used=usage.leased,
            cooling=usage.cooling,
            free=max(0, usage.size - usage.leased - usage.cooling),
        )


class LeaseOut(BaseModel):
    """What one service holds; ``job_id`` is the job that took it."""

    service_id: str
    job_id: str
    mac: str
    ipv4: list[str]
    ipv6: list[str]
    gateway4: str
    gateway6: str

    @classmethod
    def of(cls, lease: Lease) -> LeaseOut:
        return cls(
            service_id=lease.service_id,
            job_id=lease.job_id,
            mac=lease.mac,
            ipv4=[str(address) for address in lease.ipv4],
            ipv6=[str(address) for address in lease.ipv6],
            gateway4=str(lease.gateway4 or ""),
            gateway6=str(lease.gateway6 or ""),
        )


class Ranges(BaseModel):
    items: list[RangeOut]


@router.get("/ranges")
def list_ranges(_caller: Reader, context: Context) -> Ranges:
    """Every range with its counts."""
    return Ranges(items=[RangeOut.of(usage) for usage in context.addresses.usage()])


@router.get("/leases")
def list_leases(_caller: Reader, context: Context, limit: Limit = 100, after: After = "") -> Page[LeaseOut]:
    """Leases by service; a page can be shorter than ``limit``, because services without a lease are left out."""
    with context.db.read() as conn:
        found, following = services.list_page(conn, limit=limit, after=after or None)
    leases = [context.addresses.lease(service.id) for service in found]
    return Page(items=[LeaseOut.of(lease) for lease in leases if lease is not None], next=following)


@router.get("/leases/{service_id}")
def get_lease(_caller: Reader, context: Context, service_id: ServiceId) -> LeaseOut:
    """What one service holds."""
    lease = context.addresses.lease(service_id)
    if lease is None:
        raise NotFound(f"the service {service_id} holds no addresses")
    return LeaseOut.of(lease)
