"""Moving a guest to the size of another plan: what its node promises, its definition, what of that it gets at once, and its disk.

A disk is only ever made larger, and that comes last: it cannot be taken back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any, ClassVar

from orchestrator.domain import plan_changes
from orchestrator.domain.errors import PermanentDriverError, Refused, UndoFailed
from orchestrator.domain.placement import Wanted
from orchestrator.domain.plans import lower_rate
from orchestrator.domain.sizes import compared, size_words
from orchestrator.domain.specs import GuestWanted
from orchestrator.ports.guest_sizes import GuestSize
from orchestrator.ports.hypervisor import GuestDisk, GuestFacts, GuestMark, Power, PowerAction
from orchestrator.steps.arguments import dump
from orchestrator.steps.base import Done, Facts, Needed, StepContext
from orchestrator.steps.common import (
    ASK_SECONDS,
    BaseStep,
    Look,
    OnNode,
    Timer,
    node_state,
    own_guest,
    present_guest,
    put_down,
    traced,
    with_trace,
    without_trace,
)
from orchestrator.steps.compare import Expected, differences, network_is
from orchestrator.steps.guest import in_pool, signed
from orchestrator.steps.place import Reserve, size_of

RESIZED = "resized"
RESTARTED = "restarted"
GRACE_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeBefore:
    """``guest.measure``: what the guest was defined with. ``network_bytes_per_second``: what it has where nothing limits it.
    ``promised_to``: the job that its node promised that to."""

    size: GuestSize
    network_bytes_per_second: int
    disk_bytes: int
    promised_to: str = ""


class GuestMeasure(Look[OnNode]):
    """Write down the size that the guest has before it is moved."""

    name: ClassVar[str] = "guest.measure"
    args = OnNode

    def look(self, ctx: StepContext, args: OnNode) -> Facts:
        facts, mark = present_guest(ctx, args.node)
        disk = _disk(facts)
        size = GuestSize(
            vcpus=facts.vcpus_at_start,
            memory_bytes=facts.memory_at_start,
            cpu_percent=facts.cpu_percent,
            disk_bytes_per_second=disk.bytes_per_second,
            disk_iops=disk.iops,
            vcpus_most=facts.vcpus_most if facts.vcpus_most > facts.vcpus_at_start else 0,
        )
        rate = facts.network_at_start if mark.network_before is None else mark.network_before
        standing = ctx.ports.ledger.reservation(ctx.service_id)
        before = SizeBefore(
            size=size,
            network_bytes_per_second=rate,
            disk_bytes=disk.capacity_bytes,
            promised_to="" if standing is None else standing.job_id,
        )
        return {"before": dump(before)}


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveArgs:
    """``before`` as guest.measure wrote it down."""

    node: str
    guest: GuestWanted
    before: SizeBefore


class GuestFits(BaseStep[MoveArgs]):
    """See that the disk which the guest has fits into what it is to have."""

    name: ClassVar[str] = "guest.fits"
    args = MoveArgs

    def check(self, ctx: StepContext, args: MoveArgs) -> Done | Needed:
        """Raises Refused here, not when acting, so that no act is on record that could be undone."""
        return Done(self.apply(ctx, args))

    def apply(self, ctx: StepContext, args: MoveArgs) -> Facts:
        """The same verdict; the step never needs to act."""
        refusal = plan_changes.smaller_disk(args.before.disk_bytes, args.guest.disk_bytes)
        if refusal is not None:
            raise Refused(refusal.reason, rule=refusal.rule)
        return {"fits": True}


class GuestPromise(Reserve[MoveArgs]):
    """Have the guest's own node promise it another size."""

    name: ClassVar[str] = "guest.promise"
    args = MoveArgs

    def wanted(self, args: MoveArgs) -> Wanted:
        """As for a new guest; whoever is promised already is asked of his own node only."""
        return size_of(args.guest)

    def undo(self, ctx: StepContext, args: MoveArgs, facts: Mapping[str, Any]) -> None:
        """Have it promise what it did before."""
        size, disk = args.before.size, args.before.disk_bytes
        was = {"vcpus": size.vcpus, "memory_bytes": size.memory_bytes, "disk_bytes": disk}
        self.give_back(ctx, **was, promised_to=args.before.promised_to)


@dataclass(frozen=True, slots=True, kw_only=True)
class ResizeArgs(MoveArgs):
    """``digest`` of the new spec, to be signed."""

    digest: str


