"""Restoring a guest: the snapshot is written to a new volume, and the guest's definition is pointed at it.

At every instant the definition names one whole disk: the old one until the new one was written and read back, and the new one
from then on. What was replaced is not touched.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from orchestrator.domain.backups.drills import DRILL
from orchestrator.domain.errors import NoCapacity, PermanentDriverError, UndoFailed, WrongState
from orchestrator.domain.plans import volume_name
from orchestrator.domain.sizes import compared
from orchestrator.ports.hypervisor import GuestDefinition, GuestDisk, GuestFacts, GuestMark, Power, PowerAction
from orchestrator.ports.repositories import DiskSource, RestoreSpec
from orchestrator.ports.volumes import VolumeFacts, VolumeSpec
from orchestrator.steps.arguments import dump
from orchestrator.steps.backup_make import RUN_SECONDS
from orchestrator.steps.base import Done, Facts, Needed, StepContext
from orchestrator.steps.common import (
    ASK_SECONDS,
    POOL_SECONDS,
    RUNS,
    BaseStep,
    OnNode,
    Timer,
    own_guest,
    present_guest,
    put_down,
    require_off,
    traced,
    with_trace,
    without_trace,
)
from orchestrator.steps.definition import definition_of
from orchestrator.steps.disk_export import drop_all
from orchestrator.steps.power import STOP
from orchestrator.steps.repository import Shelf, restorable
from orchestrator.steps.wipe import VolumeRef, destroy, volumes_of

WRITTEN = "written"
SWITCHED = "switched"
MAKE_SECONDS = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteArgs:
    """``backup``: its id; ``role``: what the new volume is for, as its name will say; ``disk``: the service's, after which it is
    made: of its size, and encrypted if that is."""

    node: str
    backup: str
    role: str
    disk: VolumeFacts


class RestoreWrite(BaseStep[WriteArgs]):
    """Make a new volume, with a key of its own, and write to it what the snapshot holds, read back. Nobody runs on it yet.

    One that was written half and broken off is wiped, and made anew. That it was written whole is noted in the guest's mark, but
    for a drill, which touches nothing of the guest: that one is written again.
    """

    name: ClassVar[str] = "restore.write"
    args = WriteArgs
    heavy: ClassVar[bool] = True
    deadline_seconds: ClassVar[float] = RUN_SECONDS

    def check(self, ctx: StepContext, args: WriteArgs) -> Done | Needed:
        """What the guest runs on, or what its mark says was written whole by this job, is not written again."""
        name = _name(ctx, args)
        if args.role != DRILL:
            facts, mark = present_guest(ctx, args.node)
            found = ctx.ports.volumes(args.node).volume(name, deadline=POOL_SECONDS)
            noted = traced(mark, WRITTEN, ctx) or {}
            if found is not None and (noted.get("volume") == name or uses(facts, found.path)):
                return Done({**_written(found, args), "signature": noted.get("signature", "")}, made_by=ctx.job_id)
        return Needed(f"{name} is still to be written")

    def apply(self, ctx: StepContext, args: WriteArgs) -> Facts:
        """Raises WrongState where the backup does not count any more, NoCapacity where the pool has no room for it."""
        timer, name = Timer(ctx), _name(ctx, args)
        backup, shelf = restorable(ctx, args.backup), Shelf(ctx, args.node)
        _refuse_used(own_guest(ctx, args.node), name)
        throw_away(ctx, args.node, name, timer)
        require_room(ctx, args.node, args.disk.capacity_bytes)
        generation = shelf.generation(backup.generation)
        shelf.unlock(generation)
        spec = VolumeSpec(name=name, capacity_bytes=args.disk.capacity_bytes, encrypted=bool(args.disk.secret_uuid))
        made = ctx.ports.volumes(args.node).create(spec, deadline=timer.left(MAKE_SECONDS))
        onto = RestoreSpec(snapshot=backup.snapshot_id, disk=DiskSource(path=made.path, secret_uuid=made.secret_uuid))
        there, access = shelf.on_node(generation)
        found = there.restore(access, onto, deadline=timer.left(), progress=ctx.progress)
        if not found.whole:
            raise PermanentDriverError(f"the restore is not whole: {found.failed_count} parts of it could not be written")
        if args.role != DRILL:
            _note(ctx, args.node, WRITTEN, {"volume": name, "signature": found.signature})
        return {**_written(made, args), "signature": found.signature}

    def undo(self, ctx: StepContext, args: WriteArgs, facts: Mapping[str, Any]) -> None:
        """Wipe what was written. Raises UndoFailed where the guest's definition names it."""
        name, found = _name(ctx, args), own_guest(ctx, args.node)
        if found is not None and any(disk.path.endswith(f"/{name}") for disk in found.disks):
            raise UndoFailed(f"{name} is the disk of {found.name}: it is not taken away")
        throw_away(ctx, args.node, name, Timer(ctx))
        if found is not None and found.mark is not None and traced(found.mark, WRITTEN, ctx) is not None:
            clean = without_trace(found.mark, WRITTEN, ctx)
            ctx.ports.hypervisor(args.node).mark(found.name, clean, autostart=found.autostart, deadline=ASK_SECONDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class SwitchArgs:
    """``old``: the disk that the service has; ``new`` as restore.write gave it; ``known``: the service's facts ($facts)."""

    node: str
    old: VolumeFacts
    new: VolumeFacts
    known: dict[str, Any]


class DiskSwitch(BaseStep[SwitchArgs]):
    """Point the definition of a guest that is off at its new disk. The old one is left as it is.

    What was noted of changes says nothing of another disk: the checkpoints go, and the next backup reads everything.
    """

    name: ClassVar[str] = "disk.switch"
    args = SwitchArgs

    def check(self, ctx: StepContext, args: SwitchArgs) -> Done | Needed:
        facts, mark = present_guest(ctx, args.node)
        if not uses(facts, args.new.path):
            return Needed(f"{facts.name} does not use {args.new.name} yet")
        return Done(_switched(args), made_by=ctx.job_id if traced(mark, SWITCHED, ctx) is not None else "")

    def apply(self, ctx: StepContext, args: SwitchArgs) -> Facts:
        """Raises WrongState where the guest runs, or its memory was saved to be gone on with; PermanentDriverError where it uses
        another disk than is known."""
        facts, mark = present_guest(ctx, args.node)
        require_to_switch(facts, args.old)
        drop_all(ctx, args.node)
        marked = with_trace(mark, SWITCHED, ctx, {"from": args.old.name})
        _define(ctx, args, facts, marked, of=args.old, to=args.new)
        return _switched(args)

    def undo(self, ctx: StepContext, args: SwitchArgs, facts: Mapping[str, Any]) -> None:
        """Point it back at the old disk. Raises UndoFailed where that is gone."""
        found = own_guest(ctx, args.node)
        if found is None or found.mark is None or traced(found.mark, SWITCHED, ctx) is None:
            return
        if ctx.ports.volumes(args.node).volume(args.old.name, deadline=POOL_SECONDS) is None:
            raise UndoFailed(f"{args.old.name} is gone: {found.name} stays on {args.new.name}")
        off = put_down(ctx.ports.hypervisor(args.node), found, grace_seconds=0, seconds=ASK_SECONDS)
        clean = without_trace(found.mark, SWITCHED, ctx)
        _define(ctx, args, off, clean, of=args.new, to=args.old)


class GuestBringBack(BaseStep[OnNode]):
    """Bring back the power state from before this job stopped the guest. One that was off stays off, and so does a held one."""

    name: ClassVar[str] = "guest.bring-back"
    args = OnNode
    heavy: ClassVar[bool] = True
    deadline_seconds: ClassVar[float] = 120.0

    def check(self, ctx: StepContext, args: OnNode) -> Done | Needed:
        facts, mark = present_guest(ctx, args.node)
        there = traced(mark, STOP, ctx)
        if there is None:
            return Done({"power": facts.power.value})
        if _ran(there, mark) and facts.power != Power.RUNNING:
            return Needed(f"{facts.name} is {facts.power}, and ran before")
        if facts.autostart != _started(there, mark):
            return Needed("whether it starts with its host is not as it was")
        return Done({"power": facts.power.value}, made_by=ctx.job_id)

    def apply(self, ctx: StepContext, args: OnNode) -> Facts:
        timer, hypervisor = Timer(ctx), ctx.ports.hypervisor(args.node)
        facts, mark = present_guest(ctx, args.node)
        there = traced(mark, STOP, ctx)
        if there is None:
            return {"power": facts.power.value}
        if _ran(there, mark):
            facts = hypervisor.power(facts.name, PowerAction.START, deadline=timer.left())
        hypervisor.mark(facts.name, facts.mark or mark, autostart=_started(there, mark), deadline=ASK_SECONDS)
        return {"power": facts.power.value}

    def undo(self, ctx: StepContext, args: OnNode, facts: Mapping[str, Any]) -> None:
        """Switch it off again: what stopped it starts it, on the disk that it has then."""
        found = own_guest(ctx, args.node)
        if found is not None and found.mark is not None and traced(found.mark, STOP, ctx) is not None:
            put_down(ctx.ports.hypervisor(args.node), found, grace_seconds=0, seconds=ASK_SECONDS)


def _ran(there: Mapping[str, str], mark: GuestMark) -> bool:
    return Power(there["power"]) in RUNS and not mark.holds


def _started(there: Mapping[str, str], mark: GuestMark) -> bool:
    return there["autostart"] == "yes" and not mark.holds


def uses(facts: GuestFacts, path: str) -> bool:
    """Whether the guest's definition names the volume."""
    return any(disk.path == path for disk in facts.disks)


def require_to_switch(facts: GuestFacts, old: VolumeFacts) -> None:
    """The guest may be pointed at another disk than ``old``. Raises WrongState where it runs, or its memory was saved to be gone
    on with; PermanentDriverError where it uses another disk than is known."""
    require_off(facts)
    if facts.managed_save:
        raise WrongState(f"the memory of {facts.name} was saved and belongs to its old disk", hint="start it, or remove that")
    if not uses(facts, old.path):
        raise PermanentDriverError(f"{facts.name} does not use {old.name}", hint="an operator has to look")


def throw_away(ctx: StepContext, node: str, name: str, timer: Timer) -> None:
    """Wipe a volume of the service that nobody runs on, whole or half made, with its key; absent = success."""
    for ref in volumes_of(ctx, node, {}):
        if ref.name == name:
            destroy(ctx, node, ref, timer)
    ctx.ports.volumes(node).delete(name, deadline=POOL_SECONDS)


def _name(ctx: StepContext, args: WriteArgs) -> str:
    return volume_name(ctx.service_id, args.role, ctx.job_id, "qcow2")


def _refuse_used(facts: GuestFacts | None, name: str) -> None:
    if facts is not None and any(disk.path.endswith(f"/{name}") for disk in facts.disks):
        raise PermanentDriverError(f"{name} is the disk of {facts.name}: it is not written over", hint="an operator has to look")


def require_room(ctx: StepContext, node: str, size: int) -> None:
    """All of the disk may come to be written: a pool that fills up stops every guest on it. Raises NoCapacity."""
    free = ctx.ports.hypervisor(node).node_facts(deadline=POOL_SECONDS).pool_available_bytes
    if free < size:
        has, needs = compared(free, size)
        words = f"{needs} are needed in the pool of {node}, {has} are free"
        raise NoCapacity(f"no room for a second disk: {words}", hint="volumes that are kept go earlier with: service tidy")


def _note(ctx: StepContext, node: str, act: str, values: Mapping[str, str]) -> None:
    facts, mark = present_guest(ctx, node)
    marked = with_trace(mark, act, ctx, values)
    ctx.ports.hypervisor(node).mark(facts.name, marked, autostart=facts.autostart, deadline=ASK_SECONDS)


def _define(ctx: StepContext, args: SwitchArgs, facts: GuestFacts, mark: GuestMark, *, of: VolumeFacts, to: VolumeFacts) -> None:
    """The guest as it is, with the one disk in the other's place."""
    definition: GuestDefinition | None = definition_of(ctx, facts, args.node, args.known)
    if definition is None:
        raise PermanentDriverError(f"{facts.name} holds no addresses: it is not defined anew", hint="an operator has to look")
    disks = tuple(on_volume(disk, to) if disk.path == of.path else disk for disk in definition.disks)
    wanted = replace(definition, disks=disks, mark=mark)
    ctx.ports.hypervisor(args.node).define(wanted, deadline=Timer(ctx).left())


def on_volume(disk: GuestDisk, volume: VolumeFacts) -> GuestDisk:
    """The guest's disk with another volume behind it."""
    return replace(
        disk,
        path=volume.path,
        format=volume.format,
        secret_uuid=volume.secret_uuid,
        capacity_bytes=volume.capacity_bytes,
    )


def _written(volume: VolumeFacts, args: WriteArgs) -> Facts:
    return {"into": dump(volume), "backup": args.backup}


def _switched(args: SwitchArgs) -> Facts:
    """``volume``: the disk that the service has from now on; ``safety``: the one it had."""
    old = VolumeRef(name=args.old.name, path=args.old.path, secret_uuid=args.old.secret_uuid)
    return {"volume": dump(args.new), "safety": dump(old)}
