"""The end of a hosting account: its data is destroyed, and on every node it ever was on nothing is left of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from orchestrator.domain.accounts import HOMES, AccountFacts, user_of
from orchestrator.domain.certificates import WipedVolume
from orchestrator.domain.errors import (
    NotFound,
    OrchestratorError,
    PermanentDriverError,
    TransientDriverError,
    UndoFailed,
)
from orchestrator.ports.hosting_node import AccountWipe, Residue
from orchestrator.steps.account import ASK_SECONDS, present, seen
from orchestrator.steps.base import Done, Facts, Needed, StepContext
from orchestrator.steps.common import BaseStep, OnNode, Timer
from orchestrator.steps.fence import require, withdraw

_GONE = "The account was gone before it could be wiped, and no report of a wipe is kept on the node: nothing was verified."


class AccountWipeOut(BaseStep[OnNode]):
    """Destroy the account with its files and databases. With the first of them the point of no return is passed."""

    name: ClassVar[str] = "account.wipe"
    args = OnNode
    heavy: ClassVar[bool] = True
    destructive: ClassVar[bool] = True
    deadline_seconds: ClassVar[float] = 3600.0
    # Once begun there is no way back: a node that restarts meanwhile is waited for, a quarter of an hour or so.
    attempts: ClassVar[int] = 9

    def check(self, ctx: StepContext, args: OnNode) -> Done | Needed:
        found = seen(ctx, args.node)
        if found.exists:
            return Needed(f"the account {found.user} is on {args.node}")
        return Done(self._facts(ctx, args, found), made_by=ctx.job_id)

    def apply(self, ctx: StepContext, args: OnNode) -> Facts:
        """Raises FenceClosed and Frozen as long as nothing was destroyed; once it has begun it is carried to its end."""
        found, timer = present(ctx, args.node), Timer(ctx)
        if found.wiping:
            return self._destroy(ctx, args, found, timer)
        try:
            require(ctx, "wipe")
            return self._destroy(ctx, args, found, timer)
        except OrchestratorError:
            # The note of the point of no return may stay only where something was destroyed, or nobody can tell.
            now = seen(ctx, args.node)
            if now.exists and not now.wiping:
                withdraw(ctx)
            raise

    def _destroy(self, ctx: StepContext, args: OnNode, found: AccountFacts, timer: Timer) -> Facts:
        ctx.ports.hosting(args.node).wipe(found.user, service_id=ctx.service_id, job_id=ctx.job_id, deadline=timer.left())
        now = seen(ctx, args.node)
        if now.exists:
            raise PermanentDriverError(f"the account {now.user} is on {args.node} still, after it was wiped")
        return self._facts(ctx, args, now)

    def _facts(self, ctx: StepContext, args: OnNode, found: AccountFacts) -> Facts:
        report: AccountWipe | None
        try:
            report = ctx.ports.hosting(args.node).wipe(
                found.user, service_id=ctx.service_id, job_id=ctx.job_id, deadline=ASK_SECONDS
            )
        except NotFound:
            report = None
        certified = _certified(found.user, report)
        WipedVolume.from_report(certified, name=found.user, node=args.node)
        told: Facts = {"user": found.user} if report is None else {"user": found.user, "account": asdict(report)}
        return {"wiped": [{"name": found.user, "node": args.node, "report": certified}], **told}

    def undo(self, ctx: StepContext, args: OnNode, facts: Mapping[str, Any]) -> None:
        """Nothing can be taken back of a wipe; one that had not begun made nothing. Raises UndoFailed where it had."""
        found = seen(ctx, args.node)
        if not found.exists or found.wiping:
            raise UndoFailed(f"the account {found.user} is being wiped, or was: nothing brings it back")


def _certified(user: str, report: AccountWipe | None) -> dict[str, Any]:
    """The report in the form that a certificate holds. Files are removed and not overwritten: that is never called verified."""
    databases = [f"Databases removed: {', '.join(report.databases)}."] if report is not None and report.databases else []
    return {
        "path": f"{HOMES}/{user}",
        "method": "none" if report is None else report.method,
        "allocated_bytes": 0 if report is None else report.bytes,
        "bytes_overwritten": 0,
        "verified": False,
        "medium": {} if report is None else report.medium,
        "limits": [_GONE] if report is None else [*report.limits, *databases],
        "samples": [],
        "started_at": "" if report is None else report.started_at,
        "finished_at": "" if report is None else report.finished_at,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class GoneArgs:
    """None: which nodes the account ever was on is asked of the ledger."""


class AccountProveGone(BaseStep[GoneArgs]):
    """Look through every store of every node for what is left of the account; remove by-products such as logs, and caches of its
    backups, nothing else."""

    name: ClassVar[str] = "account.prove-gone"
    args = GoneArgs
    deadline_seconds: ClassVar[float] = 300.0
    attempts: ClassVar[int] = 9

    def check(self, ctx: StepContext, args: GoneArgs) -> Done | Needed:
        nodes = _nodes(ctx)
        looks = {node: _residue(ctx, node, clean=False) for node in nodes}
        found = [f"{node}: {thing}" for node, look in looks.items() for thing in (*look.found, *look.kept)]
        found += [f"{node}: {thing}" for node in nodes for thing in _caches(ctx, node, clean=False)]
        return Needed("; ".join(found)[:1000]) if found else Done(_proof(ctx, nodes, {}))

    def apply(self, ctx: StepContext, args: GoneArgs) -> Facts:
        """Raises PermanentDriverError where something stays that is not for this step to remove."""
        nodes = _nodes(ctx)
        for node in nodes:
            if seen(ctx, node).exists:
                raise PermanentDriverError(f"the account of {ctx.service_id} is on {node} still", hint="an operator has to look")
        cleaned = {node: _residue(ctx, node, clean=True) for node in nodes}
        caches = {node: _caches(ctx, node, clean=True) for node in nodes}
        left = [f"{node}: {thing}" for node, look in cleaned.items() for thing in look.found]
        left += [f"{node}: {thing}" for node in nodes for thing in _caches(ctx, node, clean=False)]
        if left:
            raise PermanentDriverError(
                f"something of {ctx.service_id} is left: {', '.join(left)[:1000]}", hint="an operator has to look"
            )
        return _proof(ctx, nodes, {node: (*look.removed, *caches[node]) for node, look in cleaned.items()})


def _nodes(ctx: StepContext) -> tuple[str, ...]:
    """Where it may have been; nowhere, where it was never given a uid."""
    return ctx.ports.ledger.nodes_ever(ctx.service_id) if ctx.ports.uids.known(ctx.service_id) is not None else ()


def _residue(ctx: StepContext, node: str, *, clean: bool) -> Residue:
    """Raises TransientDriverError where a store could not be looked into: what is not seen is not proven gone."""
    uid = ctx.ports.uids.known(ctx.service_id)
    if uid is None:
        return Residue()
    look = ctx.ports.hosting(node).residue(user_of(uid), service_id=ctx.service_id, uid=uid, clean=clean, deadline=ASK_SECONDS)
    if look.unknown:
        raise TransientDriverError(f"{node} cannot tell what is left of {ctx.service_id}: {'; '.join(look.unknown)}")
    return look


def _caches(ctx: StepContext, node: str, *, clean: bool) -> tuple[str, ...]:
    """What the node keeps of the repositories of the service's backups, or has removed of that."""
    locations = ctx.ports.book.traces(ctx.service_id).locations
    if not locations:
        return ()
    request = {"service_id": ctx.service_id, "clean": clean, "repositories": list(locations)}
    answer = ctx.ports.agent(node).call("residue", request, deadline=ASK_SECONDS)
    return tuple(str(path) for path in answer["removed" if clean else "found"])


def _proof(ctx: StepContext, nodes: tuple[str, ...], removed: Mapping[str, tuple[str, ...]]) -> Facts:
    at = ctx.ports.clock.now()
    where = ", ".join(nodes) or "any node: it never was on one"
    checks = [{"node": node, "checked_at": at.isoformat(), "found": [], "removed": list(removed.get(node, ()))} for node in nodes]
    what = f"user, files, databases, records and caches of {ctx.service_id}"
    proof = f"{what} absent from {where} at {at.isoformat(timespec='seconds')}"
    return {"proof": proof, "checks": checks}
