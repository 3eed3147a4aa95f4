"""What falls due for a service that is to come back: the end of the time in which it may, and what was promised and not kept."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from orchestrator.domain.deadlines.nonpayment import proven_for_nonpayment
from orchestrator.domain.deadlines.words import Action, Deadline
from orchestrator.domain.services import Lifecycle, Service
from orchestrator.domain.terms import Terms


def window_end(service: Service, terms: Terms) -> datetime | None:
    """Until when who pays comes back from a suspension for nonpayment; None where there is no such suspension, or no such end."""
    rule, since = terms.policy.reactivation.window, proven_for_nonpayment(service)
    if rule is None or since is None or terms.kind not in rule.kinds:
        return None
    return terms.calendar.add(since, rule.kinds[terms.kind])


def of_reactivation(service: Service, terms: Terms) -> Iterator[Deadline]:
    if service.state != Lifecycle.ACTIVE:
        return
    rule, end = terms.policy.reactivation.window, window_end(service, terms)
    if rule is not None and end is not None:
        consents = "the provider consents to" if rule.asks else "anybody gets"
        yield Deadline(
            action=Action.REACTIVATION_ENDS,
            at=end,
            reason=f"until then {consents} a reactivation that is paid for; later an operator decides",
            clause=rule.clause,
            occurrence=end.isoformat(),
        )
    yield from _late(service, terms)


def _late(service: Service, terms: Terms) -> Iterator[Deadline]:
    """Paid since it was suspended, held by nothing any more, and still not running."""
    rule, since, paid = terms.policy.reactivation.done_within, service.suspension_proven_at, service.paid_at
    if rule is None or service.stopped or since is None or paid is None or paid < since:
        return
    yield Deadline(
        action=Action.LATE_REACTIVATION,
        at=terms.calendar.add(paid, rule.within),
        reason=f"it was paid, and does not run again {rule.within} later",
        clause=rule.clause,
        occurrence=paid.isoformat(),
    )
