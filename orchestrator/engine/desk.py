"""What operators do to jobs: approve, cancel, retry, and the freeze over everything that suspends or destroys."""

from __future__ import annotations

from collections.abc import Callable

from orchestrator.domain import decisions
from orchestrator.domain.errors import Frozen, NotFound, Refused, WrongState
from orchestrator.domain.intents import Intent, JobState, Nothing, Refusal
from orchestrator.domain.jobs import DECIDED_AT, FROZEN_REASON, Job, decided_at
from orchestrator.domain.services import HoldReason
from orchestrator.engine.acts import Works, destroyed
from orchestrator.engine.clerk import once
from orchestrator.engine.confirming import Confirming
from orchestrator.engine.endings import Endings
from orchestrator.engine.orders import Orders
from orchestrator.engine.settings import Beside
from orchestrator.store import audit, services, settings
from orchestrator.store import jobs as job_store
from orchestrator.store.database import Connection


class Desk:
    """Each call is one transaction, with one row of audit, which tells ``why``, and what the caller wants ``beside`` it."""

    def __init__(
        self, works: Works, *, orders: Orders, endings: Endings, confirming: Confirming, wake: Callable[[], None]
    ) -> None:
        self._works = works
        self._orders = orders
        self._endings = endings
        self._confirming = confirming
        self._wake = wake

    def approve(self, job_id: str, who: str, why: str, beside: Beside[None]) -> None:
        """Let a job run that waits. Raises NotFound, WrongState where it does not wait or is over, NodeLost, and Frozen during a
        freeze."""
        with self._works.db.write() as conn:
            job = job_store.get(conn, job_id)
            if job.state != JobState.WAITING_APPROVAL:
                raise WrongState(f"job {job_id} is {job.state}: only a job that waits for approval can be approved")
            if job.intent.destructive and settings.freeze(conn) is not None:
                raise Frozen("a freeze is in force: nothing that suspends or destroys runs", hint="orchestrator freeze off")
            self._refuse_over(conn, job)
            self._refuse_lost(conn, job)
            self._endings.run_again(conn, job, approved_by=who)
            facts = {"waited for": job.approval_reason, "why": why}
            audit.append_of_job(conn, job, "job approved", at=self._works.clock.now(), who=who, facts=facts)
            beside(conn, None)

    def cancel(self, job_id: str, who: str, why: str, beside: Beside[None]) -> None:
        """End a job: at once where it has made nothing yet, else before its next step, and what it made is undone.

        Raises NotFound, and WrongState where it is over or past the point of no return.
        """
        with self._works.db.write() as conn:
            job = job_store.get(conn, job_id)
            if job.state.final:
                raise WrongState(f"job {job_id} is {job.state}: there is nothing to cancel")
            if destroyed(conn, job):
                raise WrongState(f"job {job_id} is past the point of no return: it can only go on", hint="job retry")
            self._endings.call_off(conn, job, by=who, for_good=True)
            facts = {"state": job.state.value, "why": why}
            audit.append_of_job(conn, job, "job cancelled", at=self._works.clock.now(), who=who, facts=facts)
            beside(conn, None)
        self._wake()

    def retry(self, job_id: str, who: str, why: str, beside: Beside[None]) -> None:
        """Run a failed, cancelled or undecided job again. Raises NotFound, WrongState, Refused where it is not wanted now.

        One that needs an operator goes on where it stopped; one that was undone is decided and resolved afresh. Both pass the
        brakes and the freeze as a new job would, and wait where they say so; past the point of no return only a freeze does.
        """
        with self._works.db.write() as conn:
            job = job_store.get(conn, job_id)
            if job.state not in (JobState.FAILED, JobState.CANCELLED, JobState.NEEDS_OPERATOR):
                raise WrongState(f"job {job_id} is {job.state}: only a job that failed can be tried again")
            begun = destroyed(conn, job)
            if not begun:
                self._refuse_paid(conn, job)
                self._refuse_over(conn, job)
            waits = "" if begun else self._orders.braked(conn, job.intent, now=self._works.clock.now())
            if job.state != JobState.NEEDS_OPERATOR:
                self._decide_again(conn, job, who)
            elif begun:
                self._decide_on(conn, job)
            job_store.change(conn, job.id, started_at=None)  # the brakes count it from when it begins this time
            if waits:
                self._endings.wait_again(conn, job, waits)
            else:
                self._endings.run_again(conn, job, approved_by=job.approved_by)
            facts = {"run": job.run + 1, "after": job.error_code, "waits": waits, "why": why}
            audit.append_of_job(conn, job, "job retried", at=self._works.clock.now(), who=who, facts=facts)
            beside(conn, None)

    def _refuse_paid(self, conn: Connection, job: Job) -> None:
        """What a payment has stopped, or would have, is not taken up again: raises Refused."""
        service = services.get(conn, job.service_id)
        owed = job.intent.ends or job.arguments.get("reason") == HoldReason.NONPAYMENT
        if job.intent.destructive and owed and service is not None and service.payments > job.payments:
            raise Refused(
                f"service {service.id} was paid since job {job.id} was decided [a payment ends what it overtakes]",
                rule="a payment ends what it overtakes",
                hint=f"if it is still wanted: orchestrator service {job.intent} {service.id}",
            )

    def _refuse_over(self, conn: Connection, job: Job) -> None:
        """What ends a service because of a deadline that is not due any more is not let run: raises WrongState."""
        hindered = "" if not job.intent.ends or destroyed(conn, job) else self._confirming.hindered(conn, job)
        if hindered:
            raise WrongState(
                f"job {job.id} is not to be done now: {hindered}",
                hint=f"if it is still wanted: orchestrator service {job.intent} {job.service_id}",
            )

    def _refuse_lost(self, conn: Connection, job: Job) -> None:
        """What its lost node keeps from beginning is not let run: raises NodeLost."""
        service = services.get(conn, job.service_id)
        if service is not None and job.workflow is None:
            self._orders.require_node(conn, service, job.intent, job.arguments)

    def freeze(self, who: str, why: str) -> None:
        """From now on nothing suspends or destroys; again keeps the first one's reason."""
        with self._works.db.write() as conn:
            now = self._works.clock.now()
            settings.set_freeze(conn, by=who, why=why, now=now)
            audit.append(conn, at=now, who=who, what="freeze", facts={"why": why})

    def unfreeze(self, who: str) -> list[Job]:
        """Lift the freeze; the jobs it held go on, each past the brakes. None in force = success. Returns those that go on."""
        released = []
        with self._works.db.write() as conn:
            now = self._works.clock.now()
            settings.lift_freeze(conn)
            audit.append(conn, at=now, who=who, what="unfreeze")
            for job in job_store.in_states(conn, [JobState.WAITING_APPROVAL]):
                if job.approval_reason != FROZEN_REASON:
                    continue
                waits = self._orders.still_held(conn, job)
                if waits:
                    job_store.change(conn, job.id, approval_reason=waits)
                else:
                    self._endings.run_again(conn, job, approved_by=job.approved_by)
                    released.append(job)
        return released

    def _decide_again(self, conn: Connection, job: Job, who: str) -> None:
        """The same intent on the service as it is now; the record moves as it did the first time."""
        service = services.get(conn, job.service_id)
        if service is None:
            raise NotFound(f"there is no service {job.service_id}")
        now = self._works.clock.now()
        arguments = dict(job.arguments)
        terms = self._orders.terms(service)
        decided = decisions.command(job.intent, service, who=who, why=job.reason, now=now, arguments=arguments, terms=terms)
        received = once(conn, service, decided)
        if isinstance(received.decision, Refusal):
            raise Refused(f"{received.decision.reason} [{received.decision.rule}]", rule=received.decision.rule)
        if isinstance(received.decision, Nothing):
            raise WrongState(f"nothing is to be done: {received.decision.reason}")
        if received.service is not None and received.service != service:
            services.put(conn, received.service, now=now)
        self._forget_workflow(conn, job, received.decision)

    def _decide_on(self, conn: Connection, job: Job) -> None:
        """Past the point of no return there is only the end: the operator decides so, knowing of a payment since."""
        service = services.get(conn, job.service_id)
        if service is not None:
            first = {DECIDED_AT: decided_at(job)}
            job_store.change(conn, job.id, payments=service.payments, arguments={**job.arguments, **first})

    def _forget_workflow(self, conn: Connection, job: Job, intent: Intent) -> None:
        job_store.clear_steps(conn, job.id)
        job_store.change(conn, job.id, workflow=None, payments=intent.payments, arguments=dict(intent.arguments))
