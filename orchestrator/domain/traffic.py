"""What went through a guest's network, added up by month out of counters that begin anew, and what follows beyond the allowance.

Pure. Bytes, in and out together where nothing else is said; months ("2026-11") are those of the provider's zone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from orchestrator.domain import charges, holding, usage
from orchestrator.domain.calendar import Calendar
from orchestrator.domain.intents import Intent, IntentKind
from orchestrator.domain.plans import GuestPlan, Plan, lower_rate
from orchestrator.domain.received import Received, Tell
from orchestrator.domain.services import Hold, HoldEffect, HoldReason, Lifecycle, Service
from orchestrator.domain.sizes import compared
from orchestrator.domain.usage import Of, Share

WHO = "metering"
_THROTTLED = "throttled/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """The counters of one guest, from its side. ``run``: one life of theirs, which was ``age_seconds`` old then."""

    name: str
    run: str
    age_seconds: float
    in_bytes: int
    out_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestTraffic:
    """The last reading of a service's guest, and what was counted by month until then.

    ``told``: as ``usage.Metered``; of a month in which it was throttled the allowance, too.
    """

    service_id: str
    node: str
    at: datetime
    run: str
    age_seconds: float
    in_bytes: int
    out_bytes: int
    traffic: Mapping[str, int] = field(default_factory=dict)
    told: Mapping[str, int] = field(default_factory=dict)


def added(
    before: GuestTraffic | None, reading: Reading, *, service_id: str, node: str, calendar: Calendar, now: datetime
) -> GuestTraffic:
    """The totals with what the reading says more than the one before it; all of that is of the month of ``now``.

    In the same run that is the difference, and of a counter that went back all that it says; in another run all of it. A reading
    that is older than the one before says nothing. What a guest had counted in earlier months when it was first read is nobody's.
    """
    month = usage.month_of(now, calendar)
    same = before is not None and before.run == reading.run
    if before is not None and same and reading.age_seconds < before.age_seconds:
        return before
    if before is not None and same:
        more = _more(before.in_bytes, reading.in_bytes) + _more(before.out_bytes, reading.out_bytes)
    elif before is None and now - timedelta(seconds=reading.age_seconds) < calendar.month(now)[0]:
        more = 0
    else:
        more = reading.in_bytes + reading.out_bytes
    months = dict(before.traffic) if before is not None else {}
    months[month] = months.get(month, 0) + more
    return GuestTraffic(
        service_id=service_id,
        node=node,
        at=now,
        run=reading.run,
        age_seconds=reading.age_seconds,
        in_bytes=reading.in_bytes,
        out_bytes=reading.out_bytes,
        traffic=dict(sorted(months.items())[-charges.MONTHS_KEPT :]),
        told={} if before is None else before.told,
    )


def _more(before: int, now: int) -> int:
    return now - before if now >= before else now


def share(counted: GuestTraffic, plan: Plan, month: str) -> Share | None:
    """How much of the plan's traffic is used; None where it sells as much as one likes."""
    return None if plan.traffic_bytes is None else Share(Of.TRAFFIC, counted.traffic.get(month, 0), plan.traffic_bytes)


def notices(counted: GuestTraffic, found: Share | None, month: str) -> tuple[GuestTraffic, tuple[Tell, ...]]:
    """As ``usage.notices``."""
    if found is None:
        return counted, ()
    told, tells = usage.tells_of(counted.told, (found,), month=month, at=counted.at)
    return replace(counted, told=told), tells


Decided = tuple[GuestTraffic, Received | None]


# -- beyond the allowance ------------------------------------------------------------------------------------------------


def over_rate(service: Service, plan: GuestPlan) -> int:
    """Bytes a second that a guest keeps which is throttled for its traffic; 0 = it is not."""
    return (
        lower_rate(plan.traffic_over_bytes_per_second, plan.network_bytes_per_second)
        if ours(service) and plan.traffic_over_bytes_per_second
        else 0
    )


def ours(service: Service) -> Hold | None:
    """The hold that throttles it for its traffic."""
    hold = service.hold(HoldReason.QUOTA)
    return hold if hold is not None and hold.by == WHO and hold.effect == HoldEffect.LIMIT else None


def throttled(service: Service, counted: GuestTraffic, plan: Plan, *, calendar: Calendar, now: datetime) -> Decided:
    """What is decided about the guest's rate, None = nothing, and what is kept of that.

    Beyond the allowance it is throttled once, until the month ends: who lifts that meanwhile has the last word, unless the
    allowance becomes another. A limit of another kind goes before it.
    """
    month = usage.month_of(now, calendar)
    found = share(counted, plan, month)
    over = isinstance(plan, GuestPlan) and plan.traffic_over_bytes_per_second > 0 and found is not None and found.gone
    hold, mark = ours(service), f"{_THROTTLED}{month}"
    others = tuple(reason for reason in service.limit_reasons if hold is None or reason != hold.reason.value)
    known = {name: value for name, value in counted.told.items() if name == mark or not name.startswith(_THROTTLED)}
    counted = replace(counted, told=known)
    if hold is not None and not over:
        why = "the traffic of its plan is not used up"
        return counted, holding.lift_hold(service, HoldReason.QUOTA, who=WHO, why=why)
    if hold is not None and others:
        known.pop(mark, None)
        return replace(counted, told=known), _give_way(service, others)
    if found is None or not over or hold is not None or others or known.get(mark) == found.sold:
        return counted, None
    if service.state != Lifecycle.ACTIVE or service.hold(HoldReason.QUOTA) is not None:
        return counted, None
    why = "{} of {} of traffic are used in {}".format(*compared(found.used, found.sold), month)
    until = charges.month_end(calendar, month)
    new = Hold(reason=HoldReason.QUOTA, effect=HoldEffect.LIMIT, by=WHO, why=why, since=now, until=until)
    return replace(counted, told=known | {mark: found.sold}), holding.set_hold(service, new)


def _give_way(service: Service, others: tuple[str, ...]) -> Received:
    """The guest gets the rate of the other limit: nothing else would, for it is throttled already."""
    record = service.without_hold(HoldReason.QUOTA)
    why = f"it is limited for {', '.join(others)} besides its traffic"
    arguments: dict[str, object] = {"reason": others[0], "limits": others, "adds": False}
    return Received(service=record, decision=Intent.on(IntentKind.LIMIT, record, reason=why, who=WHO, arguments=arguments))
