"""An account moves in: files and databases out of a tarball that lies on its node."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from orchestrator.domain.moving_in import IMPORTS, Tarball
from orchestrator.steps.account import present, seen
from orchestrator.steps.base import Done, Facts, Needed, StepContext
from orchestrator.steps.common import BaseStep, Timer


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportArgs:
    """``tarball``: as it was looked at when the job was asked for."""

    node: str
    tarball: Tarball


class AccountImport(BaseStep[ImportArgs]):
    """Unpack the tarball into the account, and load its dumps, by the account's own rights. The tarball is an operator's, and
    stays where he has put it: the facts name it.

    Undone, what it has put there goes again, and nothing else: a file that was there before and was written over is its
    customer's, and so is one that he has changed since.
    """

    name: ClassVar[str] = "account.import"
    args = ImportArgs
    heavy: ClassVar[bool] = True
    deadline_seconds: ClassVar[float] = 4 * 3600.0

    def check(self, ctx: StepContext, args: ImportArgs) -> Done | Needed:
        """Of files nobody can tell where they came from: done again it comes to the same."""
        present(ctx, args.node)
        return Needed(f"{args.tarball.file} is to be unpacked")

    def apply(self, ctx: StepContext, args: ImportArgs) -> Facts:
        """Raises Refused, NoCapacity or WrongState before anything is written."""
        user = present(ctx, args.node).user
        loaded = ctx.ports.hosting(args.node).bring_in(
            user, args.tarball, service_id=ctx.service_id, job_id=ctx.job_id, deadline=Timer(ctx).left()
        )
        return {
            "tarball": args.tarball.file,
            "left_on": {"node": args.node, "path": f"{IMPORTS}/{args.tarball.file}"},
            "sha256": args.tarball.sha256,
            "inodes": args.tarball.inodes,
            "loaded": [{"name": each.name, "bytes": each.bytes} for each in loaded],
        }

    def undo(self, ctx: StepContext, args: ImportArgs, facts: Mapping[str, Any]) -> None:
        """Take it out again."""
        found = seen(ctx, args.node)
        if not found.exists:
            return
        taken = ctx.ports.hosting(args.node).take_out(
            found.user, service_id=ctx.service_id, job_id=ctx.job_id, deadline=Timer(ctx).left()
        )
        if taken.left:
            more = f" and {taken.left_count - len(taken.left)} more" if taken.left_count > len(taken.left) else ""
            ctx.progress(1.0, f"left, for they are not as they were unpacked: {', '.join(taken.left)}{more}")
