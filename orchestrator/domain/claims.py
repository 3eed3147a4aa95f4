"""What billing says against a payment: that an invoice is disputed, how that ended, and that the bank took a payment back.

Pure. Zettagrid 7.2 and 7.3.16. A dispute of an invoice counts once. Its settlement may come before it, and either may come twice:
what the two say is kept by invoice, and what follows is read from that, in whatever order they came. Times are aware UTC.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from orchestrator.domain.services import Chargeback, DisputedInvoice, Hold, HoldEffect, HoldReason, Lifecycle, Service
from orchestrator.domain.terms import Terms

# So many disputes and chargebacks a service's record knows, the latest last.
DISPUTES_KEPT = 50
CHARGEBACKS_KEPT = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """The record with the claim in it, and a sentence for who made it. ``releases``: nothing is owed after all."""

    service: Service
    note: str
    releases: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """An invoice is disputed. ``part``: only part of it, and the rest stays due. ``issued_at`` None: not said."""

    invoice_id: str
    at: datetime
    by: str
    why: str
    part: bool = False
    issued_at: datetime | None = None


def dispute(service: Service, claim: Claim, terms: Terms) -> Claimed:
    """Note the dispute; the clock of nonpayment stands from now until it is settled, unless something says otherwise."""
    known = service.dispute(claim.invoice_id)
    if known is not None and known.raised_at is not None:
        return Claimed(service=service, note=f"invoice {claim.invoice_id} was disputed before: {_standing(known)}")
    late = _too_late(claim, terms)
    new = replace(
        known or DisputedInvoice(invoice_id=claim.invoice_id),
        raised_at=claim.at,
        late=bool(late),
        part=claim.part,
    )
    record = _with(service, new)
    if late:
        return Claimed(service=record, note=late)
    if new.settled_at is not None:
        return Claimed(service=record, note=f"invoice {claim.invoice_id} was disputed: {_standing(new)}")
    if record.state in (Lifecycle.ERASED, Lifecycle.CANCELLED):
        return Claimed(service=record, note=f"the dispute of invoice {claim.invoice_id} is noted; the service is {record.state}")
    if new.part:
        return Claimed(service=record, note=f"only a part of invoice {claim.invoice_id} is disputed: the rest stays due")
    hold = Hold(
        reason=HoldReason.DISPUTE,
        effect=HoldEffect.NONE,
        by=claim.by,
        why=claim.why,
        since=claim.at,
        invoice=claim.invoice_id,
    )
    note = f"invoice {claim.invoice_id} is disputed: the clock of nonpayment stands"
    if record.hold(HoldReason.NONPAYMENT) is not None:
        note += "; the suspension that is in force stays until it is paid, or an operator lifts it"
    return Claimed(service=record.with_hold(hold), note=note)


def settle(service: Service, *, invoice_id: str, upheld: bool, at: datetime, terms: Terms) -> Claimed:
    """Note the verdict: ``upheld`` for the customer, else against. The first that is told counts."""
    known = service.dispute(invoice_id) or DisputedInvoice(invoice_id=invoice_id)
    if known.settled_at is not None:
        first = "" if known.upheld == upheld else "; this verdict comes second, and the first counts"
        return Claimed(service=service, note=f"invoice {invoice_id}: {_standing(known)}{first}")
    rule = terms.policy.dispute
    pay_by = None if upheld or rule is None else terms.calendar.add(at, rule.pay_within)
    new = replace(known, settled_at=at, upheld=upheld, pay_by=pay_by)
    record = _with(service, new)
    hold = record.hold(HoldReason.DISPUTE)
    if hold is not None and hold.invoice and hold.invoice == invoice_id:
        record = _passed_on(record, hold)
    note = f"invoice {invoice_id}: {_standing(new)}"
    if known.raised_at is None:
        note += "; its dispute was not told yet"
    return Claimed(service=record, note=note, releases=new.released_at is not None)


def charge_back(service: Service, *, invoice_id: str, at: datetime) -> Service:
    """A bank took the payment of the invoice back. Said twice it was once, when it was first."""
    known = next((each for each in service.chargebacks if each.invoice_id == invoice_id), None)
    first = Chargeback(invoice_id, at if known is None else min(at, known.at))
    others = tuple(each for each in service.chargebacks if each is not known)
    return replace(service, chargebacks=(*others, first)[-CHARGEBACKS_KEPT:])


def _with(service: Service, new: DisputedInvoice) -> Service:
    others = tuple(each for each in service.disputes if each.invoice_id != new.invoice_id)
    return replace(service, disputes=(*others, new)[-DISPUTES_KEPT:])


def _passed_on(record: Service, hold: Hold) -> Service:
    """Without the hold, whose invoice is settled; or with it for another one whose dispute is open. A hold that names no invoice
    is a person's, and only they lift it."""
    others = [each.invoice_id for each in record.disputes if each.open]
    if not others:
        return record.without_hold(hold.reason)
    passed = replace(hold, invoice=others[0], why=f"invoice {others[0]} is disputed")
    return replace(record, holds=tuple(passed if each is hold else each for each in record.holds))


def _standing(dispute: DisputedInvoice) -> str:
    if dispute.settled_at is None:
        return "its dispute came too late" if dispute.late else "its verdict is open"
    if dispute.upheld:
        return "settled for the customer, what was disputed is not due"
    if dispute.pay_by is None:
        return "settled against the customer"
    until = dispute.pay_by.isoformat(timespec="minutes")
    return f"settled against the customer, to be paid by {until} or by its due date, if that is later"


def _too_late(claim: Claim, terms: Terms) -> str:
    rule = terms.policy.dispute
    if rule is None or claim.issued_at is None:
        return ""
    until = terms.calendar.add(claim.issued_at, rule.raise_within)
    if claim.at <= until:
        return ""
    return (
        f"invoice {claim.invoice_id} was disputed too late, more than {rule.raise_within} after its issue, "
        f"which was until {until.isoformat(timespec='minutes')}: it stays due [{terms.cite(rule)}]"
    )
