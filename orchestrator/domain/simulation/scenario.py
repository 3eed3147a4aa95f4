"""What is simulated: how large, how long, which customers, what kind of network, which outages, and how fast people are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from orchestrator.domain.brakes import BrakeLimits

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
# What the engine's sweep does (engine/due.py); a test holds the two together.
AGAIN = timedelta(minutes=10)
AGAIN_CEILING = timedelta(hours=6)
# How a message to billing that was not taken is posted again (engine/mail.py).
POST_AGAIN = timedelta(seconds=5)
POST_CEILING = timedelta(hours=1)


class Habit(StrEnum):
    """How a customer pays. ``STOPS``: from some invoice on never again. ``ORDERS_ONLY``: not even the order."""

    ON_TIME = "on time"
    LATE = "late"
    STOPS = "stops"
    ORDERS_ONLY = "orders only"
    DISPUTES = "disputes"
    TWICE = "twice"


MOST_ARE_GOOD: Mapping[Habit, float] = {
    Habit.ON_TIME: 0.80,
    Habit.LATE: 0.10,
    Habit.STOPS: 0.04,
    Habit.ORDERS_ONLY: 0.02,
    Habit.DISPUTES: 0.02,
    Habit.TWICE: 0.02,
}


BRAKES = BrakeLimits(suspensions_per_hour=20, terminations_per_hour=5)


@dataclass(frozen=True, slots=True)
class Outage:
    """The controller, or billing, is away from ``start`` until before ``end``."""

    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """What happens to webhooks: chances from 0 to 1. A late one comes up to three days late, a doubled one again within two days.

    ``lost``: it never comes, however often it was sent.
    """

    lost: float = 0.0
    late: float = 0.0
    doubled: float = 0.0
    delay: timedelta = timedelta(seconds=5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """``habits``: the share of each. ``confirm_wait``: so long billing has to answer before a person decides; None: it cannot be
    asked. ``approve_after``: so long a person takes to decide on a job that waits for one. ``unseen``: where billing did not
    confirm a termination the person lets it through without a look into billing's books.

    ``billing_outages``: when billing takes no messages; what it sends itself is sent. ``reconcile_after``: so long after an
    outage somebody compares the records with billing's own list and lets terminations go on. ``invoice_ahead``: so long before
    the due date customers see an invoice.
    """

    services: int
    start: datetime
    days: int = 365
    habits: Mapping[Habit, float] = field(default_factory=lambda: MOST_ARE_GOOD)
    network: Network = Network()
    outages: tuple[Outage, ...] = ()
    billing_outages: tuple[Outage, ...] = ()
    limits: BrakeLimits = BRAKES
    approve_after: timedelta = 4 * HOUR
    confirm_wait: timedelta | None = 3 * DAY
    unseen: bool = False
    reconcile_after: timedelta = 6 * HOUR
    invoice_ahead: timedelta = 7 * DAY
    ordered_within: timedelta = 30 * DAY

    @property
    def end(self) -> datetime:
        return self.start + self.days * DAY

    def up(self, moment: datetime) -> datetime:
        """The moment, or the end of the outage that it lies in."""
        return _after(self.outages, moment)

    def taken(self, moment: datetime) -> datetime:
        """When billing takes a message that is posted from that moment on."""
        moment, wait = self.up(moment), POST_AGAIN
        while _after(self.billing_outages, moment) > moment:
            moment, wait = self.up(moment + wait), min(2 * wait, POST_CEILING)
        return moment


def _after(outages: tuple[Outage, ...], moment: datetime) -> datetime:
    """The moment, or the end of the outage that it lies in. Outages are in order of time and do not overlap."""
    for outage in outages:
        if outage.start <= moment < outage.end:
            return outage.end
    return moment
