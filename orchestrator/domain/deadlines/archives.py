"""What falls due for a service of which an archive is kept: that it is erased."""

from __future__ import annotations

from collections.abc import Iterator

from orchestrator.domain.archives import archive_until, brings_back, erase_by, kept_for
from orchestrator.domain.deadlines.words import Action, Deadline
from orchestrator.domain.services import Lifecycle, Service
from orchestrator.domain.terms import Terms


def of_archive(service: Service, terms: Terms) -> Iterator[Deadline]:
    """At the end of the days for which it is kept, or of those within which everything is erased. One that was paid for since is
    to be brought back, and is not erased meanwhile."""
    end = archive_until(service, terms)
    if service.state != Lifecycle.ARCHIVED or service.archived_at is None or end is None:
        return
    reason, clause = _why(service, terms)
    yield Deadline(
        action=Action.ERASE,
        at=end,
        reason=reason,
        clause=clause,
        occurrence=service.archived_at.isoformat(),
        waits=_waits(service, terms),
    )


def _why(service: Service, terms: Terms) -> tuple[str, str]:
    days, kept, erase = kept_for(terms), terms.policy.archive, terms.policy.erase
    if erase is not None and erase_by(service, terms) == archive_until(service, terms):
        return f"everything is erased within {erase.within} of the {erase.since}", erase.clause
    return f"the archive is kept for {days}", "" if kept is None else kept.clause


def _waits(service: Service, terms: Terms) -> str:
    if not service.erasable:
        return "a hold forbids erasing"
    if service.debt_disputed:
        return "the debt for which it was terminated is disputed"
    archived_at, paid_at = service.archived_at, service.paid_at
    paid = archived_at is not None and paid_at is not None and paid_at > archived_at and service.charged_back_at is None
    return "it was paid for since, and is to be brought back" if paid and brings_back(service, terms) else ""
