"""The fee of a service that comes back by being paid: from a suspension for nonpayment, or out of its archive (herza, "Biaya
Aktivasi Kembali").

Pure. The payment, the lifting of the hold and the lifting of other holds may come in any order, each more than once: the fee is
due when the service is both paid and free, once for each suspension.
"""

from __future__ import annotations

from dataclasses import replace

from orchestrator.domain import charges
from orchestrator.domain.charges import Charge
from orchestrator.domain.deadlines.nonpayment import proven_for_nonpayment
from orchestrator.domain.services import HoldReason, Lifecycle, Service
from orchestrator.domain.terms import Terms

_THERE = frozenset({Lifecycle.ACTIVE, Lifecycle.TERMINATING})


def paid(service: Service) -> Service:
    """The record where a payment is only counted, and what it brings back comes later: that it was paid is not forgotten."""
    since = proven_for_nonpayment(service)
    return service if since is None else replace(service, cut_off_at=since, cut_off_paid=True)


def fee(before: Service | None, after: Service, terms: Terms) -> tuple[Service, Charge | None]:
    """The record after a decision, with what is still to happen before the fee is due, and the fee where it is due now."""
    if before is None or after.hold(HoldReason.NONPAYMENT) is not None:
        return after, None
    since = proven_for_nonpayment(before) or before.cut_off_at
    if since is None or after.state not in _THERE or after.point_of_no_return is not None:
        return replace(after, cut_off_at=None, cut_off_paid=False), None
    if not_owed(before, after):
        return replace(after, cut_off_at=None, cut_off_paid=False), None
    is_paid = before.cut_off_paid or after.payments > before.payments
    if not is_paid or after.stopped:
        return replace(after, cut_off_at=since, cut_off_paid=is_paid), None
    why = f"reactivation of a {terms.kind} that was cut off for nonpayment at {since.isoformat(timespec='minutes')}"
    return replace(after, cut_off_at=None, cut_off_paid=False), charges.reactivation(after.id, since, terms, why=why)


def not_owed(before: Service | None, after: Service) -> bool:
    """A dispute was won between the two."""
    return before is not None and after.settled_at != before.settled_at and after.disputes != before.disputes


def fee_out_of_the_archive(service: Service, terms: Terms) -> Charge | None:
    """The fee of an archived service that is brought back: once for each termination. None where the text has none."""
    if service.archived_at is None:
        return None
    why = f"reactivation of a {terms.kind} that was terminated at {service.archived_at.isoformat(timespec='minutes')}"
    return charges.reactivation(service.id, service.archived_at, terms, why=why)
