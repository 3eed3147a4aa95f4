"""Moving a guest to another node: off and held where it is, its disk over there, compared, and on again.

Its old definition is held before there is a new one, and stays so until it is removed: never can two copies of it run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from orchestrator.domain.errors import AlreadyExists, NotFound, PermanentDriverError, WrongState
from orchestrator.domain.plans import Lease
from orchestrator.domain.specs import GuestWanted
from orchestrator.ports.hypervisor import GuestDefinition, GuestFacts, GuestMark, Power, PowerAction
from orchestrator.ports.volumes import VolumeFacts
from orchestrator.steps.archive import ArchiveKeep, ArchiveRestore, KeepArgs, RestoreArgs
from orchestrator.steps.backup_make import RUN_SECONDS
from orchestrator.steps.base import Done, Facts, Needed, StepContext
from orchestrator.steps.common import (
    ASK_SECONDS,
    RUNS,
    BaseStep,
    Timer,
    flag,
    node_state,
    own_guest,
    present_guest,
    put_down,
    traced,
    with_trace,
    without_trace,
)
from orchestrator.steps.compare import Expected, differences
from orchestrator.steps.definition import boot_of
from orchestrator.steps.fence import ask
from orchestrator.steps.guest import GuestWait, WaitArgs, pool_path, seed_disk
from orchestrator.steps.power import before
from orchestrator.steps.restore import on_volume, throw_away, uses
from orchestrator.steps.storage import VolumeCreate, disk_name

SET_OUT = "set-out"
SETTLED = "settled"
# What the mark of a guest is held for that is on its way.
MOVING = "moving"


@dataclass(frozen=True, slots=True, kw_only=True)
class SetOutArgs:
    """``grace_seconds``: how long the guest may take to shut itself down (ACPI) before its plug is pulled."""

    node: str
    grace_seconds: float = 60.0


class GuestSetOut(BaseStep[SetOutArgs]):
    """Switch the guest off and hold it, so that nobody starts it here any more. How it was is kept in its mark."""

    name: ClassVar[str] = "guest.set-out"
    args = SetOutArgs
    destructive: ClassVar[bool] = True
    deadline_seconds: ClassVar[float] = 180.0

    def check(self, ctx: StepContext, args: SetOutArgs) -> Done | Needed:
        facts = own_guest(ctx, args.node)
        if facts is None or facts.mark is None:  # gone with this job, or missing
            return Done(_before(_arrived(ctx)), made_by=ctx.job_id)
        there = traced(facts.mark, SET_OUT, ctx)
        if there is None or MOVING not in facts.mark.holds or facts.autostart:
            return Needed(f"{facts.name} is not held for its move")
        if facts.power != Power.STOPPED:
            return Needed(f"{facts.name} is {facts.power}")
        return Done(_before(there), made_by=ctx.job_id)

    def apply(self, ctx: StepContext, args: SetOutArgs) -> Facts:
        """Raises FenceClosed, Frozen, and WrongState where its memory was saved to be gone on with."""
        timer = Timer(ctx)
        ask(ctx, "set out")
        facts, mark = present_guest(ctx, args.node)
        if facts.managed_save:
            raise WrongState(f"the memory of {facts.name} was saved and cannot move with it", hint="start it, or remove that")
        if traced(mark, SET_OUT, ctx) is None:
            mark = with_trace(mark, SET_OUT, ctx, before(facts))
        held = replace(mark, holds=tuple(sorted({*mark.holds, MOVING})))
        hypervisor = ctx.ports.hypervisor(args.node)
        marked = hypervisor.mark(facts.name, held, autostart=False, deadline=ASK_SECONDS)
        put_down(hypervisor, marked, grace_seconds=min(args.grace_seconds, timer.left() / 2), seconds=timer.left())
        return _before(traced(held, SET_OUT, ctx) or {})

    def undo(self, ctx: StepContext, args: SetOutArgs, facts: Mapping[str, Any]) -> None:
        """It is again as it was, running if it ran; a hold of its own keeps it off."""
        found = own_guest(ctx, args.node)
        there = traced(found.mark, SET_OUT, ctx) if found is not None and found.mark is not None else None
        if found is None or found.mark is None or there is None:
            return
        # In this order a crash in between leaves the trace, and undoing again ends it.
        free = replace(found.mark, holds=_own(found.mark))
        hypervisor, autostart = ctx.ports.hypervisor(args.node), there["autostart"] == "yes"
        hypervisor.mark(found.name, free, autostart=autostart, deadline=ASK_SECONDS)
        if _before(there)["ran"] and not free.holds:
            hypervisor.power(found.name, PowerAction.START, deadline=Timer(ctx).left())
        hypervisor.mark(found.name, without_trace(free, SET_OUT, ctx), autostart=autostart, deadline=ASK_SECONDS)


def _arrived(ctx: StepContext) -> dict[str, str]:
    """What the mark of the guest says that this job brought to its new node. Raises NotFound where there is none."""
    for moving in (False, True):
        promised = ctx.ports.ledger.reservation(ctx.service_id, moving=moving)
        found = None if promised is None else own_guest(ctx, promised.node)
        there = traced(found.mark, SETTLED, ctx) if found is not None and found.mark is not None else None
        if there is not None:
            return there
    raise NotFound(f"the guest of {ctx.service_id} is neither where it was nor where it moves to", hint="an operator has to look")


def _own(mark: GuestMark) -> tuple[str, ...]:
    """The holds that are not of a move."""
    return tuple(hold for hold in mark.holds if hold != MOVING)


def _before(there: Mapping[str, str]) -> Facts:
    return {"ran": Power(there["power"]) in RUNS, "autostart": there["autostart"] == "yes"}


class DiskCarry(ArchiveKeep):
    """Make a verified backup of the disk, which the other node can read. It stays the newest of the service's backups."""

    name: ClassVar[str] = "disk.carry"

    def check(self, ctx: StepContext, args: KeepArgs) -> Done | Needed:
        found = super().check(ctx, args)
        return Done({"archive": found.facts}, made_by=found.made_by) if isinstance(found, Done) else found

    def apply(self, ctx: StepContext, args: KeepArgs) -> Facts:
        return {"archive": super().apply(ctx, args)}


