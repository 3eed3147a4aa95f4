"""What is made of an event, a command or a deadline: the value that every decision returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from orchestrator.domain.intents import Decision, Refusal
from orchestrator.domain.services import Service


@dataclass(frozen=True, slots=True, kw_only=True)
class Tell:
    """One message to billing, of type ``kind``, once for each ``key`` of the service. ``data`` is JSON."""

    kind: str
    key: str
    data: Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """The record as it is to be stored (None = still no record), what to do, and a sentence for billing's answer.

    ``stale``: a command that came too late or twice; it did nothing. ``asks``: why the job waits for an operator, whatever
    the brakes say. ``tells``: what billing is told besides.
    """

    service: Service | None
    decision: Decision
    note: str = ""
    stale: bool = False
    asks: str = ""
    tells: tuple[Tell, ...] = ()


def refused(service: Service | None, reason: str, rule: str) -> Received:
    """It will not be done, by this rule; the record stays as it is."""
    return Received(service=service, decision=Refusal(reason=reason, rule=rule), note=reason)
