"""A service: what a customer has, where it is in its life, and what holds it.

Times are aware datetimes in UTC throughout.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum

from orchestrator.domain.complaints import Complaint
from orchestrator.domain.errors import WrongState

# Part of guest, volume and filter names on a node: no dot, because a dot separates the parts of those names.
SERVICE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,47}")


class Lifecycle(StrEnum):
    ORDERED = "ordered"
    PROVISIONING = "provisioning"
    ACTIVE = "active"
    TERMINATING = "terminating"
    ARCHIVED = "archived"
    ERASED = "erased"
    CANCELLED = "cancelled"
    FAILED = "failed"


class Cause(StrEnum):
    """What moves a service along its lifecycle."""

    PROVISION_STARTED = "provision started"
    PROVISION_DONE = "provision done"
    PROVISION_FAILED = "provision failed"
    ORDER_CANCELLED = "order cancelled"
    TERMINATE_STARTED = "terminate started"
    TERMINATE_STOPPED = "terminate stopped by the fence"
    TERMINATE_STOPPED_UNMADE = "terminate stopped, no guest had ever been made"
    ARCHIVE_KEPT = "archive kept"
    ERASE_DONE = "erase done"


# The whole lifecycle; the diagram in docs/ is generated from this table.
TRANSITIONS: dict[tuple[Lifecycle, Cause], Lifecycle] = {
    (Lifecycle.ORDERED, Cause.PROVISION_STARTED): Lifecycle.PROVISIONING,
    (Lifecycle.ORDERED, Cause.ORDER_CANCELLED): Lifecycle.CANCELLED,
    (Lifecycle.FAILED, Cause.PROVISION_STARTED): Lifecycle.PROVISIONING,
    (Lifecycle.FAILED, Cause.ORDER_CANCELLED): Lifecycle.CANCELLED,
    (Lifecycle.FAILED, Cause.TERMINATE_STARTED): Lifecycle.TERMINATING,
    (Lifecycle.PROVISIONING, Cause.PROVISION_DONE): Lifecycle.ACTIVE,
    (Lifecycle.PROVISIONING, Cause.PROVISION_FAILED): Lifecycle.FAILED,
    (Lifecycle.ACTIVE, Cause.TERMINATE_STARTED): Lifecycle.TERMINATING,
    (Lifecycle.TERMINATING, Cause.TERMINATE_STOPPED): Lifecycle.ACTIVE,
    (Lifecycle.TERMINATING, Cause.TERMINATE_STOPPED_UNMADE): Lifecycle.FAILED,
    (Lifecycle.TERMINATING, Cause.ARCHIVE_KEPT): Lifecycle.ARCHIVED,
    (Lifecycle.TERMINATING, Cause.ERASE_DONE): Lifecycle.ERASED,
    (Lifecycle.ARCHIVED, Cause.ERASE_DONE): Lifecycle.ERASED,
}


def transition(state: Lifecycle, cause: Cause) -> Lifecycle:
    """The state after ``cause``; raises WrongState where the table has no such move."""
    try:
        return TRANSITIONS[state, cause]
    except KeyError:
        raise WrongState(f"a service that is {state} cannot go on by '{cause}'", state=str(state), cause=str(cause)) from None


class HoldReason(StrEnum):
    NONPAYMENT = "nonpayment"
    ABUSE = "abuse"
    MANUAL = "manual"
    QUOTA = "quota"
    MAINTENANCE = "maintenance"
    LEGAL = "legal"
    DISPUTE = "dispute"


class HoldEffect(StrEnum):
    STOP = "stop"
    LIMIT = "limit"
    READ_ONLY = "read-only"
    NO_ERASE = "no-erase"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """One reason that stands against a service. A service has at most one hold of each reason.

    ``evidence``: the SHA-256 of a file that is kept with the service. ``until``: the clock lifts it then. ``complaint``: the
    id of the one that set it, and whose answer lifts it; '' where a person or billing did.
    """

    reason: HoldReason
    effect: HoldEffect
    by: str
    why: str
    since: datetime
    evidence: str = ""
    until: datetime | None = None
    complaint: str = ""


@dataclass(frozen=True, slots=True)
class Refund:
    """The payment of the invoice was given back, and what it had bought ends at ``until``."""

    invoice_id: str
    until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """The record of one service, as billing's facts and our jobs made it.

    ``version`` is billing's, monotonic per service; a command with an older one is stale. ``payments`` counts accepted
    payment facts and only grows: the fence compares it with the count at the moment an act was decided.
    ``refunds``: those that moved ``paid_until`` back, the latest last, so that the payment they gave back, where it comes later,
    does not move it forward again. ``overdue_at`` and ``paid_at``: when billing last said that something is overdue, and that it
    was paid (a refund takes that back). ``clock_stopped``: for so long disputes that are over kept what is unpaid from counting
    as late. ``point_of_no_return`` is set when the first destructive act on the customer's data was let through.
    """

    id: str
    client_id: str
    plan: str
    state: Lifecycle = Lifecycle.ORDERED
    version: int = 0
    order_id: str = ""
    domain: str = ""
    hostname: str = ""
    template: str = ""
    ssh_keys: tuple[str, ...] = ()
    password_hash: str = ""
    zone: str = ""
    due_at: datetime | None = None
    paid_until: datetime | None = None
    payments: int = 0
    refunds: tuple[Refund, ...] = ()
    overdue_at: datetime | None = None
    paid_at: datetime | None = None
    clock_stopped: timedelta = timedelta()
    holds: tuple[Hold, ...] = ()
    created_at: datetime | None = None
    point_of_no_return: datetime | None = None
    suspension_proven_at: datetime | None = None
    complaints: tuple[Complaint, ...] = ()
    domain_expired_at: datetime | None = None
    domain_renewed_at: datetime | None = None

    def hold(self, reason: HoldReason) -> Hold | None:
        return next((h for h in self.holds if h.reason == reason), None)

    @property
    def stopped(self) -> bool:
        """Suspended, in the glossary's sense: some hold stops it."""
        return any(h.effect == HoldEffect.STOP for h in self.holds)

    @property
    def stop_reasons(self) -> list[str]:
        """The reasons that stop the service, as the node's mark carries them."""
        return sorted(h.reason.value for h in self.holds if h.effect == HoldEffect.STOP)

    @property
    def erasable(self) -> bool:
        """No hold forbids destroying the data: none of that effect, and no legal one whatever its effect."""
        return not any(h.effect == HoldEffect.NO_ERASE or h.reason == HoldReason.LEGAL for h in self.holds)

    def with_hold(self, hold: Hold) -> Service:
        """Add the hold, or keep the older one of the same reason (since counts from the first)."""
        if self.hold(hold.reason) is not None:
            return self
        return replace(self, holds=(*self.holds, hold))

    def without_hold(self, reason: HoldReason) -> Service:
        return replace(self, holds=tuple(h for h in self.holds if h.reason != reason))


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceFacts:
    """What our jobs made for a service and where, as they observed it. Empty before provisioning."""

    node: str = ""
    nodes_ever: tuple[str, ...] = ()
    values: dict[str, object] = field(default_factory=dict)
