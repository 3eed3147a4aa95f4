"""What the steps have in common: their base, time, the guest that is ours, and the traces they leave in its mark."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Generic, TypeVar
from urllib.parse import parse_qsl, urlencode
from uuid import UUID, uuid5

from orchestrator.domain.errors import AlreadyExists, NotFound, PermanentDriverError, TransientDriverError, WrongState
from orchestrator.domain.placement import NodeState
from orchestrator.ports.hypervisor import GuestFacts, GuestMark, Hypervisor, Power, PowerAction
from orchestrator.steps.base import Done, Facts, Needed, StepContext

A = TypeVar("A")

# A fixed name space of our own (RFC 9562 section 5.5), so that a guest's uuid follows from its service and job.
GUEST_UUIDS = UUID("6b2f7f3c-3f0e-5d0a-9a53-3d4f4c0a7f11")

# A question to a node; acts have the time of their step.
ASK_SECONDS = 30.0
# Looking into a pool waits until no volume is being made in it, and a full copy takes its time.
POOL_SECONDS = 300.0
TOKENS_KEPT = 8
RUNS = frozenset({Power.RUNNING, Power.PAUSED})


class BaseStep(Generic[A]):
    """A step that needs no slot, destroys nothing and makes nothing that would have to be undone."""

    heavy: ClassVar[bool] = False
    destructive: ClassVar[bool] = False
    deadline_seconds: ClassVar[float] = 60.0
    attempts: ClassVar[int] = 4

    def undo(self, ctx: StepContext, args: A, facts: Mapping[str, Any]) -> None:
        """Nothing was made, so there is nothing to take back."""


class Look(BaseStep[A], ABC):
    """A step that only looks: always done, with what it saw, or an error."""

    @abstractmethod
    def look(self, ctx: StepContext, args: A) -> Facts:
        """What is there. Changes nothing."""

    def check(self, ctx: StepContext, args: A) -> Done | Needed:
        return Done(self.look(ctx, args))

    def apply(self, ctx: StepContext, args: A) -> Facts:
        """The same: there is nothing to make."""
        return self.look(ctx, args)


@dataclass(frozen=True, slots=True, kw_only=True)
class OnNode:
    """Arguments of a step that concerns the service's guest on one node."""

    node: str


class Timer:
    """What is left of a step's deadline."""

    def __init__(self, ctx: StepContext) -> None:
        self._clock = ctx.ports.clock
        self._start = self._clock.monotonic()
        self._seconds = ctx.deadline

    def left(self, most: float | None = None) -> float:
        """Seconds left, at least a tenth, at most ``most``."""
        left = max(0.1, self._seconds - (self._clock.monotonic() - self._start))
        return left if most is None else min(left, most)

    @property
    def over(self) -> bool:
        return self._clock.monotonic() - self._start >= self._seconds

    @property
    def fraction(self) -> float:
        return min(1.0, (self._clock.monotonic() - self._start) / self._seconds)


def node_state(ctx: StepContext, node: str) -> NodeState:
    """The node as declared and last seen; raises NotFound."""
    for state in ctx.ports.ledger.nodes():
        if state.node.name == node:
            return state
    raise NotFound(f"there is no node {node}", hint="declare it in nodes.yaml")


def is_lost(ctx: StepContext, node: str) -> bool:
    """Whether the node is one of which an operator stated that it never comes back."""
    return any(state.node.name == node and state.lost is not None for state in ctx.ports.ledger.nodes())


def guest_uuid(ctx: StepContext) -> str:
    """Of the guest that this job defines."""
    return str(uuid5(GUEST_UUIDS, f"{ctx.service_id}/{ctx.job_id}"))


def own_guest(ctx: StepContext, node: str) -> GuestFacts | None:
    """The service's guest on the node, None where it is absent. Raises AlreadyExists where the name is somebody else's."""
    name = ctx.guest
    facts = ctx.ports.hypervisor(node).guest(name, deadline=ASK_SECONDS)
    if facts is not None and (facts.mark is None or facts.mark.service_id != ctx.service_id):
        raise AlreadyExists(
            f"a guest named {name} on {node} is not one of this service: it is left alone", hint="an operator has to look"
        )
    return facts


def present_guest(ctx: StepContext, node: str) -> tuple[GuestFacts, GuestMark]:
    """The service's guest and its mark; raises NotFound where it is absent."""
    facts = own_guest(ctx, node)
    if facts is None or facts.mark is None:
        raise NotFound(f"the guest {ctx.guest} is not on {node}")
    return facts, facts.mark


def trace(act: str, ctx: StepContext, values: Mapping[str, str]) -> str:
    """A token for a guest's mark: this job did ``act``, and what was there before."""
    return f"{act}/{ctx.job_id}?{urlencode(sorted(values.items()))}"


def traced(mark: GuestMark, act: str, ctx: StepContext) -> dict[str, str] | None:
    """What the trace of ``act`` says that this job left in the mark, or None."""
    begin = f"{act}/{ctx.job_id}?"
    for token in mark.tokens:
        if token.startswith(begin):
            return dict(parse_qsl(token.removeprefix(begin), keep_blank_values=True))
    return None


def last_traced(mark: GuestMark, act: str) -> dict[str, str] | None:
    """The same of whichever job left the newest one."""
    found = [token.partition("?")[2] for token in mark.tokens if token.startswith(f"{act}/")]
    return dict(parse_qsl(found[-1], keep_blank_values=True)) if found else None


def with_trace(mark: GuestMark, act: str, ctx: StepContext, values: Mapping[str, str]) -> GuestMark:
    """The mark with the trace added, newest last, the oldest beyond eight dropped; one of the same act is replaced."""
    kept = without_trace(mark, act, ctx).tokens
    return replace(mark, tokens=(*kept, trace(act, ctx, values))[-TOKENS_KEPT:])


def without_trace(mark: GuestMark, act: str, ctx: StepContext) -> GuestMark:
    begin = f"{act}/{ctx.job_id}?"
    return replace(mark, tokens=tuple(token for token in mark.tokens if not token.startswith(begin)))


def put_down(hypervisor: Hypervisor, facts: GuestFacts, *, grace_seconds: float, seconds: float) -> GuestFacts:
    """Switch the guest off: ask it (ACPI) for ``grace_seconds``, then pull the plug. Off already = nothing is done.

    A guest that is paused or crashed cannot hear the question.
    """
    if facts.power == Power.STOPPED:
        return facts
    if facts.power == Power.RUNNING and grace_seconds > 0:
        try:
            asked = hypervisor.power(facts.name, PowerAction.SHUTDOWN, deadline=grace_seconds)
        except TransientDriverError:
            asked = facts
        if asked.power == Power.STOPPED:
            return asked
    off = hypervisor.power(facts.name, PowerAction.DESTROY, deadline=seconds)
    if off.power != Power.STOPPED:
        raise PermanentDriverError(f"{facts.name} still runs after its plug was pulled")
    return off


def require_off(facts: GuestFacts) -> None:
    if facts.power != Power.STOPPED:
        raise WrongState(f"{facts.name} still runs", power=str(facts.power))


def flag(value: bool) -> str:
    return "yes" if value else "no"
