"""What falls due for a service, when, why and by which clause of its policy.

Pure: deadlines are computed from the record, never set as timers, so that a payment moves them by changing the record. Times are
aware UTC; days are the calendar's.

A deadline of nonpayment belongs to the due date that it counts from (its occurrence): paying moves that date, and what was due
before it is no deadline any more.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from orchestrator.domain.deadlines.archives import of_archive
from orchestrator.domain.deadlines.backups import of_backups
from orchestrator.domain.deadlines.conduct import of_conduct, of_holds
from orchestrator.domain.deadlines.kept import of_kept
from orchestrator.domain.deadlines.leaving import of_leaving
from orchestrator.domain.deadlines.money import of_chargeback, of_disputes, of_hours, of_traffic
from orchestrator.domain.deadlines.nonpayment import of_nonpayment, proven_for_nonpayment, unpaid_since
from orchestrator.domain.deadlines.orders import of_order
from orchestrator.domain.deadlines.reactivating import of_reactivation
from orchestrator.domain.deadlines.restarts import of_announced, of_restart
from orchestrator.domain.deadlines.words import Action, Deadline, Told, Waiting
from orchestrator.domain.services import Service
from orchestrator.domain.terms import Terms

__all__ = ["Action", "Deadline", "Told", "Waiting", "deadlines", "next_due", "pending", "proven_for_nonpayment", "unpaid_since"]

_RANKS = {action: rank for rank, action in enumerate(Action)}


def deadlines(service: Service, terms: Terms, *, told: Told) -> tuple[Deadline, ...]:
    """All that is to come for the service as its record stands, the earliest first.

    Raises nothing: a rule on which the policy is silent has no deadline.
    """
    found = [
        *of_order(service, terms),
        *of_nonpayment(service, terms, told),
        *of_holds(service),
        *of_kept(service),
        *of_conduct(service, terms, told),
        *of_restart(service, terms, told),
        *of_announced(service, terms),
    ]
    for part in (of_leaving, of_archive, of_reactivation, of_traffic, of_hours, of_disputes, of_chargeback, of_backups):
        found += part(service, terms)
    return tuple(sorted(found, key=lambda deadline: (deadline.at, _RANKS[deadline.action])))


def pending(found: tuple[Deadline, ...], done: frozenset[tuple[Action, str]]) -> tuple[Deadline, ...]:
    """Those that were not done yet."""
    return tuple(deadline for deadline in found if (deadline.action, deadline.occurrence) not in done)


def next_due(found: tuple[Deadline, ...], *, now: datetime, again: timedelta) -> datetime | None:
    """When to look at the service again: at its next deadline; ``again`` from now where one has passed and waits; None where
    nothing is to come."""
    moments = [
        max(deadline.at, now + again) if deadline.waits or deadline.at <= now else deadline.at
        for deadline in found
        if not deadline.action.marks
    ]
    return min(moments, default=None)
