"""What a billing system says: the versioned vocabulary of incoming events.

Facts (order.*, invoice.*, domain.*) always count, however late they come. Commands (service.*) count only when their version is
newer than the last command's for that service; a stale command is answered and does nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

VOCABULARY_VERSION = 1


class EventType(StrEnum):
    ORDER_CREATED = "order.created"
    ORDER_PAID = "order.paid"
    ORDER_CANCELLED = "order.cancelled"
    INVOICE_OVERDUE = "invoice.overdue"
    INVOICE_PAID = "invoice.paid"
    INVOICE_REFUNDED = "invoice.refunded"
    DOMAIN_EXPIRED = "domain.expired"
    DOMAIN_RENEWED = "domain.renewed"
    SERVICE_CREATE = "service.create"
    SERVICE_SUSPEND = "service.suspend"
    SERVICE_UNSUSPEND = "service.unsuspend"
    SERVICE_CHANGE_PLAN = "service.change_plan"
    SERVICE_RENEW = "service.renew"
    SERVICE_RESET_PASSWORD = "service.reset_password"  # noqa: S105 - the name of an event
    SERVICE_TERMINATE = "service.terminate"

    @property
    def is_command(self) -> bool:
        return self.value.startswith("service.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One event as billing sent it. ``source`` names the billing system, ``id`` its webhook-id; unique together."""

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
    version: int | None = None
