"""Restoring an account in place: it is closed meanwhile, so that nothing of it runs, and afterwards it is as it was before.

What is restored is written over what is there: from then on there is no way back, and a run that fails waits for a person with
the account closed. Everything may be written again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from orchestrator.domain.accounts import AccountFacts
from orchestrator.domain.backups.words import Backup
from orchestrator.domain.errors import NotFound, PermanentDriverError
from orchestrator.ports.repositories import RestoreFacts, RestoreSpec
from orchestrator.steps.account import present, seen
from orchestrator.steps.account_backup import HOME, PACK, directory_of
from orchestrator.steps.backup_make import RUN_SECONDS
from orchestrator.steps.base import Done, Facts, Needed, StepContext
from orchestrator.steps.common import BaseStep, Look, OnNode, Timer
from orchestrator.steps.repository import Shelf, restorable

CLOSE_SECONDS = 180.0
LOAD_SECONDS = 4 * 3600.0
# All that there is of an account in its backup, from the root of the snapshot.
WHOLE = (f"/{HOME}", f"/{PACK}")


@dataclass(frozen=True, slots=True, kw_only=True)
class RestorableArgs:
    """``backup``: its id; ``only`` and ``databases``: what is to be restored of it, as the steps behind it take them."""

    node: str
    backup: str
    only: tuple[str, ...] = ()
    databases: tuple[str, ...] = ()


class AccountRestorable(Look[RestorableArgs]):
    """See that the backup is held and the account there, and that the backup has what is named of it, before anything of the
    account is closed."""

    name: ClassVar[str] = "account.restorable"
    args = RestorableArgs
    deadline_seconds: ClassVar[float] = 600.0

    def look(self, ctx: StepContext, args: RestorableArgs) -> Facts:
        """Raises NotFound also where it has not all that is named, WrongState where the backup does not count any more,
        TransientDriverError where it is locked."""
        user, backup = present(ctx, args.node).user, restorable(ctx, args.backup)
        shelf = Shelf(ctx, args.node)
        shelf.unlock(shelf.generation(backup.generation))
        if not shelf.look().holds(backup):
            raise NotFound(f"the snapshot of backup {backup.id} is not held any more")
        require_held(ctx, args.node, backup, only=args.only, databases=args.databases)
        return {"user": user, "snapshot": backup.snapshot_id, "bytes": backup.size_bytes}


class AccountClose(BaseStep[OnNode]):
    """Close the account, so that nothing of it runs. One that was suspended before stays as that left it.

    It is no suspension: it asks no fence, and lasts as long as its job.
    """

    name: ClassVar[str] = "account.close"
    args = OnNode
    heavy: ClassVar[bool] = True
    deadline_seconds: ClassVar[float] = CLOSE_SECONDS

    def check(self, ctx: StepContext, args: OnNode) -> Done | Needed:
        found = present(ctx, args.node)
        if not found.suspended:
            return Needed(f"{found.user} is open")
        if found.processes:
            return Needed(f"{found.processes} processes of {found.user} run")
        return Done({"closed": found.user}, made_by=found.suspended_by)

    def apply(self, ctx: StepContext, args: OnNode) -> Facts:
        """Raises PermanentDriverError where something of it is open, or runs, all the same."""
        user = present(ctx, args.node).user
        ctx.ports.hosting(args.node).suspend(user, service_id=ctx.service_id, job_id=ctx.job_id, deadline=Timer(ctx).left())
        found = self.check(ctx, args)
        if isinstance(found, Needed):
            raise PermanentDriverError(f"the account could not be closed: {found.why}", hint="end that on the node, then retry")
        return found.facts

    def undo(self, ctx: StepContext, args: OnNode, facts: Mapping[str, Any]) -> None:
        """Open it again where this job has closed it, and nothing stops the service by now."""
        found = seen(ctx, args.node)
        if found.exists and _opens(ctx, found):
            ctx.ports.hosting(args.node).unsuspend(
                found.user, service_id=ctx.service_id, job_id=ctx.job_id, deadline=Timer(ctx).left()
            )


class AccountReopen(BaseStep[OnNode]):
    """Open the account where this job has closed it; one that was suspended before, or is to be by now, stays closed."""

    name: ClassVar[str] = "account.reopen"
    args = OnNode
    heavy: ClassVar[bool] = True
    deadline_seconds: ClassVar[float] = CLOSE_SECONDS

    def check(self, ctx: StepContext, args: OnNode) -> Done | Needed:
        found = present(ctx, args.node)
        if _opens(ctx, found):
            return Needed(f"{found.user} is still closed")
        return Done({"open": not found.suspended_by})

    def apply(self, ctx: StepContext, args: OnNode) -> Facts:
        """Raises PermanentDriverError where something is not as it was before."""
        user = present(ctx, args.node).user
        done = ctx.ports.hosting(args.node).unsuspend(
            user, service_id=ctx.service_id, job_id=ctx.job_id, deadline=Timer(ctx).left()
        )
        if done.difference:
            raise PermanentDriverError(f"it is open again, and not as it was: {'; '.join(done.difference)}")
        return {"open": True}

    def undo(self, ctx: StepContext, args: OnNode, facts: Mapping[str, Any]) -> None:
        """Close it again: what closed it opens it."""
        found = seen(ctx, args.node)
        if found.exists and not found.suspended_by:
            ctx.ports.hosting(args.node).suspend(
                found.user, service_id=ctx.service_id, job_id=ctx.job_id, deadline=Timer(ctx).left()
            )


def _opens(ctx: StepContext, found: AccountFacts) -> bool:
    """Whether this job has closed it, and no hold stops the service by now: it may have been suspended while the job waited for a
    person, and then was found to be closed already."""
    return found.suspended_by == ctx.job_id and not ctx.ports.fence.stopped(service_id=ctx.service_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreArgs:
    """``only``: these paths, from the root of the snapshot; none = all. ``delete``: what is there and not in the backup goes."""

    node: str
    backup: str
    only: tuple[str, ...] = ()
    delete: bool = False


class AccountRestore(BaseStep[RestoreArgs]):
    """Write what the backup holds over the files of the account, and read it back. It is closed once more where somebody has
    opened it while the job waited for a person.

    How far one came cannot be seen: it is written again. Undoing it takes nothing back: of what was there nothing is left.
    """

    name: ClassVar[str] = "account.restore"
    args = RestoreArgs
    heavy: ClassVar[bool] = True
    deadline_seconds: ClassVar[float] = RUN_SECONDS

    def check(self, ctx: StepContext, args: RestoreArgs) -> Done | Needed:
        present(ctx, args.node)
        return Needed(f"what backup {args.backup} holds is still to be written")

    def apply(self, ctx: StepContext, args: RestoreArgs) -> Facts:
        """Raises PermanentDriverError where the account cannot be closed, or not all could be written."""
        timer = Timer(ctx)
        ensure_closed(ctx, args.node)
        backup = restorable(ctx, args.backup)
        directory = directory_of(present(ctx, args.node).user)
        found = write(ctx, args.node, backup, timer, directory=directory, only=args.only, delete=args.delete)
        return {"backup": backup.id, "files": found.files, "bytes": found.bytes, "deleted": found.files_deleted}


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadArgs:
    """``databases``: their names in the account; none = all that were packed."""

    node: str
    databases: tuple[str, ...] = ()


class AccountLoad(BaseStep[LoadArgs]):
    """Load the dumps that were restored into the account's databases, each of which is emptied first. Where none is named it is
    all of them, and the crontab comes back, too.

    Nothing is left of what the databases held; loading may be repeated.
    """

    name: ClassVar[str] = "account.load"
    args = LoadArgs
    heavy: ClassVar[bool] = True
    deadline_seconds: ClassVar[float] = LOAD_SECONDS

    def check(self, ctx: StepContext, args: LoadArgs) -> Done | Needed:
        present(ctx, args.node)
        return Needed("its databases are still to be loaded")

    def apply(self, ctx: StepContext, args: LoadArgs) -> Facts:
        """Raises PermanentDriverError where the account cannot be closed, or a dump cannot be loaded."""
        ensure_closed(ctx, args.node)
        user = present(ctx, args.node).user
        loaded = ctx.ports.hosting(args.node).load(
            user, service_id=ctx.service_id, job_id=ctx.job_id, databases=args.databases, deadline=Timer(ctx).left()
        )
        return {"loaded": [each.name for each in loaded]}


def ensure_closed(ctx: StepContext, node: str) -> None:
    """Nothing is written into a home in which somebody may work. Raises PermanentDriverError where it cannot be closed."""
    close, args = AccountClose(), OnNode(node=node)
    if isinstance(close.check(ctx, args), Needed):
        close.apply(ctx, args)


def require_held(ctx: StepContext, node: str, backup: Backup, *, only: tuple[str, ...], databases: tuple[str, ...] = ()) -> None:
    """Raises NotFound where the backup has not all of what is named: restoring it would change nothing, and look done."""
    named = {path: path.removeprefix(f"/{HOME}/") for path in only if path not in WHOLE}
    named |= {f"/{PACK}/databases/{name}.sql": f"the database {name}" for name in databases}
    if not named:
        return
    shelf = Shelf(ctx, node)
    there, access = shelf.on_node(shelf.generation(backup.generation))
    missing = there.lacks(access, backup.snapshot_id, tuple(named), deadline=Timer(ctx).left())
    if missing:
        told = ", ".join(named.get(path, path) for path in missing[:5])
        raise NotFound(
            f"backup {backup.id} does not hold {told}", hint="`orchestrator restore SERVICE --beside` shows all it holds"
        )


def write(
    ctx: StepContext,
    node: str,
    backup: Backup,
    timer: Timer,
    *,
    directory: str,
    only: tuple[str, ...] = (),
    delete: bool = False,
) -> RestoreFacts:
    """What the backup holds of the account, or ``only`` that, into a directory of its node. Raises PermanentDriverError where it
    is not whole."""
    shelf = Shelf(ctx, node)
    generation = shelf.generation(backup.generation)
    shelf.unlock(generation)
    there, access = shelf.on_node(generation)
    spec = RestoreSpec(snapshot=backup.snapshot_id, directory=directory, only=only or WHOLE, delete=delete)
    with shelf.minding(generation.number):
        found = there.restore(access, spec, deadline=timer.left(), progress=ctx.progress)
    if not found.whole:
        named = ", ".join(failed.item for failed in found.failed[:3])
        raise PermanentDriverError(f"the restore is not whole: {found.failed_count} of its files could not be written: {named}")
    return found