class DiskArrive(ArchiveRestore):
    """Write that backup onto a new disk, with a key of its own, and read it back."""

    name: ClassVar[str] = "disk.arrive"

    def check(self, ctx: StepContext, args: RestoreArgs) -> Done | Needed:
        """Once this job has defined the guest on it, it is done."""
        found, guest = VolumeCreate().check(ctx, args.volume), own_guest(ctx, args.node)
        if isinstance(found, Done) and guest is not None and uses(guest, str(found.facts["volume"]["path"])):
            return Done({**found.facts, "restored": args.archive.id}, made_by=ctx.job_id)
        return Needed(f"{disk_name(ctx)} is not known to hold what {args.archive.id} does")

    def undo(self, ctx: StepContext, args: RestoreArgs, facts: Mapping[str, Any]) -> None:
        """Wipe it: the customer's data is on it, and stays where it was."""
        throw_away(ctx, args.node, disk_name(ctx), Timer(ctx))


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareArgs:
    """``volume`` on ``node`` is to hold what ``old`` does on the node that was ``left``."""

    node: str
    volume: VolumeFacts
    left: str
    old: VolumeFacts


class DiskCompare(BaseStep[CompareArgs]):
    """Read both disks whole, each on its node, and compare the SHA-256 of what they hold in the clear. Makes nothing."""

    name: ClassVar[str] = "disk.compare"
    args = CompareArgs
    heavy: ClassVar[bool] = True
    deadline_seconds: ClassVar[float] = RUN_SECONDS

    def check(self, ctx: StepContext, args: CompareArgs) -> Done | Needed:
        """Once this job has defined the guest on the new one they were alike; they are not any more when it runs."""
        found = own_guest(ctx, args.node)
        there = traced(found.mark, SETTLED, ctx) if found is not None and found.mark is not None else None
        return Needed("they are still to be read") if there is None else Done({"sha256": there["sha256"]}, made_by=ctx.job_id)

    def apply(self, ctx: StepContext, args: CompareArgs) -> Facts:
        """Raises PermanentDriverError where they differ."""
        timer = Timer(ctx)
        here, there = (_digest(ctx, *each, timer) for each in ((args.left, args.old), (args.node, args.volume)))
        if here != there:
            raise PermanentDriverError(
                f"the disk on {args.node} does not hold what the one on {args.left} does: {there} instead of {here}",
                hint="retry; where it happens again, look at the disks of both nodes",
            )
        return {"sha256": here}


