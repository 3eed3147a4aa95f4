"""Suspending a hosting account, proving that nothing of it answers any more, and bringing it back as it was (FIELD-NOTES 3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from orchestrator.domain.errors import FenceClosed, PermanentDriverError
from orchestrator.ports.hosting_node import WayIn
from orchestrator.steps.account import present, require_seen, seen
from orchestrator.steps.base import Done, Facts, Needed, StepContext
from orchestrator.steps.common import BaseStep, OnNode, Timer
from orchestrator.steps.fence import ask


class AccountSuspend(BaseStep[OnNode]):
    """Close every way into the account, having had it written down on the node how it was. It is the fence's first question."""

    name: ClassVar[str] = "account.suspend"
    args = OnNode
    destructive: ClassVar[bool] = True
    heavy: ClassVar[bool] = True
    deadline_seconds: ClassVar[float] = 180.0

    def check(self, ctx: StepContext, args: OnNode) -> Done | Needed:
        found = seen(ctx, args.node)
        if not found.exists:
            return Done({"absent": True})
        if not found.suspended:
            return Needed(f"{found.user} is not suspended")
        return Done({"suspended": found.user}, made_by=found.suspended_by)

    def apply(self, ctx: StepContext, args: OnNode) -> Facts:
        """Raises FenceClosed where it was paid since, Frozen while nothing may be suspended."""
        try:
            ask(ctx, "suspend")
        except FenceClosed:
            # An earlier attempt may have been cut off half way; a closed fence means that nothing is left of the act.
            self.undo(ctx, args, {})
            raise
        user = present(ctx, args.node).user
        ctx.ports.hosting(args.node).suspend(user, service_id=ctx.service_id, job_id=ctx.job_id, deadline=Timer(ctx).left())
        return {"suspended": user}

    def undo(self, ctx: StepContext, args: OnNode, facts: Mapping[str, Any]) -> None:
        """Open again what this job closed."""
        found = seen(ctx, args.node)
        if found.exists and found.suspended_by == ctx.job_id:
            ctx.ports.hosting(args.node).unsuspend(
                found.user, service_id=ctx.service_id, job_id=ctx.job_id, deadline=Timer(ctx).left()
            )


class AccountProveSuspended(BaseStep[OnNode]):
    """Try every way into the account for real: a suspension counts only when all were seen closed."""

    name: ClassVar[str] = "account.prove-suspended"
    args = OnNode
    heavy: ClassVar[bool] = True
    # Whether cron still runs anything is seen after a minute.
    deadline_seconds: ClassVar[float] = 480.0

    def check(self, ctx: StepContext, args: OnNode) -> Done | Needed:
        return Needed("whether anything still answers is seen by trying")

    def apply(self, ctx: StepContext, args: OnNode) -> Facts:
        """Where something still answers it is suspended once more and tried again; PermanentDriverError names what does then."""
        timer, user = Timer(ctx), present(ctx, args.node).user
        hosting = ctx.ports.hosting(args.node)
        ways = hosting.probe(user, service_id=ctx.service_id, deadline=timer.left())
        if _open(ways):
            hosting.suspend(user, service_id=ctx.service_id, job_id=ctx.job_id, deadline=timer.left())
            ways = hosting.probe(user, service_id=ctx.service_id, deadline=timer.left())
        still = _open(ways)
        if still or not ways:
            what = f"still answering: {'; '.join(still)}" if still else "nothing could be tried"
            raise PermanentDriverError(f"suspended, not proven: {what}", hint="mend that on the node, then retry the job")
        found = present(ctx, args.node)
        require_seen(found, args.node)
        if not found.suspended:
            raise PermanentDriverError(f"suspended, not proven: {args.node} does not show {user} as suspended")
        return {
            "proven_at": ctx.ports.clock.now().isoformat(timespec="seconds"),
            "ways": [{"way": way.way, "says": way.says} for way in ways],
        }


def _open(ways: tuple[WayIn, ...]) -> list[str]:
    return [f"{way.way} ({way.says})" if way.says else way.way for way in ways if way.open]


class AccountUnsuspend(BaseStep[OnNode]):
    """Bring back what was before the suspension, and nothing else: what its owner had switched off stays off."""

    name: ClassVar[str] = "account.unsuspend"
    args = OnNode
    heavy: ClassVar[bool] = True
    deadline_seconds: ClassVar[float] = 180.0

    def check(self, ctx: StepContext, args: OnNode) -> Done | Needed:
        found = present(ctx, args.node)
        if found.suspended or found.suspended_by:
            return Needed(f"{found.user} is suspended")
        return Done({"difference": []})

    def apply(self, ctx: StepContext, args: OnNode) -> Facts:
        """PermanentDriverError where something is not as it was before."""
        user = present(ctx, args.node).user
        done = ctx.ports.hosting(args.node).unsuspend(
            user, service_id=ctx.service_id, job_id=ctx.job_id, deadline=Timer(ctx).left()
        )
        if done.difference:
            raise PermanentDriverError(f"it is back, and not as it was: {'; '.join(done.difference)}")
        if done.facts.suspended:
            raise PermanentDriverError(f"{args.node} shows {user} as suspended still")
        return {"difference": []}

    def undo(self, ctx: StepContext, args: OnNode, facts: Mapping[str, Any]) -> None:
        """Suspend it again: it was, when this job began."""
        found = seen(ctx, args.node)
        if found.exists:
            ctx.ports.hosting(args.node).suspend(
                found.user, service_id=ctx.service_id, job_id=ctx.job_id, deadline=Timer(ctx).left()
            )
