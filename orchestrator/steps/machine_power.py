"""Switching a machine on and off through its BMC. Whoever is suspended is off, and is kept off by the controller's watch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from orchestrator.domain.errors import FenceClosed, PermanentDriverError, Refused, TransientDriverError
from orchestrator.ports.bmc import BootFrom, MachinePower
from orchestrator.steps.base import Done, Facts, Needed, StepContext
from orchestrator.steps.common import BaseStep, Look, OnNode, Timer
from orchestrator.steps.fence import ask
from orchestrator.steps.guest import BANNER_SECONDS, SSH_PORT
from orchestrator.steps.machine_bench import BMC_SECONDS, own_machine, same_board

ON, OFF = "on", "off"


def _power(ctx: StepContext, node: str) -> str:
    """Raises WrongState where the machine is not the service's, PermanentDriverError where another is behind its BMC."""
    facts = ctx.ports.bmc(node).facts(deadline=BMC_SECONDS)
    same_board(own_machine(ctx, node), facts)
    return ON if facts.power == MachinePower.ON else OFF


@dataclass(frozen=True, slots=True, kw_only=True)
class OffArgs:
    """``grace_seconds``: how long the machine may take to shut itself down (ACPI) before its power is cut."""

    node: str
    grace_seconds: float = 120.0


