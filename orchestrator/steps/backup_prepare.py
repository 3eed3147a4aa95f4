"""Before a backup: a repository stands that it can be made in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from orchestrator.domain.backups.overwrite import Begin, MarkDamaged, Note, Standing, next_act
from orchestrator.domain.backups.words import Generation
from orchestrator.domain.errors import PermanentDriverError
from orchestrator.steps.base import Done, Facts, Needed, StepContext
from orchestrator.steps.common import POOL_SECONDS, BaseStep, Timer
from orchestrator.steps.repository import Shelf

# Each act is seen at the next look, so that this is never reached but where two sides write at once.
MOST_ACTS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class PrepareArgs:
    """``keep``: how many verified backups are kept ($job.keep)."""

    node: str
    keep: int = 1


class BackupPrepare(BaseStep[PrepareArgs]):
    """See that a generation of the service's backups stands that is not damaged, and that its repository is made.

    A new generation is begun where there is none, or where the newest is damaged. What runs that were broken off have left is
    written down.
    """

    name: ClassVar[str] = "backup.prepare"
    args = PrepareArgs
    deadline_seconds: ClassVar[float] = 600.0

    def check(self, ctx: StepContext, args: PrepareArgs) -> Done | Needed:
        shelf = Shelf(ctx, args.node, keep=args.keep)
        standing = shelf.look()
        act, newest = next_act(standing), standing.newest
        if newest is None or isinstance(act, Note | MarkDamaged | Begin):
            return Needed(f"to be done first: {type(act).__name__}")
        if newest.number in standing.absent:
            return Needed(f"the repository of generation {newest.number} is still to be made")
        return Done(_facts(newest))

    def apply(self, ctx: StepContext, args: PrepareArgs) -> Facts:
        """Raises Refused where the node has no target, or one that its backups may not lie on."""
        shelf, timer, begun = Shelf(ctx, args.node, keep=args.keep), Timer(ctx), ""
        for _ in range(MOST_ACTS):
            standing = shelf.look()
            act, newest = next_act(standing), standing.newest
            if newest is None or isinstance(act, Begin):
                begun = _begun(ctx, standing, ctx.ports.book.begin(ctx.service_id, node=args.node)) or begun
            elif isinstance(act, Note | MarkDamaged):
                shelf.carry(act, why="")
            else:
                if newest.number in standing.absent:
                    there, access = shelf.on_node(newest)
                    with shelf.minding(newest.number):
                        there.create(access, deadline=timer.left(POOL_SECONDS))
                return _facts(newest) | ({"begun": begun} if begun else {})
        raise PermanentDriverError(f"the repositories of {ctx.service_id} do not come to rest", hint="an operator has to look")


def _facts(generation: Generation) -> Facts:
    return {"generation": generation.number, "target": generation.target}


def _begun(ctx: StepContext, standing: Standing, new: Generation) -> str:
    """Why one was begun, where another stands: people are told, for what the old one holds is not where they look for it."""
    old = standing.newest
    if old is None or not old.stands:
        return ""
    where, now = (ctx.ports.book.access(each).location for each in (old, new))
    what = "was not found" if old.number in standing.absent else f"is {old.state}: {old.why}"
    return f"repository {where} {what}; began {now}"
