"""What falls due for a service that is left: its end, the end of its minimum term, and what is forgotten afterwards."""

from __future__ import annotations

from collections.abc import Iterator

from orchestrator.domain import leaving, personal
from orchestrator.domain.deadlines.words import Action, Deadline
from orchestrator.domain.services import Lifecycle, Service
from orchestrator.domain.terms import Terms

# What stands for a clause where the policy is silent.
NO_CLAUSE = "silent, by an operator's word"


def of_leaving(service: Service, terms: Terms) -> Iterator[Deadline]:
    yield from _end(service, terms)
    yield from _minimum(service, terms)
    yield from _forget(service, terms)


def _end(service: Service, terms: Terms) -> Iterator[Deadline]:
    """The end of a service that was cancelled; one that could not be made ends as an order does."""
    asked, leave = service.cancellation, leaving.leave(service, terms)
    if asked is None or leave is None:
        return
    if service.state == Lifecycle.FAILED and leave.needs != leaving.CONFIRMATION:
        reason = "it was cancelled, and could not be made"
        at = asked.confirmed_at or asked.asked_at
        yield Deadline(action=Action.CANCEL_ORDER, at=at, reason=reason, clause=leave.clause or NO_CLAUSE, occurrence=asked.token)
    if service.state != Lifecycle.ACTIVE or leave.at is None:
        return
    yield Deadline(
        action=Action.END,
        at=leave.at,
        reason=f"cancelled: {leave.why}",
        clause=leave.clause or NO_CLAUSE,
        # A payment ends the job that waits for approval: the end is then asked for anew, at the time that holds then.
        occurrence=f"{asked.token}/{service.payments}",
        waits="" if service.erasable else "a hold forbids erasing",
    )


def _minimum(service: Service, terms: Terms) -> Iterator[Deadline]:
    rule, end = terms.policy.minimum_term, leaving.minimum_end(service, terms)
    if rule is None or end is None or service.state != Lifecycle.ACTIVE:
        return
    yield Deadline(
        action=Action.MINIMUM_TERM_ENDS,
        at=end,
        reason="its minimum term ends: no cancellation takes effect earlier",
        clause=rule.clause,
        occurrence=end.isoformat(),
    )


def _forget(service: Service, terms: Terms) -> Iterator[Deadline]:
    rule = terms.policy.personal_data.keep
    if rule is None or service.ended_at is None or not personal.known(service, terms):
        return
    years = "1 year" if rule.years == 1 else f"{rule.years} years"
    yield Deadline(
        action=Action.FORGET,
        at=terms.calendar.add_months(service.ended_at, 12 * rule.years),
        reason=f"personal data is kept {years} after the end",
        clause=rule.clause,
        occurrence=service.ended_at.isoformat(),
        waits=personal.kept_by(service),
    )
