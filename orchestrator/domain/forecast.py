"""What will happen to a service if nothing else does: each deadline up to a horizon, and those that follow from it.

Pure. It goes through the same ``deadlines`` that the controller acts on, taking each as done at its time: a suspension as proven
at once, a notice as taken at once, and what waits for an operator as approved.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from types import MappingProxyType

from orchestrator.domain.archives import archived, kept_for
from orchestrator.domain.deadlines import Action, Deadline, Told, Waiting, deadlines, pending
from orchestrator.domain.intents import IntentKind
from orchestrator.domain.services import Hold, HoldEffect, HoldReason, Lifecycle, Service
from orchestrator.domain.terms import Terms

# So many acts of one service are told at most; each is done once, so that this is never reached.
MOST = 100
NOBODY: Mapping[tuple[Action, str], Waiting] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Change:
    """What another policy does to a service: acts that would come, and acts that would come no more."""

    service_id: str
    comes: tuple[Deadline, ...]
    goes: tuple[Deadline, ...]


def forecast(
    service: Service,
    terms: Terms,
    *,
    now: datetime,
    until: datetime,
    told: Told,
    settled: frozenset[tuple[Action, str]] = frozenset(),
    waiting: Mapping[tuple[Action, str], Waiting] = NOBODY,
) -> tuple[Deadline, ...]:
    """The acts from now until ``until``, in the order in which they will come, without those that only recur.

    What is late already comes ``now``.

    One that something is in the way of stands at its time with its ``waits``, and nothing is told of what would follow it. So
    does one whose job waits for somebody (``waiting``), and what would make another job of that kind.
    """
    found: list[Deadline] = []
    known, done = dict(told), set(settled) - waiting.keys()
    while len(found) < MOST:
        all_left = pending(deadlines(service, terms, told=known), frozenset(done))
        left = [_behind(deadline, waiting) for deadline in all_left if not deadline.action.recurs]
        due = next((deadline for deadline in left if not deadline.waits), None)
        if due is None or due.at > until:
            blocked = [deadline for deadline in left if deadline.waits and deadline.at <= until]
            return (*found, *(replace(deadline, at=max(deadline.at, now)) for deadline in blocked))
        if due.action.marks and due.at < now:  # it is so already
            done.add((due.action, due.occurrence))
            continue
        at = max(due.at, now, *(earlier.at for earlier in found[-1:]))
        found.append(replace(due, at=at))
        done.add((due.action, due.occurrence))
        if due.action.tells:
            known[due.action, due.occurrence] = at
        service = _done(service, due, at, terms)
    return tuple(found)


def changes(service_id: str, before: tuple[Deadline, ...], after: tuple[Deadline, ...]) -> Change | None:
    """What is different, or None where the service has the same acts at the same times, waiting for the same."""
    old, new = ({(d.action, d.at, d.asks, d.waits): d for d in acts} for acts in (before, after))
    comes = tuple(new[key] for key in new if key not in old)
    goes = tuple(old[key] for key in old if key not in new)
    return Change(service_id, comes, goes) if comes or goes else None


def _behind(deadline: Deadline, waiting: Mapping[tuple[Action, str], Waiting]) -> Deadline:
    """The deadline with the job that waits to do it, or behind one of the same kind that waits."""
    own = waiting.get((deadline.action, deadline.occurrence))
    if own is not None:
        return replace(deadline, asks=False, waits=f"job {own.job}: {own.why}", job=own.job)
    kind = deadline.action.intent
    other = next((job for (action, _), job in waiting.items() if kind is not None and action.intent == kind), None)
    return deadline if other is None or deadline.waits else replace(deadline, waits=f"job {other.job} waits to {kind} it already")


def _done(service: Service, deadline: Deadline, at: datetime, terms: Terms) -> Service:
    match deadline.action:
        case Action.SUSPEND | Action.CHARGEBACK:
            hold = Hold(reason=HoldReason.NONPAYMENT, effect=HoldEffect.STOP, by="forecast", why="", since=at)
            return replace(service.with_hold(hold), suspension_proven_at=service.suspension_proven_at or at)
        case Action.LIFT_HOLD:
            lifted = service.without_hold(HoldReason(deadline.occurrence.partition(" ")[0]))
            lifted = lifted if lifted.stopped else replace(lifted, suspension_proven_at=None)
            return lifted if lifted.limited else replace(lifted, limited_proven_at=None)
        case action if action.intent == IntentKind.TERMINATE and kept_for(terms) is not None:
            return archived(replace(service, state=Lifecycle.TERMINATING), now=at)
        case action if action.destroys:
            return replace(service, state=Lifecycle.ERASED, ended_at=service.ended_at or at)
        case Action.CANCEL_ORDER:
            return replace(service, state=Lifecycle.CANCELLED, ended_at=at)
        case _:
            return service
