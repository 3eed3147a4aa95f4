"""The disk of a guest at one moment, to be backed up while the guest goes on; and its end.

With its export a checkpoint of the job begins, and is named by it: from that moment on the hypervisor notes what changes. The
next backup may skip what did not, if this one was verified by then. So a checkpoint is worth something only beside a verified
backup: those before it are dropped after that, and its own is where the backup fails.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from orchestrator.domain.backups.promised import whole_again
from orchestrator.domain.backups.words import Backup
from orchestrator.domain.errors import DriverError, NotFound, PreconditionError, WrongState
from orchestrator.ports.disk_exports import DiskExports
from orchestrator.ports.hypervisor import GuestDisk, GuestFacts, Power
from orchestrator.ports.repositories import DiskSource
from orchestrator.steps.arguments import dump
from orchestrator.steps.backup_make import newest_verified
from orchestrator.steps.base import Done, Facts, Needed, StepContext
from orchestrator.steps.common import ASK_SECONDS, BaseStep, Timer, present_guest
from orchestrator.steps.repository import Shelf

FROZEN = "frozen"
CRASH = "crash"
STOPPED = "stopped"
# The guest's agent has so long to freeze; the node thaws by itself some seconds after, whatever becomes of us.
FREEZE_SECONDS = 5
FREEZE_CALL_SECONDS = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportArgs:
    """``generation`` as backup.prepare gave it: what changed is of use only since a verified backup in it."""

    node: str
    generation: int


class DiskExport(BaseStep[ExportArgs]):
    """Freeze the disk of a running guest at this moment and export it; of one that is off, find its volume.

    Its file systems are in order where the guest's agent froze them meanwhile ("frozen"); else they are as after a power cut
    ("crash"). An export cannot be seen from outside: an attempt that was broken off is begun anew.
    """

    name: ClassVar[str] = "disk.export"
    args = ExportArgs
    deadline_seconds: ClassVar[float] = 180.0

    def check(self, ctx: StepContext, args: ExportArgs) -> Done | Needed:
        facts, _ = present_guest(ctx, args.node)
        if facts.power in (Power.RUNNING, Power.PAUSED):
            return Needed(f"{facts.name} is {facts.power}: its disk is still to be frozen")
        disk = _disk(facts)
        state = ctx.ports.agent(args.node).call("volume-state", {"path": disk.path}, deadline=ASK_SECONDS)
        found = _facts(DiskSource(path=disk.path, secret_uuid=disk.secret_uuid), disk, STOPPED)
        return Done({**found, **_unchanged(ctx, args, mark=str(state.get("mark", "")), volume=str(found["volume"]))})

    def apply(self, ctx: StepContext, args: ExportArgs) -> Facts:
        """Raises WrongState where somebody else's job works on the disk."""
        timer = Timer(ctx)
        facts, _ = present_guest(ctx, args.node)
        disk, exports, own = _disk(facts), ctx.ports.exports(args.node), checkpoint_name(ctx.job_id, facts.name)
        there = exports.checkpoints(facts.name, deadline=timer.left(ASK_SECONDS))
        if own in there:
            _end(exports, facts.name)
            exports.drop(facts.name, own, deadline=timer.left(ASK_SECONDS))
        last = _base(ctx, args)
        since = "" if last is None else checkpoint_name(last.job_id, facts.name)
        exports.prepare(facts.name, deadline=timer.left(ASK_SECONDS))
        still = _Stillness(ctx, args.node, facts)
        with still:
            export = exports.begin(
                facts.name, checkpoint=own, since=since if since in there else "", deadline=timer.left(ASK_SECONDS)
            )
        source = DiskSource(
            socket=export.socket,
            export=export.name,
            secret_uuid=disk.secret_uuid,
            bitmap=export.bitmap,
            parent=last.snapshot_id if last is not None and export.bitmap else "",
        )
        return _facts(source, disk, FROZEN if still.held else CRASH, checkpoint=own)

    def undo(self, ctx: StepContext, args: ExportArgs, facts: Mapping[str, Any]) -> None:
        """Close the export and drop this job's checkpoint; those before it stay."""
        name, exports = ctx.guest, ctx.ports.exports(args.node)
        _end(exports, name)
        exports.drop(name, checkpoint_name(ctx.job_id, name), deadline=ASK_SECONDS)


