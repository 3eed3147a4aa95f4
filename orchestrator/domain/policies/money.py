"""Rules of what a customer owes, gets back, or disputes."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.domain.calendar import Days
from orchestrator.domain.policies.words import MoneyBackSince, Rule


@dataclass(frozen=True, slots=True, kw_only=True)
class Hourly(Rule):
    """Services by the hour: started hours count whole, and at least so many."""

    minimum_hours: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Downgrade(Rule):
    """A smaller plan may be asked for. ``refund``: what was paid too much is given back."""

    refund: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class MoneyBack(Rule):
    """``kinds`` empty: every kind. ``setup_fees``: they are given back, too."""

    within: Days
    since: MoneyBackSince
    kinds: frozenset[str] = frozenset()
    setup_fees: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Undeliverable(Rule):
    """What was paid for an order that cannot be delivered is given back so long after it was asked for."""

    refund_within: Days


@dataclass(frozen=True, slots=True, kw_only=True)
class Dispute(Rule):
    """A dispute is heard so long after the invoice's issue, stops the clock of nonpayment for what is disputed, and is judged so
    long after it was raised. Lost, there is so long to pay from the verdict, or until the due date if that is later."""

    raise_within: Days
    verdict_within: Days
    pay_within: Days
