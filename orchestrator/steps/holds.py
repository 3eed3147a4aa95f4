"""Holding a guest so that nobody can start it, proving that, and letting it go exactly as it was (FIELD-NOTES 1)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from orchestrator.domain.errors import FenceClosed, PermanentDriverError, Refused, WrongState
from orchestrator.ports.hypervisor import GuestFacts, GuestMark, Power, PowerAction
from orchestrator.steps.base import Done, Facts, Needed, StepContext
from orchestrator.steps.common import (
    ASK_SECONDS,
    RUNS,
    BaseStep,
    OnNode,
    Timer,
    own_guest,
    present_guest,
    put_down,
    require_off,
    traced,
    with_trace,
    without_trace,
)
from orchestrator.steps.fence import ask

HOLD = "hold"
RELEASE = "release"
RESTORE = "restore"
PROVEN = "proven"
# Reasons are single words; this cannot stand in one.
JOIN = ","


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldArgs:
    """``holds``: the reasons, as the node is to carry them."""

    node: str
    holds: tuple[str, ...]


class GuestHold(BaseStep[HoldArgs]):
    """Mark the guest as held, keep how it was, and take it from the host's autostart. It is the fence's first question."""

    name: ClassVar[str] = "guest.hold"
    args = HoldArgs
    destructive: ClassVar[bool] = True

    def check(self, ctx: StepContext, args: HoldArgs) -> Done | Needed:
        facts = own_guest(ctx, args.node)
        if facts is None or facts.mark is None:
            return Done({"absent": True})
        missing = sorted(set(args.holds) - set(facts.mark.holds))
        if missing or facts.autostart:
            return Needed(f"not held for {', '.join(missing)}" if missing else "it would start with its host")
        return _held(ctx, facts.mark)

    def apply(self, ctx: StepContext, args: HoldArgs) -> Facts:
        """Raises FenceClosed where it was paid since, Frozen while nothing may be suspended."""
        try:
            ask(ctx, "hold")
        except FenceClosed:
            # An earlier attempt may have been cut off half way; a closed fence means that nothing is left of the act.
            self.undo(ctx, args, {})
            raise
        facts, mark = present_guest(ctx, args.node)
        earlier = traced(mark, HOLD, ctx)
        added = sorted(set(args.holds) - set(mark.holds)) if earlier is None else _words(earlier["added"])
        first = not mark.holds
        held = replace(
            mark,
            holds=tuple(sorted({*mark.holds, *args.holds})),
            power_before=facts.power if first else mark.power_before,
            autostart_before=facts.autostart if first else mark.autostart_before,
        )
        marked = with_trace(held, HOLD, ctx, {"added": JOIN.join(added)})
        after = ctx.ports.hypervisor(args.node).mark(facts.name, marked, autostart=False, deadline=ASK_SECONDS)
        return _held(ctx, after.mark or marked).facts

    def undo(self, ctx: StepContext, args: HoldArgs, facts: Mapping[str, Any]) -> None:
        """Take this job's reasons away; with the last one the guest is again as it was before, running if it ran."""
        found = own_guest(ctx, args.node)
        there = traced(found.mark, HOLD, ctx) if found is not None and found.mark is not None else None
        if found is None or found.mark is None or there is None:
            return
        left = tuple(h for h in found.mark.holds if h not in _words(there["added"]))
        hypervisor = ctx.ports.hypervisor(args.node)
        if left:
            mark = without_trace(replace(found.mark, holds=left), HOLD, ctx)
            hypervisor.mark(found.name, mark, autostart=False, deadline=ASK_SECONDS)
            return
        # In this order a crash in between leaves the trace, and undoing again ends it.
        free = replace(found.mark, holds=())
        autostart = bool(found.mark.autostart_before)
        hypervisor.mark(found.name, free, autostart=autostart, deadline=ASK_SECONDS)
        if found.mark.power_before in RUNS:
            hypervisor.power(found.name, PowerAction.START, deadline=Timer(ctx).left())
        clean = without_trace(replace(free, power_before=None, autostart_before=None), HOLD, ctx)
        hypervisor.mark(found.name, clean, autostart=autostart, deadline=ASK_SECONDS)


def _words(joined: str) -> list[str]:
    return [word for word in joined.split(JOIN) if word]


def _held(ctx: StepContext, mark: GuestMark) -> Done:
    facts: Facts = {
        "holds": list(mark.holds),
        "power_before": mark.power_before.value if mark.power_before else "",
        "autostart_before": bool(mark.autostart_before),
    }
    return Done(facts, made_by=ctx.job_id if traced(mark, HOLD, ctx) is not None else "")


class GuestProveSuspended(BaseStep[OnNode]):
    """Try to start the held guest, and see the host refuse it: a suspension counts only when it was seen in force."""

    name: ClassVar[str] = "guest.prove-suspended"
    args = OnNode
    deadline_seconds: ClassVar[float] = 120.0

    def check(self, ctx: StepContext, args: OnNode) -> Done | Needed:
        facts, mark = present_guest(ctx, args.node)
        if facts.power == Power.STOPPED and not facts.autostart and mark.holds and traced(mark, PROVEN, ctx) is not None:
            return Done(_proof(mark, ctx))
        return Needed("no start of it was tried and refused yet")

    def apply(self, ctx: StepContext, args: OnNode) -> Facts:
        """Raises WrongState where it is not off and held, PermanentDriverError where the host lets a held guest start."""
        facts, mark = present_guest(ctx, args.node)
        require_off(facts)
        if not mark.holds or facts.autostart:
            raise WrongState(f"{facts.name} is not held" if not mark.holds else f"{facts.name} would start with its host")
        hypervisor = ctx.ports.hypervisor(args.node)
        try:
            started = hypervisor.power(facts.name, PowerAction.START, deadline=ASK_SECONDS)
        except Refused as refusal:
            values = {"by": refusal.message[:200], "at": ctx.ports.clock.now().isoformat(timespec="seconds")}
        else:
            put_down(hypervisor, started, grace_seconds=0, seconds=ASK_SECONDS)
            raise PermanentDriverError(
                f"{args.node} let the held guest {facts.name} start: it was stopped again", hint="enrol the node again: its hook"
            )
        marked = with_trace(mark, PROVEN, ctx, values)
        hypervisor.mark(facts.name, marked, autostart=False, deadline=ASK_SECONDS)
        return _proof(marked, ctx)


