"""Who may log in to a guest that runs: its root's password and keys, set by the agent inside of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from orchestrator.steps.base import Done, Facts, Needed, StepContext
from orchestrator.steps.common import ASK_SECONDS, BaseStep, present_guest, traced, with_trace

PASSWORD_SET = "password"  # noqa: S105 - the name of an act


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestUser:
    node: str
    user: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestPasswordArgs(GuestUser):
    """``password_hash``: of crypt(5)."""

    password_hash: str


class GuestPassword(BaseStep[GuestPasswordArgs]):
    """Set the user's password. Nothing of it can be read back, so that the job's token in the mark says that it was done."""

    name: ClassVar[str] = "guest.password"
    args = GuestPasswordArgs

    def check(self, ctx: StepContext, args: GuestPasswordArgs) -> Done | Needed:
        _, mark = present_guest(ctx, args.node)
        done = traced(mark, PASSWORD_SET, ctx) is not None
        return Done({"user": args.user}, made_by=ctx.job_id) if done else Needed("this job has not set it yet")

    def apply(self, ctx: StepContext, args: GuestPasswordArgs) -> Facts:
        """Raises WrongState where no agent answers. The token comes last: it is set twice rather than never."""
        facts, mark = present_guest(ctx, args.node)
        access = ctx.ports.access(args.node)
        access.set_password(facts.name, user=args.user, password_hash=args.password_hash, deadline=ASK_SECONDS)
        marked = with_trace(mark, PASSWORD_SET, ctx, {})
        ctx.ports.hypervisor(args.node).mark(facts.name, marked, autostart=facts.autostart, deadline=ASK_SECONDS)
        return {"user": args.user}

    def undo(self, ctx: StepContext, args: GuestPasswordArgs, facts: Mapping[str, Any]) -> None:
        """Nothing: the one that it had is not known to anybody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestKeysArgs(GuestUser):
    """``ssh_keys``: lines of authorized_keys."""

    ssh_keys: tuple[str, ...]


class GuestKeys(BaseStep[GuestKeysArgs]):
    """Let these keys in, and no others."""

    name: ClassVar[str] = "guest.keys"
    args = GuestKeysArgs

    def check(self, ctx: StepContext, args: GuestKeysArgs) -> Done | Needed:
        facts, _ = present_guest(ctx, args.node)
        found = ctx.ports.access(args.node).keys(facts.name, user=args.user, deadline=ASK_SECONDS)
        if set(found) != set(args.ssh_keys):
            return Needed("other keys are let in")
        return Done({"user": args.user, "keys": len(found)})

    def apply(self, ctx: StepContext, args: GuestKeysArgs) -> Facts:
        """Raises WrongState where no agent answers."""
        facts, _ = present_guest(ctx, args.node)
        ctx.ports.access(args.node).set_keys(facts.name, user=args.user, keys=args.ssh_keys, deadline=ASK_SECONDS)
        return {"user": args.user, "keys": len(args.ssh_keys)}

    def undo(self, ctx: StepContext, args: GuestKeysArgs, facts: Mapping[str, Any]) -> None:
        """Nothing: they are set all at once or not at all, and those before may have been its owner's own, kept nowhere."""
