"""An account made ready to be backed up as one directory: its databases are dumped into it, with its settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from orchestrator.domain.accounts import HOMES
from orchestrator.ports.hosting_node import Packed
from orchestrator.steps.account import present, seen
from orchestrator.steps.base import Done, Facts, Needed, StepContext
from orchestrator.steps.common import ASK_SECONDS, BaseStep, OnNode, Timer

PACK_SECONDS = 2 * 3600.0
# In the account's directory: its home, what is packed beside that, and what is restored aside, which belongs to no backup.
HOME, PACK, RESTORED = "home", "backup", "restored"


def directory_of(user: str) -> str:
    """Where all that is backed up of the account lies on its node."""
    return f"{HOMES}/{user}"


def packed(ctx: StepContext, node: str, timer: Timer) -> Packed:
    """Dump every database of the account, and write its settings down."""
    user = present(ctx, node).user
    return ctx.ports.hosting(node).pack(user, service_id=ctx.service_id, job_id=ctx.job_id, deadline=timer.left(PACK_SECONDS))


def unpacked(ctx: StepContext, node: str) -> None:
    """Take away what was packed, whole or half; where there is none, or no account, that is success."""
    found = seen(ctx, node)
    if found.exists:
        ctx.ports.hosting(node).unpack(found.user, service_id=ctx.service_id, deadline=ASK_SECONDS)


class AccountPack(BaseStep[OnNode]):
    """Dump every database of the account consistently, and write down its settings as they are, beside its home.

    Whether dumps are of now cannot be seen: an attempt that was broken off is begun anew. One that fails leaves none, and the
    backup is not made.
    """

    name: ClassVar[str] = "account.pack"
    args = OnNode
    heavy: ClassVar[bool] = True
    deadline_seconds: ClassVar[float] = PACK_SECONDS

    def check(self, ctx: StepContext, args: OnNode) -> Done | Needed:
        return Needed("its databases are still to be dumped as they are now")

    def apply(self, ctx: StepContext, args: OnNode) -> Facts:
        """Raises PermanentDriverError, naming the database, where one cannot be dumped."""
        found = packed(ctx, args.node, Timer(ctx))
        return {
            "directory": found.directory,
            "databases": [each.name for each in found.databases],
            "bytes": found.bytes,
        }

    def undo(self, ctx: StepContext, args: OnNode, facts: Mapping[str, Any]) -> None:
        """Take the dumps away again."""
        unpacked(ctx, args.node)


class AccountUnpack(BaseStep[OnNode]):
    """Take the dumps and settings away that were packed, or restored to be loaded."""

    name: ClassVar[str] = "account.unpack"
    args = OnNode

    def check(self, ctx: StepContext, args: OnNode) -> Done | Needed:
        return Needed("what was packed is still to go") if seen(ctx, args.node).exists else Done({})

    def apply(self, ctx: StepContext, args: OnNode) -> Facts:
        unpacked(ctx, args.node)
        return {}
