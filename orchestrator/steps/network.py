"""Addresses and MAC of a service: taken when it is made, given back when it is proven gone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from orchestrator.domain.errors import UndoFailed
from orchestrator.domain.plans import Lease, guest_name
from orchestrator.steps.arguments import dump
from orchestrator.steps.base import Done, Facts, Needed, StepContext
from orchestrator.steps.common import ASK_SECONDS, BaseStep, guest_uuid, node_state


@dataclass(frozen=True, slots=True, kw_only=True)
class AllocateArgs:
    """``ipv4`` and ``ipv6``: how many addresses, out of the ranges of the node's zone."""

    node: str
    ipv4: int
    ipv6: int


class AddressAllocate(BaseStep[AllocateArgs]):
    """Take a MAC and addresses for the service."""

    name: ClassVar[str] = "address.allocate"
    args = AllocateArgs

    def check(self, ctx: StepContext, args: AllocateArgs) -> Done | Needed:
        lease = ctx.ports.addresses.lease(ctx.service_id)
        if lease is None:
            return Needed("the service has no addresses yet")
        return Done(_facts(lease), made_by=lease.job_id)

    def apply(self, ctx: StepContext, args: AllocateArgs) -> Facts:
        zone = node_state(ctx, args.node).node.zone
        lease = ctx.ports.addresses.allocate(
            service_id=ctx.service_id, job_id=ctx.job_id, zone=zone, ipv4=args.ipv4, ipv6=args.ipv6
        )
        return _facts(lease)

    def undo(self, ctx: StepContext, args: AllocateArgs, facts: Mapping[str, Any]) -> None:
        """Give back what this job took, on proof that no guest can use it: an address in use twice is an outage for two."""
        lease = ctx.ports.addresses.lease(ctx.service_id)
        if lease is None or lease.job_id != ctx.job_id:
            return
        if _may_use_it(ctx, args.node):
            raise UndoFailed(f"the guest is still on {args.node}: its addresses cannot be given back")
        when = ctx.ports.clock.now().isoformat(timespec="seconds")
        proof = f"job {ctx.job_id} was undone: guest absent from {args.node} at {when}"
        ctx.ports.addresses.release(service_id=ctx.service_id, proof=proof)


def _may_use_it(ctx: StepContext, node: str) -> bool:
    """Whether a guest is there that may have been given the addresses: this service's, or one that this job defined.

    A stranger's of the same name never had them, so that they can go back.
    """
    facts = ctx.ports.hypervisor(node).guest(guest_name(ctx.service_id), deadline=ASK_SECONDS)
    if facts is None:
        return False
    return facts.uuid == guest_uuid(ctx) or (facts.mark is not None and facts.mark.service_id == ctx.service_id)


def _facts(lease: Lease) -> Facts:
    addresses = [*(str(i.ip) for i in lease.ipv4), *(str(i.ip) for i in lease.ipv6)]
    return {"lease": dump(lease), "addresses": addresses, "mac": lease.mac}


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseArgs:
    """``proof``: how absence from every node the service ever was on was shown."""

    proof: str


class AddressRelease(BaseStep[ReleaseArgs]):
    """Give MAC and addresses back, into their cool-down."""

    name: ClassVar[str] = "address.release"
    args = ReleaseArgs

    def check(self, ctx: StepContext, args: ReleaseArgs) -> Done | Needed:
        lease = ctx.ports.addresses.lease(ctx.service_id)
        return Done({"released": True}) if lease is None else Needed("the service still holds addresses")

    def apply(self, ctx: StepContext, args: ReleaseArgs) -> Facts:
        ctx.ports.addresses.release(service_id=ctx.service_id, proof=args.proof)
        return {"released": True}
