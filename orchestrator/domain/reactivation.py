"""Back from a suspension or a termination by paying: until when, who consents, and what it finds.

Herza, "Biaya Aktivasi Kembali"; enterpage and tnet, "Penghapusan". Times are aware UTC.
"""

from __future__ import annotations

from datetime import datetime

from orchestrator.domain.archives import will_bring_back
from orchestrator.domain.deadlines.reactivating import window_end
from orchestrator.domain.policies import LatePaymentEffect
from orchestrator.domain.services import Lifecycle, Service
from orchestrator.domain.terms import Terms


def consent(service: Service, terms: Terms, *, now: datetime) -> str:
    """Why an operator has to consent before the payment brings the suspended service back; '' = it comes back by itself.

    ``service`` as it was before the payment.
    """
    rule, end = terms.policy.reactivation.window, window_end(service, terms)
    if rule is None or end is None:
        return ""
    if now > end:
        days = rule.kinds[terms.kind]
        return f"it was paid later than {days} after its suspension, until {end.isoformat()} [{terms.cite(rule)}]"
    return f"the provider consents to a reactivation [{terms.cite(rule)}]" if rule.asks else ""


def too_late(service: Service, terms: Terms) -> str:
    """What a payment finds whose service has ended: the words of billing's answer."""
    rule = terms.policy.late_payment
    if rule is not None and will_bring_back(service, terms):
        return f"the termination goes on; it is brought back out of its archive when that has ended [{terms.cite(rule)}]"
    found = f"too late: the service is {service.state}"
    if service.point_of_no_return is not None:
        found += f" and its data was destroyed from {service.point_of_no_return.isoformat()} on"
    if rule is None:
        return found
    if rule.what == LatePaymentEffect.REFUSED:
        return f"{found}; a payment buys nothing back, a new order does [{terms.cite(rule)}]"
    if service.state == Lifecycle.ERASED:
        return f"{found}; its archive is not kept any more [{terms.cite(rule)}]"
    return found
