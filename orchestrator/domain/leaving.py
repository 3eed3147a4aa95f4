"""When a service that is to be left ends, and by which clause.

Pure; times are aware UTC, days and months the calendar's. What is told of it and what is done is in ``cancellations`` and in
``deadlines.leaving``.
"""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from orchestrator.domain.calendar import Days
from orchestrator.domain.policies import Cancellation as CancellationRule
from orchestrator.domain.policies import CancellationEffect, MoneyBackSince, Period, Rule
from orchestrator.domain.services import Cancellation, CancellationKind, Service
from orchestrator.domain.terms import Terms

_DAY = timedelta(days=1)
CONFIRMATION = "confirmation"
DATE = "date"
SAY_WHEN = "an operator says when: service cancel SERVICE --why TEXT --on DATE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Leave:
    """``at`` None: nothing ends by itself, and ``needs`` says what for: the customer's ``confirmation`` or a ``date``.

    ``why`` is a sentence for people, ``clause`` what it follows from ('' where it is an operator's word alone).
    """

    at: datetime | None
    why: str
    clause: str = ""
    needs: str = ""


def leave(service: Service, terms: Terms) -> Leave | None:
    """What a cancellation comes to; None where nobody cancelled."""
    asked = service.cancellation
    if asked is None:
        return None
    rule = _rule(asked.kind, terms)
    clause = "" if rule is None else rule.clause
    if _unconfirmed(asked, terms):
        return Leave(at=None, why="it waits for the customer's confirmation", clause=clause, needs=CONFIRMATION)
    if asked.at is not None:
        return Leave(at=asked.at, why="on the day that an operator gave", clause=clause)
    match asked.kind:
        case CancellationKind.MONEY_BACK:
            return Leave(
                at=max(asked.confirmed_at or asked.asked_at, asked.asked_at),
                why="at once, and the money is given back",
                clause=clause,
            )
        case CancellationKind.WITHOUT_CAUSE:
            return _without_cause(asked, service, terms)
        case CancellationKind.CUSTOMER:
            return _by_customer(asked, service, terms)


def effective(service: Service, terms: Terms) -> datetime | None:
    """When the service ends because it was cancelled; None where nobody cancelled, and where it is not known yet."""
    found = leave(service, terms)
    return None if found is None else found.at


def settles(service: Service, terms: Terms, since: datetime) -> bool:
    """Whether what is unpaid from ``since`` on lies after the end of a cancelled service, so that it is no debt."""
    end = effective(service, terms)
    return end is not None and since >= end


def minimum_end(service: Service, terms: Terms) -> datetime | None:
    """Until when the minimum term runs; None where there is none, or where it is not known since when the service runs."""
    rule = terms.policy.minimum_term
    if rule is None or terms.kind not in rule.months or service.activated_at is None:
        return None
    return terms.calendar.add_months(service.activated_at, rule.months[terms.kind])


def money_back_window(service: Service, terms: Terms) -> tuple[datetime, datetime] | None:
    """Since when and until when the money is given back; None where it never is, or where the beginning is not known."""
    rule = terms.policy.money_back
    if rule is None or (rule.kinds and terms.kind not in rule.kinds):
        return None
    since = service.activated_at if rule.since == MoneyBackSince.ACTIVATION else service.purchased_at
    return None if since is None else (since, terms.calendar.add(since, rule.within))


def _rule(kind: CancellationKind, terms: Terms) -> Rule | None:
    match kind:
        case CancellationKind.CUSTOMER:
            return terms.policy.cancellation
        case CancellationKind.WITHOUT_CAUSE:
            return terms.policy.ending_without_cause
        case CancellationKind.MONEY_BACK:
            return terms.policy.money_back


def _unconfirmed(asked: Cancellation, terms: Terms) -> bool:
    """The contract's own clause on ending it without cause asks for no confirmation."""
    rule = terms.policy.cancellation
    if rule is None or asked.confirmed_at is not None or asked.kind == CancellationKind.WITHOUT_CAUSE:
        return False
    return rule.needs_confirmation or rule.effect == CancellationEffect.CONFIRMED


def _unknown(why: str, rule: Rule | None) -> Leave:
    return Leave(at=None, why=f"{why}: {SAY_WHEN}", clause="" if rule is None else rule.clause, needs=DATE)


def _without_cause(asked: Cancellation, service: Service, terms: Terms) -> Leave:
    rule = terms.policy.ending_without_cause
    if rule is None:
        return _unknown(f"policy {terms.policy.name} says nothing of ending without cause", None)
    if _minimum_unknown(service, terms):
        return _unknown("it is not known when its minimum term began", rule)
    notice = terms.calendar.add(asked.asked_at, rule.notice)
    at = _not_before(notice, service, terms)
    why = f"{rule.notice} after the notice" if at == notice else f"at the end of its term, which is later than {rule.notice}"
    return Leave(at=at, why=why, clause=rule.clause)


