"""Bringing a guest of a lost node up on another one, out of its newest backup: whether it may, and what its job is told. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from orchestrator.domain.backups.words import Backup
from orchestrator.domain.intents import RULE_LIFECYCLE, Intent, IntentKind, Refusal
from orchestrator.domain.lost_nodes import Lost
from orchestrator.domain.moving_out import TO
from orchestrator.domain.plans import PlanKind
from orchestrator.domain.received import Received, refused
from orchestrator.domain.services import Lifecycle, Service
from orchestrator.domain.terms import Terms

# The argument of the job: the backup that it brings back.
BACKUP = "backup"
RULE_LOST = "only what is on a lost node is restored elsewhere"
RULE_COPY = "what no backup holds cannot be restored"


def decide(
    service: Service,
    backup: Backup | Refusal,
    lost: Lost | None,
    *,
    to: str,
    who: str,
    why: str,
    terms: Terms,
    now: datetime,
) -> Received:
    """Bring it up elsewhere. One that is suspended stays so: held and off."""
    if lost is None:
        where = f"it is on {service.node}, which is not lost" if service.node else "it is on no node"
        what = f"restore elsewhere refused: {where}; service move moves it with all that it has, restore brings back a backup"
        return refused(service, what, RULE_LOST)
    received = again(service, {TO: to, BACKUP: "" if isinstance(backup, Refusal) else backup.id}, who=who, why=why, terms=terms)
    if not isinstance(received.decision, Intent):
        return received
    if isinstance(backup, Refusal):
        left = f"service terminate {service.id}, or what its customer kept onto a new one"
        return refused(service, f"restore elsewhere refused: no verified backup of it stands; left is: {left}", RULE_COPY)
    return Received(service=received.service, decision=received.decision, note=loses(backup, now))


def again(service: Service, arguments: Mapping[str, object], *, who: str, why: str, terms: Terms) -> Received:
    """What these arguments of a job ask for, first or once more."""
    if terms.kind != PlanKind.VPS:
        return refused(service, f"restore elsewhere refused: only a guest can be, and this is of kind {terms.kind}", RULE_LOST)
    if service.state != Lifecycle.ACTIVE:
        return refused(service, f"it is {service.state}: restoring it elsewhere needs an active service", RULE_LIFECYCLE)
    if not {TO, BACKUP} <= arguments.keys():
        return refused(service, "restore elsewhere refused: it is asked for by service restore", RULE_LOST)
    given = {name: arguments[name] for name in (TO, BACKUP)}
    given |= {"limited": service.throttled, "limits": service.limit_reasons}
    intent = Intent.on(IntentKind.RECOVER, service, reason=why, who=who, arguments=given)
    return Received(service=service, decision=intent)


def loses(backup: Backup, now: datetime) -> str:
    """Which backup it is, and what is lost with it, in a sentence."""
    made = backup.made_at or backup.begun_at
    return f"backup {backup.id} of {made:%Y-%m-%d %H:%M} UTC: what was written in the {_words(now - made)} since is lost"


def _words(age: timedelta) -> str:
    minutes = max(0, int(age.total_seconds() // 60))
    hours, days = minutes // 60, minutes // 1440
    if days >= 3:
        return f"{days} days"
    return f"{hours} hours" if hours >= 3 else f"{minutes} minutes"
