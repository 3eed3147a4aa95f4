"""Throttling a guest's network while a hold limits the service, and giving it back what it had.

The guest's mark says for what it is throttled, to which rate, and which rate it gets back. What a job is about to do is in the
mark before the rate changes: after a crash nobody takes the throttled rate for the one that was sold.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from orchestrator.domain.errors import PermanentDriverError
from orchestrator.domain.plans import LIMITED_NETWORK, lower_rate
from orchestrator.domain.sizes import rate_words
from orchestrator.ports.hypervisor import GuestFacts, GuestMark
from orchestrator.steps.base import Done, Facts, Needed, StepContext
from orchestrator.steps.common import ASK_SECONDS, BaseStep, OnNode, own_guest, present_guest, traced, with_trace, without_trace
from orchestrator.steps.compare import network_is

LIMIT = "limit"
UNLIMIT = "unlimit"
# Reasons are single words; this cannot stand in one.
JOIN = ","


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitArgs:
    """``reasons``: why, as the node is to carry it. The guest keeps ``bytes_per_second`` in each direction, or what it has."""

    node: str
    reasons: tuple[str, ...]
    bytes_per_second: int = LIMITED_NETWORK


class GuestLimit(BaseStep[LimitArgs]):
    """Throttle the guest's network, whether it runs or not, and mark it with the reasons and the rate that it had."""

    name: ClassVar[str] = "guest.limit"
    args = LimitArgs

    def check(self, ctx: StepContext, args: LimitArgs) -> Done | Needed:
        facts, mark = present_guest(ctx, args.node)
        missing = sorted(set(args.reasons) - set(mark.limits))
        if missing or mark.network_before is None:
            return Needed(f"not limited for {', '.join(missing or args.reasons)}")
        rate = lower_rate(args.bytes_per_second, mark.network_before)
        if mark.limited_rate != rate or not network_is(facts, rate):
            return Needed(_apart(facts, rate))
        return _limited(ctx, mark)

    def apply(self, ctx: StepContext, args: LimitArgs) -> Facts:
        facts, mark = present_guest(ctx, args.node)
        earlier = traced(mark, LIMIT, ctx)
        added = JOIN.join(sorted(set(args.reasons) - set(mark.limits)))
        values = earlier or {"added": added, "rate": str(mark.limited_rate)}
        before = facts.network_bytes_per_second if mark.network_before is None else mark.network_before
        limited = replace(
            mark,
            limits=tuple(sorted({*mark.limits, *args.reasons})),
            limited_rate=lower_rate(args.bytes_per_second, before),
            network_before=before,
        )
        marked = with_trace(_without_acts(limited, UNLIMIT), LIMIT, ctx, values)
        hypervisor = ctx.ports.hypervisor(args.node)
        hypervisor.mark(facts.name, marked, autostart=facts.autostart, deadline=ASK_SECONDS)
        hypervisor.set_network_rate(facts.name, marked.limited_rate, deadline=ASK_SECONDS)
        return _limited(ctx, marked).facts

    def undo(self, ctx: StepContext, args: LimitArgs, facts: Mapping[str, Any]) -> None:
        """Take this job's reasons away; with the last one the guest has the rate that it had."""
        found = own_guest(ctx, args.node)
        there = traced(found.mark, LIMIT, ctx) if found is not None and found.mark is not None else None
        if found is None or found.mark is None or there is None:
            return
        left = tuple(reason for reason in found.mark.limits if reason not in _words(there["added"]))
        mark, hypervisor = found.mark, ctx.ports.hypervisor(args.node)
        if mark.network_before is not None:
            rate = (int(there["rate"]) or mark.limited_rate) if left else mark.network_before
            hypervisor.set_network_rate(found.name, rate, deadline=ASK_SECONDS)
            mark = replace(mark, limits=left, limited_rate=rate) if left else _free(mark)
        clean = without_trace(mark, LIMIT, ctx)
        hypervisor.mark(found.name, clean, autostart=found.autostart, deadline=ASK_SECONDS)


def _without_acts(mark: GuestMark, act: str) -> GuestMark:
    """Without the traces of that act, whichever job's: what came since is not to be undone with a job that waited long."""
    return replace(mark, tokens=tuple(token for token in mark.tokens if not token.startswith(f"{act}/")))


def _free(mark: GuestMark) -> GuestMark:
    return replace(mark, limits=(), limited_rate=0, network_before=None)


def _limited(ctx: StepContext, mark: GuestMark) -> Done:
    facts: Facts = {
        "limits": list(mark.limits),
        "bytes_per_second": mark.limited_rate,
        "bytes_per_second_before": mark.network_before,
    }
    return Done(facts, made_by=ctx.job_id if traced(mark, LIMIT, ctx) is not None else "")