def _proof(mark: GuestMark, ctx: StepContext) -> Facts:
    there = traced(mark, PROVEN, ctx) or {}
    return {"start_refused": there.get("by", ""), "proven_at": there.get("at", ""), "holds": list(mark.holds)}


class GuestReleaseHold(BaseStep[OnNode]):
    """Take all holds from the guest and give it back to the host's autostart, if it was there before."""

    name: ClassVar[str] = "guest.release-hold"
    args = OnNode

    def check(self, ctx: StepContext, args: OnNode) -> Done | Needed:
        facts, mark = present_guest(ctx, args.node)
        if mark.holds:
            return Needed(f"held for {', '.join(mark.holds)}")
        if mark.autostart_before is not None and facts.autostart != mark.autostart_before:
            return Needed("whether it starts with its host is not as it was")
        there = traced(mark, RELEASE, ctx)
        return Done() if there is None else Done({"released": _words(there["holds"])}, made_by=ctx.job_id)

    def apply(self, ctx: StepContext, args: OnNode) -> Facts:
        facts, mark = present_guest(ctx, args.node)
        earlier = traced(mark, RELEASE, ctx)
        released = list(mark.holds) if earlier is None else sorted({*mark.holds, *_words(earlier["holds"])})
        free = with_trace(replace(mark, holds=()), RELEASE, ctx, {"holds": JOIN.join(released)})
        autostart = facts.autostart if mark.autostart_before is None else mark.autostart_before
        ctx.ports.hypervisor(args.node).mark(facts.name, free, autostart=autostart, deadline=ASK_SECONDS)
        return {"released": released}

    def undo(self, ctx: StepContext, args: OnNode, facts: Mapping[str, Any]) -> None:
        """Hold it again for the reasons that this job took away."""
        found = own_guest(ctx, args.node)
        there = traced(found.mark, RELEASE, ctx) if found is not None and found.mark is not None else None
        if found is None or found.mark is None or there is None:
            return
        put_down(ctx.ports.hypervisor(args.node), found, grace_seconds=0, seconds=ASK_SECONDS)
        holds = tuple(sorted({*found.mark.holds, *_words(there["holds"])}))
        held = without_trace(replace(found.mark, holds=holds), RELEASE, ctx)
        ctx.ports.hypervisor(args.node).mark(found.name, held, autostart=False, deadline=ASK_SECONDS)


class GuestRestorePower(BaseStep[OnNode]):
    """Bring back the power state from before the suspension: a guest its owner had shut down stays down."""

    name: ClassVar[str] = "guest.restore-power"
    args = OnNode
    heavy: ClassVar[bool] = True
    deadline_seconds: ClassVar[float] = 120.0

    def check(self, ctx: StepContext, args: OnNode) -> Done | Needed:
        facts, mark = present_guest(ctx, args.node)
        if mark.power_before is not None or mark.autostart_before is not None:
            return Needed(f"it was {mark.power_before or 'in an unknown state'} before it was held")
        there = traced(mark, RESTORE, ctx)
        return Done({"power": facts.power.value}, made_by=ctx.job_id if there is not None else "")

    def apply(self, ctx: StepContext, args: OnNode) -> Facts:
        facts, mark = present_guest(ctx, args.node)
        hypervisor = ctx.ports.hypervisor(args.node)
        after: GuestFacts = facts
        if mark.power_before in RUNS:
            after = hypervisor.power(facts.name, PowerAction.START, deadline=Timer(ctx).left())
        values = {
            "power": mark.power_before.value if mark.power_before else "",
            "autostart": "" if mark.autostart_before is None else str(mark.autostart_before),
        }
        done = with_trace(replace(mark, power_before=None, autostart_before=None), RESTORE, ctx, values)
        hypervisor.mark(facts.name, done, autostart=facts.autostart, deadline=ASK_SECONDS)
        return {"power": after.power.value}

    def undo(self, ctx: StepContext, args: OnNode, facts: Mapping[str, Any]) -> None:
        """Keep again what was before; the guest itself is stopped by the undoing of guest.release-hold, which follows."""
        found = own_guest(ctx, args.node)
        there = traced(found.mark, RESTORE, ctx) if found is not None and found.mark is not None else None
        if found is None or found.mark is None or there is None:
            return
        mark = replace(
            found.mark,
            power_before=Power(there["power"]) if there["power"] else None,
            autostart_before=None if not there["autostart"] else there["autostart"] == "True",
        )
        clean = without_trace(mark, RESTORE, ctx)
        ctx.ports.hypervisor(args.node).mark(found.name, clean, autostart=found.autostart, deadline=ASK_SECONDS)
