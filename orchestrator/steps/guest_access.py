"""Who may log in to a guest that runs: its root's password and keys, set by the agent inside of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from orchestrator.domain.specs import key_in, keys_to_change
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
    """``ssh_keys``: lines of authorized_keys; ``old_keys``: those that were ours until now."""

    ssh_keys: tuple[str, ...]
    old_keys: tuple[str, ...] = ()


class GuestKeys(BaseStep[GuestKeysArgs]):
    """Let these keys in, and of those that were ours no others. What its owner wrote there himself stays."""

    name: ClassVar[str] = "guest.keys"
    args = GuestKeysArgs

    def check(self, ctx: StepContext, args: GuestKeysArgs) -> Done | Needed:
        _, found, add, remove = self._seen(ctx, args)
        if add or remove:
            return Needed(f"{len(add)} are to be let in, and {len(remove)} no more")
        return Done(self._facts(args, found))

    def apply(self, ctx: StepContext, args: GuestKeysArgs) -> Facts:
        """Raises WrongState where no agent answers."""
        name, found, add, remove = self._seen(ctx, args)
        ctx.ports.access(args.node).change_keys(name, user=args.user, add=add, remove=remove, deadline=ASK_SECONDS)
        return self._facts(args, (*(line for line in found if line not in remove), *add))

    def undo(self, ctx: StepContext, args: GuestKeysArgs, facts: Mapping[str, Any]) -> None:
        """Nothing: the new ones were wanted, and the playbook has no other step that could fail after it."""

    def _seen(self, ctx: StepContext, args: GuestKeysArgs) -> tuple[str, tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
        """The guest, the lines there, and those to add and to remove."""
        facts, _ = present_guest(ctx, args.node)
        found = ctx.ports.access(args.node).keys(facts.name, user=args.user, deadline=ASK_SECONDS)
        return (facts.name, found, *keys_to_change(found, args.ssh_keys, args.old_keys))

    def _facts(self, args: GuestKeysArgs, there: tuple[str, ...]) -> Facts:
        """``others``: keys of its owner's own."""
        ours = {key_in(line) for line in args.ssh_keys}
        return {
            "user": args.user,
            "keys": len(args.ssh_keys),
            "others": len([line for line in there if key_in(line) not in ours]),
        }
