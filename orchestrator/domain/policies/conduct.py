"""Rules of what a customer does with a service."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from orchestrator.domain.calendar import Days
from orchestrator.domain.policies.words import Effect, Rule


@dataclass(frozen=True, slots=True, kw_only=True)
class RepeatOffender(Rule):
    """More than so many notices that were not waived, within so many days: the service is terminated. ``notice`` as in
    ``Terminate``."""

    more_than: int
    within: Days
    asks: bool = False
    notice: Days | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Copyright(Rule):
    """From the receipt of a notice the customer has ``cease`` to stop; then the effect follows. ``waivable``: on evidence."""

    cease: timedelta
    effect: Effect
    waivable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Abuse(Rule):
    """A breach of the terms. ``effects``: what may follow, the mildest first, which is what is done unless an operator says more.
    ``notice_before_terminate``: the customer is told before a termination. ``evidence_to_customer``: it is sent to them."""

    effects: tuple[Effect, ...]
    notice_before_terminate: bool = False
    evidence_to_customer: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure(Rule):
    """What may be done about it, the mildest first: that is done unless an operator says more. ``kinds`` empty: every kind."""

    effects: tuple[Effect, ...]
    kinds: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Conduct:
    """``licence_breach``: inside the guest. ``domain_expired``: the account's own. ``harm``: to the service levels of others."""

    abuse: Abuse | None = None
    copyright: Copyright | None = None
    repeat_offender: RepeatOffender | None = None
    licence_breach: Measure | None = None
    domain_expired: Measure | None = None
    harm: Measure | None = None
