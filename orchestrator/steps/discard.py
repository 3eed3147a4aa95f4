"""Wiping volumes that were kept beside a service's disk."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from orchestrator.domain.errors import PermanentDriverError
from orchestrator.steps.base import Done, Facts, Needed, StepContext
from orchestrator.steps.common import BaseStep, Timer, own_guest
from orchestrator.steps.fence import ask
from orchestrator.steps.wipe import destroy, volumes_of


@dataclass(frozen=True, slots=True, kw_only=True)
class DiscardArgs:
    """``names``: of the volumes."""

    node: str
    names: tuple[str, ...]


class VolumeDiscard(BaseStep[DiscardArgs]):
    """Wipe volumes of the service that nobody runs on, each with the key that opens it. Its disk is none of them.

    Nothing of it can be taken back, and nothing has to be: the service goes on without them.
    """

    name: ClassVar[str] = "volume.discard"
    args = DiscardArgs
    heavy: ClassVar[bool] = True
    destructive: ClassVar[bool] = True
    deadline_seconds: ClassVar[float] = 4 * 3600.0
    attempts: ClassVar[int] = 9

    def check(self, ctx: StepContext, args: DiscardArgs) -> Done | Needed:
        left = [ref.name for ref in volumes_of(ctx, args.node, {}) if ref.name in args.names]
        return Needed(f"still there: {', '.join(left)}") if left else Done(_facts(args), made_by=ctx.job_id)

    def apply(self, ctx: StepContext, args: DiscardArgs) -> Facts:
        """Raises FenceClosed where a hold forbids it, Frozen while nothing may be destroyed, PermanentDriverError where the guest
        uses one of them."""
        timer = Timer(ctx)
        found = own_guest(ctx, args.node)
        used = {disk.path.rpartition("/")[2] for disk in found.disks} & set(args.names) if found is not None else set()
        if used:
            raise PermanentDriverError(f"{', '.join(sorted(used))} is in use by the guest", hint="an operator has to look")
        ask(ctx, "wipe a kept volume")
        refs = [ref for ref in volumes_of(ctx, args.node, {}) if ref.name in args.names]
        for number, ref in enumerate(refs):
            destroy(ctx, args.node, ref, timer, done=number, of=len(refs))
        return _facts(args)


def _facts(args: DiscardArgs) -> Facts:
    return {"discarded": list(args.names)}
