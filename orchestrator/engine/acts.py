"""One attempt at one step, and one attempt at taking it back: intent, check, act, record.

What is returned decides how the run goes on; it is plain JSON: ``state`` is done, retry (with ``retry_at``), away (with
``absence``), failed, fence, frozen, doubt or stopped; ``facts`` where done; ``code`` and ``error`` where not. Nothing but Halted
is raised. Crash points: ``<playbook>/<id>/before`` (intent written), ``/during`` (applied), ``/after`` (its outcome is known,
and not written yet), ``/undo-before``, ``/undo-during``, ``/undo-after``.

All of it stands in the step's row, which people see, and which a later execution of the run goes on from. That a step is done
is written with the beginning of the next one or with the end of the job, as each transaction less is time; whoever is ended in
between looks at the world again, and finds it done.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, TypeVar
from zlib import crc32

from orchestrator.domain import absences
from orchestrator.domain import workflow as workflows
from orchestrator.domain.absences import Absence
from orchestrator.domain.errors import (
    FenceClosed,
    Frozen,
    InDoubt,
    NodeLost,
    OrchestratorError,
    Stopped,
    StoreUnavailable,
    UndoFailed,
    Unreachable,
)
from orchestrator.domain.intents import IntentKind, StepState
from orchestrator.domain.jobs import Job, JobStep, retry_delay
from orchestrator.domain.playbooks import StepCall, Workflow
from orchestrator.engine.durable import Halted
from orchestrator.engine.precedence import Precedence
from orchestrator.engine.progress import BrokenOff, Progress, StopFlag, Yielding, never
from orchestrator.engine.settings import EngineSettings
from orchestrator.engine.slots import Slots, SlotWaitEnded
from orchestrator.observe.logs import about
from orchestrator.ports.clock import Clock
from orchestrator.steps.arguments import dump, parse
from orchestrator.steps.base import Done, Facts, Ports, Step, StepContext
from orchestrator.store import fence, locks, services, settings
from orchestrator.store import jobs as job_store
from orchestrator.store.database import Connection, Database

_log = logging.getLogger(__name__)
T = TypeVar("T")
# The job that the present thread runs, for whoever only sees the thread (crash points, logs); '' = none.
current_job: ContextVar[str] = ContextVar("current_job", default="")
Given = Mapping[str, Mapping[str, Any]]
Outcome = dict[str, Any]

_STORE_RETRY_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Run:
    """One execution of a run of a job. ``token`` is of this very execution: an older one's writes are refused. ``named``: as
    ``StepContext``; ``absence``: what the job waited for before it; ``begun``: the step that began as it was written;
    ``left``: the steps that an earlier execution of the same run came to, by position."""

    job: Job
    workflow: Workflow
    token: str
    named: str = ""
    absence: Absence | None = None
    begun: int | None = None
    left: Mapping[int, JobStep] = field(default_factory=dict)

    def point(self, call: StepCall, moment: str) -> str:
        return f"{self.workflow.playbook}/{call.id}/{moment}"


@dataclass(frozen=True, slots=True)
class Ended:
    """A step that went well: its row does not say so yet."""

    position: int
    outcome: Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Works:
    """What every part of the engine works with. ``at`` is told each crash point; ``halting`` is set when it stops; ``sure`` says
    whether nobody can have taken over what this process does."""

    db: Database
    steps: Mapping[str, Step[Any]]
    ports: Ports
    settings: EngineSettings
    at: Callable[[str], None]
    halting: threading.Event
    sure: Callable[[], bool]
    on_step: Callable[[str, str, float], None]
    precedence: Precedence = field(default_factory=Precedence)

    @property
    def clock(self) -> Clock:
        return self.ports.clock

    def record(self, change: Callable[[Connection], T]) -> T:
        """Write, and where the store is away wait for it: what happened outside must not be forgotten."""
        self.precedence.stand_aside()
        return self.insist(lambda: self.db.together(change))

    def note(self, change: Callable[[Connection], T]) -> T:
        """As ``record``, of what is written to the steps of a job by the run that holds its service's lock, and by nobody else:
        it need not wait for the turn of those who write the rest."""
        self.precedence.stand_aside()
        return self.insist(lambda: self.db.own(change))

    def insist(self, ask: Callable[[], T]) -> T:
        """Ask of the store until it answers. Raises Halted as soon as the controller stops."""
        while True:
            try:
                return ask()
            except StoreUnavailable as exc:
                _log.warning("the store is away, a job waits for it: %s", exc.message)
                self.pause(_STORE_RETRY_SECONDS)

    def pause(self, seconds: float) -> None:
        """Wait; raises Halted as soon as the controller stops."""
        self.halt_if_stopping()
        self.clock.sleep(seconds)
        self.halt_if_stopping()

    def halt_if_stopping(self) -> None:
        if self.halting.is_set() or not self.sure():
            raise Halted


@dataclass(frozen=True, slots=True, kw_only=True)
class _Attempt:
    """One of ``attempts`` at a step; the first of them failed ``since``."""

    run: Run
    position: int
    attempt: int
    attempts: int
    since: datetime | None


@contextmanager
def _named(args: object) -> Iterator[None]:
    """What is away is the node that the step works on, where the error names nothing else."""
    try:
        yield
    except Unreachable as exc:
        exc.details["away"] = exc.details.get("away") or getattr(args, "node", "")
        raise


class Acts:
    """Carries out single attempts."""

    def __init__(self, works: Works, slots: Slots) -> None:
        self._works = works
        self._slots = slots

    def perform(
        self, run: Run, position: int, *, given: Given, last: Ended | None, attempt: int, since: datetime | None
    ) -> Outcome:
        """Try the step once. ``last``: the step before it, which went well and whose row is written with this one's beginning.
        ``since``: when the first of the attempts failed."""
        call = run.workflow.calls[position]
        step = self._works.steps[call.step]
        begun = position == run.begun and attempt == 1
        hindered = "" if begun else self._begin(run, position, last=last, attempt=attempt)
        if hindered:
            return {"state": hindered}
        started = self._works.clock.monotonic()
        tried = _Attempt(run=run, position=position, attempt=attempt, attempts=step.attempts, since=since)
        with about(step=call.id):
            outcome = self._guarded(lambda: self._carry_out(run, position, step, given=given), tried)
            self._tell(call, outcome, attempt=attempt, seconds=self._works.clock.monotonic() - started)
        if outcome["state"] == "done":
            return outcome | {"finished_at": self._works.clock.now().isoformat()}
        self._works.note(lambda conn: self._note_failed(conn, run, position, outcome))
        return outcome

    def _tell(self, call: StepCall, outcome: Outcome, *, attempt: int, seconds: float) -> None:
        """The metrics and the log."""
        self._works.on_step(call.step, outcome["state"], seconds)
        level = logging.INFO if outcome["state"] == "done" else logging.WARNING
        facts = {"outcome": outcome["state"], "attempt": attempt, "seconds": round(seconds, 3)}
        facts |= {"code": outcome.get("code", ""), "error": outcome.get("error", "")}
        _log.log(level, "step %s: %s", call.step, outcome["state"], extra=facts)

    def take_back(self, run: Run, position: int, *, attempt: int, since: datetime | None) -> Outcome:
        """Try once to undo the step; the facts it recorded, if it came that far, are handed to it."""
        call = run.workflow.calls[position]
        step = self._works.steps[call.step]
        row = self._works.note(lambda conn: self._begin_undo(conn, run, position))
        self._works.at(run.point(call, "undo-before"))

        def undo() -> Facts:
            context = self._context(run, position, step, cut_short=False)
            args = parse(step.args, row.args or {})
            try:
                with _named(args):
                    step.undo(context, args, row.facts or {})
            except NodeLost as exc:  # by an operator's statement: what it made there is gone with the node
                _log.warning("nothing is taken back: %s", exc.message)
            return {}

        with about(step=call.id, undoing=True):
            tried = _Attempt(run=run, position=position, attempt=attempt, attempts=step.attempts, since=since)
            outcome = self._guarded(undo, tried)
        done = outcome["state"] == "done"
        if done:
            self._works.at(run.point(call, "undo-during"))
        values: dict[str, Any] = {"state": StepState.UNDONE, "applied": False, "message": ""}
        if not done:
            values = {"error_code": UndoFailed.code, "error": f"undoing it failed: {outcome['error']}"}
            values["outcome"] = outcome | {"run": run.job.run, "attempt": attempt}
            values |= {} if outcome["state"] in ("retry", "away") else {"state": StepState.UNDO_FAILED}
        self._works.note(lambda conn: self._note(conn, run, position, **values))
        if done:
            self._works.at(run.point(call, "undo-after"))
        return outcome

    def _begin(self, run: Run, position: int, *, last: Ended | None, attempt: int) -> str:
        """Write the intent down; else 'stopped' (asked to stop, and it may still do so) or 'frozen'."""

        def change(conn: Connection) -> str:
            stop = locks.stop_requested(conn, run.job.id, token=run.token)
            if stop is None:  # a later execution of the job took over: this one must write nothing any more
                raise Halted
            if last is not None:
                note_done(conn, run.job, last)
            if stop and not destroyed(conn, run.job):
                self._note_stopped(conn, run, position)
                return "stopped"
            if frozen(conn, run.job, stop=stop):
                return "frozen"
            now = self._works.clock.now()
            job_store.begin_step(conn, run.job.id, position, run=run.job.run, attempt=attempt, now=now)
            return ""

        return self._works.note(change)

    def _carry_out(self, run: Run, position: int, step: Step[Any], *, given: Given) -> Facts:
        call = run.workflow.calls[position]
        self._works.at(run.point(call, "before"))
        args = parse(step.args, workflows.bind(call.args, given))
        context = self._context(run, position, step)
        with _named(args), self._slot(run, position, step, args, context):
            found = step.check(context, args)
            if isinstance(found, Done):
                ours = {"applied": True} if found.made_by == run.job.id else {}
                self._works.note(lambda conn: self._note(conn, run, position, args=dump(args), **ours))
                return found.facts
            # From here on the step may be half done: undoing the job has to undo it.
            self._works.note(lambda conn: self._note(conn, run, position, args=dump(args), applied=True))
            self._works.halt_if_stopping()
            facts = step.apply(context, args)
        self._works.at(run.point(call, "during"))
        return facts

    @contextmanager
    def _slot(self, run: Run, position: int, step: Step[Any], args: object, context: StepContext) -> Iterator[None]:
        node = getattr(args, "node", "")
        if not (step.heavy and node):
            yield
            return
        progress = Progress(self._works, run.job.id, position)

        def waiting(sentence: str) -> None:
            progress.say(0.0, sentence)

        def stopping() -> bool:
            self._works.halt_if_stopping()
            return context.stopping()

        with self._slots.hold(node, job_id=run.job.id, stopping=stopping, waiting=waiting):
            yield

    def _guarded(self, act: Callable[[], Facts], tried: _Attempt) -> Outcome:
        """The act's facts, or what its error means for the run."""
        try:
            return {"state": "done", "facts": act()}
        except (SlotWaitEnded, Stopped, BrokenOff):
            return {"state": "stopped"}
        except OrchestratorError as exc:
            return self._meaning(exc, tried)
        except Exception as exc:  # noqa: BLE001 - the rim of a step: what we do not know is never retried, it asks an operator
            _log.exception("a step raised what no driver should raise")
            return {"state": "doubt", "code": InDoubt.code, "error": f"an error that nobody foresaw ({type(exc).__name__})"}

    def _meaning(self, error: OrchestratorError, tried: _Attempt) -> Outcome:
        outcome: Outcome = {"code": error.code, "error": str(error)}
        now = self._works.clock.now()
        since = tried.since or now
        before = absences.goes_on(tried.run.absence, error, position=tried.position)
        delay = None if before is not None else retry_delay(error, attempt=tried.attempt, attempts=tried.attempts)
        if delay is not None:
            again = now + timedelta(seconds=delay)
            return outcome | {"state": "retry", "retry_at": again.isoformat(), "since": since.isoformat()}
        absence = absences.next_wait(
            error,
            before,
            away=str(error.details.get("away") or "its node"),
            position=tried.position,
            since=since,
            now=now,
            patience=self._works.settings.wait_for_nodes,
            spread=crc32(tried.run.job.id.encode()) / 2**32,
        )
        if absence is not None:
            return outcome | {"state": "away", "absence": absence.to_json()}
        if isinstance(error, Frozen):
            return outcome | {"state": "frozen"}
        if isinstance(error, FenceClosed):
            return outcome | {"state": "fence"}
        return outcome | {"state": "doubt" if isinstance(error, InDoubt) else "failed"}

    def _context(self, run: Run, position: int, step: Step[Any], *, cut_short: bool = True) -> StepContext:
        """``cut_short``: it may be, and a drill is wherever it says how far it is: nothing that it makes is needed. An undo is
        not."""
        progress = Progress(self._works, run.job.id, position)
        stopping = StopFlag(self._works, run.job.id) if cut_short else never
        yields = cut_short and run.job.intent == IntentKind.DRILL
        return StepContext(
            job_id=run.job.id,
            service_id=run.job.service_id,
            ports=self._works.ports,
            deadline=step.deadline_seconds,
            progress=Yielding(progress, stopping) if yields else progress,
            stopping=stopping,
            asked_by=run.job.asked_by,
            named=run.named,
        )

    def _begin_undo(self, conn: Connection, run: Run, position: int) -> JobStep:
        self._note(conn, run, position, state=StepState.UNDOING)
        return job_store.steps(conn, run.job.id)[position]

    def _note_failed(self, conn: Connection, run: Run, position: int, outcome: Outcome) -> None:
        if outcome["state"] in ("retry", "away"):
            again = {"error_code": outcome["code"], "error": outcome["error"]}
            if outcome["state"] == "away":
                again |= {"message": str(Absence.from_json(outcome["absence"]))[:500], "state": StepState.PENDING}
            else:
                again |= {"message": f"again at {outcome['retry_at']}: {outcome['error']}"[:500]}
            self._note(conn, run, position, outcome=outcome, **again)
            return
        failed = {"error_code": outcome.get("code", ""), "error": outcome.get("error", "stopped")}
        now = self._works.clock.now()
        self._note(conn, run, position, state=StepState.FAILED, finished_at=now, outcome=outcome, **failed)

    def _note_stopped(self, conn: Connection, run: Run, position: int) -> None:
        """A step that waited to be tried again has ended with the stop; one that had not begun stays as it is."""
        row = job_store.steps(conn, run.job.id)[position]
        if row.state == StepState.RUNNING:
            error = f"stopped before it was tried again: {row.error}" if row.error else "stopped"
            self._note(conn, run, position, state=StepState.FAILED, finished_at=self._works.clock.now(), error=error)

    def _note(self, conn: Connection, run: Run, position: int, **values: Any) -> None:
        if not job_store.change_held_step(conn, run.job.id, position, token=run.token, **values):
            raise Halted  # a later execution of the job took over: this one must write nothing any more


def note_done(conn: Connection, job: Job, last: Ended) -> None:
    """Write into the step's row that it went well; again changes nothing."""
    done = {"state": StepState.DONE, "facts": last.outcome["facts"], "progress": 1.0, "message": ""}
    job_store.change_step(conn, job.id, last.position, finished_at=datetime.fromisoformat(last.outcome["finished_at"]), **done)


def frozen(conn: Connection, job: Job, *, stop: bool) -> bool:
    """Whether a freeze holds the job back. One that is asked to ``stop`` may go on: it only undoes."""
    return job.intent.destructive and not stop and settings.freeze(conn) is not None


def destroyed(conn: Connection, job: Job) -> bool:
    """Whether the fence let a destructive act of the job through: it can then no longer be stopped or undone."""
    if not job.intent.wipes or job.workflow is None:  # one that has not begun destroyed nothing, whatever another did
        return False
    if not job.intent.ends:
        return fence.passed(conn, job.id)
    service = services.get(conn, job.service_id)
    return service is not None and service.point_of_no_return is not None
