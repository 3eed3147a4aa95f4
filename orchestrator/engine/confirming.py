"""Asks billing before a deadline destroys, takes its answer, and calls off what waits for a deadline that is none any more.

The question goes out with the job that waits for it, in one transaction; the answer is an event like any other, and counts once.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from orchestrator.domain import confirmation, outcomes
from orchestrator.domain.confirmation import DEADLINE, KEY, QUESTION, Confirmation
from orchestrator.domain.deadlines import Deadline, Told
from orchestrator.domain.decisions import Received, Tell
from orchestrator.domain.errors import WrongState
from orchestrator.domain.events import Event, EventType
from orchestrator.domain.intents import Intent, IntentKind, JobState
from orchestrator.domain.jobs import FROZEN_REASON, Job
from orchestrator.domain.kept import of_old_copy
from orchestrator.domain.services import Service
from orchestrator.domain.terms import Terms
from orchestrator.engine.acts import Works, destroyed
from orchestrator.engine.endings import Ending, Endings
from orchestrator.engine.orders import Orders
from orchestrator.engine.telling import tell
from orchestrator.store import deadlines as store
from orchestrator.store import jobs as job_store
from orchestrator.store import services
from orchestrator.store.database import Connection

CLOCK = "the clock"
# No job of another kind waits for an answer (``prepared``).
ASKED = tuple(kind for kind in IntentKind if kind.ends)


class Confirming:
    """``asks_billing``: there is a billing system that is told things, and so can be asked."""

    def __init__(self, works: Works, *, orders: Orders, endings: Endings, asks_billing: bool) -> None:
        self._works = works
        self._orders = orders
        self._endings = endings
        self._asks_billing = asks_billing

    def prepared(self, received: Received, deadline: Deadline, *, asks: str, now: datetime) -> tuple[Received, str]:
        """What a deadline decided, with the question that its job waits for; and why it waits, '' where it waits for nobody."""
        if not isinstance(received.decision, Intent):
            return received, asks
        arguments, waits = {**received.decision.arguments, DEADLINE: [deadline.action.value, deadline.occurrence]}, asks
        if deadline.action.destroys:
            wait = self._works.settings.confirm_wait if self._asks_billing else None
            question = Confirmation.asking(asks=asks, now=now, wait=wait)
            arguments[KEY], waits = question.to_json(), question.waits(now=now)
        return replace(received, decision=replace(received.decision, arguments=arguments)), waits

    def ask(self, conn: Connection, job: Job, service: Service, deadline: Deadline, terms: Terms, *, now: datetime) -> None:
        """Put the question of a job that waits into the outbox, where it is to be asked."""
        question = Confirmation.in_job(job)
        if question is None or question.asked_at is None or question.answer_by is None:
            return
        data = {
            "job_id": job.id,
            "intent": job.intent.value,
            "action": deadline.action.value,
            "reason": deadline.reason,
            "policy": terms.policy.name,
            "clause": deadline.clause,
            "answer_by": question.answer_by.isoformat(),
            "paid_until": None if service.paid_until is None else service.paid_until.isoformat(),
            "due_at": None if service.due_at is None else service.due_at.isoformat(),
        }
        tell(conn, service, [Tell(kind=QUESTION, key=job.id, data=data)], now=now)

    def answer(self, conn: Connection, event: Event, *, now: datetime) -> tuple[str, str]:
        """Take billing's answer: the job it is about where it does something ('' else), and a sentence."""
        job = next((job for job in job_store.unfinished(conn, event.service_id) if job.id == event.job_id), None)
        question = None if job is None else Confirmation.in_job(job)
        by = f"event {event.source}/{event.id}"
        # A refusal counts as long as nothing is destroyed, whoever has let the job run meanwhile.
        if event.type == EventType.TERMINATION_REFUSED and job is not None and job.intent.ends and not destroyed(conn, job):
            why = f" ({event.reason})" if event.reason else ""
            self._endings.call_off(conn, job, by=f"billing, which refuses it{why}: {by}", for_good=True)
            return job.id, "the job is called off"
        if (
            job is None
            or question is None
            or job.state != JobState.WAITING_APPROVAL
            or event.type != EventType.TERMINATION_CONFIRMED
        ):
            return "", f"no job {event.job_id} of service {event.service_id} waits for an answer"
        if hindered := self.hindered(conn, job):
            self._endings.call_off(conn, job, by=f"{CLOCK}: {hindered}")
            return job.id, f"{hindered}: the job is called off"
        confirmed = question.confirmed(by)
        reason = confirmed.waits(now=now) or self._orders.held(conn, job.intent, now=now)
        job_store.change(conn, job.id, arguments={**job.arguments, KEY: confirmed.to_json()}, approval_reason=reason)
        if reason:
            return job.id, f"it still waits for an operator: {reason}"
        self._endings.run_again(conn, job_store.get(conn, job.id), approved_by=f"billing, {by}")
        return job.id, ""

    def remind(self, conn: Connection, *, now: datetime) -> int:
        """Say of each question whose time is over that a person has to decide; how many there were."""
        said = 0
        for job in job_store.in_states(conn, [JobState.WAITING_APPROVAL], of=ASKED):
            question = Confirmation.in_job(job)
            if question is None or question.answered_by or question.answer_by is None or now < question.answer_by:
                continue
            reason = question.waits(now=now)
            if job.approval_reason not in (reason, FROZEN_REASON):
                self._endings.wait_again(conn, job, reason)
                said += 1
        return said

    def call_off_stale(self, conn: Connection, service: Service, jobs: Iterable[Job], *, told: Told) -> bool:
        """End those of the service's jobs that wait for somebody and are not to be done now, or can be no more; whether there
        were any."""
        terms, now, found = self._orders.terms(service), self._works.clock.now(), False
        for job in jobs:
            if job.state != JobState.WAITING_APPROVAL:
                continue
            never = "" if job.workflow is not None else outcomes.never(service, job.intent, old_copy=of_old_copy(job.arguments))
            hindered = "" if destroyed(conn, job) else confirmation.hindered(job, service, terms, told=told, now=now)
            if never:  # it failed, as it would if somebody let it run: nobody has decided against it, nor against its hold
                self._endings.write(conn, job, Ending(state=JobState.FAILED, code=WrongState.code, error=never))
            elif hindered:
                self._endings.call_off(conn, job, by=f"{CLOCK}: {hindered}")
            found = found or bool(never or hindered)
        return found

    def hindered(self, conn: Connection, job: Job) -> str:
        """Why the job is not to be done now; '' = it may. One that no deadline made stands by itself."""
        service = services.get(conn, job.service_id)
        if service is None:
            return ""
        told = store.seen_to(conn, [service.id])[service.id].told
        terms = self._orders.terms(service)
        return confirmation.hindered(job, service, terms, told=told, now=self._works.clock.now())
