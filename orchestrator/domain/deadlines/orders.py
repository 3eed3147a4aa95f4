"""What falls due for an order that is not paid."""

from __future__ import annotations

from collections.abc import Iterator

from orchestrator.domain.deadlines.words import Action, Deadline
from orchestrator.domain.services import Lifecycle, Service
from orchestrator.domain.terms import Terms


def of_order(service: Service, terms: Terms) -> Iterator[Deadline]:
    """POLICIES: an unpaid order is cancelled so long after it was made."""
    rule = terms.policy.order.cancel_unpaid
    if rule is None or service.state != Lifecycle.ORDERED or service.payments or service.created_at is None:
        return
    yield Deadline(
        action=Action.CANCEL_ORDER,
        at=terms.calendar.add(service.created_at, rule.after),
        reason=f"the order was not paid within {rule.after}",
        clause=rule.clause,
        occurrence=service.created_at.isoformat(),
    )