def _by_customer(asked: Cancellation, service: Service, terms: Terms) -> Leave:
    rule = terms.policy.cancellation
    if rule is None:
        return _unknown(f"policy {terms.policy.name} says nothing of cancellations", None)
    if rule.effect is None:
        return _unknown("its policy gives no date", rule)
    if _minimum_unknown(service, terms):
        return _unknown("it is not known when its minimum term began", rule)
    # What has to be confirmed counts from then on, also for the notice.
    counts = asked.confirmed_at if rule.needs_confirmation and asked.confirmed_at is not None else asked.asked_at
    if rule.effect == CancellationEffect.CONFIRMED:
        confirmed = max(asked.confirmed_at or asked.asked_at, asked.asked_at)
        return _named(confirmed, "as soon as the customer confirmed it", service, terms, rule)
    return _at_period_end(asked, max(counts, asked.asked_at), service, terms, rule)


def _at_period_end(asked: Cancellation, counts: datetime, service: Service, terms: Terms, rule: CancellationRule) -> Leave:
    late = False
    for end in _period_ends(asked, counts, service, terms):
        if rule.notice is None or counts <= terms.calendar.subtract(end, rule.notice):
            why = "at the end of the period"
            if late:
                why = f"at the end of the next period: it was asked for later than {rule.notice} before the end of this one"
            found, period = _named(end, why, service, terms, rule), terms.policy.billing_period
            reckoned = period is not None and found.at == end != asked.paid_until
            return replace(found, clause=f"{found.clause}; {period.clause}") if reckoned and period is not None else found
        late = True
    return _unknown("it is not known when the period ends", rule)


def _named(at: datetime, why: str, service: Service, terms: Terms, rule: Rule) -> Leave:
    """``at``, unless the minimum term or what is paid for says later."""
    later = _not_before(at, service, terms)
    if later == at:
        return Leave(at=at, why=why, clause=rule.clause)
    if later == minimum_end(service, terms) and terms.policy.minimum_term is not None:
        return Leave(at=later, why="at the end of the minimum term", clause=f"{rule.clause}; {terms.policy.minimum_term.clause}")
    return Leave(at=later, why="at the end of what is paid for", clause=rule.clause)


def _minimum_unknown(service: Service, terms: Terms) -> bool:
    rule = terms.policy.minimum_term
    return rule is not None and terms.kind in rule.months and service.activated_at is None


def _not_before(at: datetime, service: Service, terms: Terms) -> datetime:
    return max(moment for moment in (at, minimum_end(service, terms), service.paid_until) if moment is not None)


# -- periods ------------------------------------------------------------------


def _period_ends(asked: Cancellation, counts: datetime, service: Service, terms: Terms) -> Iterator[datetime]:
    """The ends of the period in which ``counts`` lies and of those after it, as far as they are known.

    By what was paid for when the cancellation came to count: what is paid afterwards moves nothing earlier.
    """
    end = asked.paid_until
    if end is None or end <= counts:
        end = _reckoned(counts, service, terms)
    while end is not None:
        yield end
        end = _following(end, service, terms)


def _reckoned(counts: datetime, service: Service, terms: Terms) -> datetime | None:
    """The end of the period as the policy reckons it."""
    rule = terms.policy.billing_period
    if rule is None:
        return None
    if rule.period == Period.CALENDAR_MONTH:
        return terms.calendar.month(counts)[1]
    first = _first_day(service)
    return None if first is None else terms.calendar.term(first, max(counts, first))[1]


def _following(end: datetime, service: Service, terms: Terms) -> datetime | None:
    """The end of the period after the one that ends at ``end``; None where the policy does not say how long one is."""
    rule, calendar = terms.policy.billing_period, terms.calendar
    if rule is None:
        return None
    if rule.period == Period.CALENDAR_MONTH:
        following = calendar.month(end)[1]
        # Some say the last second of a month for its end.
        return calendar.month(following)[1] if following - end <= _DAY else following
    first, day = _first_day(service), calendar.day(end)
    if first is not None:
        number = _months_between(calendar.day(first).year, calendar.day(first).month, day.year, day.month)
        if calendar.day(calendar.anniversary(first, number)) == day:
            return calendar.add(end, Days((calendar.day(calendar.anniversary(first, number + 1)) - day).days))
    if day.day == monthrange(day.year, day.month)[1]:  # from a last day to a last day: never too early
        year, month = divmod(day.year * 12 + day.month, 12)
        return calendar.add(end, Days(monthrange(year, month + 1)[1]))
    return calendar.add_months(end, 1)


def _first_day(service: Service) -> datetime | None:
    return service.activated_at or service.purchased_at


def _months_between(from_year: int, from_month: int, year: int, month: int) -> int:
    return (year - from_year) * 12 + month - from_month
