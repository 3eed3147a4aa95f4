"""The end of a service's backups: repositories, caches and keys are destroyed, all but the archive, and what is left is told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar

from orchestrator.domain.backups.copies import ARCHIVE, KnownCopy
from orchestrator.domain.backups.words import Backup, BackupState, Generation
from orchestrator.domain.errors import OrchestratorError, PermanentDriverError, UndoFailed, WrongState
from orchestrator.steps.archive import archive_id, given_up, own_archive
from orchestrator.steps.arguments import dump
from orchestrator.steps.backup_settle import BackupSettle, SettleArgs
from orchestrator.steps.base import Done, Facts, Needed, StepContext
from orchestrator.steps.common import BaseStep, is_lost, node_state
from orchestrator.steps.fence import require, withdraw
from orchestrator.steps.repository import Shelf

DESTROY_SECONDS = 4 * 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DestroyArgs:
    """``archive``: what this job has kept of the service stays, ``until`` then ('' = nobody said). ``wiped`` as volume.wipe gave
    it: where something was, the point of no return is passed; else this is where it is. ``node``: where the service is; '' = on
    none any more."""

    node: str = ""
    archive: bool = False
    until: str = ""
    wiped: list[dict[str, Any]] = field(default_factory=list)


class BackupDestroy(BaseStep[DestroyArgs]):
    """Destroy every repository of the service that stands, this node's cache of it, and its key, which then opens nothing there.

    A repository whose place is not there, or not reached, stops the job: nothing is called destroyed that nobody has seen gone.
    """

    name: ClassVar[str] = "backup.destroy"
    args = DestroyArgs
    destructive: ClassVar[bool] = True
    deadline_seconds: ClassVar[float] = DESTROY_SECONDS
    # As with a wipe: once begun there is no way back.
    attempts: ClassVar[int] = 9

    def check(self, ctx: StepContext, args: DestroyArgs) -> Done | Needed:
        kept = _kept(ctx, args)
        left = [f"generation {each.number}" for each in _doomed(ctx, kept)]
        left += [f"backup {row.id}" for row in _surplus(ctx, kept)]
        return Needed(f"still there: {', '.join(left)}") if left else Done(_facts(ctx, args, kept), made_by=ctx.job_id)

    def apply(self, ctx: StepContext, args: DestroyArgs) -> Facts:
        """Raises FenceClosed and Frozen as long as nothing was destroyed; once it has begun it is carried to its end."""
        kept = _kept(ctx, args)
        if args.wiped or _begun(ctx):
            return self._destroy(ctx, args, kept)
        try:
            require(ctx, "destroy backups")
            return self._destroy(ctx, args, kept)
        except OrchestratorError:
            # The note of the point of no return may stay only where something was destroyed, or nobody can tell.
            if not _begun(ctx):
                withdraw(ctx)
            raise

    def _destroy(self, ctx: StepContext, args: DestroyArgs, kept: Backup | None) -> Facts:
        """The archive is asked for first: where it is not there any more nothing else goes."""
        shelf = Shelf(ctx, _node(ctx, args))
        if kept is not None and not shelf.look().holds(kept):
            raise PermanentDriverError(
                f"the archive {archive_id(ctx)} is not held any more: no other backup of {ctx.service_id} is destroyed",
                hint="an operator has to look",
            )
        for generation in _doomed(ctx, kept):
            shelf.end(generation, why=_why(ctx))
        if kept is not None:
            if _surplus(ctx, kept):
                BackupSettle().apply(ctx, SettleArgs(node=_node(ctx, args), backup=kept.id, keep=1, ends=True))
            shelf.drop_cache(shelf.generation(kept.generation))
        return _facts(ctx, args, kept)

    def undo(self, ctx: StepContext, args: DestroyArgs, facts: Mapping[str, Any]) -> None:
        """Nothing can be taken back; where it had not begun nothing was done. Raises UndoFailed where it had."""
        if _begun(ctx):
            raise UndoFailed(f"the backups of {ctx.service_id} are destroyed, or half so: they cannot be brought back")


def _why(ctx: StepContext) -> str:
    return f"the service ended: job {ctx.job_id}"


def _begun(ctx: StepContext) -> bool:
    """Whether this job has destroyed a repository, or marked one for that."""
    return any(each.why == _why(ctx) for each in ctx.ports.book.generations(ctx.service_id))


def _node(ctx: StepContext, args: DestroyArgs) -> str:
    """From where repositories are reached: the service's node, or the last one that it came to; where that is lost, one of its
    kind that is up. Raises PermanentDriverError where there is none."""
    nodes = (args.node,) if args.node else ctx.ports.ledger.nodes_ever(ctx.service_id)
    if not nodes:
        raise PermanentDriverError(f"{ctx.service_id} has backups and never was on a node", hint="an operator has to look")
    if not is_lost(ctx, nodes[-1]):
        return nodes[-1]
    kind = node_state(ctx, nodes[-1]).node.kind
    up = [each.node.name for each in ctx.ports.ledger.nodes() if each.node.kind == kind and each.up and each.lost is None]
    if not up:
        raise PermanentDriverError(f"{nodes[-1]} is lost, and no other node is up from which its backups are reached")
    return up[0]


def _kept(ctx: StepContext, args: DestroyArgs) -> Backup | None:
    """The archive. Raises PermanentDriverError where it is to stay and this job has kept none, and WrongState where its node is
    lost and a backup of it could still be kept."""
    kept = own_archive(ctx) if args.archive else None
    if args.archive and kept is None and args.node and is_lost(ctx, args.node):
        _require_nothing_to_keep(ctx, args.node)
        return None
    if args.archive and kept is None and not (args.wiped and given_up(ctx)):
        raise PermanentDriverError(
            f"an archive of {ctx.service_id} is promised, and this job has kept none: its backups are not destroyed",
            hint="an operator has to look",
        )
    return kept


def _require_nothing_to_keep(ctx: StepContext, node: str) -> None:
    if any(row.state == BackupState.VERIFIED for row in ctx.ports.book.backups(ctx.service_id)):
        raise WrongState(
            f"an archive of {ctx.service_id} is promised, {node} is lost, and a backup of it stands",
            hint=f"bring it up first: orchestrator service restore {ctx.service_id}; then end it",
        )


def _doomed(ctx: StepContext, kept: Backup | None) -> list[Generation]:
    own = 0 if kept is None else kept.generation
    return [each for each in ctx.ports.book.generations(ctx.service_id) if each.stands and each.number != own]


def _surplus(ctx: StepContext, kept: Backup | None) -> list[Backup]:
    """What lies in the archive's repository beside it, or has not given its room back yet."""
    if kept is None:
        return []
    return [
        row
        for row in ctx.ports.book.backups(ctx.service_id)
        if (row.generation, row.id != kept.id) == (kept.generation, True) and row.snapshot_id and row.pruned_at is None
    ]


