"""Ending a guest: writing down what there is of it, and removing its definition."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from orchestrator.domain.errors import UndoFailed
from orchestrator.ports.hypervisor import GuestDefinition, GuestMark
from orchestrator.steps.arguments import dump
from orchestrator.steps.base import Done, Facts, Needed, StepContext
from orchestrator.steps.common import ASK_SECONDS, POOL_SECONDS, BaseStep, Look, Timer, own_guest, put_down
from orchestrator.steps.definition import definition_of
from orchestrator.steps.fence import ask
from orchestrator.steps.wipe import VolumeRef, volumes_of


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordArgs:
    """``known``: the service's facts, as its making left them ($facts)."""

    node: str
    known: dict[str, Any]


class GuestRecord(Look[RecordArgs]):
    """Write down what is there before anything of it is taken away."""

    name: ClassVar[str] = "guest.record"
    args = RecordArgs

    def look(self, ctx: StepContext, args: RecordArgs) -> Facts:
        facts = own_guest(ctx, args.node)
        definition = None if facts is None else definition_of(ctx, facts, args.node, args.known)
        return {
            "definition": None if definition is None else dump(definition),
            "autostart": facts is not None and facts.autostart,
            "volumes": [dump(ref) for ref in volumes_of(ctx, args.node, _known_volumes(args.known))],
        }


def _known_volumes(known: Mapping[str, Any]) -> dict[str, VolumeRef]:
    """The volumes that the service's own making recorded, whichever step gave them."""
    refs = {}
    for given in known.values():
        volume = given.get("volume") if isinstance(given, Mapping) else None
        if isinstance(volume, Mapping):
            refs[volume["name"]] = VolumeRef(name=volume["name"], path=volume["path"], secret_uuid=volume.get("secret_uuid", ""))
    return refs


@dataclass(frozen=True, slots=True, kw_only=True)
class UndefineArgs:
    """``definition`` and ``autostart`` as guest.record wrote them down; None = there was no guest."""

    node: str
    definition: GuestDefinition | None
    autostart: bool = False


class GuestUndefine(BaseStep[UndefineArgs]):
    """Remove the guest's definition with all that hangs on it. Its volumes stay: until they are wiped it can come back."""

    name: ClassVar[str] = "guest.undefine"
    args = UndefineArgs
    destructive: ClassVar[bool] = True

    def check(self, ctx: StepContext, args: UndefineArgs) -> Done | Needed:
        if own_guest(ctx, args.node) is not None:
            return Needed(f"{ctx.guest} is defined on {args.node}")
        # It was there when this job wrote it down.
        return Done({"absent": True}, made_by=ctx.job_id if args.definition is not None else "")

    def apply(self, ctx: StepContext, args: UndefineArgs) -> Facts:
        """Raises FenceClosed, Frozen."""
        ask(ctx, "undefine")
        hypervisor = ctx.ports.hypervisor(args.node)
        facts = own_guest(ctx, args.node)
        if facts is not None:
            put_down(hypervisor, facts, grace_seconds=0, seconds=ASK_SECONDS)
            hypervisor.undefine(facts.name, deadline=Timer(ctx).left())
        return {"absent": True}

    def undo(self, ctx: StepContext, args: UndefineArgs, facts: Mapping[str, Any]) -> None:
        """Define it again as it was written down. Raises UndoFailed where a disk is gone: then nothing can come back."""
        if args.definition is None or own_guest(ctx, args.node) is not None:
            return
        there = {v.path for v in ctx.ports.volumes(args.node).volumes(deadline=POOL_SECONDS)}
        gone = [d.path for d in args.definition.disks if d.path not in there]
        if gone:
            raise UndoFailed(f"{args.definition.name} cannot be defined again: {', '.join(gone)} is gone")
        hypervisor = ctx.ports.hypervisor(args.node)
        made = hypervisor.define(args.definition, deadline=Timer(ctx).left())
        mark: GuestMark = args.definition.mark
        hypervisor.mark(made.name, mark, autostart=args.autostart, deadline=ASK_SECONDS)
