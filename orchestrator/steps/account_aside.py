"""What is restored beside an account's home, in a directory of its own: for its customer to take out of it, or as a drill."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from orchestrator.domain.backups.drills import DRILL
from orchestrator.domain.backups.words import Backup
from orchestrator.domain.errors import NoCapacity, PermanentDriverError
from orchestrator.domain.sizes import compared
from orchestrator.steps.account import present, seen
from orchestrator.steps.account_backup import RESTORED, directory_of
from orchestrator.steps.account_restore import require_held, write
from orchestrator.steps.backup_make import RUN_SECONDS
from orchestrator.steps.base import Done, Facts, Needed, StepContext
from orchestrator.steps.common import ASK_SECONDS, BaseStep, Timer
from orchestrator.steps.fence import ask
from orchestrator.steps.repository import restorable

TIDY_SECONDS = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class AsideArgs:
    """``backup``: its id; ``role``: ``drill``, or what the customer is shown. ``only``: these paths, from the root of the
    snapshot; none = all. ``kept``: the names of what was restored before and stays ($job.kept)."""

    node: str
    backup: str
    role: str
    only: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()


class AccountRestoreAside(BaseStep[AsideArgs]):
    """Write what the backup holds into a directory of its own beside the home, read back; then its customer may read it, unless
    it is a drill. Nothing else of the account changes, and it goes on meanwhile.

    One that was broken off is removed, and made anew.
    """

    name: ClassVar[str] = "account.restore-aside"
    args = AsideArgs
    heavy: ClassVar[bool] = True
    deadline_seconds: ClassVar[float] = RUN_SECONDS

    def check(self, ctx: StepContext, args: AsideArgs) -> Done | Needed:
        present(ctx, args.node)
        return Needed(f"{_name(ctx, args)} is still to be written")

    def apply(self, ctx: StepContext, args: AsideArgs) -> Facts:
        """Raises WrongState where the backup does not count any more, NotFound where it has not all that is named, NoCapacity
        where the node has no room for it."""
        timer, name = Timer(ctx), _name(ctx, args)
        user, backup = present(ctx, args.node).user, restorable(ctx, args.backup)
        _require_room(ctx, args, backup)
        require_held(ctx, args.node, backup, only=args.only)
        keep_only(ctx, args.node, args.kept, timer)
        path = f"{directory_of(user)}/{RESTORED}/{name}"
        found = write(ctx, args.node, backup, timer, directory=path, only=args.only)
        if args.role != DRILL:
            there = keep_only(ctx, args.node, (*args.kept, name), timer)
            if name not in there:
                raise PermanentDriverError(f"{path} was written, and is not there", hint="an operator has to look")
        told = {"signature": f"{found.files} files"} if args.role == DRILL else {}
        return {"into": {"name": name, "path": path}, "backup": backup.id, "files": found.files, "bytes": found.bytes, **told}

    def undo(self, ctx: StepContext, args: AsideArgs, facts: Mapping[str, Any]) -> None:
        """Remove what was written; what stood there before stays."""
        if seen(ctx, args.node).exists:
            keep_only(ctx, args.node, args.kept, Timer(ctx))


@dataclass(frozen=True, slots=True, kw_only=True)
class DiscardArgs:
    """``names``: of what was restored aside; ``kept``: the names of all of it ($job.kept)."""

    node: str
    names: tuple[str, ...]
    kept: tuple[str, ...] = ()


class AccountDiscard(BaseStep[DiscardArgs]):
    """Remove what was restored aside, and whatever was begun there and not finished; the home is not touched.

    Nothing of it can be taken back, and nothing has to be: the account goes on without it.
    """

    name: ClassVar[str] = "account.discard"
    args = DiscardArgs
    heavy: ClassVar[bool] = True
    destructive: ClassVar[bool] = True
    deadline_seconds: ClassVar[float] = TIDY_SECONDS
    attempts: ClassVar[int] = 9

    def check(self, ctx: StepContext, args: DiscardArgs) -> Done | Needed:
        found = seen(ctx, args.node)
        return Needed(f"to be removed: {', '.join(args.names)}") if found.exists else Done(_gone(args))

    def apply(self, ctx: StepContext, args: DiscardArgs) -> Facts:
        """Raises FenceClosed where a hold forbids it, Frozen while nothing may be destroyed."""
        ask(ctx, "remove what was restored aside")
        stays = tuple(name for name in args.kept if name not in args.names)
        left = sorted(set(keep_only(ctx, args.node, stays, Timer(ctx))) & set(args.names))
        if left:
            raise PermanentDriverError(f"{', '.join(left)} is still there", hint="an operator has to look")
        return _gone(args)


def keep_only(ctx: StepContext, node: str, names: tuple[str, ...], timer: Timer) -> tuple[str, ...]:
    """Show these of what was restored aside to the account's customer, and remove all else; which of them are there."""
    user = present(ctx, node).user
    hosting = ctx.ports.hosting(node)
    return hosting.show_restored(user, service_id=ctx.service_id, keep=names, deadline=timer.left(TIDY_SECONDS))


def _name(ctx: StepContext, args: AsideArgs) -> str:
    return f"{DRILL}-{ctx.job_id}" if args.role == DRILL else ctx.job_id


def _require_room(ctx: StepContext, args: AsideArgs, backup: Backup) -> None:
    """A file system that fills up takes every account on it along."""
    free = ctx.ports.hosting(args.node).doctor(deadline=ASK_SECONDS).disk_free_bytes
    if free < backup.size_bytes:
        has, needs = compared(free, backup.size_bytes)
        words = f"{needs} are needed on {args.node}, {has} are free"
        raise NoCapacity(f"no room beside the home: {words}", hint="what is kept aside goes earlier with: service tidy")


def _gone(args: DiscardArgs) -> Facts:
    return {"discarded": list(args.names)}
