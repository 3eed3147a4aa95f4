"""Whether a guest may send to port 25 of others: which of the two filters is on its interface."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from orchestrator.domain.specs import GuestWanted
from orchestrator.ports.hypervisor import GuestFacts, Power, PowerAction
from orchestrator.steps.base import Done, Facts, Needed, StepContext
from orchestrator.steps.common import (
    ASK_SECONDS,
    BaseStep,
    flag,
    own_guest,
    present_guest,
    traced,
    with_trace,
    without_trace,
)

MAIL = "mail"


@dataclass(frozen=True, slots=True, kw_only=True)
class MailArgs:
    """``guest``: what it is to be, its outgoing mail among it."""

    node: str
    guest: GuestWanted


class GuestMail(BaseStep[MailArgs]):
    """Let the guest send to port 25 of others or not, whether it runs or not. One that runs is halted for that moment."""

    name: ClassVar[str] = "guest.mail"
    args = MailArgs

    def check(self, ctx: StepContext, args: MailArgs) -> Done | Needed:
        facts, mark = present_guest(ctx, args.node)
        there = traced(mark, MAIL, ctx)
        wanted = _wanted(args, facts)
        if (facts.mail_out, facts.mail_out_at_start) != (wanted, wanted):
            return Needed(f"its outgoing mail is not {'open' if wanted else 'closed'}")
        if there is not None and _left_halted(facts, there):
            return Needed(f"{facts.name} is still halted")
        return Done({"mail_out": wanted}, made_by=ctx.job_id if there is not None else "")

    def apply(self, ctx: StepContext, args: MailArgs) -> Facts:
        facts, mark = present_guest(ctx, args.node)
        there, wanted = traced(mark, MAIL, ctx), _wanted(args, facts)
        if there is None:
            there = {"out": flag(facts.mail_out_at_start), "power": facts.power.value}
            marked = with_trace(mark, MAIL, ctx, there)
            ctx.ports.hypervisor(args.node).mark(facts.name, marked, autostart=facts.autostart, deadline=ASK_SECONDS)
        _set(ctx, args.node, facts.name, there, out=wanted)
        return {"mail_out": wanted}

    def undo(self, ctx: StepContext, args: MailArgs, facts: Mapping[str, Any]) -> None:
        """As it was before this job."""
        found = own_guest(ctx, args.node)
        there = traced(found.mark, MAIL, ctx) if found is not None and found.mark is not None else None
        if found is None or found.mark is None or there is None:
            return
        _set(ctx, args.node, found.name, there, out=there["out"] == "yes")
        clean = without_trace(found.mark, MAIL, ctx)
        ctx.ports.hypervisor(args.node).mark(found.name, clean, autostart=found.autostart, deadline=ASK_SECONDS)


def _wanted(args: MailArgs, facts: GuestFacts) -> bool:
    """As it is, where nothing is said of it."""
    return facts.mail_out_at_start if args.guest.mail_out is None else args.guest.mail_out


def _set(ctx: StepContext, node: str, name: str, there: Mapping[str, str], *, out: bool) -> None:
    hypervisor = ctx.ports.hypervisor(node)
    done = hypervisor.set_mail(name, out=out, deadline=ASK_SECONDS)
    if _left_halted(done, there):
        hypervisor.power(name, PowerAction.START, deadline=ASK_SECONDS)


def _left_halted(facts: GuestFacts, there: Mapping[str, str]) -> bool:
    """This job found it running, and was cut off while it was halted."""
    return facts.power == Power.PAUSED and there["power"] == Power.RUNNING
