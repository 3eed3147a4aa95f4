"""What a customer owes for an operation, beside what billing invoices by itself.

Pure. Amounts are whole rupiah, a GB is 10^9 bytes and a started one counts whole, as a started hour does. The id of a charge says
what it is for, so that the same occurrence never makes a second one, whatever is repeated or comes in another order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from orchestrator.domain.calendar import Calendar
from orchestrator.domain.intents import Refusal
from orchestrator.domain.services import Service, Traffic
from orchestrator.domain.sizes import compared, size_words
from orchestrator.domain.tariffs import Tariff, by_the_hour, least_allowance, mildest
from orchestrator.domain.terms import Terms

GB = 10**9
# So many months of traffic a service's record knows; what is told of an earlier one comes too late.
MONTHS_KEPT = 24
_DAY = timedelta(days=1)


class ChargeKind(StrEnum):
    REACTIVATION = "reactivation"
    TRAFFIC = "traffic"
    HOURS = "hours"
    RESTORE = "restore"
    MIGRATION = "migration"


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """``quantity``: of what is counted, gigabytes or hours; 1 where nothing is. ``amount`` is for all of it."""

    id: str
    service_id: str
    kind: ChargeKind
    amount: int
    quantity: int
    reason: str
    clause: str
    policy: str


@dataclass(frozen=True, slots=True)
class Free:
    """Nothing is charged, and why."""

    reason: str


def rupiah(amount: int) -> str:
    """``Rp 100,000``."""
    return f"Rp {amount:,}"


def gigabytes(count: int) -> int:
    """Started ones, of so many bytes."""
    return -(-max(count, 0) // GB)


def reactivation(service_id: str, suspended_at: datetime, terms: Terms, *, why: str) -> Charge | None:
    """The fee for coming back after a suspension, or a termination, of that moment; None where the text has none for the kind."""
    rule = terms.policy.reactivation.fees
    if rule is None or not rule.kinds.get(terms.kind):
        return None
    return Charge(
        id=f"{service_id}.reactivation.{suspended_at.astimezone(UTC):%Y%m%dT%H%M%SZ}",
        service_id=service_id,
        kind=ChargeKind.REACTIVATION,
        amount=rule.kinds[terms.kind],
        quantity=1,
        reason=why,
        clause=rule.clause,
        policy=terms.policy.name,
    )


# -- traffic ------------------------------------------------------------------------------------------------


def with_traffic(service: Service, *, period: str, total: int, calendar: Calendar, now: datetime) -> tuple[Service, str]:
    """The record with what was told of a month ("2026-11"), and a sentence. The largest total counts."""
    if _start(calendar, period) > now + _DAY:
        return service, f"{period} has not begun: its traffic is not noted"
    known = {month.period: month for month in service.traffic}
    if period not in known and len(known) >= MONTHS_KEPT and period < min(known):
        return service, f"{period} is too long ago: its traffic is not noted"
    month = known.get(period, Traffic(period, 0))
    known[period] = replace(month, bytes=max(month.bytes, total))
    kept = tuple(known[name] for name in sorted(known)[-MONTHS_KEPT:])
    largest = size_words(known[period].bytes)
    return replace(service, traffic=kept), f"the traffic of {period} is noted; {largest} is the largest total"


def with_metered(service: Service, metered: Mapping[str, int], *, terms: Terms, now: datetime) -> Service:
    """The record with what a node counted of each month, where it may be charged for: a gigabyte more was begun beyond the
    least that any plan of it included. Of all else the record need not know, and is left alone."""
    least = least_allowance(terms.costs)
    for period, total in sorted(metered.items()) if least is not None else ():
        noted = next((month.bytes for month in service.traffic if month.period == period), 0)
        if least is not None and total > least and gigabytes(total) > gigabytes(noted):
            service, _ = with_traffic(service, period=period, total=total, calendar=terms.calendar, now=now)
    return service


def month_end(calendar: Calendar, period: str) -> datetime:
    """The first moment after the month, in the provider's zone."""
    return calendar.month(_start(calendar, period))[1]


def _start(calendar: Calendar, period: str) -> datetime:
    year, month = (int(part) for part in period.split("-"))
    return calendar.start(datetime(year, month, 1, tzinfo=UTC).date())


def traffic_tariff(month: Traffic, terms: Terms) -> Tariff | None:
    """By what the month is charged: what its plan said in it, the mildest where that was changed. None: it costs nothing."""
    least = least_allowance(terms.costs)
    if least is None or month.bytes <= least:
        return None
    return mildest(terms.costs, *terms.calendar.month(_start(terms.calendar, month.period)))


def traffic_over(month: Traffic, terms: Terms) -> int:
    """Started gigabytes over the plan's allowance that are not charged yet; 0 where the plan or the text charged none."""
    return _over(month, traffic_tariff(month, terms))


def _over(month: Traffic, by: Tariff | None) -> int:
    if by is None or by.traffic_bytes is None:
        return 0
    return max(gigabytes(month.bytes - by.traffic_bytes) - month.charged_gb, 0)


