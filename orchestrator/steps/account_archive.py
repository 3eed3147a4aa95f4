"""The archive of an account that ends: a verified backup of the closed account, kept before anything is destroyed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from orchestrator.domain.backups.words import Backup
from orchestrator.domain.errors import PermanentDriverError
from orchestrator.steps.account import seen, user_of
from orchestrator.steps.account_backup import packed, unpacked
from orchestrator.steps.account_restore import AccountClose
from orchestrator.steps.archive import disown, given_up, known, own_archive
from orchestrator.steps.backup_make import RUN_SECONDS, BackupMake, MakeArgs
from orchestrator.steps.backup_prepare import BackupPrepare, PrepareArgs
from orchestrator.steps.backup_settle import BackupSettle, SettleArgs
from orchestrator.steps.base import Done, Facts, Needed, StepContext
from orchestrator.steps.common import BaseStep, OnNode, Timer
from orchestrator.steps.repository import Shelf


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepArgs:
    """``until``: so long at least it is kept, '' where nothing says so. ``keep``: so many verified backups stand as long as the
    service is not ended."""

    node: str
    until: str = ""
    keep: int = 1


class AccountArchive(BaseStep[KeepArgs]):
    """Make a backup of the closed account with its databases and settings, whatever its size, and read all of it back.

    As long as nothing is destroyed it is a backup like any other. Where the termination is taken back it stays as such, but not
    as this job's any more: the account may be open again, and a later attempt keeps what is there then.
    """

    name: ClassVar[str] = "account.archive"
    args = KeepArgs
    heavy: ClassVar[bool] = True
    deadline_seconds: ClassVar[float] = RUN_SECONDS

    def check(self, ctx: StepContext, args: KeepArgs) -> Done | Needed:
        kept = own_archive(ctx)
        if kept is None and given_up(ctx) and not seen(ctx, args.node).exists:
            return Done({})  # nothing is left that could be kept
        if kept is None or not Shelf(ctx, args.node).look().holds(kept):
            return Needed("no verified backup of this job is held")
        return Done(self._known(ctx, args, kept), made_by=ctx.job_id)

    def apply(self, ctx: StepContext, args: KeepArgs) -> Facts:
        """Raises Refused where the node has no target for backups, PermanentDriverError where the account is open, or a database
        cannot be dumped."""
        found = AccountClose().check(ctx, OnNode(node=args.node))
        if isinstance(found, Needed):
            raise PermanentDriverError(f"the account is not closed: {found.why}", hint="an operator has to look")
        pack = packed(ctx, args.node, Timer(ctx))
        prepared = BackupPrepare().apply(ctx, PrepareArgs(node=args.node, keep=args.keep))
        wanted = MakeArgs(node=args.node, generation=prepared["generation"], directory=pack.directory)
        made = BackupMake().check(ctx, wanted)
        facts = made.facts if isinstance(made, Done) else BackupMake().apply(ctx, wanted)
        settle = SettleArgs(
            node=args.node,
            backup=facts["backup"],
            directory=pack.directory,
            keep=args.keep,
            shares=1,
        )
        BackupSettle().apply(ctx, settle)
        kept = own_archive(ctx)
        if kept is None:
            raise PermanentDriverError(f"no verified backup of {ctx.service_id} was kept", hint="an operator has to look")
        return self._known(ctx, args, kept)

    def _known(self, ctx: StepContext, args: KeepArgs, kept: Backup) -> Facts:
        return known(ctx, kept, node=args.node, until=args.until, disk=user_of(ctx))

    def undo(self, ctx: StepContext, args: KeepArgs, facts: Mapping[str, Any]) -> None:
        """Only the dumps go: what is verified counts for the service, but no longer as what this job has kept."""
        disown(ctx)
        unpacked(ctx, args.node)
