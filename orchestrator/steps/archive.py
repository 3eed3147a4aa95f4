"""The archive of a service that ends: a verified backup of its stopped disk, kept before anything is destroyed, and brought back.

It lies in the service's own repository and is opened by its key; ``backup.destroy`` spares it, and ends it when its time is over.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, ClassVar

from orchestrator.domain.backups.words import Backup, BackupState, GenerationState
from orchestrator.domain.errors import NotFound, PermanentDriverError
from orchestrator.domain.plans import guest_name, volume_name
from orchestrator.ports.repositories import DiskSource, RestoreSpec
from orchestrator.steps.arguments import dump
from orchestrator.steps.backup_make import RUN_SECONDS, BackupMake, MakeArgs, give_up, own_rows
from orchestrator.steps.backup_prepare import BackupPrepare, PrepareArgs
from orchestrator.steps.backup_settle import BackupSettle, SettleArgs
from orchestrator.steps.base import Done, Facts, Needed, StepContext
from orchestrator.steps.common import POOL_SECONDS, BaseStep, Timer, guest_uuid, own_guest
from orchestrator.steps.disk_export import STOPPED
from orchestrator.steps.repository import Shelf
from orchestrator.steps.storage import SEED, VolumeArgs, VolumeCreate, disk_name
from orchestrator.steps.wipe import WIPING, VolumeRef


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptArchive:
    """An archive as archive.keep or account.archive gave it: a snapshot of ``disk`` (of an account: its user), of so many
    ``bytes``, in that generation of the service's repositories. ``node``: from where it was kept; ``backup``: its row."""

    id: str
    node: str
    job: str
    target: str
    generation: int
    snapshot: str
    backup: str
    disk: str
    bytes: int
    kept_at: datetime
    until: datetime | None = None


def own_archive(ctx: StepContext) -> Backup | None:
    """What this job has kept, by the book."""
    return next((row for row in reversed(own_rows(ctx)) if row.state == BackupState.VERIFIED), None)


def given_up(ctx: StepContext) -> bool:
    """What this job had kept was lost, and a person has given its repository up."""
    ended = {each.number for each in ctx.ports.book.generations(ctx.service_id) if each.state == GenerationState.GIVEN_UP}
    return any(row.generation in ended and row.verified_at is not None for row in own_rows(ctx))


def known(ctx: StepContext, kept: Backup, *, node: str, until: str, disk: str) -> Facts:
    """What is known of the archive that this job has kept."""
    archive = KeptArchive(
        id=archive_id(ctx),
        node=node,
        job=ctx.job_id,
        target=Shelf(ctx, node).generation(kept.generation).target,
        generation=kept.generation,
        snapshot=kept.snapshot_id,
        backup=kept.id,
        disk=disk,
        bytes=kept.size_bytes,
        kept_at=kept.made_at or kept.begun_at,
        until=datetime.fromisoformat(until) if until else None,
    )
    return dump(archive)


def disown(ctx: StepContext) -> None:
    """What is verified goes on to count for the service, but not as what this job has kept; the rest does not count."""
    give_up(ctx, "its job failed before it was verified")
    for row in own_rows(ctx):
        if row.state == BackupState.VERIFIED:
            ctx.ports.book.write(replace(row, job_id=""))


def archive_id(ctx: StepContext) -> str:
    """Of the one archive that this job can keep."""
    return f"{guest_name(ctx.service_id)}.archive.{ctx.job_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepArgs:
    """``volumes`` as guest.record wrote them down; ``until``: so long at least it is kept, '' where nothing says so. ``keep``: so
    many verified backups stand as long as the service is not ended. ``beside``: names of volumes that nobody runs on, such as a
    disk that a restore has replaced ($job.kept).
    """

    node: str
    volumes: tuple[VolumeRef, ...]
    until: str = ""
    keep: int = 1
    beside: tuple[str, ...] = ()


class ArchiveKeep(BaseStep[KeepArgs]):
    """Make a backup of the stopped guest's disk, and read all of it back. The seed image is made anew, what stands beside is left
    out.

    As long as nothing is destroyed it is a backup like any other. Where the termination is taken back it stays as such, but not
    as this job's any more: the guest may run again, and a later attempt keeps what is there then.
    """

    name: ClassVar[str] = "archive.keep"
    args = KeepArgs
    heavy: ClassVar[bool] = True
    deadline_seconds: ClassVar[float] = RUN_SECONDS

    def check(self, ctx: StepContext, args: KeepArgs) -> Done | Needed:
        kept = own_archive(ctx)
        if kept is None and given_up(ctx) and _wiped(ctx, args):
            return Done({})  # nothing is left that could be kept
        if kept is None or not Shelf(ctx, args.node).look().holds(kept):
            return Needed("no verified backup of this job is held")
        return Done(self._known(ctx, args, kept), made_by=ctx.job_id)

    def apply(self, ctx: StepContext, args: KeepArgs) -> Facts:
        """Raises Refused where the node has no target for backups, NotFound where there is no disk to keep."""
        disk = _disk(ctx, args)
        source = DiskSource(path=disk.path, secret_uuid=disk.secret_uuid)
        prepared = BackupPrepare().apply(ctx, PrepareArgs(node=args.node, keep=args.keep))
        wanted = MakeArgs(node=args.node, generation=prepared["generation"], disk=source, volume=disk.name, consistency=STOPPED)
        made = BackupMake().check(ctx, wanted)
        facts = made.facts if isinstance(made, Done) else BackupMake().apply(ctx, wanted)
        settle = SettleArgs(node=args.node, backup=facts["backup"], disk=source, keep=args.keep, shares=1)
        BackupSettle().apply(ctx, settle)
        kept = own_archive(ctx)
        if kept is None:
            raise PermanentDriverError(f"no verified backup of {ctx.service_id} was kept", hint="an operator has to look")
        return self._known(ctx, args, kept)

    def _known(self, ctx: StepContext, args: KeepArgs, kept: Backup) -> Facts:
        return known(ctx, kept, node=args.node, until=args.until, disk=_disk(ctx, args).name)

    def undo(self, ctx: StepContext, args: KeepArgs, facts: Mapping[str, Any]) -> None:
        """Nothing is taken away: what is verified counts for the service, but no longer as what this job has kept."""
        disown(ctx)