class GuestResize(BaseStep[ResizeArgs]):
    """Define the guest with another size, and give it what it can get while it runs. A limit of a hold stays in force."""

    name: ClassVar[str] = "guest.resize"
    args = ResizeArgs

    def check(self, ctx: StepContext, args: ResizeArgs) -> Done | Needed:
        facts, mark = present_guest(ctx, args.node)
        disk, size = _disk(facts), _size(args.guest)
        found = (facts.vcpus_at_start, facts.memory_at_start, facts.cpu_percent or 100, disk.bytes_per_second, disk.iops)
        wanted = (size.vcpus, size.memory_bytes, size.cpu_percent or 100, size.disk_bytes_per_second, size.disk_iops)
        rate, _ = _rates(args.guest, mark)
        if found != wanted or not network_is(facts, rate) or mark.spec_digest != args.digest:
            return Needed("it is defined with another size")
        return Done(_resized(facts), made_by=ctx.job_id if traced(mark, RESIZED, ctx) is not None else "")

    def apply(self, ctx: StepContext, args: ResizeArgs) -> Facts:
        facts, mark = present_guest(ctx, args.node)
        hypervisor = ctx.ports.hypervisor(args.node)
        if traced(mark, RESIZED, ctx) is None:
            before = {"digest": mark.spec_digest, "signature": mark.spec_signature, "rate": str(mark.limited_rate)}
            mark = with_trace(mark, RESIZED, ctx, before)
            hypervisor.mark(facts.name, mark, autostart=facts.autostart, deadline=ASK_SECONDS)
        ctx.ports.sizes(args.node).resize(facts.name, _size(args.guest), deadline=ASK_SECONDS)
        rate, limits = _rates(args.guest, mark)
        hypervisor.set_network_rate(facts.name, rate, deadline=ASK_SECONDS)
        signed_mark = replace(mark, **limits, spec_digest=args.digest, spec_signature=signed(ctx, args.digest))
        done = hypervisor.mark(facts.name, signed_mark, autostart=facts.autostart, deadline=ASK_SECONDS)
        ctx.progress(1.0, f"restart needed: {_sentence(done)}" if done.needs_restart else "it has its new size")
        return _resized(done)

    def undo(self, ctx: StepContext, args: ResizeArgs, facts: Mapping[str, Any]) -> None:
        """Give it the size back that it had; where this job restarted it into the new one, once more."""
        found = own_guest(ctx, args.node)
        there = traced(found.mark, RESIZED, ctx) if found is not None and found.mark is not None else None
        if found is None or found.mark is None or there is None:
            return
        hypervisor, mark, rate = ctx.ports.hypervisor(args.node), found.mark, args.before.network_bytes_per_second
        was = ctx.ports.sizes(args.node).resize(found.name, args.before.size, deadline=ASK_SECONDS)
        limited = int(there["rate"])
        hypervisor.set_network_rate(found.name, limited if mark.limits else rate, deadline=ASK_SECONDS)
        if traced(mark, RESTARTED, ctx) is not None and (was.needs_restart or was.power == Power.STOPPED):
            put_down(hypervisor, was, grace_seconds=GRACE_SECONDS, seconds=ASK_SECONDS)
            hypervisor.power(found.name, PowerAction.START, deadline=ASK_SECONDS)
        if mark.limits:
            mark = replace(mark, limited_rate=limited, network_before=rate)
        clean = without_trace(without_trace(mark, RESTARTED, ctx), RESIZED, ctx)
        clean = replace(clean, spec_digest=there["digest"], spec_signature=there["signature"])
        hypervisor.mark(found.name, clean, autostart=found.autostart, deadline=ASK_SECONDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class RestartArgs(OnNode):
    """``not_after``: the moment (ISO 8601) from which it is not begun any more; '' = it may be begun at any time."""

    not_after: str = ""


class GuestRestart(BaseStep[RestartArgs]):
    """Restart the guest into the size that it is defined with. One that is off, or runs with it, is left alone, and so is one
    whose time for it is over."""

    name: ClassVar[str] = "guest.restart"
    args = RestartArgs
    deadline_seconds: ClassVar[float] = 180.0

    def check(self, ctx: StepContext, args: RestartArgs) -> Done | Needed:
        facts, mark = present_guest(ctx, args.node)
        ours = traced(mark, RESTARTED, ctx) is not None
        if ours and facts.power == Power.STOPPED:
            return Needed("it was switched off to be started anew")
        if not ours and args.not_after and ctx.ports.clock.now() > datetime.fromisoformat(args.not_after):
            return Done({"restarted": False})
        if facts.power != Power.STOPPED and facts.needs_restart:
            return Needed(_sentence(facts))
        return Done({"restarted": ours}, made_by=ctx.job_id if ours else "")

    def apply(self, ctx: StepContext, args: RestartArgs) -> Facts:
        """Asked first (ACPI); one that does not go down within a minute has its plug pulled."""
        facts, mark = present_guest(ctx, args.node)
        hypervisor = ctx.ports.hypervisor(args.node)
        if traced(mark, RESTARTED, ctx) is None:
            marked = with_trace(mark, RESTARTED, ctx, {})
            facts = hypervisor.mark(facts.name, marked, autostart=facts.autostart, deadline=ASK_SECONDS)
        put_down(hypervisor, facts, grace_seconds=GRACE_SECONDS, seconds=ASK_SECONDS)
        hypervisor.power(facts.name, PowerAction.START, deadline=Timer(ctx).left())
        return {"restarted": True}

    def undo(self, ctx: StepContext, args: RestartArgs, facts: Mapping[str, Any]) -> None:
        """Nothing: guest.resize, undone after this, restarts it into the size that it had."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GrowArgs(MoveArgs):
    """``volume``: the disk's name in the pool ($facts.disk.volume.name)."""

    volume: str


class VolumeGrow(BaseStep[GrowArgs]):
    """Make the disk larger, whether the guest runs or not. What is on it is for its customer to enlarge."""

    name: ClassVar[str] = "volume.grow"
    args = GrowArgs

    def check(self, ctx: StepContext, args: GrowArgs) -> Done | Needed:
        facts, _ = present_guest(ctx, args.node)
        found = _disk(facts).capacity_bytes
        if found != args.guest.disk_bytes:
            return Needed("its disk has {} instead of {}".format(*compared(found, args.guest.disk_bytes)))
        return Done(self._facts(ctx, args), made_by=ctx.job_id if found != args.before.disk_bytes else "")

    def apply(self, ctx: StepContext, args: GrowArgs) -> Facts:
        facts, _ = present_guest(ctx, args.node)
        ctx.ports.sizes(args.node).grow(facts.name, args.guest.disk_bytes, deadline=Timer(ctx).left())
        return self._facts(ctx, args)

    def undo(self, ctx: StepContext, args: GrowArgs, facts: Mapping[str, Any]) -> None:
        """A disk that has grown stays so: raises UndoFailed. Its guest may have written beyond the old end by now."""
        found = own_guest(ctx, args.node)
        if found is not None and _disk(found).capacity_bytes > args.before.disk_bytes:
            grown = size_words(_disk(found).capacity_bytes)
            raise UndoFailed(f"the disk of {found.name} has grown to {grown}: it is not made smaller")

    def _facts(self, ctx: StepContext, args: GrowArgs) -> Facts:
        """As volume.create records the disk."""
        return {"volume": dump(in_pool(ctx, args.node, args.volume))}


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifySizeArgs:
    """``disk_path`` of its disk; ``digest`` of the new spec."""

    node: str
    guest: GuestWanted
    disk_path: str
    digest: str


class GuestVerifySize(BaseStep[VerifySizeArgs]):
    """Read the guest back, whether it runs or not: it is done only when it is what was sold. Makes nothing."""

    name: ClassVar[str] = "guest.verify-size"
    args = VerifySizeArgs

    def check(self, ctx: StepContext, args: VerifySizeArgs) -> Done | Needed:
        facts, mark = present_guest(ctx, args.node)
        lease = ctx.ports.addresses.lease(ctx.service_id)
        if lease is None:
            return Needed("the service holds no addresses")
        expected = Expected(
            guest=args.guest,
            lease=lease,
            digest=args.digest,
            disk_path=args.disk_path,
            bridge=node_state(ctx, args.node).node.bridge,
            limited=bool(mark.limits),
        )
        wrong = differences(ctx, facts, expected)
        return Needed("; ".join(wrong)) if wrong else Done(_resized(facts))

    def apply(self, ctx: StepContext, args: VerifySizeArgs) -> Facts:
        """Nothing can be done about a difference here: PermanentDriverError, naming each."""
        found = self.check(ctx, args)
        if isinstance(found, Needed):
            raise PermanentDriverError(f"the guest is not what was sold: {found.why}")
        return found.facts


def _size(guest: GuestWanted) -> GuestSize:
    return GuestSize(
        vcpus=guest.vcpus,
        memory_bytes=guest.memory_bytes,
        cpu_percent=guest.cpu_percent,
        disk_bytes_per_second=guest.disk_bytes_per_second,
        disk_iops=guest.disk_iops,
        vcpus_most=guest.vcpus_most,
    )


def _rates(guest: GuestWanted, mark: GuestMark) -> tuple[int, dict[str, Any]]:
    """The rate that its network is to have, and what its mark is to say of it: under a hold that limits it stays limited."""
    if not mark.limits:
        return guest.network_bytes_per_second, {}
    limited = lower_rate(guest.limited_network_bytes_per_second, guest.network_bytes_per_second)
    return limited, {"limited_rate": limited, "network_before": guest.network_bytes_per_second}


def _disk(facts: GuestFacts) -> GuestDisk:
    found = next((disk for disk in facts.disks if not disk.read_only), None)
    if found is None:
        raise PermanentDriverError(f"{facts.name} has no disk", hint="an operator has to look")
    return found


def _resized(facts: GuestFacts) -> Facts:
    return {"restart_needed": _sentence(facts) if facts.needs_restart else "", "size": asdict(_runs(facts))}


def _runs(facts: GuestFacts) -> GuestSize:
    """What it has at this moment."""
    disk = _disk(facts)
    return GuestSize(
        vcpus=facts.vcpus,
        memory_bytes=facts.memory_bytes,
        cpu_percent=facts.cpu_percent,
        disk_bytes_per_second=disk.bytes_per_second,
        disk_iops=disk.iops,
    )


def _sentence(facts: GuestFacts) -> str:
    return (
        f"it runs with {facts.vcpus} vCPUs and {size_words(facts.memory_bytes)} of memory, "
        f"and has {facts.vcpus_at_start} and {size_words(facts.memory_at_start)} after its next start"
    )
