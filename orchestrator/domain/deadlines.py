"""What falls due for a service, when, why and by which clause of its policy.

Pure: deadlines are computed from the record, never set as timers, so that a payment moves them by changing the record. Times are
aware UTC; days are the calendar's.

A deadline of nonpayment belongs to the due date that it counts from (its occurrence): paying moves that date, and what was due
before it is no deadline any more.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from orchestrator.domain.calendar import Calendar, Days
from orchestrator.domain.policies import Policy, Terminate, TerminateSince
from orchestrator.domain.services import HoldEffect, HoldReason, Lifecycle, Service


class Action(StrEnum):
    CANCEL_ORDER = "cancel-order"
    REMIND_SUSPEND = "remind-suspend"
    SUSPEND = "suspend"
    REMIND_TERMINATE = "remind-terminate"
    NOTICE_TERMINATE = "notice-terminate"
    TERMINATE = "terminate"

    @property
    def destroys(self) -> bool:
        """What it does cannot be taken back."""
        return self == Action.TERMINATE

    @property
    def tells(self) -> bool:
        """It does nothing but tell the customer, through billing."""
        return self in (Action.REMIND_SUSPEND, Action.REMIND_TERMINATE, Action.NOTICE_TERMINATE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadline:
    """One thing that is to be done at ``at``, which may have passed.

    ``occurrence``: what it belongs to and how often it comes; with the action it is done once. ``asks``: the text says "may", so
    that it waits for an operator. ``waits``: why it is not done even when its time has come; '' where nothing is in the way.
    """

    action: Action
    at: datetime
    reason: str
    clause: str
    occurrence: str
    asks: bool = False
    waits: str = ""


Told = Mapping[tuple[Action, str], datetime]
"""When billing took what told the customer, by action and occurrence."""


def unpaid_since(service: Service) -> datetime | None:
    """From when on the service is not paid for: the later of the due date and the end of what was paid, None where that is not
    known. It may lie ahead. Time for which a dispute stopped the clock is not counted.

    A due date counts until a payment is said after it. What was paid without a date ahead settles everything up to then: billing
    says so when something is overdue again.
    """
    owed = service.due_at if service.paid_at is None or _after(service.overdue_at, service.paid_at) else None
    covered = service.paid_until if owed is not None or _after(service.paid_until, service.paid_at) else None
    known = [moment for moment in (owed, covered) if moment is not None]
    return max(known) + service.clock_stopped if known else None


def _after(moment: datetime | None, other: datetime | None) -> bool:
    return moment is not None and (other is None or moment > other)


def _occurrence(service: Service, since: datetime) -> str:
    """What was said of one debt is not said of another that has the same date: one that came back by a refund, for instance."""
    return f"{since.isoformat()}/{service.payments}-{len(service.refunds)}"


def deadlines(service: Service, policy: Policy, calendar: Calendar, *, told: Told) -> tuple[Deadline, ...]:
    """All that is to come for the service as its record stands, the earliest first.

    Raises nothing: a rule on which the policy is silent has no deadline.
    """
    found = [*_order(service, policy, calendar), *_nonpayment(service, policy, calendar, told)]
    return tuple(sorted(found, key=lambda deadline: (deadline.at, list(Action).index(deadline.action))))


def _order(service: Service, policy: Policy, calendar: Calendar) -> Iterator[Deadline]:
    """POLICIES: an unpaid order is cancelled so long after it was made."""
    rule = policy.order.cancel_unpaid
    if rule is None or service.state != Lifecycle.ORDERED or service.payments or service.created_at is None:
        return
    yield Deadline(
        action=Action.CANCEL_ORDER,
        at=calendar.add(service.created_at, rule.after),
        reason=f"the order was not paid within {rule.after}",
        clause=rule.clause,
        occurrence=service.created_at.isoformat(),
    )


def _nonpayment(service: Service, policy: Policy, calendar: Calendar, told: Told) -> Iterator[Deadline]:
    since = unpaid_since(service)
    if service.state != Lifecycle.ACTIVE or since is None or service.hold(HoldReason.DISPUTE) is not None:
        return
    # A hold alone is no suspension: until it is proven to be in force it is due.
    suspend = None if proven_for_nonpayment(service) is not None else _suspend(service, policy, calendar, since)
    if suspend is not None:
        yield suspend
        before = policy.notices.before_suspend if policy.notices is not None else ()
        yield from _reminders(suspend, Action.REMIND_SUSPEND, before, policy, calendar)
    terminate = _terminate(service, policy, calendar, since, suspend)
    if terminate is not None:
        rule = policy.overdue.terminate
        yield from _noticed(terminate, None if rule is None else rule.notice, calendar, told)
        before = policy.notices.before_terminate if policy.notices is not None else ()
        yield from _reminders(terminate, Action.REMIND_TERMINATE, before, policy, calendar)


def _suspend(service: Service, policy: Policy, calendar: Calendar, since: datetime) -> Deadline | None:
    rule = policy.overdue.suspend
    if rule is None:
        return None
    return Deadline(
        action=Action.SUSPEND,
        at=calendar.add(since, rule.after),
        reason=f"unpaid {rule.after} after the due date",
        clause=rule.clause,
        occurrence=_occurrence(service, since),
        asks=rule.asks,
    )


def _terminate(
    service: Service, policy: Policy, calendar: Calendar, since: datetime, suspend: Deadline | None
) -> Deadline | None:
    """It counts from what the profile says, and never passes over a suspension that the profile puts before it."""
    rule = policy.overdue.terminate
    if rule is None:
        return None
    suspended = proven_for_nonpayment(service)
    base = _base(rule, since, suspended)
    if base is None:
        return None
    unproven = policy.overdue.suspend is not None and suspended is None
    held = "its suspension is not proven to be in force" if unproven else "" if service.erasable else "a hold forbids erasing"
    at = max(calendar.add(base, rule.after), _unpaid_long_enough(policy, calendar, since))
    return Deadline(
        action=Action.TERMINATE,
        at=at if suspend is None else max(at, suspend.at),
        reason=f"unpaid {rule.after} after {_FROM[rule.since]}",
        clause=rule.clause,
        occurrence=_occurrence(service, since),
        asks=rule.asks,
        waits=held,
    )


def _unpaid_long_enough(policy: Policy, calendar: Calendar, since: datetime) -> datetime:
    """Whoever set the hold: what is paid for is not destroyed for nonpayment, nor before it would have been suspended for it."""
    return since if policy.overdue.suspend is None else calendar.add(since, policy.overdue.suspend.after)


_FROM = {
    TerminateSince.DUE: "the due date",
    TerminateSince.SUSPENSION: "the suspension",
    TerminateSince.PERIOD_END: "the end of the period",
}


def _base(rule: Terminate, since: datetime, suspended: datetime | None) -> datetime | None:
    """The moment from which the days count. The end of the period is where what was paid ends, as ``since`` is."""
    return suspended if rule.since == TerminateSince.SUSPENSION else since


def proven_for_nonpayment(service: Service) -> datetime | None:
    """Since when a suspension for nonpayment is proven to be in force; None where it is not, or where another hold is the cause.

    A service that was held for something else before counts from the hold for nonpayment.
    """
    hold = service.hold(HoldReason.NONPAYMENT)
    if hold is None or hold.effect != HoldEffect.STOP or service.suspension_proven_at is None:
        return None
    return max(hold.since, service.suspension_proven_at)


def _noticed(terminate: Deadline, notice: Days | None, calendar: Calendar, told: Told) -> Iterator[Deadline]:
    """The termination, and before it the notice that it waits for: so long after billing took that, and not a moment earlier."""
    if notice is None:
        yield terminate
        return
    when = told.get((Action.NOTICE_TERMINATE, terminate.occurrence))
    if when is not None:
        yield replace(terminate, at=max(terminate.at, calendar.add(when, notice)))
        return
    yield replace(terminate, waits=terminate.waits or "no notice of it has been taken by billing")
    yield replace(
        terminate,
        action=Action.NOTICE_TERMINATE,
        at=calendar.subtract(terminate.at, notice),
        reason=f"a notice is due {notice} before the termination",
        asks=False,
    )


def _reminders(
    ahead: Deadline, action: Action, before: tuple[Days, ...], policy: Policy, calendar: Calendar
) -> Iterator[Deadline]:
    clause = policy.notices.clause if policy.notices is not None else ""
    for days in before:
        yield Deadline(
            action=action,
            at=calendar.subtract(ahead.at, days),
            reason=f"{ahead.action} falls due at {ahead.at.isoformat(timespec='minutes')}",
            clause=clause,
            occurrence=f"{ahead.occurrence} {days}",
        )


def pending(found: tuple[Deadline, ...], done: frozenset[tuple[Action, str]]) -> tuple[Deadline, ...]:
    """Those that were not done yet."""
    return tuple(deadline for deadline in found if (deadline.action, deadline.occurrence) not in done)


def next_due(found: tuple[Deadline, ...], *, now: datetime, again: timedelta) -> datetime | None:
    """When to look at the service again: at its next deadline; ``again`` from now where one has passed and waits; None where
    nothing is to come."""
    moments = [max(deadline.at, now + again) if deadline.waits or deadline.at <= now else deadline.at for deadline in found]
    return min(moments, default=None)