def _wiped(ctx: StepContext, args: KeepArgs) -> bool:
    name = _disk(ctx, args).name
    there = {volume.name.removesuffix(WIPING) for volume in ctx.ports.volumes(args.node).volumes(deadline=POOL_SECONDS)}
    return name not in there


def _disk(ctx: StepContext, args: KeepArgs) -> VolumeRef:
    """Raises NotFound where there is none, PermanentDriverError where there are several: a guest comes back with one."""
    seeds = volume_name(ctx.service_id, SEED, "", "").rstrip(".") + "."
    disks = [ref for ref in args.volumes if not ref.name.startswith(seeds) and ref.name not in args.beside]
    if not disks:
        raise NotFound(f"no disk of {ctx.service_id} is known on {args.node}: there is nothing to keep of it")
    if len(disks) > 1:
        names = ", ".join(ref.name for ref in disks)
        raise PermanentDriverError(
            f"{ctx.service_id} has several disks on {args.node}, and an archive is of one: {names}",
            hint="an operator has to look, and to remove what is not the guest's",
        )
    return disks[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreArgs:
    """``archive`` as archive.keep gave it; the disk is made with ``capacity_bytes``."""

    node: str
    archive: KeptArchive
    capacity_bytes: int
    encrypted: bool

    @property
    def volume(self) -> VolumeArgs:
        """An empty disk: what the archive holds is all that is on it."""
        return VolumeArgs(
            node=self.node,
            capacity_bytes=self.capacity_bytes,
            template="",
            template_format="qcow2",
            full_copy=False,
            encrypted=self.encrypted,
        )


class ArchiveRestore(BaseStep[RestoreArgs]):
    """Make the guest's disk out of the archive, read back. The archive stays as it is.

    How far a restore came cannot be seen on a disk, and none is written onto a disk that holds something: one that was broken off
    is begun anew, with a new disk. Once this job has defined the guest on it, it is done.
    """

    name: ClassVar[str] = "archive.restore"
    args = RestoreArgs
    heavy: ClassVar[bool] = True
    deadline_seconds: ClassVar[float] = RUN_SECONDS

    def check(self, ctx: StepContext, args: RestoreArgs) -> Done | Needed:
        """Raises AlreadyExists where another job's disk of this service lies in the pool."""
        found, guest = VolumeCreate().check(ctx, args.volume), own_guest(ctx, args.node)
        if isinstance(found, Done) and guest is not None and guest.uuid == guest_uuid(ctx):
            return Done({**found.facts, "restored": args.archive.id}, made_by=ctx.job_id)
        return Needed(f"{disk_name(ctx)} is not known to hold what {args.archive.id} does")

    def apply(self, ctx: StepContext, args: RestoreArgs) -> Facts:
        """Raises PermanentDriverError where a guest is defined already: its disk is not written over."""
        timer = Timer(ctx)
        if own_guest(ctx, args.node) is not None:
            raise PermanentDriverError(
                f"{guest_name(ctx.service_id)} is defined on {args.node}: its disk is not written over",
                hint="an operator has to look",
            )
        VolumeCreate().check(ctx, args.volume)
        ctx.ports.volumes(args.node).delete(disk_name(ctx), deadline=timer.left(POOL_SECONDS))
        made = VolumeCreate().apply(ctx, args.volume)
        self._fill(ctx, args, made["volume"], timer)
        return {**made, "restored": args.archive.id}

    def _fill(self, ctx: StepContext, args: RestoreArgs, volume: Mapping[str, Any], timer: Timer) -> None:
        shelf = Shelf(ctx, args.node)
        generation = shelf.generation(args.archive.generation)
        shelf.unlock(generation)
        there, access = shelf.on_node(generation)
        disk = DiskSource(path=str(volume["path"]), secret_uuid=str(volume["secret_uuid"]))
        spec = RestoreSpec(snapshot=args.archive.snapshot, disk=disk)
        found = there.restore(access, spec, deadline=timer.left(), progress=ctx.progress)
        if not found.whole:
            raise PermanentDriverError(f"the restore is not whole: {found.failed_count} parts of it could not be written")

    def undo(self, ctx: StepContext, args: RestoreArgs, facts: Mapping[str, Any]) -> None:
        """Remove the disk: what it holds is in the archive."""
        VolumeCreate().undo(ctx, args.volume, facts)
