"""Restarts that a change of plan left to do, in the next window for maintenance of the service's node. Pure.

What a guest cannot get while it runs (memory, above all) it gets by its next start. With ``restart: window`` that is planned:
it is on the service's record from the end of the job that left it to do until the window's own job has done it, somebody called
it off, or another job of ours has started the guest anew.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from orchestrator.domain import plan_changes
from orchestrator.domain.backups.offer import DAY_MINUTES, Span
from orchestrator.domain.calendar import Calendar
from orchestrator.domain.intents import IntentKind, Nothing, StepState
from orchestrator.domain.jobs import Job, JobStep
from orchestrator.domain.planned import PlannedRestart
from orchestrator.domain.received import Received, Tell
from orchestrator.domain.services import Lifecycle, Service
from orchestrator.domain.terms import Terms

CALLED_OFF = "restart.called_off"
RESTART_NEEDED = "restart_needed"
"""What a step tells that found a guest apart from what it is defined with: a sentence, '' where nothing is left to do."""
# These start it anew with what it is defined with, or leave it off: its next start is enough.
_STARTS_ANEW = frozenset(
    {
        *(IntentKind.STOP, IntentKind.START, IntentKind.SUSPEND),
        *(IntentKind.MOVE, IntentKind.RECOVER, IntentKind.REINSTALL),
    }
)


@dataclass(frozen=True, slots=True)
class Opening:
    """One occurrence of a window."""

    begins: datetime
    ends: datetime


def next_opening(spans: Iterable[Span], calendar: Calendar, *, after: datetime, at_least: timedelta) -> Opening | None:
    """The first that begins at ``after`` or later and is so long; None where no window ever is."""
    found = []
    first = calendar.day(after)
    for span in spans:
        weekday, minute = divmod(span.start, DAY_MINUTES)
        for days in range(15):  # the one of this week may be shorter, where the clocks are put forward in it
            day = first + timedelta(days=days)
            if day.weekday() != weekday:
                continue
            opening = Opening(calendar.at(day, minute), calendar.at(day, minute + span.minutes))
            if opening.begins >= after and opening.ends - opening.begins >= at_least:
                found.append(opening)
    return min(found, key=lambda opening: opening.begins, default=None)


def opening_for(terms: Terms, *, now: datetime) -> Opening | None:
    """The first in which a guest of these terms can be restarted after its customer was told."""
    windows = terms.windows
    return next_opening(windows.spans, terms.calendar, after=now + windows.notice, at_least=windows.takes)


def planned(service: Service, terms: Terms, *, why: str, now: datetime) -> PlannedRestart | None:
    """In the next window of its node; None where that has none."""
    opening = opening_for(terms, now=now)
    if opening is None:
        return None
    return PlannedRestart(node=service.node, at=opening.begins, until=opening.ends, planned_at=now, why=why)


def after_job(service: Service, job: Job, steps: Iterable[JobStep], terms: Terms, *, ended_well: bool, now: datetime) -> Service:
    """The record when the job is over: the newest change of plan that ended well says whether a restart is left to do, and a
    job of the window that came too late is planned anew. ``terms``: by the record as it is then."""
    if not ended_well or (job.intent != IntentKind.CHANGE_PLAN and job.intent not in _STARTS_ANEW):
        return service
    if job.intent in _STARTS_ANEW:
        return replace(service, restart=None)
    waits = job.arguments.get(plan_changes.RESTART) == plan_changes.Restart.WINDOW or plan_changes.NOT_AFTER in job.arguments
    needed, found = _needed(steps) if waits else "", service.restart
    if found is not None and (found.why, found.node) == (needed, service.node) and found.at > now:
        return service
    return replace(service, restart=planned(service, terms, why=needed, now=now) if needed else None)


def fall_due(service: Service, *, who: str, why: str, terms: Terms, now: datetime) -> Received:
    """The window has come: restart it, where that can still end inside. Else in the next one, of which its customer is told."""
    found = service.restart
    if found is None or service.state != Lifecycle.ACTIVE:
        return Received(service=service, decision=Nothing(reason="no restart is planned"))
    not_after = found.until - terms.windows.takes
    if now > not_after:
        later = replace(service, restart=planned(service, terms, why=found.why, now=now))
        missed = f"the window until {found.until.isoformat(timespec='minutes')} has passed"
        return Received(service=later, decision=Nothing(reason=missed), tells=called_off(found, missed))
    now_at_last = plan_changes.Restart.NOW
    return plan_changes.change(service, service.plan, who=who, why=why, terms=terms, restart=now_at_last, not_after=not_after)


def call_off(service: Service, *, why: str) -> Received:
    """Nobody restarts it: its customer's next stop and start does what is left."""
    found = service.restart
    if found is None:
        return Received(service=service, decision=Nothing(reason="no restart is planned"))
    said = f"the restart planned for {found.at.isoformat(timespec='minutes')} is called off"
    return Received(
        service=replace(service, restart=None), decision=Nothing(reason=said), note=said, tells=called_off(found, why or said)
    )


def taken_back(before: Service, after: Service) -> tuple[Tell, ...]:
    """What billing hears where a job has made the planned restart needless, or planned another one."""
    found = before.restart
    if found is None or (after.restart is not None and after.restart.at == found.at):
        return ()
    return called_off(found, "it is not needed any more" if after.restart is None else "another one is planned")


def called_off(found: PlannedRestart, why: str) -> tuple[Tell, ...]:
    told = {"at": found.at.isoformat(), "until": found.until.isoformat(), "why": why}
    return (Tell(kind=CALLED_OFF, key=found.at.isoformat(), data=told),)


def _needed(steps: Iterable[JobStep]) -> str:
    """As the last of its steps that looked has found it."""
    found = [step.facts or {} for step in steps if step.state == StepState.DONE]
    told = [str(facts[RESTART_NEEDED]) for facts in found if RESTART_NEEDED in facts]
    return told[-1] if told else ""
