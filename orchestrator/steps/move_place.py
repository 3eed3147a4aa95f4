"""Capacity of a service that moves: promised on the node that takes it in, beside what the one that it leaves still bears."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from orchestrator.domain.errors import NoCapacity, WrongState
from orchestrator.domain.placement import Reservation, Wanted, place
from orchestrator.domain.specs import GuestWanted
from orchestrator.steps.base import Done, Facts, Needed, StepContext
from orchestrator.steps.common import BaseStep, node_state
from orchestrator.steps.place import RACES


@dataclass(frozen=True, slots=True, kw_only=True)
class TakeInArgs:
    """``leaves``: the node that it is on; ``to``: the one that is to take it, '' = any other of the zone."""

    guest: GuestWanted
    leaves: str
    to: str = ""


class NodeTakeIn(BaseStep[TakeInArgs]):
    """Choose the node that takes the guest in, in the same zone, so that it keeps its addresses, and promise it the capacity."""

    name: ClassVar[str] = "node.take-in"
    args = TakeInArgs

    def check(self, ctx: StepContext, args: TakeInArgs) -> Done | Needed:
        for moving in (False, True):
            found = ctx.ports.ledger.reservation(ctx.service_id, moving=moving)
            if found is not None and found.job_id == ctx.job_id and found.node != args.leaves:
                promised = [{"node": found.node, "fits": True, "reasons": ["it has promised the capacity to this job"]}]
                zone = node_state(ctx, found.node).node.zone
                return Done({"node": found.node, "zone": zone, "verdicts": promised}, made_by=ctx.job_id)
        return Needed("no other node has promised the capacity yet")

    def apply(self, ctx: StepContext, args: TakeInArgs) -> Facts:
        """Raises WrongState where it is to move to where it is, or another move of it left something; NoCapacity."""
        if args.to == args.leaves:
            raise WrongState(f"{ctx.service_id} is on {args.leaves} already")
        other = ctx.ports.ledger.reservation(ctx.service_id, moving=True)
        if other is not None and other.job_id != ctx.job_id:
            raise WrongState(f"{ctx.service_id} is promised a second time on {other.node}", hint="an operator has to look")
        zone = node_state(ctx, args.leaves).node.zone
        guest = args.guest
        wanted = Wanted(vcpus=guest.vcpus, memory_bytes=guest.memory_bytes, disk_bytes=guest.disk_bytes, zone=zone)
        for _ in range(RACES):
            states = [s for s in ctx.ports.ledger.nodes() if s.node.name != args.leaves and args.to in ("", s.node.name)]
            chosen = place(wanted, states)
            limit = next(state for state in states if state.node.name == chosen.node)
            reservation = Reservation(
                service_id=ctx.service_id,
                job_id=ctx.job_id,
                node=chosen.node,
                vcpus=wanted.vcpus,
                memory_bytes=wanted.memory_bytes,
                disk_bytes=wanted.disk_bytes,
            )
            try:
                ctx.ports.ledger.reserve(reservation, limit=limit, moving=True)
            except NoCapacity:  # somebody else was promised it in between
                continue
            verdicts = [{"node": v.node, "fits": v.fits, "reasons": list(v.reasons)} for v in chosen.verdicts]
            return {"node": chosen.node, "zone": zone, "verdicts": verdicts}
        raise NoCapacity(f"{RACES} nodes in a row were filled by other jobs while they were being reserved", hint="retry the job")

    def undo(self, ctx: StepContext, args: TakeInArgs, facts: Mapping[str, Any]) -> None:
        found = ctx.ports.ledger.reservation(ctx.service_id, moving=True)
        if found is not None and found.job_id == ctx.job_id:
            ctx.ports.ledger.release_reservation(ctx.service_id, moving=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class SwitchNodeArgs:
    """``left``: the node that it was on; ``to``: where it is from now on."""

    left: str
    to: str


class NodeSwitch(BaseStep[SwitchNodeArgs]):
    """From now on the service is on its new node; what the old one bears of it stays promised there until it is gone."""

    name: ClassVar[str] = "node.switch"
    args = SwitchNodeArgs

    def check(self, ctx: StepContext, args: SwitchNodeArgs) -> Done | Needed:
        standing = ctx.ports.ledger.reservation(ctx.service_id)
        if standing is None or standing.node != args.to:
            return Needed(f"it still counts as being on {args.left}")
        return Done({"node": args.to}, made_by=ctx.job_id if standing.job_id == ctx.job_id else "")

    def apply(self, ctx: StepContext, args: SwitchNodeArgs) -> Facts:
        ctx.ports.ledger.swap_reservations(ctx.service_id, standing=args.to)
        return {"node": args.to}

    def undo(self, ctx: StepContext, args: SwitchNodeArgs, facts: Mapping[str, Any]) -> None:
        ctx.ports.ledger.swap_reservations(ctx.service_id, standing=args.left)


@dataclass(frozen=True, slots=True, kw_only=True)
class LetGoArgs:
    """``left``: the node on which nothing of it is left."""

    left: str


class NodeLetGo(BaseStep[LetGoArgs]):
    """Give the capacity back that the old node bore."""

    name: ClassVar[str] = "node.let-go"
    args = LetGoArgs

    def check(self, ctx: StepContext, args: LetGoArgs) -> Done | Needed:
        found = ctx.ports.ledger.reservation(ctx.service_id, moving=True)
        return Done({"left": args.left}) if found is None else Needed(f"capacity is promised on {found.node}")

    def apply(self, ctx: StepContext, args: LetGoArgs) -> Facts:
        ctx.ports.ledger.release_reservation(ctx.service_id, moving=True)
        return {"left": args.left}