def _facts(ctx: StepContext, args: DestroyArgs, kept: Backup | None) -> Facts:
    rows = ctx.ports.book.backups(ctx.service_id)
    ended = [each for each in ctx.ports.book.generations(ctx.service_id) if not each.stands]
    copies = list(ctx.ports.book.traces(ctx.service_id).copies)
    if kept is not None:
        copies.insert(0, _archive(ctx, args, kept))
    moments = [each.destroyed_at.isoformat() for each in ended if each.destroyed_at is not None]
    return {
        "destroyed": [_ended(each, rows) for each in ended],
        "destroyed_at": max(moments, default=""),
        "copies": [dump(copy) for copy in copies],
    }


def _ended(generation: Generation, rows: tuple[Backup, ...]) -> dict[str, Any]:
    """``snapshots``: those that went with it; what was forgotten before stood in it no more."""
    mine = (row for row in rows if row.generation == generation.number and row.snapshot_id)
    return {
        "generation": generation.number,
        "target": generation.target,
        "state": generation.state.value,
        "snapshots": sorted({row.snapshot_id for row in mine if row.forgotten_at == generation.destroyed_at}),
        "key_destroyed_at": "" if generation.destroyed_at is None else generation.destroyed_at.isoformat(),
        "why": generation.why,
    }


def _archive(ctx: StepContext, args: DestroyArgs, kept: Backup) -> KnownCopy:
    return KnownCopy(
        kind=ARCHIVE,
        id=archive_id(ctx),
        kept_at=kept.made_at or kept.begun_at,
        until=datetime.fromisoformat(args.until) if args.until else None,
        reached_from=_node(ctx, args),
        bytes=kept.size_bytes,
        says=f"Snapshot {kept.snapshot_id} in generation {kept.generation}: an exported key of that still opens it.",
    )
