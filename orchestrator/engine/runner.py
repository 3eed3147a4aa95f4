"""One run of a job, start to end, as the durable library calls it; after a crash it is called again from the top.

What decides how a run goes on stands in the rows of the job and its steps, so that a recovered run takes the same way: what is
done is not looked at again, what had failed has, and the attempt that was broken off is made once more. What is done beside that
(waiting, taking the lock) may be repeated freely.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

from orchestrator.domain import outcomes
from orchestrator.domain import workflow as workflows
from orchestrator.domain.absences import Absence
from orchestrator.domain.errors import (
    ConfigError,
    FenceClosed,
    InDoubt,
    NotFound,
    PreconditionError,
    RequestError,
    UndoFailed,
    Unreachable,
)
from orchestrator.domain.guest_records import adopted_name
from orchestrator.domain.intents import IntentKind, JobState, StepState
from orchestrator.domain.jobs import Job, JobStep
from orchestrator.domain.kept import of_old_copy
from orchestrator.domain.playbooks import OnFailure, Playbook, StepCall
from orchestrator.domain.services import ServiceFacts
from orchestrator.engine.acts import Acts, Ended, Outcome, Run, Works, current_job, destroyed, frozen
from orchestrator.engine.durable import Halted
from orchestrator.engine.endings import OPEN, Ending, Endings
from orchestrator.engine.half_restored import require_whole
from orchestrator.engine.resolving import NodeSeen, hindered, resolved
from orchestrator.engine.resting import event_of
from orchestrator.engine.settings import Catalog
from orchestrator.engine.telling import tell_changed
from orchestrator.observe.logs import about
from orchestrator.store import absences, locks, machines, nodes, services
from orchestrator.store import jobs as job_store
from orchestrator.store.database import Connection

_log = logging.getLogger(__name__)
T = TypeVar("T")
_LOCK_POLL_SECONDS = 0.2
_WAIT_SLICE_SECONDS = 0.25


class Runner:
    """Runs jobs. One instance serves all worker threads."""

    def __init__(
        self,
        works: Works,
        *,
        acts: Acts,
        endings: Endings,
        playbooks: Mapping[str, Playbook],
        catalog: Catalog,
    ) -> None:
        self._works = works
        self._acts = acts
        self._endings = endings
        self._playbooks = playbooks
        self._catalog = catalog

    def run(self, job_id: str, number: int) -> None:
        """Run the job's run ``number`` to its end. Raises nothing but Halted."""
        current_job.set(job_id)
        with about(job_id=job_id):
            self._run_to_its_end(job_id, number)

    def _run_to_its_end(self, job_id: str, number: int) -> None:
        try:
            self._run(job_id, number)
        except Exception as exc:  # the rim of a run: whatever it is, the job must not stay 'running' for ever
            if self._works.halting.is_set():  # what the run stands on is being taken away: the next start sees how it was left
                _log.warning("job %s is left to the next start: %s", job_id, exc)
                raise Halted from exc
            _log.exception("job %s could not be carried on", job_id)
            self._endings.give_up(job_id, number, exc)

    def _run(self, job_id: str, number: int) -> None:
        run = self._resolve(job_id, number)
        if run is not None:
            with about(service_id=run.job.service_id, event_id=event_of(run.job)):
                self._carried(run)

    def _carried(self, run: Run) -> None:
        _log.info("job %s: %s begins", run.job.id, run.job.playbook, extra={"playbook": run.job.playbook, "run": run.job.run})
        if run.job.error_code or run.job.state == JobState.UNDOING:  # it has failed, or was stopped, and undoes what it made
            stopped = not run.job.error_code
            self._concluded(run, self._taken_back(run, run.job.error_code, run.job.error, stopped=stopped), None)
            return
        outcome, call, last = self._forward(run)
        goes_on = outcome["state"] in ("away", "frozen")
        self._concluded(run, outcome if goes_on else self._ending(run, outcome, call), last)

    def _concluded(self, run: Run, ending: Ending | Outcome, last: Ended | None) -> None:
        """Not recorded: each leaves the job such that an execution which comes back to it is over at once."""
        if isinstance(ending, Ending):
            self._endings.finish(run.job, ending, last)
        elif ending["state"] == "frozen":
            self._endings.park(run.job)
        else:
            self._endings.wait(run.job, Absence.from_json(ending["absence"]))

    # -- before the first step ----------------------------------------

    def _locked(self, job_id: str, number: int, then: Callable[[Connection, Job, str], T]) -> T | None:
        """Take the service's lock, waiting for another job of the service to end, and do ``then`` in the same transaction with
        the job and the lock's token; None where this run is over."""
        token = secrets.token_hex(16)

        def change(conn: Connection) -> tuple[T | None] | None:
            job = job_store.get(conn, job_id)
            if job.run != number or job.state not in OPEN:
                return (None,)
            now = self._works.clock.now()
            holder = locks.take_service(conn, job.service_id, job_id=job_id, token=token, now=now)
            if holder == job_id:
                return (then(conn, job, token),)
            if job_store.get(conn, holder).state not in OPEN:  # left behind by a job that has ended
                locks.release_service(conn, job.service_id, job_id=holder)
            return None

        while (found := self._works.record(change)) is None:
            self._works.pause(_LOCK_POLL_SECONDS)
        return found[0]

    def _resolve(self, job_id: str, number: int) -> Run | None:
        """Write the workflow down, or read back what an earlier execution of the run wrote. None where the run is over, or ends
        before its first step."""

        def resolve(conn: Connection, job: Job, token: str) -> Run | None:
            if job.state != JobState.QUEUED:
                known = services.facts(conn, job.service_id)
                rows = job_store.steps(conn, job.id)
                if job.state == JobState.UNDOING and not job.error_code and not job.stop_requested:
                    code, error = _failed_by(rows)
                    job = replace(job, error_code=code, error=error)
                left = {row.position: _as_left(row, stop=job.stop_requested) for row in rows if row.run == job.run}
                return replace(_run_of(job, known, token, absences.get(conn, job.id)), left=left)
            if frozen(conn, job, stop=job.stop_requested or bool(job.error_code)):
                self._endings.write_parked(conn, job)
                return None
            gone = None if job.workflow else nodes.lost_of(conn, job.service_id)
            lost = "" if gone is None else hindered(conn, self._catalog, job.service_id, job.intent, gone)
            if lost:
                self._endings.rest(conn, job, lost)
                return None
            try:
                return self._begin(conn, job, token, lost=gone is not None)
            except (PreconditionError, RequestError, ConfigError) as exc:
                self._endings.write(conn, job, Ending(state=JobState.FAILED, code=exc.code, error=str(exc)))
                return None

        return self._locked(job_id, number, resolve)

    def _begin(self, conn: Connection, job: Job, token: str, *, lost: bool) -> Run:
        """``lost``: the node that the service is on is."""
        if not job.error_code and not job.stop_requested:  # what only undoes is let
            require_whole(conn, job)
        now = self._works.clock.now()
        started: dict[str, Any] = {"state": JobState.RUNNING, "started_at": job.started_at or now}
        if job.workflow is not None:
            job_store.change(conn, job.id, **started)
            known = services.facts(conn, job.service_id)
            return _run_of(replace(job, **started), known, token, absences.get(conn, job.id))
        service = services.get(conn, job.service_id)
        if service is None:
            raise NotFound(f"there is no service {job.service_id}")
        record = outcomes.begin(service, job.intent, old_copy=of_old_copy(job.arguments))
        facts = services.facts(conn, service.id)
        others = [other for other in job_store.unfinished(conn, service.id) if other.id != job.id]
        seen = NodeSeen(power=machines.own_power(conn, facts.node), lost=lost)
        workflow = resolved(
            self._playbooks, self._catalog, service=record, facts=facts, job=job, others=others, seen=seen, now=now
        )
        if record != service:
            services.put(conn, record, now=now, before=service)
            tell_changed(conn, service, record, now=now)
        started["workflow"] = workflows.to_json(workflow)
        job_store.change(conn, job.id, **started)
        first = next((at for at, call in enumerate(workflow.calls) if not call.skipped), None)
        steps = [_planned(job.id, at, call) for at, call in enumerate(workflow.calls)]
        if first is not None:
            steps[first] = replace(steps[first], state=StepState.RUNNING, run=job.run, attempts=1, started_at=now)
        job_store.lay_down_steps(conn, job.id, steps)
        return replace(_run_of(replace(job, **started), facts, token), begun=first)

    # -- forward ----------------------------------------

    def _forward(self, run: Run) -> tuple[Outcome, StepCall | None, Ended | None]:
        """Every step in order; how it ended, the step that stopped it, and the one whose row does not say yet that it is done."""
        given: dict[str, Mapping[str, Any]] = {}
        last: Ended | None = None
        for position, call in enumerate(run.workflow.calls):
            if call.skipped:
                continue
            row = run.left.get(position)
            if row is not None and row.state == StepState.DONE:
                given[call.id] = row.facts or {}
                continue
            outcome = self._attempts(run, partial(self._acts.perform, run, position, given=dict(given), last=last), row)
            last = None
            if outcome["state"] == "done":
                given[call.id] = outcome["facts"]
                last = Ended(position, outcome)
                self._works.at(run.point(call, "after"))
            elif not (outcome["state"] == "failed" and call.on_failure == OnFailure.CONTINUE):
                return outcome, call, None
        return {"state": "done"}, None, last

    def _attempts(self, run: Run, act: Callable[..., Outcome], left: JobStep | None = None) -> Outcome:
        """Attempt after attempt until one is no retry. ``left``: the step as an earlier execution of the run left it."""
        attempt = 1 if left is None else max(left.attempts, 1)
        known = None if left is None or left.outcome is None else dict(left.outcome)
        since: datetime | None = None
        while True:
            self._works.halt_if_stopping()
            outcome = known or act(attempt=attempt, since=since)
            if outcome["state"] != "retry":
                return outcome
            since = since or datetime.fromisoformat(outcome["since"])
            self._wait_until(run, datetime.fromisoformat(outcome["retry_at"]))
            attempt, known = attempt + 1, None

    def _wait_until(self, run: Run, moment: datetime) -> None:
        """Wait in slices; a stop cuts it short (the next attempt then sees it before it acts)."""
        while (left := (moment - self._works.clock.now()).total_seconds()) > 0:
            if self._works.record(lambda conn: job_store.stop_requested(conn, run.job.id)):
                return
            self._works.pause(min(left, _WAIT_SLICE_SECONDS))

    # -- the end ----------------------------------------

    def _ending(self, run: Run, outcome: Outcome, call: StepCall | None) -> Ending | Outcome:
        """What becomes of the job; undoes it where that is what the outcome asks for. An outcome where it waits in the middle of
        that."""
        if call is None:
            return Ending(state=JobState.DONE)
        code, error = outcome.get("code", ""), outcome.get("error", "")
        where = f"step {call.id}: {error}"
        if outcome["state"] == "doubt" or (outcome["state"] == "failed" and call.on_failure == OnFailure.HALT):
            return Ending(state=JobState.NEEDS_OPERATOR, code=code, error=where)
        if outcome["state"] != "stopped" and code != Unreachable.code:  # what it has waited for before was there again
            run = replace(run, absence=None)
        return self._taken_back(run, code, where, stopped=outcome["state"] == "stopped")

    def _taken_back(self, run: Run, code: str, where: str, *, stopped: bool = False) -> Ending | Outcome:
        """Undo what the job made, which has failed with that, or was ``stopped``.

        An outcome where it waits in the middle of that: the next run comes back to it, by the stop, or by the error that the job
        has from then on.
        """
        where = "it was stopped" if stopped else where
        plan = self._begin_undo(run, {} if stopped else {"error_code": code, "error": where})
        if plan["destroyed"]:
            return Ending(state=JobState.NEEDS_OPERATOR, code=code, error=f"{where}; past the point of no return")
        undone = self._undo(run, plan["applied"])
        if isinstance(undone, dict):
            return undone
        if undone is not None:
            return Ending(state=JobState.NEEDS_OPERATOR, code=UndoFailed.code, error=f"{where}; {undone}")
        # The fence sees a stop that came after the step had begun.
        if stopped or (code == FenceClosed.code and plan.get("stopped")):
            return Ending(state=JobState.CANCELLED, error=_stopped(run.job))
        return Ending(state=JobState.FAILED, code=code, error=where)

    def _begin_undo(self, run: Run, why: Mapping[str, str]) -> Outcome:
        """Which steps are to be undone: what this job applied or began to, the latest first. ``why``: the error, for its row."""

        def change(conn: Connection) -> Outcome:
            stopped = locks.stop_requested(conn, run.job.id, token=run.token)
            if stopped is None:  # a later execution of the job took over
                raise Halted
            if destroyed(conn, run.job):
                return {"destroyed": True, "applied": ()}
            job_store.change(conn, run.job.id, state=JobState.UNDOING, **why)
            if run.absence is None:  # it waits for nothing any more, also for whoever goes on with it
                absences.drop(conn, run.job.id)
            applied = [row for row in job_store.steps(conn, run.job.id) if row.applied]
            return {"destroyed": False, "applied": applied[::-1], "stopped": stopped}

        return self._works.record(change)

    def _undo(self, run: Run, applied: Sequence[JobStep]) -> str | Outcome | None:
        """None when all is undone, what could not be, or what it waits for before it is."""
        for row in applied:
            call = run.workflow.calls[row.position]
            outcome = self._attempts(run, partial(self._acts.take_back, run, row.position), _undoing(row, run.job.run))
            if outcome["state"] == "away":
                return outcome
            if outcome["state"] != "done":
                return f"undoing {call.id} failed: {outcome.get('error', '')}"
        return None


