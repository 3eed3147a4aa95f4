"""The controller without its store, its engine and its threads: it keeps a record of each service and does what falls due.

Every decision is one of ``domain.decisions``, ``outcomes``, ``deadlines``, ``brakes`` and ``fence``; what was seen to is kept as
the store keeps it. For the sweep of each minute a service is looked at in the first minute in which something can come of it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

from orchestrator.domain import archives, decisions, fence, outcomes
from orchestrator.domain.brakes import brake
from orchestrator.domain.calendar import Calendar
from orchestrator.domain.deadlines import Action, Deadline, deadlines, next_due, pending
from orchestrator.domain.errors import FenceClosed, OrchestratorError
from orchestrator.domain.events import Event
from orchestrator.domain.guards import AWAY, MISSED_TURNS, pause_after
from orchestrator.domain.intents import Intent, IntentKind, JobState, Refusal
from orchestrator.domain.policies import Policy
from orchestrator.domain.services import HoldReason, Lifecycle, Service
from orchestrator.domain.simulation.punctuality import Key, Punctuality
from orchestrator.domain.simulation.report import Report
from orchestrator.domain.simulation.scenario import AGAIN, AGAIN_CEILING, HOUR, Scenario
from orchestrator.domain.simulation.timeline import Timeline
from orchestrator.domain.terms import Terms

_MINUTE = timedelta(minutes=1)
_TAKES = {
    IntentKind.PROVISION: timedelta(minutes=2),
    IntentKind.REACTIVATE: timedelta(minutes=2),
    IntentKind.TERMINATE: timedelta(minutes=3),
}
_TAKES_ELSE = timedelta(seconds=20)


class Job:
    """What is to be done to one service, and how far it is."""

    __slots__ = ("allowed_at", "intent", "key", "state")

    def __init__(self, intent: Intent, state: JobState, now: datetime) -> None:
        self.intent = intent
        self.state = state
        self.allowed_at = now
        self.key: Key | None = None


class Seen:
    """How often a deadline was seen to and when last, and what became of it: a job, a message, or nothing."""

    __slots__ = ("job", "last", "message", "times")

    def __init__(self) -> None:
        self.times = 0
        self.last: datetime | None = None
        self.job: Job | None = None
        self.message = False

    @property
    def settled(self) -> bool:
        """Done or under way; what ended in a failed job is not, nor what was refused."""
        return self.message or (self.job is not None and self.job.state != JobState.FAILED)


class Kept:
    """All that the controller knows of one service."""

    __slots__ = ("events", "expected", "jobs", "look", "provisioned", "seen", "service", "told")

    def __init__(self) -> None:
        self.service: Service | None = None
        self.events: set[str] = set()
        self.seen: dict[Key, Seen] = {}
        self.told: dict[Key, datetime] = {}
        self.jobs: list[Job] = []
        self.provisioned = False
        self.look = 0
        self.expected: dict[Key, datetime] = {}

    def unfinished(self, kind: IntentKind) -> bool:
        return any(job.intent.kind == kind for job in self.jobs)


class Controller:
    """``wiped`` is told of each service at the moment in which its data is destroyed; ``look_up`` has somebody look into
    billing's books, and may make the payment known that got lost."""

    def __init__(
        self,
        timeline: Timeline,
        scenario: Scenario,
        policy: Policy,
        calendar: Calendar,
        report: Report,
        *,
        wiped: Callable[[Service, datetime], None],
        cancelled: Callable[[Service], None],
        look_up: Callable[[Service, datetime], None],
    ) -> None:
        self._timeline = timeline
        self._scenario = scenario
        self._policy = policy
        self._terms = Terms(policy=policy, calendar=calendar)
        self._report = report
        self._wiped = wiped
        self._cancelled = cancelled
        self._look_up = look_up
        self._recent: dict[IntentKind, deque[datetime]] = {IntentKind.SUSPEND: deque(), IntentKind.TERMINATE: deque()}
        self._punctuality = Punctuality(scenario, report)
        self._terminations_wait = False
        self._pauses: list[tuple[datetime, datetime]] = []
        self.kept: dict[str, Kept] = {}
        for outage in scenario.outages:
            gap = outage.end - outage.start
            if gap > AWAY:
                timeline.at(outage.end, self._back)
            elif gap > MISSED_TURNS * _MINUTE:
                self._pauses.append((outage.end, outage.end + pause_after(gap)))
        self._punctuality.pauses(self._pauses)

    # -- events ----------------------------------------

    def receive(self, event: Event, now: datetime) -> None:
        """Take an event; one that came before is not taken again."""
        kept = self.kept.setdefault(event.service_id, Kept())
        self._report.webhook(now)
        if event.id in kept.events:
            return
        kept.events.add(event.id)
        received = decisions.receive(event, kept.service, now=now, terms=self._terms)
        record = received.service
        if record is None:
            return
        kept.service = record
        decision = received.decision
        back = isinstance(decision, Intent) and decision.kind == IntentKind.REACTIVATE
        if event.type in decisions.PAYMENTS and record.state in decisions.GONE and not back:
            self._report.too_late += 1
        if isinstance(decision, Intent) and not (back and kept.unfinished(IntentKind.REACTIVATE)):
            self._submit(kept, decision, now, waits=received.asks if back else "")
        if event.type in decisions.PAYMENTS and record.point_of_no_return is None:
            self._call_off(kept, record, now)
        self._changed(kept, now)

    def _call_off(self, kept: Kept, record: Service, now: datetime) -> None:
        """A payment ends what waits for somebody and is pointless now, as the engine's intake does."""
        for job in tuple(kept.jobs):
            kind, reason = job.intent.kind, job.intent.arguments.get("reason")
            owed = record.hold(HoldReason.NONPAYMENT) is not None or reason != HoldReason.NONPAYMENT
            back = kind == IntentKind.ERASE and kept.unfinished(IntentKind.REACTIVATE)
            pointless = kind == IntentKind.TERMINATE or back or (kind in outcomes.SETS and not owed)
            if pointless and job.state == JobState.WAITING_APPROVAL:
                self._end(kept, job, JobState.CANCELLED, now)

    # -- after an outage ----------------------------------------

    def _back(self, now: datetime) -> None:
        self._terminations_wait = True
        self._punctuality.terminations_wait(now)

    def release(self, now: datetime) -> None:
        """Terminations may go on: somebody has compared the records with billing's list."""
        self._terminations_wait = False
        self._punctuality.terminations_go_on(now)

    # -- jobs ----------------------------------------

    def _submit(self, kept: Kept, intent: Intent, now: datetime, *, waits: str = "") -> Job:
        waits = waits or self._braked(intent.kind, now)
        job = Job(intent, JobState.WAITING_APPROVAL if waits else JobState.QUEUED, now)
        kept.jobs.append(job)
        if waits:
            self._report.waits(1)
            self._timeline.at(self._scenario.up(now + self._scenario.approve_after), partial(self._approve, kept, job))
        else:
            self._let_through(job, now)
            self._line_up(kept, now)
        return job

    def _braked(self, kind: IntentKind, now: datetime) -> str:
        if not kind.destructive:
            return ""
        for recent in self._recent.values():
            while recent and recent[0] < now - HOUR:
                recent.popleft()
        return brake(
            kind,
            recent_suspensions=len(self._recent[IntentKind.SUSPEND]),
            recent_terminations=len(self._recent[IntentKind.TERMINATE]),
            limits=self._scenario.limits,
            frozen=False,
        )

    def _let_through(self, job: Job, now: datetime) -> None:
        if job.intent.kind in self._recent:
            self._recent[job.intent.kind].append(now)

    def _approve(self, kept: Kept, job: Job, now: datetime) -> None:
        if job.state == JobState.WAITING_APPROVAL and job.intent.kind.ends and kept.service is not None:
            self._look_up(kept.service, now)
        if job.state != JobState.WAITING_APPROVAL:
            return
        self._report.waits(-1)
        job.state, job.allowed_at = JobState.QUEUED, now
        self._let_through(job, now)
        self._line_up(kept, now)

    def _line_up(self, kept: Kept, now: datetime) -> None:
        """A service's jobs run one at a time, the oldest first; it begins after the transaction that lets it."""
        self._timeline.at(self._scenario.up(now), partial(self._start_next, kept))

    def _start_next(self, kept: Kept, now: datetime) -> None:
        if any(job.state == JobState.RUNNING for job in kept.jobs):
            return
        job = next((job for job in kept.jobs if job.state == JobState.QUEUED), None)
        if job is None or kept.service is None:
            return
        try:
            kept.service = outcomes.begin(kept.service, job.intent.kind)
        except OrchestratorError as refused:
            self._end(kept, job, JobState.FAILED, now, code=refused.code)
            return
        job.state = JobState.RUNNING
        done = self._scenario.up(now + _TAKES.get(job.intent.kind, _TAKES_ELSE))
        self._timeline.at(done, partial(self._carry_out, kept, job))

    def _carry_out(self, kept: Kept, job: Job, now: datetime) -> None:
        """The act itself: what destroys asks the fence."""
        service, kind = kept.service, job.intent.kind
        if service is None or job.state != JobState.RUNNING:
            return
        if kind.destructive and fence.closed(service, kind=kind, payments=job.intent.payments):
            self._end(kept, job, JobState.FAILED, now, code=FenceClosed.code)
            return
        if kind.ends:
            kept.service = replace(service, point_of_no_return=service.point_of_no_return or now)
        if kind.ends and not job.intent.arguments.get(archives.KEEPS):
            self._wiped(service, now)
        if kind == IntentKind.PROVISION:
            kept.provisioned = True
        self._report.act(f"{kind} done", service.id, now)
        self._end(kept, job, JobState.DONE, now)

    def _end(self, kept: Kept, job: Job, state: JobState, now: datetime, *, code: str = "") -> None:
        if job.state == JobState.WAITING_APPROVAL:
            self._report.waits(-1)
        job.state = state
        kept.jobs.remove(job)
        service, intent = kept.service, job.intent
        assert service is not None
        service = outcomes.finish(
            service,
            intent.kind,
            state,
            code,
            now=now,
            provisioned=kept.provisioned,
            adds=str(intent.arguments["reason"]) if intent.arguments.get("adds") else "",
            kept=bool(intent.arguments.get(archives.KEEPS)),
        )
        kept.service = service
        if state == JobState.DONE and job.key is not None:
            self._punctuality.done(service.id, job.key[0], allowed_at=job.allowed_at, now=now)
        left = outcomes.follow_up(service, ended=intent.kind)
        left = left or archives.paid_meanwhile(service, self._terms, payments=intent.payments)
        if left is not None and not any(
            other.state in (JobState.QUEUED, JobState.RUNNING) or other.intent.kind == left.kind for other in kept.jobs
        ):
            self._submit(kept, left, now)
        self._line_up(kept, now)
        self._changed(kept, now)

    # -- deadlines ----------------------------------------

    def _found(self, kept: Kept) -> tuple[tuple[Deadline, ...], tuple[Deadline, ...]]:
        """All deadlines, and those that were not seen to."""
        if kept.service is None:
            return (), ()
        found = tuple(d for d in deadlines(kept.service, self._terms, told=kept.told) if not d.action.marks)
        return found, pending(found, frozenset(key for key, seen in kept.seen.items() if seen.settled))

    def _changed(self, kept: Kept, now: datetime) -> None:
        """The record changed: its deadlines are looked at in the next minute in which something can come of it."""
        found, left = self._found(kept)
        self._watch(kept, found, left, now)
        minute = _next_minute(now)
        if any(deadline.at <= minute and not deadline.waits for deadline in left):
            self._look_at(kept, minute)
        else:
            self._look_at(kept, next_due(left, now=minute, again=AGAIN))

    def _look_at(self, kept: Kept, at: datetime | None) -> None:
        kept.look += 1
        if at is not None:
            moment = self._scenario.up(_whole_minute(at))
            self._timeline.at(moment, partial(self._look, kept, kept.look))

    def _look(self, kept: Kept, number: int, now: datetime) -> None:
        """As the engine's sweep looks at a service; an older look that a newer one replaced does nothing."""
        if number != kept.look or kept.service is None:
            return
        self._report.looks += 1
        _, left = self._found(kept)
        self._look_at(kept, next_due(left, now=now, again=AGAIN))
        for deadline in left:
            if deadline.at > now or deadline.waits or self._too_early(kept, deadline, now):
                continue
            self._report.act(deadline.action.value, kept.service.id, now)
            if deadline.action.tells:
                seen = _note(kept, deadline, now)
                seen.message = True
                kept.told[deadline.action, deadline.occurrence] = now
                continue
            self._act(kept, deadline, now)
            self._changed(kept, now)
            return
        self._watch(kept, *self._found(kept), now)

    def _too_early(self, kept: Kept, deadline: Deadline, now: datetime) -> bool:
        paused = any(start <= now < end for start, end in self._pauses)
        if deadline.action.destroys and (self._terminations_wait or paused):
            return True
        wanted = deadline.action.intent
        if wanted is not None and kept.unfinished(wanted):
            return True
        again = _again(kept.seen, deadline)
        return again is not None and now < again

    def _act(self, kept: Kept, deadline: Deadline, now: datetime) -> None:
        service = kept.service
        assert service is not None
        received = decisions.fall_due(deadline, service, terms=self._terms, now=now)
        job = None
        if isinstance(received.decision, Intent):
            # As in the engine: a person agrees to each termination.
            asks = "a person makes sure" if deadline.asks or deadline.action.destroys else ""
            job = self._submit(kept, received.decision, now, waits=asks)
            job.key = (deadline.action, deadline.occurrence)
        if not isinstance(received.decision, Refusal):
            kept.service = received.service
        seen = _note(kept, deadline, now)
        seen.job, seen.message = job, bool(received.charges)
        if deadline.action == Action.CANCEL_ORDER:
            self._cancelled(service)

    # -- punctuality ----------------------------------------

    def _watch(self, kept: Kept, found: tuple[Deadline, ...], left: tuple[Deadline, ...], now: datetime) -> None:
        """Whatever is in nobody's hands is expected. What stops or ends a service is expected until it is in force: not what was
        noted as seen to counts, but the record."""
        assert kept.service is not None
        untold = {(deadline.action, deadline.occurrence) for deadline in left}
        expected: dict[Key, datetime] = {}
        for deadline in found:
            key, wanted = (deadline.action, deadline.occurrence), deadline.action.intent
            if deadline.waits or (deadline.action.tells and key not in untold) or (wanted and kept.unfinished(wanted)):
                continue
            known = kept.expected.get(key)
            expected[key] = known if known is not None and known >= deadline.at else self._possible(kept, deadline, now)
        self._punctuality.compare(kept.service.id, kept.expected, expected, now)
        kept.expected = expected

    def _possible(self, kept: Kept, deadline: Deadline, now: datetime) -> datetime:
        again = _again(kept.seen, deadline)
        return max(deadline.at, now) if again is None else max(deadline.at, now, again)

    def close(self, now: datetime) -> None:
        """The end: what should have been done long since was missed."""
        for kept in self.kept.values():
            if kept.service is not None:
                self._punctuality.compare(kept.service.id, kept.expected, {}, now)

    def states(self) -> Mapping[str, int]:
        counted: dict[str, int] = {}
        for kept in self.kept.values():
            if kept.service is not None:
                word = "suspended" if kept.service.stopped and kept.service.state == Lifecycle.ACTIVE else str(kept.service.state)
                counted[word] = counted.get(word, 0) + 1
        return counted


def _note(kept: Kept, deadline: Deadline, now: datetime) -> Seen:
    seen = kept.seen.setdefault((deadline.action, deadline.occurrence), Seen())
    seen.times += 1
    seen.last, seen.job, seen.message = now, None, False
    return seen


def _again(seen: Mapping[Key, Seen], deadline: Deadline) -> datetime | None:
    """Until when a deadline that was seen to without success is left alone."""
    found = seen.get((deadline.action, deadline.occurrence))
    if found is None or found.last is None or found.settled:
        return None
    return found.last + min(AGAIN * (1 << min(found.times - 1, 10)), AGAIN_CEILING)


def _whole_minute(moment: datetime) -> datetime:
    down = moment.replace(second=0, microsecond=0)
    return down if down == moment else down + _MINUTE


def _next_minute(moment: datetime) -> datetime:
    return moment.replace(second=0, microsecond=0) + _MINUTE
