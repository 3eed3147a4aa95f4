"""What is personal of a service, when it may be deleted, and what is left.

Enterpage's privacy policy D and E, tnet's, zettagrid 5.3.2. What stays whatever anybody asks: the wipe certificate, which is
signed and names the customer, and the audit trail, whose hashes hold it together: it names services and operators, and has the
reasons that they and billing gave in their own words.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from orchestrator.domain.intents import RULE_HOLDS, RULE_LIFECYCLE, Nothing
from orchestrator.domain.received import Received, refused
from orchestrator.domain.services import HoldReason, Lifecycle, Service
from orchestrator.domain.terms import Terms

# By key in whatever JSON is kept of the service, and what stands there afterwards.
_METADATA: Mapping[str, object] = {"client_id": "", "order_id": ""}
_PERSON: Mapping[str, object] = {
    "domain": "",
    "hostname": "",
    "ssh_keys": [],
    "password_hash": "",
    "evidence": "",
    "invoice_id": "",
    "metadata": {},
    "domains": [],
    "sites": [],
    "cron": [],
}
# A copy of the data may still be brought back out of an archive.
ENDED = frozenset({Lifecycle.ERASED, Lifecycle.CANCELLED})


def blanks(terms: Terms) -> Mapping[str, object]:
    """What is deleted, by key: not what the policy keeps without limit."""
    return _PERSON if terms.policy.personal_data.metadata_kept is not None else {**_METADATA, **_PERSON}


def known(service: Service, terms: Terms) -> bool:
    """Whether anything personal may be kept of the service: it came again since it was last deleted, or never was."""
    return service.forgotten_at is None or service != _blank(service, terms)


def kept_by(service: Service) -> str:
    """What forbids to delete it now, whatever a policy says; '' = nothing."""
    if service.hold(HoldReason.LEGAL) is not None:
        return "a legal hold forbids deleting personal data"
    if service.state == Lifecycle.ARCHIVED:
        return "its archive is still kept: what is in it is erased first"
    return "" if service.state in ENDED else f"it is {service.state}: only what has ended is forgotten"


def on_request(service: Service, terms: Terms, *, now: datetime) -> Received:
    """The customer wants it deleted. A legal hold wins over all, and this over the years that data is kept."""
    if service.hold(HoldReason.LEGAL) is not None:
        return refused(service, kept_by(service), RULE_HOLDS)
    rule = terms.policy.personal_data.delete_on_request
    if rule is None:
        name = terms.policy.name
        reason = f"policy {name} has no rule by which personal data is deleted on request"
        return refused(service, reason, f"{name}: personal_data.delete_on_request is null")
    if kept_by(service):
        return refused(service, kept_by(service), RULE_LIFECYCLE)
    if not known(service, terms):
        return Received(service=service, decision=Nothing(reason="its personal data was deleted already"))
    return forget(service, terms, now=now, reason=f"its personal data is deleted on request [{terms.cite(rule)}]")


def forget(service: Service, terms: Terms, *, now: datetime, reason: str) -> Received:
    """The record without what is personal, and the keys under which the rest is found."""
    if kept_by(service):
        return Received(service=service, decision=Nothing(reason=kept_by(service)))
    left = replace(_blank(service, terms), forgotten_at=now)
    kept = terms.policy.personal_data.metadata_kept
    if kept is not None:
        reason += f"; {' and '.join(_METADATA)} are kept [{terms.cite(kept)}]"
    return Received(service=left, decision=Nothing(reason=reason), forgets=blanks(terms))


def _blank(service: Service, terms: Terms) -> Service:
    left = replace(service, domain="", hostname="", ssh_keys=(), password_hash="", refunds=(), holds=(), cancellation=None)
    left = replace(left, disputes=(), chargebacks=(), complaints=(), account=None)
    return left if terms.policy.personal_data.metadata_kept is not None else replace(left, client_id="", order_id="")
