"""The controller without its store, its engine and its threads: it keeps a record of each service and does what falls due.

Every decision is one of ``domain.decisions``, ``outcomes``, ``deadlines``, ``brakes`` and ``fence``; what was seen to is kept as
the store keeps it. For the sweep of each minute a service is looked at in the first minute in which something can come of it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

from orchestrator.domain import archives, decisions, fence, outcomes
from orchestrator.domain.brakes import brake
from orchestrator.domain.calendar import Calendar
from orchestrator.domain.confirmation import Confirmation, stands
from orchestrator.domain.deadlines import Action, Deadline, deadlines, next_due, pending
from orchestrator.domain.errors import FenceClosed, OrchestratorError
from orchestrator.domain.events import Event, EventType
from orchestrator.domain.guards import AWAY, MISSED_TURNS, pause_after
from orchestrator.domain.intents import Intent, IntentKind, JobState, Refusal
from orchestrator.domain.policies import Policy
from orchestrator.domain.services import HoldReason, Service
from orchestrator.domain.simulation.kept import Job, Kept, again
from orchestrator.domain.simulation.outside import Outside
from orchestrator.domain.simulation.punctuality import Key, Punctuality
from orchestrator.domain.simulation.report import Report
from orchestrator.domain.simulation.scenario import AGAIN, HOUR, Scenario
from orchestrator.domain.simulation.timeline import Happening, Timeline, next_minute, whole_minute
from orchestrator.domain.terms import Terms

_MINUTE = timedelta(minutes=1)
_TAKES = {
    IntentKind.PROVISION: timedelta(minutes=2),
    IntentKind.REACTIVATE: timedelta(minutes=2),
    IntentKind.TERMINATE: timedelta(minutes=3),
}
_TAKES_ELSE = timedelta(seconds=20)


class Controller:
    """One turn of the real one's minute is ``sweep``, for one service where that is enough."""

    def __init__(
        self,
        timeline: Timeline,
        scenario: Scenario,
        policy: Policy,
        calendar: Calendar,
        report: Report,
        *,
        outside: Outside,
    ) -> None:
        self._timeline = timeline
        self._scenario = scenario
        self._policy = policy
        self._terms = Terms(policy=policy, calendar=calendar)
        self._report = report
        self._outside = outside
        self._recent: dict[IntentKind, deque[datetime]] = {IntentKind.SUSPEND: deque(), IntentKind.TERMINATE: deque()}
        self._punctuality = Punctuality(scenario, report)
        self._terminations_wait = False
        self._pauses: list[tuple[datetime, datetime]] = []
        self._put_off: list[Happening] = []
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
        if event.type == EventType.TERMINATION_REFUSED and event.paid_until is not None:
            self._report.act("billing refused", event.service_id, now)
            event = replace(event, type=EventType.INVOICE_PAID)  # the payment that was lost
        if event.type in decisions.ANSWERS:
            self._answered(kept, event, now)
            return
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
            self._submit(kept, decision, now, waits=received.asks)
        if event.type in decisions.PAYMENTS and record.point_of_no_return is None:
            self._call_off(kept, record, now)
        self._changed(kept, now)

    def _call_off(self, kept: Kept, record: Service, now: datetime) -> None:
        """A payment ends what waits for somebody and is pointless now, as the engine's intake does."""
        for job in kept.waiting():
            kind, reason = job.intent.kind, job.intent.arguments.get("reason")
            owed = record.hold(HoldReason.NONPAYMENT) is not None or reason != HoldReason.NONPAYMENT
            back = kind == IntentKind.ERASE and kept.unfinished(IntentKind.REACTIVATE)
            pointless = kind == IntentKind.TERMINATE or back or (kind in outcomes.SETS and not owed)
            if pointless:
                self._overtaken(kept, job, now)

    def _answered(self, kept: Kept, event: Event, now: datetime) -> None:
        """Billing's answer to a question, as the engine takes it: to none it is none."""
        job = next((job for job in kept.waiting() if job.id == event.job_id), None)
        if job is None or job.question is None:
            return
        refused = event.type == EventType.TERMINATION_REFUSED
        self._report.act("billing refused" if refused else "billing confirmed", event.service_id, now)
        if refused:
            self._drop(kept, job, now)
        elif not self._stands(kept, job, now):
            self._overtaken(kept, job, now)
        else:
            job.question = job.question.confirmed(f"event {event.source}/{event.id}")
            if job.question.waits(now=now) or self._terminations_wait or self._braked(job.intent.kind, now):
                self._leave_to_a_person(kept, job, now)
            else:
                self._let_through(kept, job, now)

    def _drop(self, kept: Kept, job: Job, now: datetime) -> None:
        """Billing or a person says that it is not to be done; of the same debt it is not asked again."""
        if job.key is not None:
            kept.dropped.add(job.key)
        self._end(kept, job, JobState.CANCELLED, now)

    def _overtaken(self, kept: Kept, job: Job, now: datetime) -> None:
        """It is pointless now; what fell due is asked for anew should it be due again."""
        kept.not_seen_to(job)
        self._end(kept, job, JobState.CANCELLED, now)

    def _stands(self, kept: Kept, job: Job, now: datetime) -> bool:
        """Whether what the job was made for is still due; a job that no deadline made stands by itself."""
        if job.key is None or kept.service is None:
            return True
        return stands(kept.service, self._terms, told=kept.told, action=job.key[0], occurrence=job.key[1], now=now)

    def _end_stale(self, kept: Kept, now: datetime) -> None:
        """End what waits and is not to be done now, or can be no more."""
        for job in kept.waiting():
            if kept.service is not None and (never := outcomes.never(kept.service, job.intent.kind)):
                self._end(kept, job, JobState.FAILED, now, code=never)
            elif not self._stands(kept, job, now):
                self._overtaken(kept, job, now)

    # -- after an outage ----------------------------------------

    def _back(self, now: datetime) -> None:
        self._terminations_wait = True
        self._punctuality.terminations_wait(now)
        self.sweep(now)

    def release(self, now: datetime) -> None:
        """Terminations may go on: somebody has compared the records with billing's list."""
        self._terminations_wait = False
        self._punctuality.terminations_go_on(now)
        for happening in self._put_off:
            self._timeline.at(now, happening)
        self._put_off.clear()

    # -- jobs ----------------------------------------

    def _submit(
        self,
        kept: Kept,
        intent: Intent,
        now: datetime,
        *,
        waits: str = "",
        key: Key | None = None,
        question: Confirmation | None = None,
    ) -> Job:
        waits = waits or (question.waits(now=now) if question is not None else "") or self._braked(intent.kind, now)
        kept.made += 1
        job_id, state = f"{intent.service_id}.{kept.made}", JobState.WAITING_APPROVAL if waits else JobState.QUEUED
        job = Job(job_id, intent, state, now, key=key, question=question)
        kept.jobs.append(job)
        if not waits:
            self._let_through(kept, job, now)
            return job
        self._report.waits(1)
        answer_by = None if question is None else question.answer_by
        if answer_by is not None:
            self._report.act("billing asked", intent.service_id, now)
            self._timeline.at(self._scenario.taken(now), lambda at: self._outside.asked(intent.service_id, job_id, at))
        self._leave_to_a_person(kept, job, answer_by or now)
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

    def _leave_to_a_person(self, kept: Kept, job: Job, since: datetime) -> None:
        """From ``since`` on a person has to decide; before that it may be over."""
        self._timeline.at(self._scenario.up(since + self._scenario.approve_after), partial(self._decide, kept, job))

    def _decide(self, kept: Kept, job: Job, now: datetime) -> None:
        """A person decides on a job that waits: of a termination that billing did not confirm only after a look into its books,
        for that is what the job asks for."""
        if not job.waits or kept.service is None:
            return
        if job.intent.kind == IntentKind.TERMINATE and self._terminations_wait:
            self._put_off.append(partial(self._decide, kept, job))
            return
        self._report.act("person decided", kept.service.id, now)
        unsure = job.question is not None and not job.question.answered_by
        if unsure and not self._scenario.unseen and not self._outside.look_up(kept.service, job.id, now):
            if job.waits:  # else the payment that was found has ended it
                self._drop(kept, job, now)
            return
        self._let_through(kept, job, now)

    def _let_through(self, kept: Kept, job: Job, now: datetime) -> None:
        if job.waits:
            self._report.waits(-1)
        job.state, job.allowed_at = JobState.QUEUED, now
        if job.intent.kind in self._recent:
            self._recent[job.intent.kind].append(now)
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
            self._outside.wiped(service, job.id, now)
        if kind == IntentKind.PROVISION:
            kept.provisioned = True
        self._report.act(f"{kind} done", service.id, now)
        self._end(kept, job, JobState.DONE, now)

    def _end(self, kept: Kept, job: Job, state: JobState, now: datetime, *, code: str = "") -> None:
        if job.waits:
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
        minute = next_minute(now)
        stale = any(not self._stands(kept, job, minute) for job in kept.waiting())
        if stale or any(deadline.at <= minute and not deadline.waits for deadline in left):
            self._look_at(kept, minute)
        else:
            self._look_at(kept, next_due(left, now=minute, again=AGAIN))

    def _look_at(self, kept: Kept, at: datetime | None) -> None:
        kept.look += 1
        if at is not None:
            moment = self._scenario.up(whole_minute(at))
            self._timeline.at(moment, partial(self._look, kept, kept.look))

    def sweep(self, now: datetime) -> None:
        """Look at every service now, as the engine does when it starts; it may be done at any time, and again."""
        for kept in self.kept.values():
            self._look(kept, kept.look, now)

    def _look(self, kept: Kept, number: int, now: datetime) -> None:
        """As the engine's sweep looks at a service; an older look that a newer one replaced does nothing."""
        if number != kept.look or kept.service is None:
            return
        self._report.looks += 1
        self._end_stale(kept, now)
        _, left = self._found(kept)
        self._look_at(kept, next_due(left, now=now, again=AGAIN))
        for deadline in left:
            if deadline.at > now or deadline.waits or self._too_early(kept, deadline, now):
                continue
            self._report.act(deadline.action.value, kept.service.id, now)
            if deadline.action.tells:
                self._tell(kept, deadline, now)
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
        until = again(kept.seen, deadline)
        return until is not None and now < until

    def _tell(self, kept: Kept, deadline: Deadline, now: datetime) -> None:
        kept.note(deadline, now).message = True
        key, taken = (deadline.action, deadline.occurrence), self._scenario.taken(now)
        if taken == now:
            kept.told[key] = now
        else:
            self._timeline.at(taken, lambda at: kept.told.update({key: at}))

    def _act(self, kept: Kept, deadline: Deadline, now: datetime) -> None:
        service = kept.service
        assert service is not None
        received = decisions.fall_due(deadline, service, terms=self._terms, now=now)
        if not isinstance(received.decision, Refusal):
            kept.service = received.service
        seen = kept.note(deadline, now)
        seen.message = bool(received.charges)
        if isinstance(received.decision, Intent):
            key = (deadline.action, deadline.occurrence)
            asks = "the policy says 'may'" if deadline.asks else ""
            if deadline.action.destroys:
                question = Confirmation.asking(asks=asks, now=now, wait=self._scenario.confirm_wait)
                seen.job = self._submit(kept, received.decision, now, key=key, question=question)
            else:
                seen.job = self._submit(kept, received.decision, now, key=key, waits=asks)
        if deadline.action == Action.CANCEL_ORDER:
            self._outside.cancelled(service)

    # -- punctuality ----------------------------------------

    def _watch(self, kept: Kept, found: tuple[Deadline, ...], left: tuple[Deadline, ...], now: datetime) -> None:
        """Whatever is in nobody's hands is expected. What stops or ends a service is expected until it is in force: not what was
        noted as seen to counts, but the record."""
        assert kept.service is not None
        untold = {(deadline.action, deadline.occurrence) for deadline in left}
        expected: dict[Key, datetime] = {}
        for deadline in found:
            key, wanted = (deadline.action, deadline.occurrence), deadline.action.intent
            if (
                deadline.waits
                or key in kept.dropped
                or (deadline.action.tells and key not in untold)
                or (wanted and kept.unfinished(wanted))
            ):
                continue
            known = kept.expected.get(key)
            expected[key] = known if known is not None and known >= deadline.at else self._possible(kept, deadline, now)
        self._punctuality.compare(kept.service.id, kept.expected, expected, now)
        kept.expected = expected

    def _possible(self, kept: Kept, deadline: Deadline, now: datetime) -> datetime:
        until = again(kept.seen, deadline)
        return max(deadline.at, now) if until is None else max(deadline.at, now, until)

    def close(self, now: datetime) -> None:
        """The end: what should have been done long since was missed."""
        for kept in self.kept.values():
            if kept.service is not None:
                self._punctuality.compare(kept.service.id, kept.expected, {}, now)
