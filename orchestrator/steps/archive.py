"""The archive of a service that ends: kept before anything is destroyed, brought back, destroyed, and proven gone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

from orchestrator.domain.errors import NotFound, OrchestratorError, PermanentDriverError, UndoFailed
from orchestrator.domain.plans import guest_name, volume_name
from orchestrator.ports.backup_store import ArchivedVolume, ArchiveFacts, ArchiveSpec
from orchestrator.ports.volumes import VolumeFacts
from orchestrator.steps.arguments import dump
from orchestrator.steps.base import Done, Facts, Needed, StepContext
from orchestrator.steps.common import ASK_SECONDS, POOL_SECONDS, BaseStep, Timer, own_guest
from orchestrator.steps.fence import ask, require, withdraw
from orchestrator.steps.storage import SEED
from orchestrator.steps.wipe import VolumeRef

# A copy of a whole disk, read back, takes its time.
COPY_SECONDS = 4 * 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptArchive:
    """An archive as archive.keep gave it; ``node``: from where it was kept and is reached."""

    id: str
    node: str
    job: str
    volumes: tuple[ArchivedVolume, ...]
    bytes: int
    kept_at: datetime
    until: datetime | None = None


def archive_id(ctx: StepContext) -> str:
    """Of the one archive that this job can keep."""
    return f"{guest_name(ctx.service_id)}.archive.{ctx.job_id}"


def archives_of(ctx: StepContext, node: str) -> tuple[ArchiveFacts, ...]:
    """Every archive of the service that is reached from the node, with what is left of others."""
    return ctx.ports.backups(node).archives(ctx.service_id, deadline=ASK_SECONDS)


def _known(node: str, kept: ArchiveFacts) -> Facts:
    archive = KeptArchive(
        id=kept.id,
        node=node,
        job=kept.job_id,
        volumes=kept.volumes,
        bytes=kept.bytes,
        kept_at=kept.kept_at,
        until=kept.until,
    )
    return dump(archive)


def _by_id(archives: Iterable[ArchiveFacts], wanted: str) -> ArchiveFacts | None:
    return next((archive for archive in archives if archive.id == wanted), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepArgs:
    """``volumes`` as guest.record wrote them down; ``until``: so long at least it is kept, '' where nothing says so.

    ``beside``: names of those that nobody runs on, such as a disk that a restore has replaced ($job.kept).
    """

    node: str
    volumes: tuple[VolumeRef, ...]
    until: str = ""
    beside: tuple[str, ...] = ()


class ArchiveKeep(BaseStep[KeepArgs]):
    """Keep a copy of the service's disks, whole and read back. The seed image is made anew, what stands beside is left out."""

    name: ClassVar[str] = "archive.keep"
    args = KeepArgs
    heavy: ClassVar[bool] = True
    deadline_seconds: ClassVar[float] = COPY_SECONDS

    def check(self, ctx: StepContext, args: KeepArgs) -> Done | Needed:
        kept = _by_id(archives_of(ctx, args.node), archive_id(ctx))
        if kept is None or not kept.whole:
            return Needed("no whole archive of this job is kept")
        return Done(_known(args.node, kept), made_by=ctx.job_id)

    def apply(self, ctx: StepContext, args: KeepArgs) -> Facts:
        """Raises Refused where the node has no store, NotFound where there is no disk to keep."""
        spec = ArchiveSpec(
            id=archive_id(ctx),
            service_id=ctx.service_id,
            job_id=ctx.job_id,
            volumes=_disks(ctx, args),
            until=datetime.fromisoformat(args.until) if args.until else None,
        )
        if not spec.volumes:
            raise NotFound(f"no disk of {ctx.service_id} is known on {args.node}: there is nothing to keep of it")
        return _known(args.node, ctx.ports.backups(args.node).keep(spec, deadline=Timer(ctx).left()))

    def undo(self, ctx: StepContext, args: KeepArgs, facts: Mapping[str, Any]) -> None:
        """Destroy what this job kept, as long as the disks are there. Raises UndoFailed where it is the only copy."""
        if _by_id(archives_of(ctx, args.node), archive_id(ctx)) is None:
            return
        there = {volume.name for volume in ctx.ports.volumes(args.node).volumes(deadline=POOL_SECONDS)}
        gone = [name for name in _disks(ctx, args) if name not in there]
        if gone:
            raise UndoFailed(f"{', '.join(gone)} is gone: the archive {archive_id(ctx)} is the only copy and stays")
        ctx.ports.backups(args.node).destroy(archive_id(ctx), deadline=Timer(ctx).left())


def _disks(ctx: StepContext, args: KeepArgs) -> tuple[str, ...]:
    seeds = volume_name(ctx.service_id, SEED, "", "").rstrip(".") + "."
    return tuple(ref.name for ref in args.volumes if not ref.name.startswith(seeds) and ref.name not in args.beside)


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreArgs:
    """``archive`` as archive.keep gave it, ``volume`` as volume.create did."""

    node: str
    archive: KeptArchive
    volume: VolumeFacts