def traffic(service: Service, period: str, terms: Terms) -> tuple[Service, Charge | None]:
    """The charge of what the month is over and was not charged for, and the record that knows of it.

    A later and larger total makes one for the difference, under an id of its own: up to which gigabyte it goes.
    """
    month = next((each for each in service.traffic if each.period == period), None)
    by = None if month is None else traffic_tariff(month, terms)
    more = 0 if month is None else _over(month, by)
    if month is None or by is None or not more:
        return service, None
    up_to = month.charged_gb + more
    charged = replace(month, charged_gb=up_to)
    record = replace(service, traffic=tuple(charged if each is month else each for each in service.traffic))
    price = by.traffic_over_per_gb
    charge = Charge(
        id=f"{service.id}.traffic.{period}" + (f".{up_to}" if month.charged_gb else ""),
        service_id=service.id,
        kind=ChargeKind.TRAFFIC,
        amount=more * price,
        quantity=more,
        reason=f"{more:,} GB{' more' if month.charged_gb else ''} over the plan's traffic in {period}, {rupiah(price)} each",
        clause=by.traffic_clause,
        policy=by.policy,
    )
    return record, charge


# -- hours ------------------------------------------------------------------------------------------------


def hours(service: Service, terms: Terms) -> Charge | None:
    """What an ended service by the hour cost: started hours from its activation to its end, at least the rule's minimum, each by
    what its plan said when it began.

    Once for each life: one that comes back out of its archive begins another.
    """
    if service.activated_at is None or service.ended_at is None:
        return None
    parts = by_the_hour(terms.costs, service.activated_at, service.ended_at)
    if not parts:
        return None
    since, until = service.activated_at.isoformat(timespec="minutes"), service.ended_at.isoformat(timespec="minutes")
    last, count = parts[-1][0], sum(number for _, number in parts)
    if len(parts) == 1:
        priced = f"{rupiah(last.per_hour)} each"
    else:
        priced = " and ".join(f"{number:,} at {rupiah(each.per_hour)}" for each, number in parts)
    return Charge(
        id=f"{service.id}.hours.{service.activated_at.astimezone(UTC):%Y%m%dT%H%M%SZ}",
        service_id=service.id,
        kind=ChargeKind.HOURS,
        amount=sum(number * each.per_hour for each, number in parts),
        quantity=count,
        reason=f"{count:,} started hours from {since} to {until}, {priced}",
        clause=last.hourly_clause,
        policy=last.policy,
    )


# -- moving in ------------------------------------------------------------------------------------------------


def migration_terms(terms: Terms, *, request_id: str, service_id: str, size_bytes: int, pay: bool) -> Charge | Free | Refusal:
    """Whether what moves in, of so many bytes unpacked, is free, costs something (``pay``: it may), or is refused."""
    rule = terms.policy.migration
    if rule is None:
        return Free("the policy says nothing of moving in")
    if rule.free_bytes is None:
        return Free(f"moving in is free [{terms.cite(rule)}]")
    moves, free = compared(size_bytes, rule.free_bytes)
    if size_bytes <= rule.free_bytes:
        return Free(f"{moves} of {free} that are free [{terms.cite(rule)}]")
    price = rule.over_per_gb
    beyond = gigabytes(size_bytes - rule.free_bytes)
    if price is None or not pay:
        more = "" if price is None else f"; the {beyond:,} GB beyond cost {rupiah(beyond * price)}: --pay"
        said = f"import refused: {moves} move in, {free} are free, policy {terms.policy.name}{more}"
        return Refusal(reason=said, rule=terms.cite(rule))
    return Charge(
        id=f"{service_id}.migration.{request_id}",
        service_id=service_id,
        kind=ChargeKind.MIGRATION,
        amount=beyond * price,
        quantity=beyond,
        reason=f"{beyond:,} GB moved in beyond {size_words(rule.free_bytes)} that are free, {rupiah(price)} each",
        clause=rule.clause,
        policy=terms.policy.name,
    )


# -- restores ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedRestore:
    """``size_bytes``: of the source. ``id``: the restore's own, from which its charge has its id."""

    id: str
    service_id: str
    size_bytes: int
    at: datetime


def restore_terms(terms: Terms, wanted: WantedRestore, *, used_this_month: int, pay: bool) -> Charge | Free | Refusal:
    """Whether the restore is included, costs something (and ``pay`` says that it may), or is refused.

    ``used_this_month``: restores of the service so far in the calendar month of the provider's zone.
    """
    rule = terms.policy.restore
    if rule is None:
        return Free("the policy counts no restores")
    month = f"{terms.calendar.day(wanted.at):%B %Y}"
    used = f"{used_this_month} of {rule.per_month} used in {month}"
    if used_this_month < rule.per_month:
        return Free(used)
    price = rule.over_per_gb
    if price is None or not pay:
        more = "" if price is None else f"; more at {rupiah(price)} per GB: --pay"
        sentence = f"restore refused: {used}, policy {terms.policy.name}{more}"
        return Refusal(reason=sentence, rule=terms.cite(rule))
    count = gigabytes(wanted.size_bytes)
    return Charge(
        id=f"{wanted.service_id}.restore.{wanted.id}",
        service_id=wanted.service_id,
        kind=ChargeKind.RESTORE,
        amount=count * price,
        quantity=count,
        reason=f"a restore of {count:,} GB beyond {used}, {rupiah(price)} each",
        clause=rule.clause,
        policy=terms.policy.name,
    )
