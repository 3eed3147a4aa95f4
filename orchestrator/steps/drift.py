"""Looking whether a service is still what was sold, changing nothing: what is found is facts, and at last a failed job."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from orchestrator.domain.errors import WrongState
from orchestrator.domain.specs import GuestWanted
from orchestrator.ports.hypervisor import GuestFacts, Power
from orchestrator.steps.base import Done, Facts, Needed, StepContext
from orchestrator.steps.common import ASK_SECONDS, POOL_SECONDS, BaseStep, Look, node_state, own_guest
from orchestrator.steps.compare import Expected, differences
from orchestrator.steps.wipe import volumes_of


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestCheckArgs:
    """``holds``: the reasons that stop the service now, from its record; empty = it may run. ``disk_path`` of its disk.
    ``limited``: whether it is to be found throttled.
    """

    node: str
    guest: GuestWanted
    disk_path: str
    holds: tuple[str, ...] = ()
    limited: bool = False


class GuestCheck(Look[GuestCheckArgs]):
    """Compare guest, filter, limits and holds with what was sold."""

    name: ClassVar[str] = "guest.check"
    args = GuestCheckArgs

    def look(self, ctx: StepContext, args: GuestCheckArgs) -> Facts:
        facts = own_guest(ctx, args.node)
        if facts is None:
            return {"drift": [f"the guest is not on {args.node}"]}
        lease = ctx.ports.addresses.lease(ctx.service_id)
        if lease is None:
            return {"drift": ["the service holds no addresses"]}
        bridge = node_state(ctx, args.node).node.bridge
        expected = Expected(guest=args.guest, lease=lease, disk_path=args.disk_path, bridge=bridge, limited=args.limited)
        held = [*holding(facts, args.holds), *limiting(facts, limited=args.limited)]
        return {"drift": [*differences(ctx, facts, expected), *held]}


def holding(facts: GuestFacts, holds: Sequence[str]) -> list[str]:
    """Where it is not stopped, or held, as its record says."""
    held = facts.mark.holds if facts.mark is not None else ()
    if not holds:
        wrong = [f"it is held on its node for {', '.join(held)}, and not in our records"] if held else []
        # One that is off may have been stopped by its operator, who wants it to stay so.
        if facts.power == Power.RUNNING and not facts.autostart:
            wrong.append("it runs, and would not start with its host")
        return wrong
    wrong = [] if held else [f"it is not held on its node, and should be for {', '.join(holds)}"]
    if facts.power != Power.STOPPED:
        wrong.append(f"it is suspended and {facts.power}")
    if facts.autostart:
        wrong.append("it is suspended and would start with its host")
    return wrong


def limiting(facts: GuestFacts, *, limited: bool) -> list[str]:
    """Where it is not throttled as its record says."""
    found = facts.mark.limits if facts.mark is not None else ()
    if limited and not found:
        return ["it is not limited on its node, and should be"]
    return [f"it is limited on its node for {', '.join(found)}, and not in our records"] if found and not limited else []


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeCheckArgs:
    """``kept``: names of the volumes that stand beside the disk for a while ($job.kept)."""

    node: str
    kept: tuple[str, ...] = ()


class VolumeCheck(Look[VolumeCheckArgs]):
    """Whether the disk is there with its key and its template, and beside those that the guest uses only what is kept."""

    name: ClassVar[str] = "volume.check"
    args = VolumeCheckArgs

    def look(self, ctx: StepContext, args: VolumeCheckArgs) -> Facts:
        store = ctx.ports.volumes(args.node)
        there = {v.path: v for v in store.volumes(deadline=POOL_SECONDS)}
        facts = own_guest(ctx, args.node)
        drift: list[str] = []
        used = {d.path for d in facts.disks} if facts is not None else set()
        drift += [f"volume {path} is gone" for path in sorted(used - set(there))]
        keys = set(store.secrets(deadline=ASK_SECONDS))
        for path in sorted(used & set(there)):
            volume = there[path]
            if volume.secret_uuid and volume.name not in keys:
                drift.append(f"the key of {volume.name} is gone")
            if volume.backing_path and volume.backing_path not in there:
                drift.append(f"the template under {volume.name} is gone: {volume.backing_path}")
        beside = {ref.name for ref in volumes_of(ctx, args.node, {}) if ref.path not in used}
        drift += [f"volume {name} belongs to no guest" for name in sorted(beside - set(args.kept))]
        drift += [f"volume {name} is gone, and was to be kept" for name in sorted(set(args.kept) - beside)]
        return {"drift": drift}


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerCheckArgs:
    """What is promised: the same size as the guest's."""

    node: str
    guest: GuestWanted


class ReservationCheck(Look[LedgerCheckArgs]):
    """Whether the node still promises what was sold."""

    name: ClassVar[str] = "node.check"
    args = LedgerCheckArgs

    def look(self, ctx: StepContext, args: LedgerCheckArgs) -> Facts:
        standing = ctx.ports.ledger.reservation(ctx.service_id)
        if standing is None or standing.node != args.node:
            return {"drift": [f"no capacity is promised on {args.node}"]}
        found = (standing.vcpus, standing.memory_bytes, standing.disk_bytes)
        wanted = (args.guest.vcpus, args.guest.memory_bytes, args.guest.disk_bytes)
        if found == wanted:
            return {"drift": []}
        return {"drift": [f"{args.node} promises {found} (vCPU, memory, disk), sold is {wanted}"]}


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportArgs:
    """``found``: the drift of earlier steps, one list each."""

    found: tuple[tuple[str, ...], ...]


class DriftReport(BaseStep[ReportArgs]):
    """Done where nothing was found; else the job fails with every finding as a sentence."""

    name: ClassVar[str] = "drift.report"
    args = ReportArgs

    def check(self, ctx: StepContext, args: ReportArgs) -> Done | Needed:
        """Raises WrongState with the findings: here, not when acting, so that no act is on record that could be undone."""
        return Done(self.apply(ctx, args))

    def apply(self, ctx: StepContext, args: ReportArgs) -> Facts:
        """The same verdict; the step never needs to act."""
        drift = [sentence for part in args.found for sentence in part]
        if drift:
            raise WrongState(f"needed: {'; '.join(drift)}", hint="nothing was changed", drift=drift)
        return {"drift": []}
