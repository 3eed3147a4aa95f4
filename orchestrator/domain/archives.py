"""The archive of a terminated service: whether one is kept, until when, and what brings it back or erases it.

Pure. Herza, "Biaya Aktivasi Kembali": a copy of the data files for so many days after the server was cut off; zettagrid, 5.3.3:
all is erased no later than so long after the cancellation. Times are aware UTC.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from orchestrator.domain import leaving
from orchestrator.domain.calendar import Days
from orchestrator.domain.intents import RULE_HOLDS, RULE_LIFECYCLE, Intent, IntentKind, Nothing, Refusal
from orchestrator.domain.policies import EraseSince, LatePaymentEffect
from orchestrator.domain.services import Cause, HoldReason, Lifecycle, Service, transition
from orchestrator.domain.terms import Terms

KEEPS = "archive"
"""The argument of a termination's job that has an archive kept before anything is destroyed."""


def kept_for(terms: Terms) -> Days | None:
    """For how long an archive is kept after a termination; None where none is promised for this kind of service."""
    rule, erase = terms.policy.archive, terms.policy.erase
    if rule is None or (erase is not None and not erase.within.count):
        return None
    return rule.keep.get(terms.kind)


def keeping(terms: Terms) -> Mapping[str, object]:
    """The arguments of a termination's job by these terms."""
    return {} if kept_for(terms) is None else {KEEPS: True}


def erase_by(service: Service, terms: Terms) -> datetime | None:
    """The latest moment at which the data of a service that was cancelled or terminated is to be erased; None where none is
    promised, where it runs on, and where nothing is left of it."""
    if service.state in (Lifecycle.ERASED, Lifecycle.CANCELLED):
        return None
    return erase_after(service.archived_at, service, terms)


def erase_after(terminated_at: datetime | None, service: Service, terms: Terms) -> datetime | None:
    """As ``erase_by``, for a service that was, or would be, terminated at ``terminated_at``; None: it is not yet.

    From a cancellation it counts from when that takes effect, or from the termination where that came before.
    """
    rule = terms.policy.erase
    if rule is None:
        return None
    left = leaving.effective(service, terms) if rule.since == EraseSince.CANCELLATION else None
    since = min((moment for moment in (terminated_at, left) if moment is not None), default=None)
    return None if since is None else terms.calendar.add(since, rule.within)


def kept_until(terminated_at: datetime, service: Service, terms: Terms) -> datetime | None:
    """When the archive of a service that is terminated at ``terminated_at`` ends; None where the terms set it no end.

    The earlier of what the archive is promised for and of the day by which everything is erased.
    """
    days = kept_for(terms)
    promised = None if days is None else terms.calendar.add(terminated_at, days)
    ends = [end for end in (promised, erase_after(terminated_at, service, terms)) if end is not None]
    return min(ends, default=None)


def archive_until(service: Service, terms: Terms) -> datetime | None:
    """When the archive of an archived service ends; None where there is none, or where the terms set it no end."""
    if service.state != Lifecycle.ARCHIVED or service.archived_at is None:
        return None
    return kept_until(service.archived_at, service, terms)


def brings_back(service: Service, terms: Terms) -> bool:
    """Whether a payment brings the service back: its archive is whole, and the policy says so."""
    rule = terms.policy.late_payment
    promised = rule is not None and rule.what == LatePaymentEffect.FROM_ARCHIVE
    return promised and service.state == Lifecycle.ARCHIVED and service.point_of_no_return is None


def will_bring_back(service: Service, terms: Terms) -> bool:
    """Whether a payment during the termination, too late to stop it, brings the service back when that has ended."""
    rule = terms.policy.late_payment
    promised = rule is not None and rule.what == LatePaymentEffect.FROM_ARCHIVE
    return promised and service.state == Lifecycle.TERMINATING and kept_for(terms) is not None


def settled(service: Service, *, since: datetime) -> bool:
    """Whether a payment stands that was not taken back, or a dispute was won after ``since``."""
    if service.charged_back_at is not None:
        return False
    return service.paid_at is not None or (service.settled_at is not None and service.settled_at > since)


def reactivate(service: Service, *, reason: str, who: str) -> tuple[Service, Intent | Refusal]:
    """Bring it back out of its archive; what it owed is settled, or somebody says so."""
    if service.state != Lifecycle.ARCHIVED:
        return service, Refusal(
            reason=f"it is {service.state}: only an archived service can be brought back", rule=RULE_LIFECYCLE
        )
    if service.point_of_no_return is not None:
        return service, Refusal(reason="its archive is being erased, or was", rule=RULE_LIFECYCLE)
    record = service.without_hold(HoldReason.NONPAYMENT)
    return record, Intent.on(IntentKind.REACTIVATE, record, reason=reason, who=who)


def asks(service: Service) -> str:
    """Why an operator has to agree before a payment brings it back: it would come back only to be stopped again."""
    return f"it is held for {', '.join(service.stop_reasons)}" if service.stopped else ""


def erase(service: Service, *, reason: str, who: str) -> Intent | Nothing | Refusal:
    """Destroy the archive."""
    if service.state == Lifecycle.ERASED:
        return Nothing(reason="it is erased already")
    if service.state != Lifecycle.ARCHIVED:
        return Refusal(reason=f"it is {service.state}: there is no archive to erase", rule=RULE_LIFECYCLE)
    if not service.erasable:
        return Refusal(reason="a hold forbids to destroy its archive", rule=RULE_HOLDS)
    if service.debt_disputed:
        return Refusal(reason="the debt for which it was terminated is disputed: the verdict comes first", rule=RULE_HOLDS)
    return Intent.on(IntentKind.ERASE, service, reason=reason, who=who)


def not_again(service: Service, terms: Terms) -> str:
    """Why an archived service is not terminated once more: its archive ends by its policy, and not before."""
    end = archive_until(service, terms)
    if end is None:
        return "it is archived: its erasure follows its policy, which sets it no end (`archive` and `erase` do)"
    return f"it is archived: its erasure follows its policy, at {end.isoformat(timespec='minutes')}"


def archived(service: Service, *, now: datetime) -> Service:
    """The record as a termination leaves it that kept an archive.

    The data is there, so that the point of no return begins anew; who might log in is needed again if it comes back.
    """
    state = transition(service.state, Cause.ARCHIVE_KEPT)
    service = replace(service, suspension_proven_at=None, limited_proven_at=None, point_of_no_return=None)
    return replace(service, state=state, archived_at=now, ended_at=now)


def paid_meanwhile(service: Service, terms: Terms, *, payments: int) -> Intent | None:
    """What is left to do when a job has ended and the service is archived: a payment came while it ran, too late to stop a
    termination that kept an archive.

    ``payments``: the count at which the job was decided.
    """
    if service.payments <= payments or not brings_back(service, terms):
        return None
    _, decided = reactivate(service, reason="it was paid for meanwhile", who="orchestrator")
    return decided if isinstance(decided, Intent) else None
