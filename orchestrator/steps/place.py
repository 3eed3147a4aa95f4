"""Capacity on a node: promising it to a service and giving it back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, TypeVar

from orchestrator.domain.errors import NoCapacity, Unreachable
from orchestrator.domain.placement import NodeState, Placement, Reservation, Verdict, Wanted, place
from orchestrator.domain.plans import NodeKind
from orchestrator.domain.specs import GuestWanted
from orchestrator.steps.base import Done, Facts, Needed, StepContext
from orchestrator.steps.common import BaseStep, node_state

A = TypeVar("A")

# How often a node that another job filled between choosing and promising is chosen again.
RACES = 5
# A node that is down is waited for 10 s, then twice as long each time, about a minute in all: a worker is kept busy meanwhile.
RETRY_DOWN_SECONDS = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ReserveArgs:
    guest: GuestWanted


class Reserve(BaseStep[A], ABC):
    """Choose the node that takes what is wanted, and promise it the capacity."""

    @abstractmethod
    def wanted(self, args: A) -> Wanted:
        """What is to be placed."""

    def check(self, ctx: StepContext, args: A) -> Done | Needed:
        standing = ctx.ports.ledger.reservation(ctx.service_id)
        if standing is None:
            return Needed("no node has promised the capacity yet")
        wanted = self.wanted(args)
        if standing != _reservation(ctx, wanted, node=standing.node, job_id=standing.job_id):
            return Needed(f"node {standing.node} promised another size")
        return Done(_facts(ctx, standing.node, _explain(ctx, wanted, standing)), made_by=standing.job_id)

    def apply(self, ctx: StepContext, args: A) -> Facts:
        found, wanted = self.check(ctx, args), self.wanted(args)
        if isinstance(found, Done):
            return found.facts
        standing = ctx.ports.ledger.reservation(ctx.service_id)
        for race in range(RACES):
            states = ctx.ports.ledger.nodes()
            if standing is not None:  # of another size: the same node has to take the new one
                states = tuple(_without(s, standing) for s in states if s.node.name == standing.node)
            placement = _place(wanted, states)
            limit = next(s for s in states if s.node.name == placement.node)
            try:
                ctx.ports.ledger.reserve(_reservation(ctx, wanted, node=placement.node, job_id=ctx.job_id), limit=limit)
            except NoCapacity:
                # Somebody else was promised it in between; every node may look different by now.
                ctx.progress(race / RACES, f"node {placement.node} was filled by another job, choosing again")
                continue
            return _facts(ctx, placement.node, placement.verdicts)
        raise NoCapacity(f"{RACES} nodes in a row were filled by other jobs while they were being reserved", hint="retry the job")

    def undo(self, ctx: StepContext, args: A, facts: Mapping[str, Any]) -> None:
        standing = ctx.ports.ledger.reservation(ctx.service_id)
        if standing is not None and standing.job_id == ctx.job_id:
            ctx.ports.ledger.release_reservation(ctx.service_id)

    def give_back(self, ctx: StepContext, *, vcpus: int, memory_bytes: int, disk_bytes: int, promised_to: str = "") -> None:
        """Have the node that promised this job another size promise what it did before, to the job that it promised it to."""
        standing = ctx.ports.ledger.reservation(ctx.service_id)
        if standing is not None and standing.job_id == ctx.job_id:
            was = replace(standing, vcpus=vcpus, memory_bytes=memory_bytes, disk_bytes=disk_bytes)
            was = replace(was, job_id=promised_to or standing.job_id)
            ctx.ports.ledger.reserve(was, limit=node_state(ctx, standing.node))


class NodeReserve(Reserve[ReserveArgs]):
    """Choose the hypervisor that takes the guest and promise it the capacity."""

    name: ClassVar[str] = "node.reserve"
    args = ReserveArgs

    def wanted(self, args: ReserveArgs) -> Wanted:
        """The guest's size."""
        return size_of(args.guest)


def size_of(guest: GuestWanted) -> Wanted:
    """What a node promises for the guest."""
    return Wanted(
        vcpus=guest.vcpus, memory_bytes=guest.memory_bytes, disk_bytes=guest.disk_bytes, zone=guest.zone, zones=guest.zones
    )


def _place(wanted: Wanted, states: tuple[NodeState, ...]) -> Placement:
    """Raises NoCapacity, and Unreachable where only a node that is down would take it: that may be over in a moment."""
    try:
        return place(wanted, states)
    except NoCapacity:
        down = [replace(state, up=True) for state in states if state.enrolled and not state.up]
        try:
            node = place(wanted, down).node
        except NoCapacity:
            node = ""
        if node:
            what = "guest" if wanted.kind == NodeKind.HYPERVISOR else "account"
            raise Unreachable(
                f"node {node} would take the {what}, and is down", retry_after=RETRY_DOWN_SECONDS, away=node
            ) from None
        raise


def _reservation(ctx: StepContext, wanted: Wanted, *, node: str, job_id: str) -> Reservation:
    return Reservation(
        service_id=ctx.service_id,
        job_id=job_id,
        node=node,
        vcpus=wanted.vcpus,
        memory_bytes=wanted.memory_bytes,
        disk_bytes=wanted.disk_bytes,
    )


def _facts(ctx: StepContext, node: str, verdicts: tuple[Verdict, ...]) -> Facts:
    rows = [{"node": v.node, "fits": v.fits, "reasons": list(v.reasons)} for v in verdicts]
    return {"node": node, "zone": node_state(ctx, node).node.zone, "verdicts": rows}


def _without(state: NodeState, standing: Reservation) -> NodeState:
    if state.node.name != standing.node:
        return state
    return replace(
        state,
        promised_vcpus=state.promised_vcpus - standing.vcpus,
        promised_memory_bytes=state.promised_memory_bytes - standing.memory_bytes,
        promised_disk_bytes=state.promised_disk_bytes - standing.disk_bytes,
    )


def _explain(ctx: StepContext, wanted: Wanted, standing: Reservation) -> tuple[Verdict, ...]:
    """The verdicts as they are now, without what the service itself takes; none where no node would take it any more."""
    try:
        placement: Placement = place(wanted, [_without(state, standing) for state in ctx.ports.ledger.nodes()])
    except NoCapacity:
        return ()
    return placement.verdicts


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseArgs:
    """``proof``: how absence from the nodes was shown; the promise is given back only then."""

    proof: str


class NodeRelease(BaseStep[ReleaseArgs]):
    """Give the promised capacity back."""

    name: ClassVar[str] = "node.release"
    args = ReleaseArgs

    def check(self, ctx: StepContext, args: ReleaseArgs) -> Done | Needed:
        standing = ctx.ports.ledger.reservation(ctx.service_id)
        return Done({"released": True}) if standing is None else Needed(f"capacity is promised on {standing.node}")

    def apply(self, ctx: StepContext, args: ReleaseArgs) -> Facts:
        ctx.ports.ledger.release_reservation(ctx.service_id)
        return {"released": True}