class MachineOff(BaseStep[OffArgs]):
    """Switch the machine off: by asking it, and when it does not in time, by cutting its power."""

    name: ClassVar[str] = "machine.off"
    args = OffArgs
    deadline_seconds: ClassVar[float] = 600.0

    def check(self, ctx: StepContext, args: OffArgs) -> Done | Needed:
        return Needed(f"machine {args.node} is on") if _power(ctx, args.node) == ON else Done({"power": OFF})

    def apply(self, ctx: StepContext, args: OffArgs) -> Facts:
        timer, bmc = Timer(ctx), ctx.ports.bmc(args.node)
        if args.grace_seconds > 0:
            try:
                bmc.turn_off(graceful=True, deadline=min(args.grace_seconds, timer.left() / 2))
            except TransientDriverError:
                ctx.progress(0.5, "it does not shut itself down: its power is cut")
        bmc.turn_off(deadline=timer.left(BMC_SECONDS))
        return {"power": OFF}

    def undo(self, ctx: StepContext, args: OffArgs, facts: Mapping[str, Any]) -> None:
        """On again, where nothing holds the service meanwhile."""
        if not ctx.ports.fence.stopped(service_id=ctx.service_id):
            ctx.ports.bmc(args.node).turn_on(deadline=BMC_SECONDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class SuspendArgs(OffArgs):
    """``told``: what its BMC told last before the job began, "on", "off" or ''. A BMC keeps no note for us: once the machine is
    off, nothing else says whether this job has switched it off."""

    told: str = ""


class MachineSuspend(MachineOff):
    """Switch it off because the service is suspended. It is the fence's first question.

    ``before``: off, where its customer had switched it off already; then it is left off when the suspension ends.
    """

    name: ClassVar[str] = "machine.suspend"
    args = SuspendArgs
    destructive: ClassVar[bool] = True

    def check(self, ctx: StepContext, args: OffArgs) -> Done | Needed:
        found = super().check(ctx, args)
        return Done(_before(args, found.facts)) if isinstance(found, Done) else found

    def apply(self, ctx: StepContext, args: OffArgs) -> Facts:
        """Raises FenceClosed where it was paid since, Frozen while nothing may be suspended."""
        try:
            ask(ctx, "suspend")
        except FenceClosed:
            # An earlier attempt may have been cut off half way; a closed fence means that nothing is left of the act.
            self.undo(ctx, args, {})
            raise
        return super().apply(ctx, args) | {"before": ON}


def _before(args: OffArgs, found: Facts) -> Facts:
    return found | {"before": OFF if isinstance(args, SuspendArgs) and args.told == OFF else ON}


@dataclass(frozen=True, slots=True, kw_only=True)
class ProveArgs:
    node: str
    addresses: tuple[str, ...]


class MachineProveSuspended(BaseStep[ProveArgs]):
    """The BMC says that it is off, and nothing answers at its addresses: the BMC alone is not believed."""

    name: ClassVar[str] = "machine.prove-suspended"
    args = ProveArgs

    def check(self, ctx: StepContext, args: ProveArgs) -> Done | Needed:
        return Needed("whether anything still answers is seen by trying")

    def apply(self, ctx: StepContext, args: ProveArgs) -> Facts:
        """Raises PermanentDriverError, naming what answers."""
        if _power(ctx, args.node) == ON:
            raise PermanentDriverError(f"suspended, not proven: machine {args.node} is on", hint="retry the job")
        reach = ctx.ports.reach
        answering = [each for each in args.addresses if reach.banner(each, SSH_PORT, deadline=BANNER_SECONDS)]
        if answering:
            raise PermanentDriverError(
                f"suspended, not proven: the BMC of {args.node} says that it is off, and {', '.join(answering)} answers",
                hint="it may be another machine's BMC: compare machines.yaml with the rack",
            )
        return {"proven_at": ctx.ports.clock.now().isoformat(timespec="seconds"), "power": OFF}


class MachineOn(BaseStep[OnNode]):
    """Start the machine from its disk."""

    name: ClassVar[str] = "machine.on"
    args = OnNode
    deadline_seconds: ClassVar[float] = 300.0

    def check(self, ctx: StepContext, args: OnNode) -> Done | Needed:
        return Done({"power": ON, "node": args.node}) if _power(ctx, args.node) == ON else Needed(f"machine {args.node} is off")

    def apply(self, ctx: StepContext, args: OnNode) -> Facts:
        """Raises Refused where a hold stops the service at this moment."""
        holds = ctx.ports.fence.stopped(service_id=ctx.service_id)
        if holds:
            raise Refused(f"the service is held for {', '.join(holds)}: its machine stays off", rule="holds")
        timer, bmc = Timer(ctx), ctx.ports.bmc(args.node)
        bmc.boot_once(BootFrom.DISK, deadline=timer.left(BMC_SECONDS))
        bmc.turn_on(deadline=timer.left(BMC_SECONDS))
        return {"power": ON, "node": args.node}

    def undo(self, ctx: StepContext, args: OnNode, facts: Mapping[str, Any]) -> None:
        """Off again, as it was when this job began."""
        ctx.ports.bmc(args.node).turn_off(deadline=BMC_SECONDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckArgs:
    """``holds``: the reasons that stop the service now, from its record; empty = it may run."""

    node: str
    holds: tuple[str, ...] = ()


class MachineCheck(Look[CheckArgs]):
    """Compare what the BMC tells of the machine with what was left there."""

    name: ClassVar[str] = "machine.check"
    args = CheckArgs

    def look(self, ctx: StepContext, args: CheckArgs) -> Facts:
        standing = ctx.ports.machines.machine(args.node)
        if standing.record.service_id != ctx.service_id:
            return {"drift": [f"machine {args.node} is not this service's"]}
        facts = ctx.ports.bmc(args.node).facts(deadline=BMC_SECONDS)
        wrong = []
        if standing.record.uuid and facts.uuid != standing.record.uuid:
            wrong.append(f"its BMC tells of machine {facts.uuid or 'without a UUID'}, and {standing.record.uuid} was enrolled")
        if args.holds and facts.power == MachinePower.ON:
            wrong.append(f"it is suspended for {', '.join(args.holds)}, and on")
        if facts.media:
            wrong.append(f"{facts.media} is in its drive")
        if facts.boot_once is not None:
            wrong.append("its next boot is from a CD")
        if facts.health == "critical":
            wrong.append("its BMC calls its health critical")
        return {"drift": wrong}
