"""A service: what a customer has, where it is in its life, and what holds it.

Times are aware datetimes in UTC throughout.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from orchestrator.domain.account_parts import AccountSettings
from orchestrator.domain.complaints import Complaint
from orchestrator.domain.errors import WrongState
from orchestrator.domain.kept_volumes import KeptVolume
from orchestrator.domain.planned import PlannedRestart

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
    ORDER_REVIVED = "order paid after it had lapsed"
    TERMINATE_STARTED = "terminate started"
    TERMINATE_STOPPED = "terminate stopped by the fence"
    TERMINATE_STOPPED_UNMADE = "terminate stopped, no guest had ever been made"
    ARCHIVE_KEPT = "archive kept"
    ERASE_DONE = "erase done"
    REACTIVATED = "reactivated"


# The whole lifecycle; the diagram in docs/ is generated from this table.
TRANSITIONS: dict[tuple[Lifecycle, Cause], Lifecycle] = {
    (Lifecycle.ORDERED, Cause.PROVISION_STARTED): Lifecycle.PROVISIONING,
    (Lifecycle.ORDERED, Cause.ORDER_CANCELLED): Lifecycle.CANCELLED,
    (Lifecycle.CANCELLED, Cause.ORDER_REVIVED): Lifecycle.ORDERED,
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
    (Lifecycle.ARCHIVED, Cause.REACTIVATED): Lifecycle.ACTIVE,
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
    id of the one that set it, and whose answer lifts it; '' where a person or billing did. ``invoice``: the one whose dispute set
    it, and whose settlement lifts it; '' where it is a person's to lift.
    """

    reason: HoldReason
    effect: HoldEffect
    by: str
    why: str
    since: datetime
    evidence: str = ""
    until: datetime | None = None
    complaint: str = ""
    invoice: str = ""


@dataclass(frozen=True, slots=True)
class Refund:
    """The payment of the invoice was given back, and what it had bought ends at ``until``."""

    invoice_id: str
    until: datetime


@dataclass(frozen=True, slots=True)
class Chargeback:
    """A bank took the payment of the invoice back, as was first said ``at``."""

    invoice_id: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class DisputedInvoice:
    """What is known of the dispute of one invoice. ``raised_at`` None: only its settlement was told so far; ``settled_at`` None:
    none was. ``late``: raised later than the policy hears it. ``part``: the rest of the invoice stays due. ``pay_by``: until when
    what is owed after all may be paid, by a policy that says so.
    """

    invoice_id: str
    raised_at: datetime | None = None
    late: bool = False
    part: bool = False
    settled_at: datetime | None = None
    upheld: bool = False
    pay_by: datetime | None = None

    @property
    def open(self) -> bool:
        """It stops the clock of nonpayment."""
        return self.raised_at is not None and self.settled_at is None and not (self.late or self.part)

    @property
    def rejected(self) -> bool:
        """It stopped that clock, and was settled against the customer."""
        return self.raised_at is not None and self.settled_at is not None and not (self.upheld or self.late or self.part)

    @property
    def released_at(self) -> datetime | None:
        """When it was found that the invoice is not due; also where the dispute itself was not told yet."""
        return self.settled_at if self.upheld and not self.part else None


@dataclass(frozen=True, slots=True)
class Traffic:
    """What went through in the calendar month ``period`` ("2026-11"): the largest total that was told, and the gigabytes over
    the allowance that were charged."""

    period: str
    bytes: int
    charged_gb: int = 0