class GuestUnlimit(BaseStep[OnNode]):
    """Give the guest its network rate back, and take the reasons from its mark."""

    name: ClassVar[str] = "guest.unlimit"
    args = OnNode

    def check(self, ctx: StepContext, args: OnNode) -> Done | Needed:
        facts, mark = present_guest(ctx, args.node)
        if mark.limits or mark.network_before is not None:
            return Needed(f"limited for {', '.join(mark.limits) or 'no reason any more'}")
        there = traced(mark, UNLIMIT, ctx)
        if there is None:
            return Done({"unlimited": [], "bytes_per_second": facts.network_bytes_per_second})
        return Done(_unlimited(there), made_by=ctx.job_id)

    def apply(self, ctx: StepContext, args: OnNode) -> Facts:
        facts, mark = present_guest(ctx, args.node)
        hypervisor = ctx.ports.hypervisor(args.node)
        there = traced(mark, UNLIMIT, ctx)
        if there is None:
            before = facts.network_bytes_per_second if mark.network_before is None else mark.network_before
            there = {"limits": JOIN.join(mark.limits), "rate": str(mark.limited_rate), "before": str(before)}
            mark = with_trace(mark, UNLIMIT, ctx, there)
            hypervisor.mark(facts.name, mark, autostart=facts.autostart, deadline=ASK_SECONDS)
        hypervisor.set_network_rate(facts.name, int(there["before"]), deadline=ASK_SECONDS)
        hypervisor.mark(facts.name, _without_acts(_free(mark), LIMIT), autostart=facts.autostart, deadline=ASK_SECONDS)
        return _unlimited(there)

    def undo(self, ctx: StepContext, args: OnNode, facts: Mapping[str, Any]) -> None:
        """Throttle it again, for the reasons that this job took away."""
        found = own_guest(ctx, args.node)
        there = traced(found.mark, UNLIMIT, ctx) if found is not None and found.mark is not None else None
        if found is None or found.mark is None or there is None:
            return
        limited = found.mark
        if not limited.limits:
            limits = tuple(_words(there["limits"]))
            limited = replace(limited, limits=limits, limited_rate=int(there["rate"]), network_before=int(there["before"]))
        hypervisor = ctx.ports.hypervisor(args.node)
        hypervisor.set_network_rate(found.name, limited.limited_rate, deadline=ASK_SECONDS)
        clean = without_trace(limited, UNLIMIT, ctx)
        hypervisor.mark(found.name, clean, autostart=found.autostart, deadline=ASK_SECONDS)


def _unlimited(there: Mapping[str, str]) -> Facts:
    return {"unlimited": _words(there["limits"]), "bytes_per_second": int(there["before"])}


def _apart(facts: GuestFacts, wanted: int) -> str:
    now, then = rate_words(facts.network_bytes_per_second), rate_words(facts.network_at_start)
    return f"its interface has {now}, and {then} after its next start, instead of {rate_words(wanted)}"


def _words(joined: str) -> list[str]:
    return [word for word in joined.split(JOIN) if word]


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyNetworkArgs:
    """``limited``: whether it is to be throttled. ``bytes_per_second``: left out = the rate that its own mark says."""

    node: str
    limited: bool
    bytes_per_second: int | None = None


class GuestVerifyNetwork(BaseStep[VerifyNetworkArgs]):
    """Read the network rate back from the hypervisor: a limit counts only when it was seen in force. Makes nothing."""

    name: ClassVar[str] = "guest.verify-network"
    args = VerifyNetworkArgs

    def check(self, ctx: StepContext, args: VerifyNetworkArgs) -> Done | Needed:
        facts, mark = present_guest(ctx, args.node)
        if bool(mark.limits) != args.limited:
            return Needed("its mark does not say that it is limited" if args.limited else "its mark says that it is limited")
        wanted = mark.limited_rate if args.bytes_per_second is None else args.bytes_per_second
        if not network_is(facts, wanted) or (args.limited and not wanted):
            return Needed(_apart(facts, wanted))
        return Done({"network_bytes_per_second": facts.network_bytes_per_second})

    def apply(self, ctx: StepContext, args: VerifyNetworkArgs) -> Facts:
        """Nothing can be done about a difference here: PermanentDriverError, naming it."""
        found = self.check(ctx, args)
        if isinstance(found, Needed):
            raise PermanentDriverError(f"the guest's network is not as it is to be: {found.why}")
        return found.facts