class _Stillness:
    """While it is entered the guest's file systems are frozen, where that can be had. ``held``: they were, until the end."""

    def __init__(self, ctx: StepContext, node: str, facts: GuestFacts) -> None:
        self._agent = ctx.ports.agent(node)
        self._guest = facts.name
        self._asks = facts.power == Power.RUNNING and facts.agent_connected
        self._frozen = False
        self.held = False

    def __enter__(self) -> None:
        if not self._asks:
            return
        request = {"guest": self._guest, "seconds": FREEZE_SECONDS}
        try:
            self._frozen = bool(self._agent.call("guest-freeze", request, deadline=FREEZE_CALL_SECONDS)["frozen"])
        except (DriverError, PreconditionError):  # it is backed up all the same, and labelled so
            self._frozen = False

    def __exit__(self, *_: object) -> None:
        if not self._asks:
            return
        try:
            answer = self._agent.call("guest-thaw", {"guest": self._guest}, deadline=FREEZE_CALL_SECONDS)
        except (DriverError, PreconditionError):  # the node thaws it by itself
            return
        self.held = self._frozen and bool(answer["held"])


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseArgs:
    """``checkpoint`` as disk.export gave it; '' = the guest was off, and there is none."""

    node: str
    checkpoint: str


class DiskRelease(BaseStep[ReleaseArgs]):
    """Close the export of a verified backup and drop the checkpoints before its own."""

    name: ClassVar[str] = "disk.release"
    args = ReleaseArgs

    def check(self, ctx: StepContext, args: ReleaseArgs) -> Done | Needed:
        return Needed("the export is still to be closed") if args.checkpoint else Done({"checkpoint": ""})

    def apply(self, ctx: StepContext, args: ReleaseArgs) -> Facts:
        timer, name, exports = Timer(ctx), ctx.guest, ctx.ports.exports(args.node)
        _end(exports, name)
        there = exports.checkpoints(name, deadline=timer.left(ASK_SECONDS))
        older = there[: there.index(args.checkpoint)] if args.checkpoint in there else ()
        for checkpoint in older:
            exports.drop(name, checkpoint, deadline=timer.left(ASK_SECONDS))
        return {"checkpoint": args.checkpoint, "dropped": list(older)}


def checkpoint_name(job_id: str, guest: str) -> str:
    """By the job, so that it is known which backup it goes with."""
    return f"{guest}.{job_id}"


def drop_all(ctx: StepContext, node: str) -> None:
    """No checkpoint counts any more: the disk is another one from now on."""
    name, exports = ctx.guest, ctx.ports.exports(node)
    for checkpoint in exports.checkpoints(name, deadline=ASK_SECONDS):
        exports.drop(name, checkpoint, deadline=ASK_SECONDS)


def _base(ctx: StepContext, args: ExportArgs) -> Backup | None:
    """The backup since which only changes have to be read; None: everything is read."""
    last = newest_verified(ctx, Shelf(ctx, args.node).generation(args.generation))
    if last is None or last.made_at is None or whole_again(ctx.service_id, last.made_at, ctx.ports.clock.now()):
        return None
    return last


def _unchanged(ctx: StepContext, args: ExportArgs, *, mark: str, volume: str) -> Facts:
    """The mark of the volume, and the backup that holds the disk as it is now; '' where there is any doubt of that.

    The guest was off then, too, and nobody wrote to its volume since: a guest that was started meanwhile and wrote a single byte
    has changed the file's times. Every eight weeks it is read all the same.
    """
    mark = f"{volume}:{mark}" if mark else ""
    last = _base(ctx, args)
    same = last is not None and last.consistency == STOPPED and mark and last.mark == mark
    return {"mark": mark, "unchanged": last.id if last is not None and same else ""}


def _end(exports: DiskExports, guest: str) -> None:
    try:
        exports.end(guest, deadline=ASK_SECONDS)
    except WrongState:
        return  # it does not run any more, and with it went its export


def _disk(facts: GuestFacts) -> GuestDisk:
    """The disk that the guest writes to. Raises NotFound."""
    for disk in facts.disks:
        if not disk.read_only:
            return disk
    raise NotFound(f"{facts.name} has no disk to be backed up")


def _facts(source: DiskSource, disk: GuestDisk, consistency: str, *, checkpoint: str = "") -> Facts:
    return {
        "disk": dump(source),
        "volume": disk.path.rpartition("/")[2],
        "consistency": consistency,
        "checkpoint": checkpoint,
        "mark": "",
        "unchanged": "",
    }
