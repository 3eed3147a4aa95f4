"""Making one snapshot: within its cap, whole, and known of before anybody may rely on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, ClassVar, NoReturn

from orchestrator.domain.backups.caps import Cap, refuses
from orchestrator.domain.backups.words import Backup, BackupState, Generation, Measured
from orchestrator.domain.errors import NotFound, OrchestratorError, PermanentDriverError, Refused
from orchestrator.ports.repositories import BackupFacts, BackupSpec, DiskSource
from orchestrator.steps.base import Done, Facts, Needed, StepContext
from orchestrator.steps.common import POOL_SECONDS, BaseStep, Timer
from orchestrator.steps.repository import UNSEEN, Shelf, source_of

RUN_SECONDS = 12 * 3600.0
# So many of the files that could not be read are written down.
NAMED = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class MakeArgs:
    """``generation`` as backup.prepare gave it; ``disk``, ``volume`` and ``consistency`` as disk.export did, or a ``directory``
    as account.pack gave it.

    ``slot``: that of the schedule, '' = it was asked for. ``mark`` and ``unchanged`` as disk.export gave them: the backup that
    holds the disk as it is.
    """

    node: str
    generation: int
    disk: DiskSource | None = None
    volume: str = ""
    directory: str = ""
    consistency: str = "files"
    caps: tuple[Cap, ...] = ()
    slot: str = ""
    mark: str = ""
    unchanged: str = ""


class BackupMake(BaseStep[MakeArgs]):
    """Measure the source, refuse it where it is over its cap, and make a snapshot of it.

    Where it is as it was when the last one was made, there is nothing to do, and that is written down.

    A run that was broken off is never taken for a backup, whatever it left: the next attempt makes another.
    """

    name: ClassVar[str] = "backup.make"
    args = MakeArgs
    heavy: ClassVar[bool] = True
    deadline_seconds: ClassVar[float] = RUN_SECONDS

    def check(self, ctx: StepContext, args: MakeArgs) -> Done | Needed:
        """Done where the repository holds a snapshot with this job's tag that the book knows as whole."""
        known = {each.snapshot_id: each for each in own_rows(ctx) if each.state.whole and each.generation == args.generation}
        if known:
            there, access = _reach(ctx, args)[1]
            for snapshot in there.snapshots(access, job_id=ctx.job_id, deadline=POOL_SECONDS):
                if snapshot.id in known:
                    return Done(_facts(known[snapshot.id]), made_by=ctx.job_id)
        return Needed("this job has made no whole snapshot yet")

    def apply(self, ctx: StepContext, args: MakeArgs) -> Facts:
        """Raises Refused where the source is over its cap, PermanentDriverError where something of it could not be read.

        Either way the backups that stand are as they were.
        """
        timer = Timer(ctx)
        give_up(ctx, UNSEEN)
        row = _begin(ctx, args)
        kept = _still_holds(ctx, args)
        if kept is not None:
            ctx.ports.book.write(replace(row, state=BackupState.SKIPPED, problem=_as_it_was(kept)))
            return _facts(kept)
        if args.disk is not None:
            row = _gate(ctx, args, row)
        shelf, (there, access) = _reach(ctx, args)
        ctx.ports.book.write(row)
        try:
            shelf.unlock(shelf.generation(args.generation))
            with shelf.minding(args.generation):
                made = there.backup(access, _spec(ctx, args), deadline=timer.left(), progress=ctx.progress)
        except OrchestratorError as exc:
            ctx.ports.book.write(replace(row, problem=exc.message))  # whether it left a snapshot nobody knows
            raise
        row = _as_made(row, made, ctx.ports.clock.now())
        if made.over:
            _refuse(ctx, args, row, _counted(made))
        ctx.ports.book.write(row)
        if not made.whole:
            raise PermanentDriverError(f"the backup is not whole, and does not count: {row.problem}; the last one stays")
        if args.disk is not None:  # it may have grown while it was read
            _gate(ctx, args, row)
        return _facts(row)

    def undo(self, ctx: StepContext, args: MakeArgs, facts: Mapping[str, Any]) -> None:
        """What was not verified does not count; its snapshot goes when another backup is verified."""
        give_up(ctx, "its job failed before it was verified")


def own_rows(ctx: StepContext) -> tuple[Backup, ...]:
    """What this job has begun, the first first."""
    return tuple(each for each in ctx.ports.book.backups(ctx.service_id) if each.job_id == ctx.job_id)


def give_up(ctx: StepContext, why: str) -> None:
    """What this job began and nobody has verified does not count."""
    for row in own_rows(ctx):
        if row.state in (BackupState.BEGUN, BackupState.MADE):
            ctx.ports.book.write(replace(row, state=BackupState.FAILED, problem=row.problem or why))


