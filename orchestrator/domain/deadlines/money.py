"""What falls due for money beside the invoices: charges, the verdict of a dispute, and what a charged-back payment brings."""

from __future__ import annotations

from collections.abc import Iterator

from orchestrator.domain import charges
from orchestrator.domain.deadlines.nonpayment import proven_for_nonpayment
from orchestrator.domain.deadlines.words import Action, Deadline
from orchestrator.domain.policies import Effect
from orchestrator.domain.services import HoldReason, Lifecycle, Service
from orchestrator.domain.terms import Terms

_OVER = frozenset({Lifecycle.ERASED, Lifecycle.CANCELLED})


def of_traffic(service: Service, terms: Terms) -> Iterator[Deadline]:
    """A month is charged when it has ended, whatever has become of the service; once more where a larger total comes later."""
    for month in service.traffic:
        more = charges.traffic_over(month, terms)
        by = charges.traffic_tariff(month, terms) if more else None
        if by is not None:
            yield Deadline(
                action=Action.CHARGE_TRAFFIC,
                at=charges.month_end(terms.calendar, month.period),
                reason=f"{more:,} GB over the plan's traffic in {month.period}",
                clause=by.traffic_clause,
                occurrence=f"{month.period} {month.charged_gb + more}",
            )


def period_of(deadline: Deadline) -> str:
    """The month that a deadline of ``of_traffic`` is about."""
    return deadline.occurrence.partition(" ")[0]


def of_hours(service: Service, terms: Terms) -> Iterator[Deadline]:
    """A service by the hour is charged when it has ended."""
    charge = charges.hours(service, terms)
    if charge is not None and service.ended_at is not None:
        yield Deadline(
            action=Action.CHARGE_HOURS,
            at=service.ended_at,
            reason=charge.reason,
            clause=charge.clause,
            occurrence=charge.id,
        )


def of_disputes(service: Service, terms: Terms) -> Iterator[Deadline]:
    """People are told when the verdict of a dispute is due."""
    rule = terms.policy.dispute
    for dispute in service.disputes if rule is not None and service.state not in _OVER else ():
        if rule is not None and dispute.raised_at is not None and dispute.settled_at is None and not dispute.late:
            yield Deadline(
                action=Action.VERDICT_DUE,
                at=terms.calendar.add(dispute.raised_at, rule.verdict_within),
                reason=f"invoice {dispute.invoice_id} was disputed {rule.verdict_within} ago, and the verdict is open",
                clause=rule.clause,
                occurrence=f"{dispute.invoice_id} {dispute.raised_at.isoformat()}",
            )


def of_chargeback(service: Service, terms: Terms) -> Iterator[Deadline]:
    """At once, until something is paid. While a dispute stands it waits for the verdict, as all of nonpayment does."""
    rule = terms.policy.overdue.chargeback
    if rule is None or service.charged_back_at is None or service.state != Lifecycle.ACTIVE:
        return
    ends = rule.effect == Effect.TERMINATE
    if service.hold(HoldReason.DISPUTE) is not None or (not ends and proven_for_nonpayment(service) is not None):
        return
    # What a dispute has called off is due again after its verdict.
    lost = sum(dispute.rejected for dispute in service.disputes)
    yield Deadline(
        action=Action.CHARGEBACK_TERMINATE if ends else Action.CHARGEBACK,
        at=service.charged_back_at,
        reason="a payment was charged back",
        clause=rule.clause,
        occurrence=f"{service.charged_back_at.isoformat()}/{lost}",
        asks=rule.asks,
        waits="" if service.erasable or not ends else "a hold forbids erasing",
    )
