"""After a snapshot was made: it is verified, and only then what it replaces goes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from orchestrator.domain.backups.overwrite import Settled, Standing, Verify, last_share, next_act, next_share
from orchestrator.domain.backups.promised import SHARES
from orchestrator.domain.backups.words import Backup, BackupState, GenerationState
from orchestrator.domain.errors import NotFound, OrchestratorError, PermanentDriverError
from orchestrator.ports.repositories import DiskSource, VerifyFacts, VerifySpec
from orchestrator.steps.backup_make import RUN_SECONDS
from orchestrator.steps.base import Done, Facts, Needed, StepContext
from orchestrator.steps.common import BaseStep, Timer
from orchestrator.steps.repository import Shelf, source_of

MOST_ACTS = 200
NAMED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class SettleArgs:
    """``backup`` as backup.make gave it, and the source it was made of. ``keep``: how many verified ones are kept; ``shares``:
    so many runs read every pack of the repository. ``ends``: the service does, and nothing is restored from what is older."""

    node: str
    backup: str
    disk: DiskSource | None = None
    directory: str = ""
    keep: int = 1
    shares: int = SHARES
    ends: bool = False


class BackupSettle(BaseStep[SettleArgs]):
    """Verify this job's backup and, only where it is sound, forget what it replaces and give the room back.

    One act after another, each decided on what is held and known then. At every instant a verified backup stands, if there ever
    was one. A backup that is not sound fails the job, with what stood before it. There is nothing to undo: what was forgotten had
    been replaced by then.
    """

    name: ClassVar[str] = "backup.settle"
    args = SettleArgs
    heavy: ClassVar[bool] = True
    deadline_seconds: ClassVar[float] = RUN_SECONDS

    def check(self, ctx: StepContext, args: SettleArgs) -> Done | Needed:
        standing = Shelf(ctx, args.node, keep=args.keep, ends=args.ends).look()
        act, backup = next_act(standing), _backup(ctx, args.backup)
        if isinstance(act, Settled) and backup.state == BackupState.VERIFIED:
            return Done(_facts(backup, act))
        return Needed(f"the next act is {type(act).__name__}")

    def apply(self, ctx: StepContext, args: SettleArgs) -> Facts:
        """Raises PermanentDriverError where the backup is not what its source is, or its repository is damaged."""
        shelf = Shelf(ctx, args.node, keep=args.keep, ends=args.ends)
        shelf.unlock(shelf.generation(_backup(ctx, args.backup).generation))
        for _ in range(MOST_ACTS):
            standing = shelf.look()
            backup = _backup(ctx, args.backup)
            if backup.state not in (BackupState.MADE, BackupState.VERIFIED):
                raise PermanentDriverError(f"the backup does not count: {backup.problem or backup.state}; the last one stays")
            act = next_act(standing)
            if isinstance(act, Verify):
                self._verify(ctx, shelf, act, args)
            elif isinstance(act, Settled):
                if backup.state == BackupState.VERIFIED:
                    return _facts(backup, act)
                raise PermanentDriverError(f"the backup is not among those that are kept: {act.reason}")
            elif not shelf.carry(act, why=f"replaced by generation {backup.generation}, verified in job {ctx.job_id}"):
                raise PermanentDriverError(_damaged(standing), hint="the next backup begins a new generation")
        raise PermanentDriverError(f"the repositories of {ctx.service_id} do not come to rest", hint="an operator has to look")

    def _verify(self, ctx: StepContext, shelf: Shelf, act: Verify, args: SettleArgs) -> None:
        """Read it and compare; write down what was found, the damage of a repository before all else."""
        row, generation = _backup(ctx, act.backup_id), shelf.generation(act.generation)
        share = next_share(last_share(ctx.ports.book.backups(ctx.service_id), act.generation), within=args.shares)
        spec = VerifySpec(
            snapshot=act.snapshot_id,
            source=source_of(args.disk, args.directory) if act.backup_id == args.backup else None,
            part=share.number,
            of=share.of,
        )
        there, access = shelf.on_node(generation)
        try:
            with shelf.minding(act.generation):
                found = there.verify(access, spec, deadline=Timer(ctx).left(), progress=ctx.progress)
        except OrchestratorError as exc:
            ctx.ports.book.write(replace(row, problem=exc.message))
            raise
        if found.sound:
            now = ctx.ports.clock.now()
            ctx.ports.book.write(replace(row, state=BackupState.VERIFIED, verified_at=now, share=share, problem=""))
            return
        why = _wrong(found)
        if found.errors or found.broken_packs:
            ctx.ports.book.mark(ctx.service_id, act.generation, GenerationState.DAMAGED, why=why)
        ctx.ports.book.write(replace(row, state=BackupState.FAILED, problem=why, share=share))
        raise PermanentDriverError(f"the backup was not verified: {why}; the last one stays")


def _backup(ctx: StepContext, backup_id: str) -> Backup:
    for each in ctx.ports.book.backups(ctx.service_id):
        if each.id == backup_id:
            return each
    raise NotFound(f"no backup {backup_id} of {ctx.service_id} is known")


def _wrong(found: VerifyFacts) -> str:
    said = []
    if found.errors or found.broken_packs:
        words = "; ".join(found.messages[:NAMED])
        said.append(f"its repository is damaged ({found.errors} errors{': ' if words else ''}{words})")
    if found.differing:
        said.append(f"it differs from its source: {', '.join(found.differing[:NAMED])}")
    return "; ".join(said) or "it is not sound"


def _damaged(standing: Standing) -> str:
    newest = standing.newest
    if newest is None:
        return "the service has no repository any more"
    return f"generation {newest.number} of its backups is {newest.state}: {newest.why or 'it holds nothing whole'}"


def _facts(backup: Backup, settled: Settled) -> Facts:
    share = "" if backup.share is None else str(backup.share)
    return {"verified": backup.id, "snapshot": backup.snapshot_id, "share": share, "settled": settled.reason}
