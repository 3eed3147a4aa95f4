"""Installing a guest anew: a new disk beside the old one, and the same guest pointed at it.

At every instant the definition names one whole disk. What was replaced is not touched here: it goes when the guest answers from
the new one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from orchestrator.domain.errors import PermanentDriverError, UndoFailed
from orchestrator.domain.plans import Template
from orchestrator.ports.hypervisor import GuestDefinition, GuestDisk, GuestFacts, GuestMark
from orchestrator.ports.volumes import VolumeFacts
from orchestrator.steps.arguments import dump
from orchestrator.steps.base import Done, Facts, Needed, StepContext
from orchestrator.steps.common import (
    ASK_SECONDS,
    POOL_SECONDS,
    BaseStep,
    Timer,
    own_guest,
    present_guest,
    put_down,
    traced,
    with_trace,
    without_trace,
)
from orchestrator.steps.definition import definition_of
from orchestrator.steps.disk_export import drop_all
from orchestrator.steps.guest import pool_path, seed_disk, signed
from orchestrator.steps.restore import on_volume, require_room, require_to_switch, uses
from orchestrator.steps.storage import VolumeArgs, VolumeCreate, disk_name
from orchestrator.steps.wipe import VolumeRef

RENEWED = "renewed"


class VolumeRenew(VolumeCreate):
    """Make a second disk for the service, beside the one that it has."""

    name: ClassVar[str] = "volume.renew"

    def check(self, ctx: StepContext, args: VolumeArgs) -> Done | Needed:
        mine = ctx.ports.volumes(args.node).volume(disk_name(ctx), deadline=POOL_SECONDS)
        return Needed(f"{disk_name(ctx)} is not in the pool") if mine is None else self.made(ctx, mine, args)

    def apply(self, ctx: StepContext, args: VolumeArgs) -> Facts:
        """Raises NoCapacity where the pool has no room for both."""
        if ctx.ports.volumes(args.node).volume(disk_name(ctx), deadline=POOL_SECONDS) is None:
            require_room(ctx, args.node, args.capacity_bytes)
        return super().apply(ctx, args)


@dataclass(frozen=True, slots=True, kw_only=True)
class RenewArgs:
    """``volume`` as volume.renew gave it, in the place of ``old``; ``known``: the service's facts ($facts); ``digest`` of the
    spec, to be signed."""

    node: str
    template: Template
    old: VolumeFacts
    volume: VolumeFacts
    known: dict[str, Any]
    digest: str


class GuestRenew(BaseStep[RenewArgs]):
    """Point the guest, which is off, at its new disk and seed. Its size, its network and its limits stay as they are."""

    name: ClassVar[str] = "guest.renew"
    args = RenewArgs

    def check(self, ctx: StepContext, args: RenewArgs) -> Done | Needed:
        facts, mark = present_guest(ctx, args.node)
        if not uses(facts, args.volume.path):
            return Needed(f"{facts.name} does not use {args.volume.name} yet")
        return Done(self._facts(ctx, args, facts), made_by=ctx.job_id if traced(mark, RENEWED, ctx) is not None else "")

    def apply(self, ctx: StepContext, args: RenewArgs) -> Facts:
        """Raises WrongState where the guest runs, or its memory was saved to be gone on with; PermanentDriverError where it uses
        another disk than is known."""
        facts, mark = present_guest(ctx, args.node)
        require_to_switch(facts, args.old)
        drop_all(ctx, args.node)
        seeds = (seed_disk(ctx, args.node),) if args.template.cloud_init else ()
        definition = _definition(ctx, args, facts)
        disks = tuple(on_volume(disk, args.volume) for disk in definition.disks if disk.path == args.old.path)
        wanted = replace(definition, disks=(*disks, *seeds), mark=_marked(ctx, args, mark), **self._boot(ctx, args))
        ctx.ports.hypervisor(args.node).define(wanted, deadline=Timer(ctx).left())
        return self._facts(ctx, args, facts)

    def undo(self, ctx: StepContext, args: RenewArgs, facts: Mapping[str, Any]) -> None:
        """Point it back at the old ones. Raises UndoFailed where the old disk is gone."""
        found = own_guest(ctx, args.node)
        there = traced(found.mark, RENEWED, ctx) if found is not None and found.mark is not None else None
        if found is None or found.mark is None or there is None:
            return
        if ctx.ports.volumes(args.node).volume(args.old.name, deadline=POOL_SECONDS) is None:
            raise UndoFailed(f"{args.old.name} is gone: {found.name} stays on {args.volume.name}")
        off = put_down(ctx.ports.hypervisor(args.node), found, grace_seconds=0, seconds=ASK_SECONDS)
        definition = _definition(ctx, args, off)
        disks = tuple(on_volume(disk, args.old) for disk in definition.disks if disk.path == args.volume.path)
        mark = replace(
            without_trace(found.mark, RENEWED, ctx),
            job_id=there["job"],
            spec_digest=there["digest"],
            spec_signature=there["signature"],
        )
        wanted = replace(definition, disks=(*disks, *_old_seed(args)), mark=mark)
        ctx.ports.hypervisor(args.node).define(wanted, deadline=Timer(ctx).left())

    def _facts(self, ctx: StepContext, args: RenewArgs, facts: GuestFacts) -> Facts:
        """``boot`` as guest.define records it; ``replaced``: what it had, to be wiped."""
        old = [VolumeRef(name=args.old.name, path=args.old.path, secret_uuid=args.old.secret_uuid)]
        old += [VolumeRef(name=disk.path.rpartition("/")[2], path=disk.path) for disk in _old_seed(args)]
        boot = self._boot(ctx, args)
        return {"guest": facts.name, "uuid": facts.uuid, "boot": boot, "replaced": [dump(ref) for ref in old]}

    def _boot(self, ctx: StepContext, args: RenewArgs) -> dict[str, Any]:
        return {
            "kernel": pool_path(ctx, args.node, args.template.kernel),
            "initrd": pool_path(ctx, args.node, args.template.initrd),
            "kernel_arguments": args.template.kernel_arguments,
            "agent": args.template.agent,
        }


def _definition(ctx: StepContext, args: RenewArgs, facts: GuestFacts) -> GuestDefinition:
    """As it is defined now, with what its making recorded of how it boots."""
    found = definition_of(ctx, facts, args.node, args.known)
    if found is None:
        raise PermanentDriverError(f"{facts.name} holds no addresses: it is not defined anew", hint="an operator has to look")
    return found


def _marked(ctx: StepContext, args: RenewArgs, mark: GuestMark) -> GuestMark:
    """Signed for what it is installed from now; what was there before is kept as a trace."""
    before = {"job": mark.job_id, "digest": mark.spec_digest, "signature": mark.spec_signature}
    traced_mark = with_trace(mark, RENEWED, ctx, before)
    return replace(traced_mark, job_id=ctx.job_id, spec_digest=args.digest, spec_signature=signed(ctx, args.digest))


def _old_seed(args: RenewArgs) -> tuple[GuestDisk, ...]:
    """The seed that its making recorded; () where it has none."""
    made = args.known.get("seed")
    volume = made.get("volume") if isinstance(made, Mapping) else None
    if not isinstance(volume, Mapping):
        return ()
    return (GuestDisk(path=volume["path"], format="raw", target="vdb", capacity_bytes=volume["capacity_bytes"], read_only=True),)
