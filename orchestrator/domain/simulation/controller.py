"""The controller without its store, its engine and its threads: it keeps a record of each service and does what falls due.

Every decision is one of ``domain.decisions``, ``outcomes``, ``deadlines``, ``brakes`` and ``fence``; what was seen to is kept as
the store keeps it. For the sweep of each minute a service is looked at in the first minute in which something can come of it.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

from orchestrator.domain import decisions, outcomes
from orchestrator.domain.calendar import Calendar
from orchestrator.domain.confirmation import Confirmation, stands
from orchestrator.domain.deadlines import Action, Deadline, deadlines, next_due, pending
from orchestrator.domain.events import Event, EventType
from orchestrator.domain.guards import AWAY, MISSED_TURNS, pause_after
from orchestrator.domain.intents import Intent, IntentKind, JobState, Refusal
from orchestrator.domain.policies import Policy
from orchestrator.domain.services import HoldReason, Service
from orchestrator.domain.simulation.jobs import Jobs
from orchestrator.domain.simulation.kept import Job, Kept, again
from orchestrator.domain.simulation.outside import Outside
from orchestrator.domain.simulation.punctuality import Key, Punctuality
from orchestrator.domain.simulation.report import Report
from orchestrator.domain.simulation.scenario import AGAIN, Scenario
from orchestrator.domain.simulation.timeline import Timeline, next_minute, whole_minute
from orchestrator.domain.terms import Terms

_MINUTE = timedelta(minutes=1)


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
        self._punctuality = Punctuality(scenario, report)
        self._jobs = Jobs(timeline, scenario, self._terms, report, outside=outside, ended=self._ended)
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
            self._jobs.submit(kept, decision, now, waits=received.asks)
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
            self._jobs.drop(kept, job, now)
        elif not self._stands(kept, job, now):
            self._overtaken(kept, job, now)
        else:
            job.question = job.question.confirmed(f"event {event.source}/{event.id}")
            if job.question.waits(now=now) or self._jobs.terminations_wait or self._jobs.braked(job.intent.kind, now):
                self._jobs.leave_to_a_person(kept, job, now)
            else:
                self._jobs.let_through(kept, job, now)

    def _overtaken(self, kept: Kept, job: Job, now: datetime) -> None:
        """It is pointless now; what fell due is asked for anew should it be due again."""
        kept.not_seen_to(job)
        self._jobs.end(kept, job, JobState.CANCELLED, now)

    def _stands(self, kept: Kept, job: Job, now: datetime) -> bool:
        """Whether what the job was made for is still due; a job that no deadline made stands by itself."""
        if job.key is None or kept.service is None:
            return True
        return stands(kept.service, self._terms, told=kept.told, action=job.key[0], occurrence=job.key[1], now=now)

    def _end_stale(self, kept: Kept, now: datetime) -> None:
        """End what waits and is not to be done now, or can be no more."""
        for job in kept.waiting():
            if kept.service is not None and (never := outcomes.never(kept.service, job.intent.kind)):
                self._jobs.end(kept, job, JobState.FAILED, now, code=never)
            elif not self._stands(kept, job, now):
                self._overtaken(kept, job, now)

    # -- after an outage ----------------------------------------

    def _back(self, now: datetime) -> None:
        self._jobs.terminations_wait = True
        self._punctuality.terminations_wait(now)
        self.sweep(now)

    def release(self, now: datetime) -> None:
        """Terminations may go on: somebody has compared the records with billing's list."""
        self._punctuality.terminations_go_on(now)
        self._jobs.release(now)

    # -- deadlines ----------------------------------------

    def _ended(self, kept: Kept, job: Job, now: datetime) -> None:
        """A job has ended, and with it perhaps what a deadline was for."""
        if job.state == JobState.DONE and job.key is not None and kept.service is not None:
            self._punctuality.done(kept.service.id, job.key[0], allowed_at=job.allowed_at, now=now)
        self._changed(kept, now)

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
        if deadline.action.destroys and (self._jobs.terminations_wait or paused):
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
                seen.job = self._jobs.submit(kept, received.decision, now, key=key, question=question)
            else:
                seen.job = self._jobs.submit(kept, received.decision, now, key=key, waits=asks)
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
