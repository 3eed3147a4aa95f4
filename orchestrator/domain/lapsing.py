"""Orders that nobody paid in time: the clock cancels them without asking anybody, and a payment that comes later undoes that.

Pure. Nothing was made of such an order, so nothing is lost by it but the customer, where it had been paid and the word of that
was lost. Whoever withdraws an order (billing, the customer, an operator) means it: that is undone by nothing.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from orchestrator.domain.received import Received
from orchestrator.domain.services import Cause, Lifecycle, Service, transition


def lapsed(ended: Received, *, now: datetime) -> Received:
    """The order's end, as one that nobody has asked for."""
    record = ended.service
    if record is None or record.state != Lifecycle.CANCELLED:
        return ended
    return replace(ended, service=replace(record, lapsed_at=now))


def revivable(record: Service) -> bool:
    """Only for want of a payment it was cancelled, and it is known what was ordered."""
    return record.state == Lifecycle.CANCELLED and record.lapsed_at is not None and record.forgotten_at is None


def revived(record: Service) -> Service:
    """The order as it was before it lapsed; the same record where it did not."""
    if not revivable(record):
        return record
    return replace(record, state=transition(record.state, Cause.ORDER_REVIVED), ended_at=None, lapsed_at=None)


def withdrawn(record: Service) -> Service:
    """Somebody wants it to be over: no payment brings it to life any more."""
    return replace(record, lapsed_at=None)