class ArchiveRestore(BaseStep[RestoreArgs]):
    """Write what the archive holds over the new disk, read back. The archive stays."""

    name: ClassVar[str] = "archive.restore"
    args = RestoreArgs
    heavy: ClassVar[bool] = True
    deadline_seconds: ClassVar[float] = COPY_SECONDS

    def check(self, ctx: StepContext, args: RestoreArgs) -> Done | Needed:
        """What was restored once is not written over again: the guest may have run on it since."""
        found = ctx.ports.backups(args.node).restored(args.volume.name, deadline=ASK_SECONDS)
        if found != args.archive.id:
            return Needed(f"{args.volume.name} does not hold what {args.archive.id} does")
        return Done(_restored(args))

    def apply(self, ctx: StepContext, args: RestoreArgs) -> Facts:
        """Raises PermanentDriverError where the guest is defined already, or the archive is not of one disk."""
        if len(args.archive.volumes) != 1:
            names = ", ".join(volume.name for volume in args.archive.volumes)
            raise PermanentDriverError(f"the archive {args.archive.id} is of several disks, and the guest has one: {names}")
        if own_guest(ctx, args.node) is not None:
            raise PermanentDriverError(
                f"{guest_name(ctx.service_id)} is defined on {args.node}: its disk is not written over",
                hint="an operator has to look",
            )
        source = args.archive.volumes[0].name
        store = ctx.ports.backups(args.node)
        store.restore(args.archive.id, source=source, volume=args.volume.name, deadline=Timer(ctx).left())
        return _restored(args)


def _restored(args: RestoreArgs) -> Facts:
    digests = [volume.sha256 for volume in args.archive.volumes]
    return {"restored": args.archive.id, "into": args.volume.name, "sha256": digests}


@dataclass(frozen=True, slots=True, kw_only=True)
class DestroyArgs:
    """``archive`` as archive.keep gave it. ``last``: it is the last copy of the customer's data, and with it there is none."""

    archive: KeptArchive
    last: bool = True


class ArchiveDestroy(BaseStep[DestroyArgs]):
    """Destroy the archive, and whatever is left of others of the service. Of the last copy it is the point of no return."""

    name: ClassVar[str] = "archive.destroy"
    args = DestroyArgs
    destructive: ClassVar[bool] = True
    deadline_seconds: ClassVar[float] = 3600.0
    # As with a wipe: once begun there is no way back.
    attempts: ClassVar[int] = 9

    def check(self, ctx: StepContext, args: DestroyArgs) -> Done | Needed:
        left = [archive.id for archive in archives_of(ctx, args.archive.node)]
        return Needed(f"still kept: {', '.join(left)}") if left else Done(_destroyed(ctx, args), made_by=ctx.job_id)

    def apply(self, ctx: StepContext, args: DestroyArgs) -> Facts:
        """Raises FenceClosed and Frozen as long as nothing was destroyed; once it has begun it is carried to its end."""
        if not args.last:
            ask(ctx, "destroy archive")
        elif not _begun(ctx, args):
            return self._past_the_fence(ctx, args)
        return self._destroy(ctx, args)

    def _past_the_fence(self, ctx: StepContext, args: DestroyArgs) -> Facts:
        try:
            require(ctx, "erase archive")
            return self._destroy(ctx, args)
        except OrchestratorError:
            # The note of the point of no return may stay only where something was destroyed, or nobody can tell.
            if not _begun(ctx, args):
                withdraw(ctx)
            raise

    def _destroy(self, ctx: StepContext, args: DestroyArgs) -> Facts:
        """The archive first: what is left of others is no way back."""
        store, timer = ctx.ports.backups(args.archive.node), Timer(ctx)
        store.destroy(args.archive.id, deadline=timer.left())
        for other in archives_of(ctx, args.archive.node):
            store.destroy(other.id, deadline=timer.left())
        return _destroyed(ctx, args)

    def undo(self, ctx: StepContext, args: DestroyArgs, facts: Mapping[str, Any]) -> None:
        """Nothing can be taken back; where it had not begun nothing was done. Raises UndoFailed where it had."""
        if _begun(ctx, args):
            raise UndoFailed(f"the archive {args.archive.id} is destroyed, or half so: it cannot be brought back")


def _begun(ctx: StepContext, args: DestroyArgs) -> bool:
    there = _by_id(archives_of(ctx, args.archive.node), args.archive.id)
    return there is None or not there.whole


def _destroyed(ctx: StepContext, args: DestroyArgs) -> Facts:
    return {"destroyed": dump(args.archive), "destroyed_at": ctx.ports.clock.now().isoformat()}


@dataclass(frozen=True, slots=True, kw_only=True)
class GoneArgs:
    """``archive`` as archive.keep gave it."""

    archive: KeptArchive


class ArchiveProveGone(BaseStep[GoneArgs]):
    """Look from every node the service ever was on for an archive of it, or what is left of one. Removes nothing."""

    name: ClassVar[str] = "archive.prove-gone"
    args = GoneArgs
    attempts: ClassVar[int] = 9

    def check(self, ctx: StepContext, args: GoneArgs) -> Done | Needed:
        nodes = sorted({args.archive.node, *ctx.ports.ledger.nodes_ever(ctx.service_id)})
        left = [f"{node}: {archive.id}" for node in nodes for archive in archives_of(ctx, node)]
        if left:
            return Needed("; ".join(left)[:1000])
        at = ctx.ports.clock.now()
        checks: list[dict[str, Any]] = [
            {"node": node, "checked_at": at.isoformat(), "found": [], "removed": []} for node in nodes
        ]
        seen = f"no archive of {ctx.service_id} from {', '.join(nodes)} at {at.isoformat(timespec='seconds')}"
        return Done({"proof": seen, "checks": checks})

    def apply(self, ctx: StepContext, args: GoneArgs) -> Facts:
        """Nothing is for this step to remove: PermanentDriverError, naming what is left."""
        found = self.check(ctx, args)
        if isinstance(found, Needed):
            raise PermanentDriverError(f"an archive of {ctx.service_id} is left: {found.why}", hint="an operator has to look")
        return found.facts
