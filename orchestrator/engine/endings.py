"""How a run ends: one transaction with the job, the service's record, what billing is told, the audit and the lock."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from orchestrator.domain import (
    account_settings,
    archives,
    coming_back,
    kept,
    moving_in,
    outcomes,
    own_systems,
    plan_changes,
    restarts,
    service_facts,
)
from orchestrator.domain.absences import Absence
from orchestrator.domain.backups.asking import ON_REQUEST
from orchestrator.domain.backups.drills import ended as drill_ended
from orchestrator.domain.backups.drills import signature_of
from orchestrator.domain.charges import ChargeKind
from orchestrator.domain.decisions import Tell
from orchestrator.domain.errors import OrchestratorError
from orchestrator.domain.intents import Intent, IntentKind, JobState
from orchestrator.domain.jobs import FROZEN_REASON, Job, decided_at
from orchestrator.domain.lost_nodes import LOST_REASON
from orchestrator.domain.services import Lifecycle, Service
from orchestrator.domain.terms import Terms
from orchestrator.engine.acts import Ended, Works, note_done
from orchestrator.engine.durable import Durable
from orchestrator.engine.half_restored import restoring
from orchestrator.engine.line import line_up
from orchestrator.engine.resting import tell_rest
from orchestrator.engine.telling import tell, tell_changed, tell_refused
from orchestrator.store import (
    absences,
    audit,
    backups,
    charges,
    deadlines,
    drills,
    events,
    fence,
    locks,
    outbox,
    services,
    settings,
    site_certificates,
)
from orchestrator.store import jobs as job_store
from orchestrator.store.database import Connection, after_commit

_log = logging.getLogger(__name__)
# States of a job whose run is under way or to come; any other means that this run is over.
OPEN = (JobState.QUEUED, JobState.RUNNING, JobState.UNDOING)
ENGINE = "orchestrator"
# What a fee for coming back is for.
COMES_BACK = (IntentKind.UNSUSPEND, IntentKind.REACTIVATE)
CERTIFICATE = "certificate.issued"
# Backups that wait for their node are looked at again within so long, and at once when one of them has ended.
_WAITING = timedelta(minutes=10)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """In which state the run leaves the job, and why."""

    state: JobState
    code: str = ""
    error: str = ""


class Endings:
    """Writes endings. Each is repeatable: a run that has ended already is left as it is.

    ``follow`` makes the job of an intent that an ending leaves to do; ``terms`` are what holds for a service; ``held`` says why a
    job has to wait on whose reason to wait is over, '' = it may run.
    """

    def __init__(
        self,
        works: Works,
        durable: Durable,
        *,
        follow: Callable[[Connection, Intent], Job | None],
        terms: Callable[[Service], Terms],
        held: Callable[[Connection, Job], str],
    ) -> None:
        self._works = works
        self._durable = durable
        self._follow = follow
        self._terms = terms
        self._held = held

    def finish(self, job: Job, ending: Ending, last: Ended | None = None) -> None:
        """End the run. ``last``: the step that went well last, where its row does not say so yet."""
        certificate = self._certificate_of(job, ending)
        self._works.at(f"{job.playbook}/finish/before")
        self._works.record(lambda conn: self.write(conn, job, ending, certificate=certificate, last=last))
        self._works.at(f"{job.playbook}/finish/after")

    def write(
        self,
        conn: Connection,
        job: Job,
        ending: Ending,
        *,
        certificate: Mapping[str, Any] | None = None,
        last: Ended | None = None,
    ) -> None:
        """End the run inside the caller's transaction."""
        present = job_store.get(conn, job.id)
        if present.run != job.run or present.state not in (*OPEN, JobState.WAITING_APPROVAL, JobState.NEEDS_OPERATOR):
            return
        if last is not None:
            note_done(conn, job, last)
        now = self._works.clock.now()
        job_store.change(
            conn, job.id, state=ending.state, error_code=ending.code, error=ending.error, finished_at=now, stop_requested=False
        )
        if present.run > 1:  # who has waited for what was away runs again
            absences.drop(conn, job.id)
        if job.intent == IntentKind.RECOVER and ending.state == JobState.DONE:
            self.let_on(conn, job.service_id)
        service = services.get(conn, job.service_id)
        if service is not None:
            self._settle(conn, present, service, ending)
            if certificate:
                issued = Tell(kind=CERTIFICATE, key=str(certificate["id"]), data={"certificate": dict(certificate)})
                tell(conn, service, [issued], now=now)
        told = self._story(present, ending) | ({"certificate_id": certificate["id"]} if certificate else {})
        outbox.add(
            conn,
            # With the state: what failed, or needed an operator, can be cancelled in the same run.
            message_id=f"{job.id}.{job.run}.{ending.state.value}",
            kind=f"job.{ending.state.value}",
            service_id=job.service_id,
            data=told,
            now=now,
        )
        audit.append_of_job(conn, present, f"job {ending.state.value}", at=now, who=ENGINE, facts=told)
        tell_rest(conn, present, ending.state, now=now, code=ending.code, reason=ending.error)
        locks.release_service(conn, job.service_id, job_id=job.id)
        line_up(conn, self._durable, job.service_id)

    def park(self, job: Job) -> None:
        """A freeze stands in the way: the job waits, and goes on where it was when the freeze is lifted."""
        self._works.record(lambda conn: self.write_parked(conn, job))

    def write_parked(self, conn: Connection, job: Job) -> None:
        present = job_store.get(conn, job.id)
        if present.run != job.run or present.state not in OPEN:
            return
        # Lifted, or asked to stop, in this very moment: nobody would wake the job any more.
        if settings.freeze(conn) is None or present.stop_requested:
            locks.release_service(conn, job.service_id, job_id=job.id)
            job_store.change(conn, job.id, state=JobState.QUEUED, run=job.run + 1)
            line_up(conn, self._durable, job.service_id)
            return
        self.rest(conn, present, FROZEN_REASON)

    def rest(self, conn: Connection, job: Job, reason: str) -> None:
        """The job waits for what the reason says, and the next one of its service may begin."""
        locks.release_service(conn, job.service_id, job_id=job.id)
        job_store.change(conn, job.id, state=JobState.WAITING_APPROVAL, approval_reason=reason)
        line_up(conn, self._durable, job.service_id)
        now, word = self._works.clock.now(), reason.partition(":")[0]
        audit.append_of_job(conn, job, f"job waits: {word}", at=now, who=ENGINE)
        tell_rest(conn, job, JobState.WAITING_APPROVAL, now=now, reason=reason)

    def let_on(self, conn: Connection, service_id: str) -> None:
        """The service is on a lost node no more: what waited for that goes on, each past the brakes."""
        for job in job_store.waiting_for_approval(conn, [service_id]):
            if job.approval_reason.startswith(LOST_REASON):
                held = self._held(conn, job)
                if held:
                    job_store.change(conn, job.id, approval_reason=held)
                else:
                    self.run_again(conn, job, approved_by=job.approved_by)

    def wait(self, job: Job, absence: Absence) -> None:
        """What the job needs cannot be reached: it goes back into its line, and on where it was when its next try is due."""
        self._works.at(f"{job.playbook}/away/before")
        self._works.record(lambda conn: self._write_waiting(conn, job, absence))
        self._works.at(f"{job.playbook}/away/after")

    def _write_waiting(self, conn: Connection, job: Job, absence: Absence) -> None:
        present = job_store.get(conn, job.id)
        if present.run != job.run or present.state not in OPEN:
            return
        locks.release_service(conn, job.service_id, job_id=job.id)
        job_store.change(conn, job.id, state=JobState.QUEUED, run=job.run + 1)
        absences.put(conn, job.id, absence)
        if present.stop_requested and not job.stop_requested:  # meanwhile: this run did not see it
            absences.end(conn, job.id)
        if absence.tries == 1:
            facts = {"away": absence.away, "why": absence.why}
            audit.append_of_job(conn, present, "job waits: not reached", at=self._works.clock.now(), who=ENGINE, facts=facts)
        after_commit(conn, lambda: _log.warning("job %s %s", job.id, absence))
        line_up(conn, self._durable, job.service_id)

    def call_off(self, conn: Connection, job: Job, *, by: str, for_good: bool = False) -> None:
        """End a job that is not over: at once where it has made nothing yet, else before its next step, and undo what it made.

        What fell due is seen to no more, and asked for anew as soon as it is due again; unless it is ``for_good``, by a person's
        decision or billing's word.
        """
        if not for_good:
            deadlines.not_seen_to(conn, job.service_id, job_id=job.id)
        resting = job.state in (JobState.WAITING_APPROVAL, JobState.NEEDS_OPERATOR)
        begun = any(step.applied for step in job_store.steps(conn, job.id))
        if (resting or job.state == JobState.QUEUED) and not begun:
            self.write(conn, job, Ending(state=JobState.CANCELLED, error=f"cancelled by {by}"))
        else:
            job_store.change(conn, job.id, stop_requested=True)
            absences.end(conn, job.id)
            line_up(conn, self._durable, job.service_id)
            if resting:  # what it made has to be undone, and that is a run's work
                self.run_again(conn, job, approved_by=job.approved_by)

    def run_again(self, conn: Connection, job: Job, *, approved_by: str) -> None:
        """A new run: the library would take the old run's id for the one that ended."""
        values: dict[str, Any] = {"state": JobState.QUEUED, "run": job.run + 1, "error_code": "", "error": ""}
        values |= {"finished_at": None, "approval_reason": "", "approved_by": approved_by}
        job_store.change(conn, job.id, **values)
        line_up(conn, self._durable, job.service_id)

    def wait_again(self, conn: Connection, job: Job, reason: str) -> None:
        """A job that is tried again waits for approval first; an earlier approval was of the earlier try."""
        values: dict[str, Any] = {"state": JobState.WAITING_APPROVAL, "error_code": "", "error": ""}
        values |= {"finished_at": None, "approval_reason": reason, "approved_by": ""}
        job_store.change(conn, job.id, **values)
        tell_rest(conn, job_store.get(conn, job.id), JobState.WAITING_APPROVAL, now=self._works.clock.now(), reason=reason)

    def give_up(self, job_id: str, run: int, error: Exception) -> None:
        """Something broke that is no step's: an operator has to look."""
        sentence = (
            str(error) if isinstance(error, OrchestratorError) else f"an error that nobody foresaw ({type(error).__name__})"
        )
        ending = Ending(state=JobState.NEEDS_OPERATOR, code=OrchestratorError.code, error=sentence)

        def change(conn: Connection) -> None:
            job = job_store.get(conn, job_id)
            if job.run == run and job.state in OPEN:
                self.write(conn, job, ending)

        self._works.record(change)

    def _settle(self, conn: Connection, job: Job, service: Service, ending: Ending) -> None:
        """The service's record and what is known of its things after the run."""
        now = self._works.clock.now()
        terminates = job.intent == IntentKind.TERMINATE
        steps = job_store.steps(conn, job.id)
        after = outcomes.finish(
            service,
            job.intent,
            ending.state,
            ending.code,
            now=now,
            provisioned=not terminates or job_store.ever_done(conn, service.id, IntentKind.PROVISION),
            adds=str(job.arguments.get("reason", "")) if job.arguments.get("adds") else "",
            kept=service_facts.archive_of(steps) is not None,
            plan=str(job.arguments.get(plan_changes.PLAN, "")),
            on_request=bool(job.arguments.get(ON_REQUEST)),
            elsewhere=terminates
            and any(
                other.id != job.id and other.intent == IntentKind.TERMINATE and other.workflow is not None
                for other in job_store.unfinished(conn, service.id)
            ),
        )
        ended_well = ending.state == JobState.DONE and not ending.code
        keep = self._terms(service).backups.keep_restored
        after = account_settings.after_job(after, job.intent, job.arguments, self._terms(after), ended_well=ended_well)
        after = own_systems.after_job(after, job.intent, job.arguments, ended_well=ended_well)
        after = kept.after_job(after, job, steps, ended_well=ended_well, now=now, keep=keep)
        after = restarts.after_job(after, job, steps, self._terms(after), ended_well=ended_well, now=now)
        if after != service:
            services.put(conn, after, now=now, before=service)
            tell_changed(conn, service, after, now=now)
            if plan_changes.NOT_AFTER not in job.arguments or after.restart is not None:
                tell(conn, after, restarts.taken_back(service, after), now=now)
        known = services.facts(conn, service.id)
        services.set_facts(conn, service.id, service_facts.after_job(known, job, ending.state, steps), now=now)
        if after.state == Lifecycle.ERASED and service.state != Lifecycle.ERASED:
            job_store.forget_access(conn, service.id)
            events.forget_access(conn, service.id)
        if after.archived_at != service.archived_at:
            fence.begin_anew(conn, service.id)
        if ending.state.final and job.intent == IntentKind.SET_ACCOUNT:
            site_certificates.drop(conn, job.id)
        self._charge(conn, job, ending)
        if job.intent == IntentKind.DRILL:
            drill = drill_ended(ending.state, well=ended_well)
            drills.end(conn, job.id, drill, why=ending.error, signature=signature_of(steps), now=now)
        if job.intent == IntentKind.BACKUP:
            deadlines.look_sooner(conn, service.node, now=now, within=_WAITING)
            tell_refused(conn, after, job.id, now=now)
        if job.intent.ends and ending.state in (JobState.DONE, JobState.NEEDS_OPERATOR):
            self._tell_too_late(conn, job, after)
        self._follow_up(conn, job, after)

    def _charge(self, conn: Connection, job: Job, ending: Ending) -> None:
        """What an operation costs, or is counted as, is taken back where it fails, and counts again where it is done after."""
        now = self._works.clock.now()
        if ending.state in (JobState.FAILED, JobState.CANCELLED):
            why = f"job {job.id} {ending.state}: {ending.error}".rstrip(": ")
            charges.operation_failed(conn, job.id, why=why, now=now)
            backups.restore_failed(conn, job.id, why=why, now=now)
        elif ending.state == JobState.DONE and not ending.code and job.intent in COMES_BACK:
            charges.operation_done(conn, job.service_id, ChargeKind.REACTIVATION, job_id=job.id, now=now)
        elif ending.state == JobState.DONE and not ending.code and job.intent in account_settings.MOVES_IN:
            charges.owed_again(conn, str(job.arguments.get(moving_in.CHARGE, "")), job_id=job.id, now=now)
        elif ending.state == JobState.DONE and not ending.code and job.intent == IntentKind.RESTORE:
            backups.restore_done(conn, job.id, now=now)

    def _follow_up(self, conn: Connection, job: Job, service: Service) -> None:
        """Make the job that brings the guest to what the holds say, unless another will: the last to end sees to it."""
        left = outcomes.follow_up(service, ended=job.intent)
        left = left or archives.paid_meanwhile(service, self._terms(service), payments=decided_at(job))
        if left is None or (left.kind == IntentKind.UNSUSPEND and restoring(conn, service.id) is not None):
            return
        others = [other for other in job_store.unfinished(conn, service.id) if other.id != job.id]
        if not any(other.state in OPEN or other.intent == left.kind for other in others):
            made = self._follow(conn, left)
            fee = (
                coming_back.fee_out_of_the_archive(service, self._terms(service)) if left.kind == IntentKind.REACTIVATE else None
            )
            if made is not None and fee is not None:
                charges.make(conn, fee, job_id=made.id, now=self._works.clock.now())

    def _tell_too_late(self, conn: Connection, job: Job, service: Service) -> None:
        """A payment came after the first destructive act was let through: billing has to give the money back."""
        archived = service.state == Lifecycle.ARCHIVED and job.intent == IntentKind.TERMINATE
        lost = service.point_of_no_return is not None or archived
        if service.payments <= decided_at(job) or not lost or archives.brings_back(service, self._terms(service)):
            return
        data = {
            "service_id": service.id,
            "job_id": job.id,
            "state": service.state.value,
        }
        if service.point_of_no_return is not None:
            data["point_of_no_return"] = service.point_of_no_return.isoformat()
        now = self._works.clock.now()
        outbox.add(conn, message_id=f"{job.id}.late", kind="payment.too_late", service_id=service.id, data=data, now=now)

    def _certificate_of(self, job: Job, ending: Ending) -> Mapping[str, Any] | None:
        if not job.intent.ends or ending.state != JobState.DONE:
            return None
        return self._works.insist(lambda: self._works.ports.ledger.certificate(job.service_id))

    def _story(self, job: Job, ending: Ending) -> dict[str, Any]:
        return {
            "job_id": job.id,
            "run": job.run,
            "service_id": job.service_id,
            "intent": job.intent.value,
            "state": ending.state.value,
            "reason": job.reason,
            "asked_by": job.asked_by,
            "error_code": ending.code,
            "error": ending.error,
        }
