"""Backups as they are decided on: one that falls due, and one that a customer asks for.

Pure. A restore is decided in ``allowance``.
"""

from __future__ import annotations

from datetime import UTC, datetime

from orchestrator.domain.intents import Intent, IntentKind, Refusal
from orchestrator.domain.permissions import Ask, may
from orchestrator.domain.received import Received, refused
from orchestrator.domain.services import Service
from orchestrator.domain.terms import Terms

RULE_TARGETS = "targets for backups"
# The arguments of a job: the slot for which it was made, or that the customer asked for it.
SLOT = "slot"
ON_REQUEST = "on_request"


def scheduled(service: Service, slot: str, *, who: str, why: str) -> Received:
    """The backup of a slot that has come, or that was missed. That nothing is in the way is the deadline's to say."""
    intent = Intent.on(IntentKind.BACKUP, service, reason=why, who=who, arguments={SLOT: slot})
    return Received(service=service, decision=intent)


def requested(service: Service, *, who: str, why: str, terms: Terms, now: datetime) -> Received:
    """A backup that is asked for, unless the policy or the service's state is against it, or the last one is too short ago.

    One that failed, or is not whole, does not count as the last one. What passes by itself is told last.
    """
    refusal = may(Ask.BACKUP, service, terms) or _nowhere(terms) or _too_soon(service, terms, now=now)
    if refusal is not None:
        return refused(service, refusal.reason, refusal.rule)
    intent = Intent.on(IntentKind.BACKUP, service, reason=why or "asked for", who=who, arguments={ON_REQUEST: True})
    return Received(service=service, decision=intent)


def _nowhere(terms: Terms) -> Refusal | None:
    if terms.backups.node is not None:
        return None
    return Refusal(reason="backup refused: its node has no target for backups", rule=RULE_TARGETS)


def _too_soon(service: Service, terms: Terms, *, now: datetime) -> Refusal | None:
    rule, last = terms.policy.backup.on_request, service.backup_asked_at
    if rule is None or last is None:
        return None
    again = terms.calendar.add(last, rule.at_most_every)
    if now >= again:
        return None
    words = f"backup refused: one that was asked for was made {_told(last)}, at most one in"
    reason = f"{words} {rule.at_most_every}; the next one may be asked for {_told(again)}"
    return Refusal(reason=reason, rule=terms.cite(rule))


def _told(moment: datetime) -> str:
    """As every other time is shown to people."""
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")
