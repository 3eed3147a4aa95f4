"""Switching a guest on and off. What was before is kept as a trace in the guest's mark, so that undoing survives a crash."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from orchestrator.domain.errors import PermanentDriverError, TransientDriverError, WrongState
from orchestrator.ports.hypervisor import GuestFacts, GuestMark, Power, PowerAction
from orchestrator.steps.base import Done, Facts, Needed, StepContext
from orchestrator.steps.common import (
    ASK_SECONDS,
    RUNS,
    BaseStep,
    OnNode,
    Timer,
    flag,
    own_guest,
    present_guest,
    put_down,
    traced,
    with_trace,
    without_trace,
)

START = "start"
STOP = "stop"
REBOOT = "reboot"


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerArgs:
    """``autostart``: whether the guest is to start with its host from now on; left out = as it was."""

    node: str
    autostart: bool | None = None


def before(facts: GuestFacts) -> dict[str, str]:
    return {"power": facts.power.value, "autostart": flag(facts.autostart)}


def leave_trace(ctx: StepContext, node: str, act: str, *, autostart: bool | None) -> None:
    """Note in the mark what is there before ``act``; an earlier attempt's note is the true one and stays."""
    facts, mark = present_guest(ctx, node)
    wanted = facts.autostart if autostart is None else autostart
    if traced(mark, act, ctx) is None:
        mark = with_trace(mark, act, ctx, before(facts))
    ctx.ports.hypervisor(node).mark(facts.name, mark, autostart=wanted, deadline=ASK_SECONDS)


def made(ctx: StepContext, mark: GuestMark, act: str) -> Done:
    """Done, with what was there before, and by this job where its trace is in the mark."""
    there = traced(mark, act, ctx)
    return Done({}, made_by="") if there is None else Done({"before": there}, made_by=ctx.job_id)


class GuestStart(BaseStep[PowerArgs]):
    """Start the guest."""

    name: ClassVar[str] = "guest.start"
    args = PowerArgs
    heavy: ClassVar[bool] = True
    deadline_seconds: ClassVar[float] = 120.0

    def check(self, ctx: StepContext, args: PowerArgs) -> Done | Needed:
        facts, mark = present_guest(ctx, args.node)
        if facts.power != Power.RUNNING:
            return Needed(f"{facts.name} is {facts.power}")
        if args.autostart is not None and facts.autostart != args.autostart:
            return Needed("whether it starts with its host is not as wanted")
        return made(ctx, mark, START)

    def apply(self, ctx: StepContext, args: PowerArgs) -> Facts:
        timer = Timer(ctx)
        leave_trace(ctx, args.node, START, autostart=args.autostart)
        name = present_guest(ctx, args.node)[0].name
        facts = ctx.ports.hypervisor(args.node).power(name, PowerAction.START, deadline=timer.left())
        if facts.power != Power.RUNNING or facts.mark is None:
            raise PermanentDriverError(f"{name} was started and is {facts.power}")
        return made(ctx, facts.mark, START).facts

    def undo(self, ctx: StepContext, args: PowerArgs, facts: Mapping[str, Any]) -> None:
        """Switch off what this job switched on."""
        found = own_guest(ctx, args.node)
        there = traced(found.mark, START, ctx) if found is not None and found.mark is not None else None
        if found is None or found.mark is None or there is None:
            return
        hypervisor = ctx.ports.hypervisor(args.node)
        if Power(there["power"]) not in RUNS:
            put_down(hypervisor, found, grace_seconds=0, seconds=ASK_SECONDS)
        mark = without_trace(found.mark, START, ctx)
        hypervisor.mark(found.name, mark, autostart=there["autostart"] == "yes", deadline=ASK_SECONDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class StopArgs:
    """``grace_seconds``: how long the guest may take to shut itself down (ACPI) before its plug is pulled."""

    node: str
    autostart: bool | None = None
    grace_seconds: float = 60.0


class GuestStop(BaseStep[StopArgs]):
    """Switch the guest off: by asking it, and when it does not in time, by pulling the plug."""

    name: ClassVar[str] = "guest.stop"
    args = StopArgs
    deadline_seconds: ClassVar[float] = 180.0

    def check(self, ctx: StepContext, args: StopArgs) -> Done | Needed:
        facts = own_guest(ctx, args.node)
        if facts is None or facts.mark is None:
            return Done({"absent": True})
        if facts.power != Power.STOPPED:
            return Needed(f"{facts.name} is {facts.power}")
        if args.autostart is not None and facts.autostart != args.autostart:
            return Needed("whether it starts with its host is not as wanted")
        return made(ctx, facts.mark, STOP)

    def apply(self, ctx: StepContext, args: StopArgs) -> Facts:
        timer = Timer(ctx)
        leave_trace(ctx, args.node, STOP, autostart=args.autostart)
        facts, mark = present_guest(ctx, args.node)
        grace = min(args.grace_seconds, timer.left() / 2)
        put_down(ctx.ports.hypervisor(args.node), facts, grace_seconds=grace, seconds=timer.left())
        return made(ctx, mark, STOP).facts

    def undo(self, ctx: StepContext, args: StopArgs, facts: Mapping[str, Any]) -> None:
        """Start again what this job stopped. A held guest is left to the step that held it: the host refuses its start."""
        found = own_guest(ctx, args.node)
        there = traced(found.mark, STOP, ctx) if found is not None and found.mark is not None else None
        if found is None or found.mark is None or there is None:
            return
        hypervisor = ctx.ports.hypervisor(args.node)
        if not found.mark.holds and Power(there["power"]) in RUNS:
            hypervisor.power(found.name, PowerAction.START, deadline=Timer(ctx).left())
        autostart = there["autostart"] == "yes" and not found.mark.holds
        hypervisor.mark(found.name, without_trace(found.mark, STOP, ctx), autostart=autostart, deadline=ASK_SECONDS)


class GuestReboot(BaseStep[OnNode]):
    """Restart the guest once. A restart leaves nothing to be seen, so that the job's token in the mark says that it was done.

    The token is written after the restart: a crash in between restarts the guest twice rather than never.
    """

    name: ClassVar[str] = "guest.reboot"
    args = OnNode
    deadline_seconds: ClassVar[float] = 120.0

    def check(self, ctx: StepContext, args: OnNode) -> Done | Needed:
        _, mark = present_guest(ctx, args.node)
        return Needed("it was not restarted by this job yet") if traced(mark, REBOOT, ctx) is None else made(ctx, mark, REBOOT)

    def apply(self, ctx: StepContext, args: OnNode) -> Facts:
        """Raises WrongState where the guest does not run."""
        timer = Timer(ctx)
        facts, mark = present_guest(ctx, args.node)
        if facts.power != Power.RUNNING:
            raise WrongState(f"{facts.name} is {facts.power} and cannot be restarted", hint="start it instead")
        hypervisor = ctx.ports.hypervisor(args.node)
        try:
            hypervisor.power(facts.name, PowerAction.REBOOT, deadline=timer.left(timer.left() / 2))
        except TransientDriverError:
            ctx.progress(0.5, "the guest does not react, it is reset")
            hypervisor.power(facts.name, PowerAction.RESET, deadline=timer.left())
        marked = with_trace(mark, REBOOT, ctx, before(facts))
        hypervisor.mark(facts.name, marked, autostart=facts.autostart, deadline=ASK_SECONDS)
        return made(ctx, marked, REBOOT).facts
