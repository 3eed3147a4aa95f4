"""What a billing system says: the versioned vocabulary of incoming events.

Facts (order.*, invoice.*, domain.*, usage.*, termination.*) always count, however late they come. Commands (service.*) count only
when their version is newer than the last command's for that service; a stale command is answered and does nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from orchestrator.domain.account_settings import AccountChange

VOCABULARY_VERSION = 1


class EventType(StrEnum):
    ORDER_CREATED = "order.created"
    ORDER_PAID = "order.paid"
    ORDER_CANCELLED = "order.cancelled"
    INVOICE_OVERDUE = "invoice.overdue"
    INVOICE_PAID = "invoice.paid"
    INVOICE_REFUNDED = "invoice.refunded"
    TERMINATION_CONFIRMED = "termination.confirmed"
    TERMINATION_REFUSED = "termination.refused"
    INVOICE_CHARGED_BACK = "invoice.charged_back"
    INVOICE_DISPUTED = "invoice.disputed"
    INVOICE_DISPUTE_SETTLED = "invoice.dispute_settled"
    USAGE_TRAFFIC = "usage.traffic"
    DOMAIN_EXPIRED = "domain.expired"
    DOMAIN_RENEWED = "domain.renewed"
    SERVICE_CREATE = "service.create"
    SERVICE_SUSPEND = "service.suspend"
    SERVICE_UNSUSPEND = "service.unsuspend"
    SERVICE_CHANGE_PLAN = "service.change_plan"
    SERVICE_SET_ACCOUNT = "service.set_account"
    SERVICE_RENEW = "service.renew"
    SERVICE_RESET_PASSWORD = "service.reset_password"  # noqa: S105 - the name of an event
    SERVICE_REINSTALL = "service.reinstall"
    SERVICE_TERMINATE = "service.terminate"
    SERVICE_CANCEL = "service.cancel"
    SERVICE_KEEP = "service.keep"

    @property
    def is_command(self) -> bool:
        return self.value.startswith("service.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One event as billing sent it. ``source`` names the billing system, ``id`` its webhook-id; unique together.

    ``job_id``: the job of ours that an answer of billing is about.
    Of a dispute: ``issued_at`` of the invoice, ``part``: the rest stays due; of its verdict: ``upheld`` for the customer.
    Of a change of plan: ``restart`` (``plan_changes.Restart``), when a guest gets what waits for its start; '' = never by us.
    Of an account: what of it is set (``account``).
    Of traffic: the ``bytes`` of the month ``period`` ("2026-11") so far.
    """

    source: str
    id: str
    type: EventType
    service_id: str
    sent_at: datetime
    client_id: str = ""
    order_id: str = ""
    invoice_id: str = ""
    plan: str = ""
    domain: str = ""
    hostname: str = ""
    template: str = ""
    zone: str = ""
    ssh_keys: tuple[str, ...] = ()
    password_hash: str = ""
    reason: str = ""
    due_at: datetime | None = None
    paid_until: datetime | None = None
    issued_at: datetime | None = None
    part: bool = False
    upheld: bool | None = None
    period: str = ""
    bytes: int | None = None
    version: int | None = None
    job_id: str = ""
    confirmed: bool = False
    money_back: bool = False
    restart: str = ""
    account: AccountChange | None = None
