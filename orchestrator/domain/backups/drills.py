"""Restore drills: of each node so many services a week, chosen at random, whose newest backup is restored aside, and thrown away.

Pure. The week is the calendar's, from Monday on. Chance follows from the week and the service's id, so that whoever looks again
in the same week finds the same choice; what was drilled in the week is not chosen again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from hashlib import sha256

from orchestrator.domain.backups.restoring import BACKUP
from orchestrator.domain.backups.words import Backup
from orchestrator.domain.calendar import Calendar
from orchestrator.domain.intents import RULE_LIFECYCLE, Intent, IntentKind, JobState
from orchestrator.domain.jobs import JobStep
from orchestrator.domain.kept import ROLE
from orchestrator.domain.received import Received, refused
from orchestrator.domain.services import Lifecycle, Service

# What the volume of a drill is for, as its name says it on the node.
DRILL = "drill"
# A node's drills begin at a moment of its own within so many days of the week, so that not all nodes work at once.
_SPREAD_MINUTES = 5 * 24 * 60
SCHEDULE = "orchestrator"


class DrillState(StrEnum):
    """``PASSED``: what the backup holds was written to a new volume and read back, and the volume was thrown away.
    ``CALLED_OFF``: it made way for what its customer or billing wanted, or a person called it off: it says nothing of the backup.
    """

    BEGUN = "begun"
    PASSED = "passed"
    FAILED = "failed"
    CALLED_OFF = "called-off"


def ended(state: JobState, *, well: bool) -> DrillState:
    """As its job has ended."""
    if state == JobState.CANCELLED:
        return DrillState.CALLED_OFF
    return DrillState.PASSED if well else DrillState.FAILED


@dataclass(frozen=True, slots=True, kw_only=True)
class Drill:
    """``id``: of its job. ``week``: its Monday, by which a node's drills are counted; None where a person asked for it.

    ``signature``: the partition table or file system that the restored disk begins with, '' = none that is known; of an account
    how many files were restored.
    """

    id: str
    service_id: str
    node: str
    backup_id: str
    asked_by: str
    begun_at: datetime
    week: date | None = None
    state: DrillState = DrillState.BEGUN
    ended_at: datetime | None = None
    why: str = ""
    signature: str = ""


def week_of(calendar: Calendar, now: datetime) -> date:
    """The Monday of the week."""
    day = calendar.day(now)
    return day - timedelta(days=day.weekday())


def begins(node: str, week: date, calendar: Calendar) -> datetime:
    """From when on the node's drills of the week are made."""
    minutes = _chance(node, week) % _SPREAD_MINUTES
    return calendar.at(week, minutes)


def choose(candidates: Iterable[str], week: date, *, drilled: Iterable[str], number: int) -> list[str]:
    """The services that are still to be drilled in the week: so many less than were. ``candidates``: those with a backup."""
    done = set(drilled)
    left = sorted(
        (service_id for service_id in candidates if service_id not in done), key=lambda each: (_chance(each, week), each)
    )
    return left[: max(number - len(done), 0)]


def decide(service: Service, backup: Backup, *, who: str, why: str) -> Received:
    """Restore it aside; it counts against nothing and touches nothing of the service."""
    return again(service, {BACKUP: backup.id, ROLE: DRILL}, who=who, why=why)


def again(service: Service, arguments: Mapping[str, object], *, who: str, why: str) -> Received:
    """The drill that these arguments of a job ask for, first or once more."""
    if service.state != Lifecycle.ACTIVE or not {BACKUP, ROLE} <= arguments.keys():
        return refused(service, f"drill refused: it is {service.state}, or not asked for by 'backup drill now'", RULE_LIFECYCLE)
    return Received(service=service, decision=Intent.on(IntentKind.DRILL, service, reason=why, who=who, arguments=arguments))


def signature_of(steps: Iterable[JobStep]) -> str:
    """What its job saw on the restored disk, or of the restored account."""
    return next((str(step.facts["signature"]) for step in steps if step.facts and "signature" in step.facts), "")


def _chance(name: str, week: date) -> int:
    return int.from_bytes(sha256(f"{week.isoformat()}/{name}".encode()).digest()[:8], "big")