def _run_of(job: Job, known: ServiceFacts, token: str, absence: Absence | None = None) -> Run:
    flow, named = workflows.from_json(job.workflow or {}), adopted_name(known.values)
    return Run(job=job, workflow=flow, token=token, named=named, absence=absence)


def _stopped(job: Job) -> str:
    by = "by an operator"
    if job.intent == IntentKind.DRILL:
        by = "for something that its customer or billing wants of the service, or by an operator"
    return f"stopped {by}; what it had made was undone"


def _as_left(row: JobStep, *, stop: bool) -> JobStep:
    """Without an outcome that counts no more: an older version began the step again since, or the job is asked to stop."""
    state = (row.outcome or {}).get("state")
    begun_since = row.state == StepState.RUNNING and state != "retry"
    return replace(row, outcome=None) if begun_since or (stop and state in ("away", "frozen")) else row


def _undoing(row: JobStep, run: int) -> JobStep | None:
    """The step with what undoing it came to last in this run of the job; None where it was not tried in that."""
    outcome = row.outcome or {}
    return replace(row, attempts=outcome["attempt"]) if outcome.get("run") == run else None


def _failed_by(rows: Sequence[JobStep]) -> tuple[str, str]:
    """Why a job undoes that an older version began to undo, which did not write it down: code and error of what failed last."""
    failed = [(row.finished_at, row) for row in rows if row.error_code and row.finished_at is not None]
    if not failed:
        return InDoubt.code, "it failed; of what, the version that ran it kept to itself"
    _, row = max(failed, key=lambda each: each[0])
    return row.error_code, f"step {row.id}: {row.error}"


def _planned(job_id: str, position: int, call: StepCall) -> JobStep:
    state = StepState.SKIPPED if call.skipped else StepState.PENDING
    return JobStep(
        job_id=job_id, position=position, id=call.id, step=call.step, state=state, args=call.args, message=call.skipped
    )
