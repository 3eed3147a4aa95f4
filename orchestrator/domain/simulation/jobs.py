"""The jobs of the simulated controller: let through or left to a person, run one at a time for a service, and what their end
brings. The brakes, the fence and the outcomes are the real ones.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

from orchestrator.domain import archives, fence, outcomes
from orchestrator.domain.brakes import brake
from orchestrator.domain.confirmation import Confirmation
from orchestrator.domain.errors import FenceClosed, OrchestratorError
from orchestrator.domain.intents import Intent, IntentKind, JobState
from orchestrator.domain.simulation.kept import Job, Kept
from orchestrator.domain.simulation.outside import Outside
from orchestrator.domain.simulation.punctuality import Key
from orchestrator.domain.simulation.report import Report
from orchestrator.domain.simulation.scenario import HOUR, Scenario
from orchestrator.domain.simulation.timeline import Happening, Timeline
from orchestrator.domain.terms import Terms

_TAKES = {
    IntentKind.PROVISION: timedelta(minutes=2),
    IntentKind.REACTIVATE: timedelta(minutes=2),
    IntentKind.TERMINATE: timedelta(minutes=3),
}
_TAKES_ELSE = timedelta(seconds=20)


class Jobs:
    """``ended`` is told of every job that has ended, when its service's record says so. While ``terminations_wait`` nobody lets
    a termination through."""

    def __init__(
        self,
        timeline: Timeline,
        scenario: Scenario,
        terms: Terms,
        report: Report,
        *,
        outside: Outside,
        ended: Callable[[Kept, Job, datetime], None],
    ) -> None:
        self._timeline = timeline
        self._scenario = scenario
        self._terms = terms
        self._report = report
        self._outside = outside
        self._ended = ended
        self._recent: dict[IntentKind, deque[datetime]] = {IntentKind.SUSPEND: deque(), IntentKind.TERMINATE: deque()}
        self._put_off: list[Happening] = []
        self.terminations_wait = False

    def release(self, now: datetime) -> None:
        """Let the terminations go on that were put off."""
        self.terminations_wait = False
        for happening in self._put_off:
            self._timeline.at(now, happening)
        self._put_off.clear()

    def submit(
        self,
        kept: Kept,
        intent: Intent,
        now: datetime,
        *,
        waits: str = "",
        key: Key | None = None,
        question: Confirmation | None = None,
    ) -> Job:
        """A new job; it waits where it is told to, where billing is asked, and where the brakes hold it."""
        waits = waits or (question.waits(now=now) if question is not None else "") or self.braked(intent.kind, now)
        kept.made += 1
        job_id, state = f"{intent.service_id}.{kept.made}", JobState.WAITING_APPROVAL if waits else JobState.QUEUED
        job = Job(job_id, intent, state, now, key=key, question=question)
        kept.jobs.append(job)
        if not waits:
            self.let_through(kept, job, now)
            return job
        self._report.waits(1)
        answer_by = None if question is None else question.answer_by
        if answer_by is not None:
            self._report.act("billing asked", intent.service_id, now)
            self._timeline.at(self._scenario.taken(now), lambda at: self._outside.asked(intent.service_id, job_id, at))
        self.leave_to_a_person(kept, job, answer_by or now)
        return job

    def braked(self, kind: IntentKind, now: datetime) -> str:
        """Why the brakes hold it; '' = they do not."""
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

    def leave_to_a_person(self, kept: Kept, job: Job, since: datetime) -> None:
        """From ``since`` on a person has to decide; before that it may be over."""
        self._timeline.at(self._scenario.up(since + self._scenario.approve_after), partial(self._decide, kept, job))

    def _decide(self, kept: Kept, job: Job, now: datetime) -> None:
        """A person decides on a job that waits: of a termination that billing did not confirm only after a look into its books,
        for that is what the job asks for."""
        if not job.waits or kept.service is None:
            return
        if job.intent.kind == IntentKind.TERMINATE and self.terminations_wait:
            self._put_off.append(partial(self._decide, kept, job))
            return
        self._report.act("person decided", kept.service.id, now)
        unsure = job.question is not None and not job.question.answered_by
        if unsure and not self._scenario.unseen and not self._outside.look_up(kept.service, job.id, now):
            if job.waits:  # else the payment that was found has ended it
                self.drop(kept, job, now)
            return
        self.let_through(kept, job, now)

    def let_through(self, kept: Kept, job: Job, now: datetime) -> None:
        """It waits no more."""
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
            self.end(kept, job, JobState.FAILED, now, code=refused.code)
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
            self.end(kept, job, JobState.FAILED, now, code=FenceClosed.code)
            return
        if kind.ends:
            kept.service = replace(service, point_of_no_return=service.point_of_no_return or now)
        if kind.ends and not job.intent.arguments.get(archives.KEEPS):
            self._outside.wiped(service, job.id, now)
        if kind == IntentKind.PROVISION:
            kept.provisioned = True
        self._report.act(f"{kind} done", service.id, now)
        self.end(kept, job, JobState.DONE, now)

    def end(self, kept: Kept, job: Job, state: JobState, now: datetime, *, code: str = "") -> None:
        """What becomes of the record by it, and what is left to do, are the engine's."""
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
        left = outcomes.follow_up(service, ended=intent.kind)
        left = left or archives.paid_meanwhile(service, self._terms, payments=intent.payments)
        if left is not None and not any(
            other.state in (JobState.QUEUED, JobState.RUNNING) or other.intent.kind == left.kind for other in kept.jobs
        ):
            self.submit(kept, left, now)
        self._line_up(kept, now)
        self._ended(kept, job, now)

    def drop(self, kept: Kept, job: Job, now: datetime) -> None:
        """Billing or a person says that it is not to be done; of the same debt it is not asked again."""
        if job.key is not None:
            kept.dropped.add(job.key)
        self.end(kept, job, JobState.CANCELLED, now)
