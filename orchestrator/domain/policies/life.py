"""Rules of a service's life: from the unpaid order to what is left after its end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from orchestrator.domain.calendar import Days
from orchestrator.domain.policies.words import (
    Act,
    CancellationEffect,
    Effect,
    EraseSince,
    LatePaymentEffect,
    Period,
    Rule,
    TerminateSince,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelUnpaid(Rule):
    """An order that is not paid so long after it was made is cancelled."""

    after: Days


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    cancel_unpaid: CancelUnpaid | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspend(Rule):
    """``after`` counts from the due date of what is unpaid."""

    after: Days
    asks: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Terminate(Rule):
    """``notice``: one is sent so long before, and without one that is at least so old nothing is terminated. 0 days: it goes out
    with the termination. None: the text asks for none."""

    after: Days
    since: TerminateSince
    asks: bool = False
    notice: Days | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Forbids(Rule):
    """What is refused while a service is held for nonpayment."""

    acts: frozenset[Act]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chargeback(Rule):
    """A payment that was rejected, or that the customer's bank took back."""

    effect: Effect
    asks: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Overdue:
    suspend: Suspend | None = None
    terminate: Terminate | None = None
    forbids: tuple[Forbids, ...] = ()
    chargeback: Chargeback | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Notices(Rule):
    """Reminders of what will be done for nonpayment, so long before each, besides the notice that ``Terminate`` waits for."""

    before_suspend: tuple[Days, ...] = ()
    before_terminate: tuple[Days, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReactivationWindow(Rule):
    """Who pays everything so long after the proven suspension, by kind, comes back; later an operator decides. A kind that is not
    named comes back until it is terminated. ``asks``: within the window, too, the provider consents first."""

    kinds: Mapping[str, Days]
    asks: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ReactivationFees(Rule):
    """Rupiah by kind, for a service that was cut off or terminated, for arrears or because its customer wanted it."""

    kinds: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReactivationDone(Rule):
    """The service runs again no later than so long after the payment."""

    within: Days


@dataclass(frozen=True, slots=True, kw_only=True)
class Reactivation:
    window: ReactivationWindow | None = None
    fees: ReactivationFees | None = None
    done_within: ReactivationDone | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive(Rule):
    """A copy of the data is kept so long after the termination, by kind. With that it ends, and the copy is erased."""

    keep: Mapping[str, Days]


@dataclass(frozen=True, slots=True, kw_only=True)
class Erase(Rule):
    """Data, archive and backups are erased no later than so long after. 0 days: the termination erases them, nothing is kept."""

    within: Days
    since: EraseSince


@dataclass(frozen=True, slots=True, kw_only=True)
class LatePayment(Rule):
    what: LatePaymentEffect


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancellation(Rule):
    """``effect`` None: the text gives no date, an operator decides. Asked for less than ``notice`` before the end of a period, it
    takes effect at the end of the next one."""

    effect: CancellationEffect | None = None
    notice: Days | None = None
    needs_confirmation: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class EndingWithoutCause(Rule):
    """Either side may end the contract by a notice so long before, or as long as the contract's term, whichever is longer."""

    notice: Days


@dataclass(frozen=True, slots=True, kw_only=True)
class MinimumTerm(Rule):
    """Months from the activation, by kind. No cancellation takes effect earlier."""

    months: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class BillingPeriod(Rule):
    """Where a period ends of which billing has not said so: the one after a cancellation that came too late, for instance."""

    period: Period