def _reach(ctx: StepContext, args: MakeArgs) -> tuple[Shelf, Any]:
    shelf = Shelf(ctx, args.node)
    return shelf, shelf.on_node(shelf.generation(args.generation))


def _begin(ctx: StepContext, args: MakeArgs) -> Backup:
    return Backup(
        id=f"{ctx.job_id}-{1 + sum(each.id.startswith(f'{ctx.job_id}-') for each in ctx.ports.book.backups(ctx.service_id))}",
        service_id=ctx.service_id,
        job_id=ctx.job_id,
        generation=args.generation,
        begun_at=ctx.ports.clock.now(),
        slot=datetime.fromisoformat(args.slot) if args.slot else None,
        consistency=args.consistency,
        mark=args.mark,
    )


def _still_holds(ctx: StepContext, args: MakeArgs) -> Backup | None:
    """The verified backup that holds the source as it is; None: one has to be made."""
    if not args.unchanged:
        return None
    for each in ctx.ports.book.backups(ctx.service_id):
        if (each.id, each.state, each.generation) == (args.unchanged, BackupState.VERIFIED, args.generation):
            return each
    return None


def _as_it_was(kept: Backup) -> str:
    made = (kept.made_at or kept.begun_at).isoformat(timespec="minutes")
    return f"the guest is off and its disk as it was when backup {kept.id} was made of it ({made}): that one stays verified"


def _spec(ctx: StepContext, args: MakeArgs) -> BackupSpec:
    """A directory is measured where it is read, by the same walk; so its caps go there."""
    caps = {cap.what: cap.most for cap in args.caps if args.disk is None}
    return BackupSpec(
        service_id=ctx.service_id,
        job_id=ctx.job_id,
        source=source_of(args.disk, args.directory),
        most_bytes=caps.get("bytes"),
        most_inodes=caps.get("inodes"),
    )


def _gate(ctx: StepContext, args: MakeArgs, row: Backup) -> Backup:
    """The row with what the guest's volume occupies on the node, where there is a cap. Raises Refused where that is over it."""
    if not args.caps:
        return row
    volume = ctx.ports.volumes(args.node).volume(args.volume, deadline=POOL_SECONDS)
    if volume is None:
        raise NotFound(f"{args.volume} is not in the pool of {args.node}")
    measured = Measured(size_bytes=volume.allocated_bytes)
    row = replace(row, size_bytes=measured.size_bytes)
    if refuses(measured, args.caps) is not None:
        _refuse(ctx, args, row, measured)
    return row


def _refuse(ctx: StepContext, args: MakeArgs, row: Backup, measured: Measured) -> NoReturn:
    """Write down and raise that there is too much. A snapshot that was made all the same never counts."""
    refusal = refuses(measured, args.caps)
    if refusal is None:
        raise PermanentDriverError("the run was ended for its size, which is within the cap", hint="look at the node's agent")
    said = f"{refusal.reason} [{refusal.rule}]"
    refused = replace(row, state=BackupState.REFUSED, size_bytes=measured.size_bytes, inodes=measured.inodes, problem=said)
    ctx.ports.book.write(refused)
    raise Refused(said, rule=refusal.rule)


def _counted(made: BackupFacts) -> Measured:
    """What a directory holds, as it was measured with the run."""
    facts = made.measured
    if facts is None:
        return Measured(size_bytes=made.bytes, inodes=made.files)
    largest = {share.path: (share.path, share.bytes, share.inodes) for share in (*facts.largest, *facts.fullest)}
    return Measured(size_bytes=facts.bytes, inodes=facts.inodes, largest=tuple(largest.values()))


def _as_made(row: Backup, made: BackupFacts, now: datetime) -> Backup:
    source = _counted(made)
    row = replace(
        row,
        state=BackupState.MADE if made.whole else BackupState.PARTIAL,
        snapshot_id=made.snapshot,
        made_at=now,
        size_bytes=row.size_bytes or source.size_bytes,
        inodes=row.inodes or source.inodes,
        stored_bytes=made.bytes_stored,
        read_bytes=made.bytes_read,
    )
    if made.whole:
        return row
    named = tuple(failed.item for failed in made.failed[:NAMED])
    why = f"{made.failed_count} of its files could not be read: {', '.join(named[:3])}"
    return replace(row, problem=why, left_out=named)


def newest_verified(ctx: StepContext, generation: Generation) -> Backup | None:
    """The newest backup of the generation that counts."""
    found = [
        each
        for each in ctx.ports.book.backups(ctx.service_id)
        if each.generation == generation.number and each.state == BackupState.VERIFIED
    ]
    return max(found, key=lambda each: each.order, default=None)


def _facts(row: Backup) -> Facts:
    return {"backup": row.id, "snapshot": row.snapshot_id, "bytes": row.size_bytes, "stored_bytes": row.stored_bytes}
