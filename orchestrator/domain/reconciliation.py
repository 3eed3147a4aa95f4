"""Billing's own list of services against our records: where they differ, and which difference a payment explains.

Pure. A list says what billing knows now; it replaces no event. Only one difference is mended: billing says that a service is paid
further than we know, so a payment was lost on its way, and it is counted as if it had come. Everything else is told to a person:
no list moves ``paid_until`` back, suspends or terminates.

Times are aware datetimes in UTC.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from orchestrator.domain.events import Event, EventType
from orchestrator.domain.lapsing import revivable
from orchestrator.domain.services import Lifecycle, Service


class BillingState(StrEnum):
    """What a billing system calls the state of a service."""

    PENDING = "pending"
    ACTIVE = "active"
    SUSPENDED = "suspended"
    TERMINATED = "terminated"
    CANCELLED = "cancelled"


class Kind(StrEnum):
    """How billing and we differ. In the order in which they are told: what is mended comes first."""

    PAID_FURTHER = "paid-further"
    PAID_LESS = "paid-less"
    STATE = "state"
    UNKNOWN_HERE = "unknown-here"
    NOT_IN_LIST = "not-in-list"


# Here nothing is left that billing could have forgotten.
OVER = frozenset({Lifecycle.ERASED, Lifecycle.CANCELLED})
# What billing has put behind it.
CLOSED = frozenset({BillingState.TERMINATED, BillingState.CANCELLED})
_ENDED = frozenset({Lifecycle.TERMINATING, Lifecycle.ARCHIVED, Lifecycle.ERASED, Lifecycle.CANCELLED})
_UNMADE = frozenset({Lifecycle.ORDERED, Lifecycle.PROVISIONING, Lifecycle.FAILED})
_AGREES: Mapping[BillingState, frozenset[Lifecycle]] = {
    BillingState.PENDING: _UNMADE,
    BillingState.ACTIVE: frozenset({Lifecycle.PROVISIONING, Lifecycle.ACTIVE}),
    BillingState.SUSPENDED: frozenset({Lifecycle.PROVISIONING, Lifecycle.ACTIVE}),
    BillingState.TERMINATED: _ENDED,
    BillingState.CANCELLED: _ENDED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One row of the list. ``paid_until``: None where billing has no payment of it."""

    service_id: str
    paid_until: datetime | None
    state: BillingState


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Where they differ: what we know (``ours``) and what billing says (``theirs``); '' = nothing."""

    kind: Kind
    service_id: str
    ours: str
    theirs: str

    @property
    def mends(self) -> bool:
        """Whether it is mended by itself."""
        return self.kind == Kind.PAID_FURTHER


@dataclass(frozen=True, slots=True, kw_only=True)
class BillingList:
    """The list as it was given. ``name`` says where it came from; ``sha256`` is of its bytes."""

    name: str
    sha256: str
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mended:
    """What became of the payment that a difference showed to be lost; ``outcome`` is an event's."""

    outcome: str
    job_id: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciled:
    """Every difference with what became of it (None where nothing is mended).

    ``terminations``: '' where none waited, else a sentence on whether they wait still; ``releases``: that they do not.
    """

    compared: int
    found: tuple[tuple[Difference, Mended | None], ...]
    terminations: str = ""
    releases: bool = False


def compare(services: Iterable[Service], entries: Iterable[Entry]) -> tuple[Difference, ...]:
    """Every difference between our services and the whole list, by kind and then by service.

    A service is in ``entries`` once at most; who reads the list sees to that.
    """
    listed = {entry.service_id: entry for entry in entries}
    found: list[Difference] = []
    for service in services:
        found.extend(differences(service, listed.pop(service.id, None)))
    for entry in listed.values():
        found.extend(differences(None, entry))
    order = list(Kind)
    return tuple(sorted(found, key=lambda one: (order.index(one.kind), one.service_id)))


def differences(service: Service | None, entry: Entry | None) -> tuple[Difference, ...]:
    """The differences of one service; None where that side does not know it."""
    if service is None:
        return _only_theirs(entry) if entry is not None else ()
    if entry is None:
        return _only_ours(service)
    found = []
    if paid_further(service, entry):
        found.append(_difference(Kind.PAID_FURTHER, service, _moment(service.paid_until), _moment(entry.paid_until)))
    elif _paid_less(service, entry):
        found.append(_difference(Kind.PAID_LESS, service, _moment(service.paid_until), _moment(entry.paid_until)))
    if not _same_state(service, entry.state):
        found.append(_difference(Kind.STATE, service, state_words(service), entry.state.value))
    return tuple(found)


def paid_further(service: Service, entry: Entry) -> bool:
    """Whether billing says that it is paid further than we know: a payment was lost. An order that lapsed, and that billing has
    put behind it as well, is over."""
    if revivable(service) and entry.state in CLOSED:
        return False
    return entry.paid_until is not None and (service.paid_until is None or service.paid_until < entry.paid_until)


def payment(service: Service, entry: Entry, *, source: str, event_id: str, now: datetime) -> Event:
    """The event that was lost, as billing would have sent it; its ``source`` and ``event_id`` are those of the list.

    Of an order that billing calls active, also of one that has lapsed, it is the order's own payment, which has the service made.
    """
    ordered = (service.state == Lifecycle.ORDERED or revivable(service)) and entry.state == BillingState.ACTIVE
    return Event(
        source=source,
        id=event_id,
        type=EventType.ORDER_PAID if ordered else EventType.INVOICE_PAID,
        service_id=service.id,
        sent_at=now,
        paid_until=entry.paid_until,
        reason="paid, as billing's list says",
    )


def uncovered(found: Iterable[Difference]) -> int:
    """How many services, of which there still is something to lose, the list says nothing about."""
    return sum(one.kind == Kind.NOT_IN_LIST for one in found)


def state_words(service: Service) -> str:
    """Our state, in words that can be compared with billing's."""
    return f"{service.state}, suspended" if service.stopped else str(service.state)


def _same_state(service: Service, theirs: BillingState) -> bool:
    if service.state not in _AGREES[theirs]:
        return False
    living = theirs in (BillingState.ACTIVE, BillingState.SUSPENDED)
    return not living or service.stopped == (theirs == BillingState.SUSPENDED)


def _paid_less(service: Service, entry: Entry) -> bool:
    """What is over on both sides is not worth a word."""
    if service.paid_until is None or (service.state in OVER and entry.state in CLOSED):
        return False
    return entry.paid_until is None or entry.paid_until < service.paid_until


def _only_ours(service: Service) -> tuple[Difference, ...]:
    return () if service.state in OVER else (_difference(Kind.NOT_IN_LIST, service, state_words(service), ""),)


def _only_theirs(entry: Entry) -> tuple[Difference, ...]:
    if entry.state in CLOSED:
        return ()
    return (Difference(kind=Kind.UNKNOWN_HERE, service_id=entry.service_id, ours="", theirs=entry.state.value),)


def _difference(kind: Kind, service: Service, ours: str, theirs: str) -> Difference:
    return Difference(kind=kind, service_id=service.id, ours=ours, theirs=theirs)


def _moment(moment: datetime | None) -> str:
    return "" if moment is None else moment.isoformat()
