"""What one service has of backups and what comes: for people. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from orchestrator.domain.backups import allowance, restoring
from orchestrator.domain.backups.schedule import interval, left_out, next_slot
from orchestrator.domain.backups.words import Backup, BackupState, Generation, Restore
from orchestrator.domain.intents import Refusal
from orchestrator.domain.services import Service
from orchestrator.domain.terms import Terms


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """``last``: what a restore would take; ``next_slot``: None where none is made unasked, and ``left_out`` says why. A slot
    that has passed is caught up. ``restores_left`` in this month; it and ``restores_included`` None = the policy counts none."""

    last: Backup | None
    next_slot: datetime | None
    left_out: str
    restores_used: int
    restores_included: int | None
    restores_left: int | None


def outlook(
    service: Service,
    terms: Terms,
    known: Sequence[Backup],
    generations: Sequence[Generation],
    restores: Sequence[Restore],
    *,
    now: datetime,
) -> Outlook:
    """``known``, ``generations``, ``restores``: all of the service's."""
    last = restoring.pick(known, generations, "")
    why, rule = unplanned(service, terms, known), terms.policy.restore
    return Outlook(
        last=None if isinstance(last, Refusal) else last,
        next_slot=None if why else next_slot(service, terms),
        left_out=why,
        restores_used=allowance.used(restores, terms.calendar, now),
        restores_included=None if rule is None else rule.per_month,
        restores_left=allowance.left(restores, terms, now),
    )


def unplanned(service: Service, terms: Terms, known: Sequence[Backup]) -> str:
    """Why no backup of it is made unasked, be it that its policy has no schedule; '' where one is to come."""
    policy = terms.policy
    if policy.backup.schedule is None:
        return f"its policy {policy.name} has no schedule"
    if interval(terms) is None:
        return f"its policy {policy.name} has no schedule for {terms.kind}"
    return left_out(service, terms) or _over(known)


def _over(known: Sequence[Backup]) -> str:
    """What was said of the last attempt where it was refused for its size; it is measured again in its slot."""
    newest = max(known, key=lambda each: each.number, default=None)
    return newest.problem if newest is not None and newest.state == BackupState.REFUSED else ""