def _digest(ctx: StepContext, node: str, volume: VolumeFacts, timer: Timer) -> str:
    """Of what the volume holds in the clear."""
    request = {
        "path": volume.path,
        "format": volume.format,
        **({"secret_uuid": volume.secret_uuid} if volume.secret_uuid else {}),
    }
    answer = ctx.ports.agent(node).call("disk-digest", request, deadline=timer.left(), progress=ctx.progress)
    return str(answer["sha256"])


@dataclass(frozen=True, slots=True, kw_only=True)
class SettleInArgs:
    """``definition`` as guest.record wrote it down on the old node; ``volume`` in the place of ``old``.

    ``ran`` and ``autostart``: how it was before it set out; ``sha256``: what both disks held then, where both were
    read; ``known``: the service's facts ($facts).
    """

    node: str
    definition: GuestDefinition | None
    volume: VolumeFacts
    old: VolumeFacts
    ran: bool
    autostart: bool
    cloud_init: bool
    known: dict[str, Any]
    sha256: str = ""


class GuestSettle(BaseStep[SettleInArgs]):
    """Define the guest on its new node as it was on the old one: the same name, uuid, size, MAC, addresses, limits and holds."""

    name: ClassVar[str] = "guest.settle"
    args = SettleInArgs

    def check(self, ctx: StepContext, args: SettleInArgs) -> Done | Needed:
        """Raises AlreadyExists where a guest of the service is there that this job did not bring."""
        found = own_guest(ctx, args.node)
        if found is None or found.mark is None:
            return Needed(f"it is not defined on {args.node}")
        if traced(found.mark, SETTLED, ctx) is None:
            raise AlreadyExists(f"{found.name} is on {args.node} already: it is left alone", hint="an operator has to look")
        if found.autostart != args.autostart:
            return Needed("whether it starts with its host is not as it was")
        return Done(self._facts(ctx, args, found), made_by=ctx.job_id)

    def apply(self, ctx: StepContext, args: SettleInArgs) -> Facts:
        definition, hypervisor = self._definition(ctx, args), ctx.ports.hypervisor(args.node)
        made = hypervisor.define(definition, deadline=Timer(ctx).left())
        hypervisor.mark(made.name, made.mark or definition.mark, autostart=args.autostart, deadline=ASK_SECONDS)
        return self._facts(ctx, args, made)

    def undo(self, ctx: StepContext, args: SettleInArgs, facts: Mapping[str, Any]) -> None:
        """Only what this job brought: the guest is held on its old node, and whole there."""
        found = own_guest(ctx, args.node)
        if found is None or found.mark is None or traced(found.mark, SETTLED, ctx) is None:
            return
        hypervisor = ctx.ports.hypervisor(args.node)
        put_down(hypervisor, found, grace_seconds=0, seconds=ASK_SECONDS)
        hypervisor.undefine(found.name, deadline=ASK_SECONDS)

    def _facts(self, ctx: StepContext, args: SettleInArgs, made: GuestFacts) -> Facts:
        return {"guest": made.name, "uuid": made.uuid, "boot": self._boot(ctx, args)}

    def _boot(self, ctx: StepContext, args: SettleInArgs) -> dict[str, Any]:
        """As guest.define records it, with the files of this node's pool."""
        boot = dict(boot_of(args.known))
        names = {name: str(boot.get(name, "")).rpartition("/")[2] for name in ("kernel", "initrd")}
        return {**boot, **{name: pool_path(ctx, args.node, file) for name, file in names.items()}}

    def _definition(self, ctx: StepContext, args: SettleInArgs) -> GuestDefinition:
        was = args.definition
        if was is None:
            raise NotFound(f"how the guest of {ctx.service_id} is defined is not known", hint="an operator has to look")
        power = Power.RUNNING if args.ran else Power.STOPPED
        came = {"power": power.value, "autostart": flag(args.autostart), "sha256": args.sha256}
        mark = with_trace(without_trace(replace(was.mark, holds=_own(was.mark)), SET_OUT, ctx), SETTLED, ctx, came)
        boot = self._boot(ctx, args)
        disks = tuple(on_volume(disk, args.volume) for disk in was.disks if disk.path == args.old.path)
        if not disks:
            raise PermanentDriverError(f"{was.name} does not use {args.old.name}", hint="an operator has to look")
        return replace(
            was,
            mark=mark,
            disks=(*disks, *((seed_disk(ctx, args.node),) if args.cloud_init else ())),
            bridge=node_state(ctx, args.node).node.bridge,
            kernel=boot["kernel"],
            initrd=boot["initrd"],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class GoOnArgs:
    """``ran``: whether it ran before it set out."""

    node: str
    ran: bool


class GuestGoOn(BaseStep[GoOnArgs]):
    """Start the guest on its new node, if it ran on the old one."""

    name: ClassVar[str] = "guest.go-on"
    args = GoOnArgs
    heavy: ClassVar[bool] = True
    deadline_seconds: ClassVar[float] = 120.0

    def check(self, ctx: StepContext, args: GoOnArgs) -> Done | Needed:
        facts, mark = present_guest(ctx, args.node)
        if args.ran and not mark.holds and facts.power != Power.RUNNING:
            return Needed(f"{facts.name} is {facts.power}, and ran before")
        return Done({"power": facts.power.value}, made_by=ctx.job_id)

    def apply(self, ctx: StepContext, args: GoOnArgs) -> Facts:
        facts, _ = present_guest(ctx, args.node)
        started = ctx.ports.hypervisor(args.node).power(facts.name, PowerAction.START, deadline=Timer(ctx).left())
        return {"power": started.power.value}

    def undo(self, ctx: StepContext, args: GoOnArgs, facts: Mapping[str, Any]) -> None:
        found = own_guest(ctx, args.node)
        if found is not None and found.mark is not None and traced(found.mark, SETTLED, ctx) is not None:
            put_down(ctx.ports.hypervisor(args.node), found, grace_seconds=0, seconds=ASK_SECONDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class ArrivedArgs:
    """As guest.wait and guest.verify take them; of a guest that did not run nothing is waited for."""

    node: str
    ran: bool
    ready: str
    addresses: tuple[str, ...]
    guest: GuestWanted
    volume: VolumeFacts
    lease: Lease
    limited: bool = False


class GuestArrived(BaseStep[ArrivedArgs]):
    """Wait until the guest answers from its new node, and read back that it is what was sold. Makes nothing."""

    name: ClassVar[str] = "guest.arrived"
    args = ArrivedArgs
    deadline_seconds: ClassVar[float] = 300.0
    attempts: ClassVar[int] = 1

    def check(self, ctx: StepContext, args: ArrivedArgs) -> Done | Needed:
        facts, mark = present_guest(ctx, args.node)
        if args.ran and not mark.holds:
            answers = GuestWait().check(ctx, self._wait(args))
            if isinstance(answers, Needed):
                return answers
        bridge = node_state(ctx, args.node).node.bridge
        expected = Expected(guest=args.guest, lease=args.lease, disk_path=args.volume.path, bridge=bridge, limited=args.limited)
        wrong = differences(ctx, facts, expected)
        return Needed("; ".join(wrong)) if wrong else Done({"arrived": facts.power.value})

    def apply(self, ctx: StepContext, args: ArrivedArgs) -> Facts:
        """Raises as guest.wait does, and PermanentDriverError naming each difference."""
        _, mark = present_guest(ctx, args.node)
        if args.ran and not mark.holds:
            GuestWait().apply(ctx, self._wait(args))
        found = self.check(ctx, args)
        if isinstance(found, Needed):
            raise PermanentDriverError(f"the guest is not what was sold: {found.why}")
        return found.facts

    def _wait(self, args: ArrivedArgs) -> WaitArgs:
        return WaitArgs(node=args.node, ready=args.ready, addresses=args.addresses)
