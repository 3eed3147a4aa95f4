"""An account takes in a user of its node that somebody made by hand: what served him is set aside, his files and databases are
gathered, and what ``account.import`` takes lies there.

The account is closed meanwhile, so that nobody writes where something is about to be written, and its domains answer 503: what is
written neither here nor there cannot be lost. Nothing of the old user is changed but that; so all of it can be undone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from orchestrator.domain.adopting import Adoption
from orchestrator.steps.account import present, seen
from orchestrator.steps.account_restore import ensure_closed
from orchestrator.steps.arguments import dump
from orchestrator.steps.base import Done, Facts, Needed, StepContext
from orchestrator.steps.common import BaseStep, Timer

ASIDE_SECONDS = 180.0
GATHER_SECONDS = 4 * 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class AdoptArgs:
    node: str
    adoption: Adoption


class AccountSetAside(BaseStep[AdoptArgs]):
    """Put the old user's vhosts and crontab out of force, kept on the node; his certificates go to the account's sites."""

    name: ClassVar[str] = "account.set-aside"
    args = AdoptArgs
    deadline_seconds: ClassVar[float] = ASIDE_SECONDS

    def check(self, ctx: StepContext, args: AdoptArgs) -> Done | Needed:
        """What is set aside is told by nobody but the act itself, which may be repeated."""
        present(ctx, args.node)
        return Needed(f"what serves {args.adoption.stranger} is to be set aside")

    def apply(self, ctx: StepContext, args: AdoptArgs) -> Facts:
        """Refused where a file of nginx serves others as well; PermanentDriverError where nginx refuses what would be left."""
        ensure_closed(ctx, args.node)
        user = present(ctx, args.node).user
        done = ctx.ports.hosting(args.node).set_aside(
            user, args.adoption, service_id=ctx.service_id, job_id=ctx.job_id, deadline=Timer(ctx).left()
        )
        return {"aside": list(done.files), "kept": done.kept, "certificates": list(done.certificates)}

    def undo(self, ctx: StepContext, args: AdoptArgs, facts: Mapping[str, Any]) -> None:
        """The old user is served as before. Raises InDoubt where something else stands in the place of a file by now."""
        found = seen(ctx, args.node)
        if found.exists:
            ctx.ports.hosting(args.node).put_back(
                found.user, args.adoption.stranger, service_id=ctx.service_id, job_id=ctx.job_id, deadline=Timer(ctx).left()
            )


class AccountGather(BaseStep[AdoptArgs]):
    """Make a tarball of the old user's files and of dumps of his databases."""

    name: ClassVar[str] = "account.gather"
    args = AdoptArgs
    heavy: ClassVar[bool] = True
    deadline_seconds: ClassVar[float] = GATHER_SECONDS

    def check(self, ctx: StepContext, args: AdoptArgs) -> Done | Needed:
        """One that is there is of an attempt that nobody has heard the end of: it is made again."""
        present(ctx, args.node)
        return Needed(f"the files and databases of {args.adoption.stranger} are to be gathered")

    def apply(self, ctx: StepContext, args: AdoptArgs) -> Facts:
        """Refused, naming what of his home is not taken; NoCapacity."""
        ensure_closed(ctx, args.node)
        user = present(ctx, args.node).user
        made = ctx.ports.hosting(args.node).gather(
            user, args.adoption, service_id=ctx.service_id, job_id=ctx.job_id, deadline=Timer(ctx).left()
        )
        return {"tarball": dump(made)}

    def undo(self, ctx: StepContext, args: AdoptArgs, facts: Mapping[str, Any]) -> None:
        """The tarball goes; what was imported out of it was taken out before."""
        found = seen(ctx, args.node)
        if found.exists:
            _drop(ctx, args.node, found.user)


class AccountDropGathered(BaseStep[AdoptArgs]):
    """Take the tarball away, its content being in the account."""

    name: ClassVar[str] = "account.drop-gathered"
    args = AdoptArgs

    def check(self, ctx: StepContext, args: AdoptArgs) -> Done | Needed:
        present(ctx, args.node)
        return Needed("the tarball is to be taken away")

    def apply(self, ctx: StepContext, args: AdoptArgs) -> Facts:
        _drop(ctx, args.node, present(ctx, args.node).user)
        return {"dropped": True}


def _drop(ctx: StepContext, node: str, user: str) -> None:
    ctx.ports.hosting(node).drop_gathered(user, service_id=ctx.service_id, job_id=ctx.job_id, deadline=Timer(ctx).left())
