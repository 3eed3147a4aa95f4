"""Restores, counted by the calendar month of the provider's zone, from what is known of each.

What is over the month's allowance costs the policy's price for each started gigabyte (10^9 bytes) of the snapshot, or is refused.
A restore that failed is given back, and its charge with it. The same request again is the same restore: it counts once, and costs
once, however often it is tried.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from orchestrator.domain.backups.words import Restore, RestoreState
from orchestrator.domain.calendar import Calendar
from orchestrator.domain.charges import Charge, Free, WantedRestore, restore_terms, rupiah
from orchestrator.domain.intents import Refusal
from orchestrator.domain.services import Service
from orchestrator.domain.terms import Terms

RULE_REQUESTS = "requests of restores"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A restore as it is asked for. ``id``: of the request, chosen by who asks; ``pay``: what it costs may be charged.

    ``size_bytes``: of the snapshot.
    """

    id: str
    snapshot_id: str
    size_bytes: int
    asked_by: str
    pay: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Granted:
    """The restore as it is kept, what it costs (None: nothing), and how it counts, for people."""

    restore: Restore
    charge: Charge | None
    why: str


def used(known: Iterable[Restore], calendar: Calendar, at: datetime) -> int:
    """How many restores count in the calendar month of ``at``."""
    first, following = calendar.month(at)
    return sum(1 for each in known if each.state == RestoreState.COUNTED and first <= each.counted_at < following)


def left(known: Iterable[Restore], terms: Terms, at: datetime) -> int | None:
    """How many are still included in the month of ``at``; None where the policy counts none."""
    rule = terms.policy.restore
    return None if rule is None else max(rule.per_month - used(known, terms.calendar, at), 0)


def ask(service: Service, request: Request, known: Iterable[Restore], *, terms: Terms, now: datetime) -> Granted | Refusal:
    """Whether the restore is included, costs something, or is refused. ``known``: all of the service's.

    One that counts already is granted as it was, at no further cost. One that was given back is decided anew, and counts in the
    month in which it is asked for again. A request's id stands for one snapshot.
    """
    known = tuple(known)
    before = next((each for each in known if each.id == request.id), None)
    if before is not None and before.snapshot_id != request.snapshot_id:
        reason = f"restore refused: {request.id} was asked for before, of another snapshot: ask under an id of its own"
        return Refusal(reason=reason, rule=RULE_REQUESTS)
    if before is not None and before.state == RestoreState.COUNTED:
        return Granted(restore=before, charge=None, why="it counts already: it is the same request")
    wanted = WantedRestore(id=request.id, service_id=service.id, size_bytes=request.size_bytes, at=now)
    number = used(known, terms.calendar, now)
    verdict = restore_terms(terms, wanted, used_this_month=number, pay=request.pay)
    if isinstance(verdict, Refusal):
        paid = restore_terms(terms, wanted, used_this_month=number, pay=True)
        this = f" ({rupiah(paid.amount)} for this one)" if isinstance(paid, Charge) else ""
        return replace(verdict, reason=f"{verdict.reason}{this}")
    charge = None if isinstance(verdict, Free) else verdict
    restore = Restore(
        id=request.id,
        service_id=service.id,
        snapshot_id=request.snapshot_id,
        size_bytes=request.size_bytes,
        asked_by=request.asked_by,
        counted_at=now,
        charge_id="" if charge is None else charge.id,
    )
    return Granted(restore=restore, charge=charge, why=verdict.reason)


def given_back(restore: Restore, *, why: str, now: datetime) -> Restore:
    """It failed: it does not count any more. One that was done stays counted, and so does one that was given back before."""
    if restore.state == RestoreState.GIVEN_BACK or restore.done_at is not None:
        return restore
    return replace(restore, state=RestoreState.GIVEN_BACK, given_back_at=now, why=why)


def done(restore: Restore, *, now: datetime) -> Restore:
    """It was done, also where it had failed before: it counts, in the month in which it was asked for."""
    return replace(restore, state=RestoreState.COUNTED, given_back_at=None, why="", done_at=restore.done_at or now)
