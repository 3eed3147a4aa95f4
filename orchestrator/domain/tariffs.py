"""What a plan costs beside its invoices, and since when it said so.

Pure. A charge goes by what the plan said while it was used, not by what it says when it is charged: what a plan says later, and
what its policy's text charges later, is asked of nobody for what is past. Amounts are whole rupiah, times aware UTC.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from orchestrator.domain.policies import Policy

ALWAYS = datetime.min.replace(tzinfo=UTC)
_HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Prices:
    """What the service's plan costs beside its invoices, in whole rupiah: a GB over its traffic (``traffic_bytes`` a month, None:
    as much as one likes), an hour. 0 = nothing."""

    traffic_bytes: int | None = None
    traffic_over_per_gb: int = 0
    per_hour: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Tariff:
    """What a plan and the text that it refers to charge together, from ``since`` until the next one takes its place.

    ``traffic_bytes`` None and ``per_hour`` 0: nothing is charged for that, because the plan has no price or the text no clause.
    """

    since: datetime
    policy: str
    traffic_bytes: int | None = None
    traffic_over_per_gb: int = 0
    traffic_clause: str = ""
    per_hour: int = 0
    minimum_hours: int = 0
    hourly_clause: str = ""

    @property
    def charges(self) -> bool:
        """It charges anything."""
        return self.traffic_bytes is not None or self.per_hour > 0


def tariff(policy: Policy, prices: Prices, *, since: datetime = ALWAYS) -> Tariff:
    """What these prices and this text come to."""
    found = Tariff(since=since, policy=policy.name)
    if policy.traffic is not None and prices.traffic_bytes is not None and prices.traffic_over_per_gb:
        found = replace(
            found,
            traffic_bytes=prices.traffic_bytes,
            traffic_over_per_gb=prices.traffic_over_per_gb,
            traffic_clause=policy.traffic.clause,
        )
    if policy.hourly is not None and prices.per_hour:
        found = replace(
            found,
            per_hour=prices.per_hour,
            minimum_hours=policy.hourly.minimum_hours,
            hourly_clause=policy.hourly.clause,
        )
    return found


def followed(known: tuple[Tariff, ...], new: Tariff) -> tuple[Tariff, ...]:
    """The tariffs with ``new`` as the one that holds now; the same where it says nothing new. A clock that went back puts none
    before another."""
    last = known[-1] if known else None
    if last is not None and replace(new, since=last.since) == last:
        return known
    return (*known, new if last is None else replace(new, since=max(new.since, last.since)))


def mildest(known: tuple[Tariff, ...], begin: datetime, end: datetime) -> Tariff | None:
    """By what the traffic from ``begin`` to ``end`` is charged: the largest allowance and the lowest price of all that stood in
    that time. None where one of them charged none, and where the plan was not known yet."""
    following = [*(each.since for each in known[1:]), None]
    stood = [
        each
        for each, until in zip(known, following, strict=True)
        if each.since < end and (until is None or until > max(begin, each.since))
    ]
    allowances = [each.traffic_bytes for each in stood if each.traffic_bytes is not None]
    if not stood or len(allowances) < len(stood):
        return None
    price = min(each.traffic_over_per_gb for each in stood)
    return replace(stood[-1], traffic_bytes=max(allowances), traffic_over_per_gb=price)


def least_allowance(known: tuple[Tariff, ...]) -> int | None:
    """Below this no month of any tariff is charged; None where none charges any."""
    return min((each.traffic_bytes for each in known if each.traffic_bytes is not None), default=None)


def by_the_hour(known: tuple[Tariff, ...], begin: datetime, end: datetime) -> tuple[tuple[Tariff, int], ...]:
    """How many of the started hours from ``begin`` to ``end`` each tariff charges: each hour is that of the tariff in which it
    began, and what is missing to the minimum that of the last. Empty where the plan was not known when it ended.

    Hours before the first that is known of the plan count as begun in that.
    """
    if not known or end < known[0].since:
        return ()
    used = -(-max(end - begin, timedelta(0)) // _HOUR)
    # So many of the hours had begun when each of them came.
    begun = [0, *(min(max(-(-(each.since - begin) // _HOUR), 0), used) for each in known[1:]), used]
    counts = [after - before for before, after in pairwise(begun)]
    last = max((at for at, count in enumerate(counts) if count), default=0)
    if not used:
        last = max((at for at, each in enumerate(known) if each.since <= begin), default=0)
    counts[last] += max(known[last].minimum_hours - used, 0)
    return tuple((each, count) for each, count in zip(known, counts, strict=True) if count and each.per_hour)
