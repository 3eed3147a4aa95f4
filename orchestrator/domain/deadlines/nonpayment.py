"""What falls due for a service that is not paid for: reminders, the suspension, the notice and the termination."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta

from orchestrator.domain import leaving
from orchestrator.domain.calendar import Days
from orchestrator.domain.deadlines.words import Action, Deadline, Told
from orchestrator.domain.policies import Terminate, TerminateSince
from orchestrator.domain.services import HoldEffect, HoldReason, Lifecycle, Service
from orchestrator.domain.terms import Terms


def unpaid_since(service: Service) -> datetime | None:
    """From when on the service is not paid for: the later of the due date and the end of what was paid, None where that is not
    known. It may lie ahead. A dispute that was settled against the customer puts it off (``_put_off``).

    A due date counts until a payment is said after it. What was paid without a date ahead settles everything up to then: billing
    says so when something is overdue again. So does a dispute that was settled for the customer.
    """
    settled = service.settled_at
    owed = None if service.due_settled else service.due_at
    covered = service.paid_until if owed is not None or _after(service.paid_until, settled) else None
    known = [moment for moment in (owed, covered) if moment is not None]
    return _put_off(max(known), service) if known else None


def _put_off(since: datetime, service: Service) -> datetime:
    """Time in which a dispute stopped the clock is not counted, and what is owed after all may be paid by the rule's day."""
    lost = sorted(
        (each.raised_at, each.settled_at)
        for each in service.disputes
        if each.rejected and each.raised_at is not None and each.settled_at is not None
    )
    stopped, until = timedelta(), since
    for raised, settled in lost:  # several at a time stop it once
        begun = max(raised, until)
        if settled > begun:
            stopped, until = stopped + (settled - begun), settled
    return max([since + stopped, *(each.pay_by for each in service.disputes if each.rejected and each.pay_by is not None)])


def _after(moment: datetime | None, other: datetime | None) -> bool:
    return moment is not None and (other is None or moment > other)


def _occurrence(service: Service, since: datetime) -> str:
    """What was said of one debt is not said of another that has the same date: one that came back by a refund, for instance."""
    return f"{since.isoformat()}/{service.payments}-{len(service.refunds)}"


def of_nonpayment(service: Service, terms: Terms, told: Told) -> Iterator[Deadline]:
    since = unpaid_since(service)
    if service.state != Lifecycle.ACTIVE or since is None or service.hold(HoldReason.DISPUTE) is not None:
        return
    if leaving.settles(service, terms, since):
        return
    # A hold alone is no suspension: until it is proven to be in force it is due.
    suspend = None if proven_for_nonpayment(service) is not None else _suspend(service, terms, since)
    if suspend is not None:
        yield suspend
        before = terms.policy.notices.before_suspend if terms.policy.notices is not None else ()
        yield from _reminders(suspend, Action.REMIND_SUSPEND, before, terms)
    terminate = _terminate(service, terms, since, suspend)
    if terminate is not None:
        rule = terms.policy.overdue.terminate
        yield from noticed(terminate, None if rule is None else rule.notice, terms, told)
        before = terms.policy.notices.before_terminate if terms.policy.notices is not None else ()
        yield from _reminders(terminate, Action.REMIND_TERMINATE, before, terms)


def _suspend(service: Service, terms: Terms, since: datetime) -> Deadline | None:
    rule = terms.policy.overdue.suspend
    if rule is None:
        return None
    return Deadline(
        action=Action.SUSPEND,
        at=terms.calendar.add(since, rule.after),
        reason=f"unpaid {rule.after} after the due date",
        clause=rule.clause,
        occurrence=_occurrence(service, since),
        asks=rule.asks,
    )


def _terminate(service: Service, terms: Terms, since: datetime, suspend: Deadline | None) -> Deadline | None:
    """It counts from what the profile says, and never passes over a suspension that the profile puts before it."""
    rule = terms.policy.overdue.terminate
    if rule is None:
        return None
    suspended = proven_for_nonpayment(service)
    base = _base(rule, since, suspended)
    if base is None:
        return None
    unproven = terms.policy.overdue.suspend is not None and suspended is None
    held = "its suspension is not proven to be in force" if unproven else "" if service.erasable else "a hold forbids erasing"
    at = max(terms.calendar.add(base, rule.after), _unpaid_long_enough(terms, since))
    return Deadline(
        action=Action.TERMINATE,
        at=at if suspend is None else max(at, suspend.at),
        reason=f"unpaid {rule.after} after {_FROM[rule.since]}",
        clause=rule.clause,
        occurrence=_occurrence(service, since),
        asks=rule.asks,
        waits=held,
    )


def _unpaid_long_enough(terms: Terms, since: datetime) -> datetime:
    """Whoever set the hold: what is paid for is not destroyed for nonpayment, nor before it would have been suspended for it."""
    return since if terms.policy.overdue.suspend is None else terms.calendar.add(since, terms.policy.overdue.suspend.after)


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


def noticed(
    terminate: Deadline, notice: Days | None, terms: Terms, told: Told, *, by: Action = Action.NOTICE_TERMINATE
) -> Iterator[Deadline]:
    """The termination, and before it the notice (``by``) that it waits for: so long after billing took that, and no earlier."""
    if notice is None:
        yield terminate
        return
    when = told.get((by, terminate.occurrence))
    if when is not None:
        yield replace(terminate, at=max(terminate.at, terms.calendar.add(when, notice)))
        return
    yield replace(terminate, waits=terminate.waits or "no notice of it has been taken by billing")
    yield replace(
        terminate,
        action=by,
        at=terms.calendar.subtract(terminate.at, notice),
        reason=f"a notice is due {notice} before the termination",
        asks=False,
    )


def _reminders(ahead: Deadline, action: Action, before: tuple[Days, ...], terms: Terms) -> Iterator[Deadline]:
    clause = terms.policy.notices.clause if terms.policy.notices is not None else ""
    for days in before:
        yield Deadline(
            action=action,
            at=terms.calendar.subtract(ahead.at, days),
            reason=f"{ahead.action} falls due at {ahead.at.isoformat(timespec='minutes')}",
            clause=clause,
            occurrence=f"{ahead.occurrence} {days}",
        )