class CancellationKind(StrEnum):
    """``WITHOUT_CAUSE``: either side ends the contract, by a clause of its own. ``MONEY_BACK``: at once, and it is refunded."""

    CUSTOMER = "customer"
    WITHOUT_CAUSE = "without-cause"
    MONEY_BACK = "money-back"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancellation:
    """That the service is to end, as it was asked for. When it does is ``leaving``'s to say, by the policy.

    ``by``: who said so. ``confirmed_at``: when the customer confirmed it. ``paid_until``: what was paid for when it came to
    count. ``at``: the day that an operator gave, which counts more than any rule. ``refund_at``: when billing was told that money
    is due back for it.
    """

    asked_at: datetime
    by: str
    why: str
    kind: CancellationKind = CancellationKind.CUSTOMER
    confirmed_at: datetime | None = None
    paid_until: datetime | None = None
    at: datetime | None = None
    refund_at: datetime | None = None

    @property
    def token(self) -> str:
        """What a job that carries it out was decided on: another one, or the same with another day, is told from it."""
        given = "" if self.at is None else f"/{self.at.isoformat()}"
        return f"{self.asked_at.isoformat()}/{self.kind}{given}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """The record of one service, as billing's facts and our jobs made it.

    ``version`` is billing's, monotonic per service; a command with an older one is stale. ``payments`` counts accepted
    payment facts and only grows: the fence compares it with the count at the moment an act was decided.
    ``refunds``: those that moved ``paid_until`` back, the latest last, so that the payment they gave back, where it comes
    later, does not move it forward again. ``overdue_at`` and ``paid_at``: when billing last said that something is overdue, and
    that it was paid (a refund takes that back). ``chargebacks``, ``disputes`` and ``traffic``: the latest last. ``cut_off_at``:
    since when a suspension for nonpayment was in force that was lifted, or paid for, while the service is not yet both paid
    (``cut_off_paid``) and free of other holds. ``purchased_at``: when the first payment was said; ``activated_at``: when it
    first ran; ``ended_at``: when its termination was done, or its order cancelled; ``lapsed_at``: when the clock cancelled its
    order, because it was not paid, and nobody has withdrawn it since; ``forgotten_at``: when its personal data was last
    deleted. All None where that is not known. ``point_of_no_return`` is set when the first destructive act on the customer's
    data was let through; it is taken back where that ended with the data in an archive, which is kept since ``archived_at``.
    ``suspension_proven_at`` and ``limited_proven_at``: since when the guest was seen stopped, and throttled, by its holds.
    ``node``: where it is, as its facts have it; it is read with the record and never written by it. ``backups_seen_to``: the
    slots of its schedule up to then are seen to; ``backup_asked_at``: when the last backup was made that its customer asked for.
    ``kept``: volumes that stand beside its disk for a while. ``account``: what was set of a hosting account; None = as it was
    ordered. ``databases_full``: its databases were made to take no more, because its disk is used up. ``mail_out``: whether its
    guest may send to port 25 of others; None = as its plan says.
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
    chargebacks: tuple[Chargeback, ...] = ()
    disputes: tuple[DisputedInvoice, ...] = ()
    traffic: tuple[Traffic, ...] = ()
    cut_off_at: datetime | None = None
    cut_off_paid: bool = False
    holds: tuple[Hold, ...] = ()
    created_at: datetime | None = None
    activated_at: datetime | None = None
    ended_at: datetime | None = None
    point_of_no_return: datetime | None = None
    suspension_proven_at: datetime | None = None
    limited_proven_at: datetime | None = None
    archived_at: datetime | None = None
    purchased_at: datetime | None = None
    forgotten_at: datetime | None = None
    cancellation: Cancellation | None = None
    complaints: tuple[Complaint, ...] = ()
    domain_expired_at: datetime | None = None
    domain_renewed_at: datetime | None = None
    lapsed_at: datetime | None = None
    node: str = ""
    backups_seen_to: datetime | None = None
    backup_asked_at: datetime | None = None
    kept: tuple[KeptVolume, ...] = ()
    account: AccountSettings | None = None
    databases_full: bool = False
    restart: PlannedRestart | None = None
    mail_out: bool | None = None

    def hold(self, reason: HoldReason) -> Hold | None:
        return next((h for h in self.holds if h.reason == reason), None)

    def dispute(self, invoice_id: str) -> DisputedInvoice | None:
        return next((each for each in self.disputes if each.invoice_id == invoice_id), None)

    @property
    def settled_at(self) -> datetime | None:
        """When it was last said that what was owed until then is not owed any more: paid, or disputed with success."""
        said = (self.paid_at, *(each.released_at for each in self.disputes))
        return max((moment for moment in said if moment is not None), default=None)

    @property
    def due_settled(self) -> bool:
        """Whether what was due at ``due_at`` is owed no more: that was said after it was last said to be overdue."""
        return self.settled_at is not None and not (self.overdue_at is not None and self.overdue_at > self.settled_at)

    @property
    def charged_back_at(self) -> datetime | None:
        """When a bank last took a payment back, where nothing was paid since."""
        last = max((each.at for each in self.chargebacks), default=None)
        return None if last is None or (self.settled_at is not None and self.settled_at > last) else last

    @property
    def stopped(self) -> bool:
        """Suspended, in the glossary's sense: some hold stops it."""
        return any(h.effect == HoldEffect.STOP for h in self.holds)

    @property
    def stop_reasons(self) -> list[str]:
        """The reasons that stop the service, as the node's mark carries them."""
        return sorted(h.reason.value for h in self.holds if h.effect == HoldEffect.STOP)

    @property
    def limited(self) -> bool:
        """Some hold limits it: while none stops it, it runs on with its network throttled."""
        return any(h.effect == HoldEffect.LIMIT for h in self.holds)

    @property
    def limit_reasons(self) -> list[str]:
        """The reasons that limit the service, as the node's mark carries them."""
        return sorted(h.reason.value for h in self.holds if h.effect == HoldEffect.LIMIT)

    @property
    def throttled(self) -> bool:
        """Whether its guest is to be found throttled. What changes while a suspension is in force waits for its end."""
        return self.limited_proven_at is not None if self.stopped else self.limited

    @property
    def erasable(self) -> bool:
        """No hold forbids destroying the data: none of that effect, and no legal one whatever its effect."""
        return not any(h.effect == HoldEffect.NO_ERASE or h.reason == HoldReason.LEGAL for h in self.holds)

    @property
    def debt_disputed(self) -> bool:
        """What it is held for is not paid, and that is disputed."""
        return self.hold(HoldReason.NONPAYMENT) is not None and self.hold(HoldReason.DISPUTE) is not None

    def with_hold(self, hold: Hold) -> Service:
        """Add the hold, or keep the older one of the same reason (since counts from the first).

        One that stops takes the place of one that only limits.
        """
        older = self.hold(hold.reason)
        if older is None:
            return replace(self, holds=(*self.holds, hold))
        if (older.effect, hold.effect) == (HoldEffect.LIMIT, HoldEffect.STOP):
            return self.without_hold(hold.reason).with_hold(hold)
        return self

    def without_hold(self, reason: HoldReason) -> Service:
        return replace(self, holds=tuple(h for h in self.holds if h.reason != reason))


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceFacts:
    """What our jobs made for a service and where, as they observed it. Empty before provisioning."""

    node: str = ""
    nodes_ever: tuple[str, ...] = ()
    values: dict[str, object] = field(default_factory=dict)
