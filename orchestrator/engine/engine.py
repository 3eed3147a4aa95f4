"""The engine's face: what the API and the CLI call. Everything else in this package stays behind it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import IO, Any

from orchestrator.domain.events import Event
from orchestrator.domain.intents import IntentKind
from orchestrator.domain.jobs import Job
from orchestrator.domain.playbooks import Playbook, Workflow
from orchestrator.engine.absences import BEAT_SECONDS as ABSENCES_SECONDS
from orchestrator.engine.absences import Absences
from orchestrator.engine.acts import Acts, Works
from orchestrator.engine.announcing import Announcing
from orchestrator.engine.clerk import Clerk, Submitted
from orchestrator.engine.comparing import Comparing
from orchestrator.engine.conduct import Conduct
from orchestrator.engine.confirming import Confirming
from orchestrator.engine.desk import Desk
from orchestrator.engine.drifting import Drifting
from orchestrator.engine.drilling import Drilling
from orchestrator.engine.due import Due
from orchestrator.engine.durable import EXECUTOR, Durable
from orchestrator.engine.endings import Endings
from orchestrator.engine.fleet import Fleet
from orchestrator.engine.giving_up import GivingUp
from orchestrator.engine.guard import Guard
from orchestrator.engine.hosting import Hosting
from orchestrator.engine.intake import Acceptance, EventParser, Intake
from orchestrator.engine.lease import Lease, end_process
from orchestrator.engine.leaving import Leaving
from orchestrator.engine.line import share_of
from orchestrator.engine.losing import Losing
from orchestrator.engine.mail import Mail, MailDesk
from orchestrator.engine.metering import Metering
from orchestrator.engine.money import Money
from orchestrator.engine.orders import Orders
from orchestrator.engine.reconciling import Reconciliation
from orchestrator.engine.records import Records
from orchestrator.engine.restarting import Restarting
from orchestrator.engine.restoring import Restoring
from orchestrator.engine.runner import Runner
from orchestrator.engine.settings import Beside, Catalog, EngineSettings, PolicyTexts, nothing_beside
from orchestrator.engine.slots import Slots
from orchestrator.engine.sweep import Beat, Sweep
from orchestrator.engine.takeover import Takeover
from orchestrator.engine.taking_in import TakingIn
from orchestrator.engine.traffic import Counting
from orchestrator.ports.hypervisor import Hypervisor
from orchestrator.ports.notifier import Notifier
from orchestrator.steps.base import Ports, Step
from orchestrator.store.database import Database
from orchestrator.store.settings import Compared
from orchestrator.store.state_lock import take

_DRAIN_POLL_SECONDS = 0.05
# Whether drift is to be measured again is looked at so often in its time.
_DRIFT_TURNS = 10


def _nowhere(_point: str) -> None:
    """Crash points lead nowhere unless a test names one."""


def _unmeasured(_step: str, _outcome: str, _seconds: float) -> None:
    """Nobody counts."""


def _uncounted(_outcome: str) -> None:
    """Nobody counts."""


class Engine:
    """Accepts events and commands, runs their jobs, tells billing.

    ``parse`` reads a stored event body again for a replay, ``policy_texts`` a policy that was adopted earlier. ``at`` is told the
    name of every crash point that is passed. ``lost_hypervisor`` opens that of a node also while it is lost.
    ``on_step`` is told (step, outcome, seconds) of each attempt, ``on_delivery`` the outcome of each post. Without ``notifier``
    messages to billing are kept only.
    ``catalog`` and ``playbooks`` were checked against ``steps`` by who builds this. ``beside`` of a call writes into the
    transaction of its act, given the result; what it raises undoes the act. ``money``: disputes and charges, by operators;
    ``conduct``: holds and complaints; ``reconciliation``: billing's list; ``leaving``: how a service is cancelled, kept after
    all, and forgotten; ``restoring``: restores; ``drilling``: restore drills; ``fleet``: nodes; ``losing``: those that never
    come back; ``hosting``: hosting accounts; ``repositories``: those of backups that are given up; ``drifting``: what differs
    between records and nodes; ``taking_in``: guests that nodes have and the store has not.
    """

    def __init__(
        self,
        *,
        db: Database,
        steps: Mapping[str, Step[Any]],
        ports: Ports,
        playbooks: Mapping[str, Playbook],
        catalog: Catalog,
        settings: EngineSettings,
        parse: EventParser,
        policy_texts: PolicyTexts,
        notifier: Notifier | None = None,
        at: Callable[[str], None] = _nowhere,
        on_step: Callable[[str, str, float], None] = _unmeasured,
        on_delivery: Callable[[str], None] = _uncounted,
        on_loss: Callable[[str], object] = end_process,
        lost_hypervisor: Callable[[str], Hypervisor] | None = None,
    ) -> None:
        self._lease = Lease(db, settings, on_loss=on_loss)
        self._works = Works(
            db=db,
            steps=steps,
            ports=ports,
            settings=settings,
            at=at,
            halting=threading.Event(),
            sure=lambda: self._lease.sure,
            on_step=on_step,
        )
        share = share_of(settings.workers, nodes=len(catalog.nodes))
        self._durable = Durable(db, workers=settings.workers, poll_seconds=settings.poll_seconds, share=share)
        slots = Slots(db, ports.clock, settings)
        orders = Orders(self._works, self._durable, playbooks=playbooks, catalog=catalog)
        endings = Endings(self._works, self._durable, follow=orders.follow, terms=orders.terms, held=orders.still_held)
        self._runner = Runner(
            self._works,
            acts=Acts(self._works, slots),
            endings=endings,
            playbooks=playbooks,
            catalog=catalog,
        )
        clerk = Clerk(self._works, orders=orders, wake=self._wake)
        confirming = Confirming(self._works, orders=orders, endings=endings, asks_billing=catalog.asks_billing)
        self._intake = Intake(
            self._works, orders=orders, endings=endings, clerk=clerk, confirming=confirming, parse=parse, wake=self._wake
        )
        self.leaving = Leaving(self._works, clerk=clerk, endings=endings, orders=orders)
        self.reconciliation = Reconciliation(self._works, intake=self._intake, wake=self._wake)
        self._desk = Desk(self._works, orders=orders, endings=endings, confirming=confirming, wake=self._wake)
        self.money = Money(self._works, clerk=clerk, endings=endings, wake=self._wake)
        self.hosting = Hosting(self._works, clerk=clerk, catalog=catalog)
        self.restoring = Restoring(self._works, clerk=clerk, catalog=catalog)
        self.repositories = GivingUp(self._works)
        self.fleet = Fleet(self._works, catalog=catalog, command=self._intake.command)
        self.restarting = Restarting(clerk)
        self.losing = Losing(
            self._works, catalog=catalog, clerk=clerk, endings=endings, reach=lost_hypervisor or ports.hypervisor
        )
        self.drilling = Drilling(self._works, clerk=clerk, catalog=catalog)
        records = Records(self._works, catalog)
        self.taking_in = TakingIn(self._works, catalog, records)
        self.drifting = Drifting(self._works, catalog, clerk=clerk, records=records)
        self._sweep = Sweep(self._works, self._durable, endings=endings, slots=slots)
        self._absences = Absences(self._works, self._durable)
        self._takeover = Takeover(self._works, self._durable, self._lease)
        self._brakes = Guard(self._works, catalog, policy_texts)
        self.announcing = Announcing(self._works, catalog, wake=self._wake)
        self._due = Due(
            self._works,
            clerk=clerk,
            confirming=confirming,
            guard=self._brakes,
            announcing=self.announcing,
            catalog=catalog,
        )
        self._metering = Metering(self._works, catalog, clerk=clerk)
        self._counting = Counting(self._works, catalog, clerk=clerk)
        self._comparing = Comparing(self._works, catalog)
        self._mail = Mail(self._works, notifier, on_delivery=on_delivery) if notifier is not None else None
        self._mail_desk = MailDesk(self._works, posts=notifier is not None, wake=self._wake)
        self.conduct = Conduct(self._works, clerk=clerk, catalog=catalog)
        self._mail_beat: Beat | None = None
        self._beats: list[Beat] = []
        self._lock_file: IO[str] | None = None
        self._busy = 0
        self._guard = threading.Lock()

    # -- life ----------------------------------------

    def start(self, *, frozen: tuple[str, str] | None = None) -> None:
        """Take the state directory and a lease, recover what was running, and begin to run jobs.

        ``frozen``: (who, why) of a freeze that is in force before the first job runs; one that stands already keeps its reason.
        Raises WrongState where another controller runs on the directory, ConfigError where it cannot be written or the tables
        are not migrated.
        """
        self._works.db.require_migrated()
        self._take_directory()
        self._begin_lease()
        if frozen is not None:
            self.freeze(*frozen)
        self._works.halting.clear()

        def run_job(job_id: str, run: int) -> None:
            self._counted(job_id, run)

        self._durable.start(run_job, executor=EXECUTOR if self._works.db.is_sqlite else self._lease.id)
        settings = self._works.settings
        self._beats = [
            Beat("sweep", lambda: self._sweep.once(leads=self.leads), seconds=settings.sweep_seconds),
            Beat("takeover", self._takeover.once, seconds=settings.lease_seconds / 6),
            self.alone("due", self.fall_due, seconds=settings.due_seconds),
            self.alone("absences", self._absences.once, seconds=ABSENCES_SECONDS),
            Beat("following", self._follow, seconds=settings.due_seconds),
            self.alone("drills", self.drill, seconds=settings.drill_seconds),
            self.alone("usage", self.meter, seconds=settings.usage_seconds),
            self.alone("drift", self.drifting.once, seconds=settings.drift_seconds / _DRIFT_TURNS),
            self.alone("traffic", self.count_traffic, seconds=settings.traffic_seconds),
            self.alone("returned", self.losing.once, seconds=settings.due_seconds),
            self.alone("comparing", self.compare_at_night, seconds=settings.compare_seconds),
        ]
        if self._mail is not None:
            self._mail_beat = self.alone("mail", self._mail.post_due, seconds=settings.outbox_seconds)
            self._beats.append(self._mail_beat)

    def stop(self) -> bool:
        """End after the steps under way, waiting ``drain_seconds`` at most; False where some still run.

        Their jobs are then recovered at the next start; the caller should end the process without waiting for its threads.
        """
        self._works.halting.set()
        drained = self._drained()
        for beat in self._beats:
            beat.stop()
        self._beats = []
        self._durable.stop()
        self._lease.end(drained=drained)
        if self._lock_file is not None:
            self._lock_file.close()
            self._lock_file = None
        return drained

    @property
    def leads(self) -> bool:
        """Whether this controller does what only one of several is to do."""
        return self._lease.leads

    @property
    def controller_id(self) -> str:
        """Of this process among the controllers of the database; '' before it was started."""
        return self._lease.id

    def alone(self, name: str, act: Callable[[], object], *, seconds: float) -> Beat:
        """A beat of what only one of several controllers is to do: here it is done while this one leads."""
        return Beat(name, lambda: self._lease.leads and act(), seconds=seconds)

    # -- what comes in ----------------------------------------

    def answering(self) -> AbstractContextManager[None]:
        """While billing is answered in the block, jobs stand aside for it (``precedence``)."""
        return self._works.precedence.answering()

    def accept(self, event: Event, *, body: bytes, body_sha256: str) -> Acceptance:
        """Take an authentic event. Raises EventConflict, StoreUnavailable."""
        return self._intake.accept(event, body=body, body_sha256=body_sha256)

    def replay(self, seq: int, who: str, *, beside: Beside[Acceptance] = nothing_beside) -> Acceptance:
        """Process a refused or dead event again. Raises NotFound, WrongState."""
        return self._intake.replay(seq, who, beside)

    def command(
        self,
        kind: IntentKind,
        service_id: str,
        *,
        who: str,
        why: str,
        arguments: Mapping[str, object],
        beside: Beside[Submitted] = nothing_beside,
    ) -> Submitted:
        """Take an operator's command. Raises NotFound, Refused, WrongState."""
        return self._intake.command(kind, service_id, who=who, why=why, arguments=arguments, beside=beside)

    def dry_run(self, kind: IntentKind, service_id: str, arguments: Mapping[str, object]) -> Workflow:
        """The workflow the command would write down. Raises as ``command``."""
        return self._intake.dry_run(kind, service_id, arguments)

    # -- what operators do ----------------------------------------

    def approve(self, job_id: str, who: str, *, why: str = "", beside: Beside[None] = nothing_beside) -> None:
        """Let a waiting job run. Raises NotFound, WrongState, Frozen."""
        self._desk.approve(job_id, who, why, beside)

    def cancel(self, job_id: str, who: str, *, why: str = "", beside: Beside[None] = nothing_beside) -> None:
        """Stop a job and undo what it made. Raises NotFound, WrongState."""
        self._desk.cancel(job_id, who, why, beside)

    def retry(self, job_id: str, who: str, *, why: str = "", beside: Beside[None] = nothing_beside) -> None:
        """Run a failed job again. Raises NotFound, WrongState, Refused."""
        self._desk.retry(job_id, who, why, beside)

    def retry_message(self, message_id: str, who: str, *, beside: Beside[int] = nothing_beside) -> int:
        """Have a message posted again that was not taken. Raises NotFound, WrongState."""
        return self._mail_desk.retry(message_id, who, beside)

    def retry_dead_messages(self, who: str, *, kind: str, service_id: str, beside: Beside[int] = nothing_beside) -> int:
        """Have all dead messages posted again, or those of a type or service; how many. Raises WrongState."""
        return self._mail_desk.retry_dead(who, kind=kind, service_id=service_id, beside=beside)

    def freeze(self, who: str, why: str) -> None:
        """Nothing suspends or destroys from now on."""
        self._desk.freeze(who, why)

    def unfreeze(self, who: str) -> list[Job]:
        """Lift the freeze; the jobs that it held and that go on now. Others wait for approval still."""
        return self._desk.unfreeze(who)

    def release(self, who: str, why: str, *, terminates: int | None = None) -> None:
        """Deadlines terminate again. ``terminates`` and what is raised: see ``Guard.release``."""
        self._brakes.release(who, why, terminates=terminates)

    def sweep(self) -> None:
        """Do the housekeeping now (it is done by itself every ``sweep_seconds``)."""
        self._sweep.once()

    def fall_due(self) -> int:
        """Do what has fallen due now (it is done by itself every ``due_seconds``); how many deadlines were seen to."""
        seen = self._due.once()
        if seen:
            self._wake()
        return seen

    def drill(self) -> int:
        """Begin the restore drills that are due (it is done by itself every ``drill_seconds``); how many were begun."""
        return self.drilling.once()

    def meter(self) -> int:
        """Read what hosting accounts use (it is done by itself every ``usage_seconds``); how many were metered."""
        return self._metering.once()

    def count_traffic(self) -> int:
        """Read the traffic of guests (it is done by itself every ``traffic_seconds``); how many were counted."""
        return self._counting.once()

    def post_messages(self) -> int:
        """Tell billing what is due now (it is done by itself every ``outbox_seconds``); how many messages were taken."""
        return 0 if self._mail is None else self._mail.post_due()

    def compare_looks(self) -> Compared | None:
        """Compare when each service is looked at with what its record says; None where the engine stops meanwhile."""
        return self._comparing.compare()

    def compare_at_night(self) -> None:
        """The same, where it was not done since the last night (it is called by itself every ``compare_seconds``)."""
        self._comparing.once()

    # -- inside ----------------------------------------

    def _follow(self) -> None:
        if not self.leads:
            self._brakes.follow()
            self.announcing.look()

    def _wake(self) -> None:
        if self._mail_beat is not None:
            self._mail_beat.wake()

    def _counted(self, job_id: str, run: int) -> None:
        with self._guard:
            self._busy += 1
        try:
            self._runner.run(job_id, run)
        finally:
            with self._guard:
                self._busy -= 1
            self._wake()

    def _drained(self) -> bool:
        clock = self._works.clock
        until = clock.monotonic() + self._works.settings.drain_seconds
        while self._busy and clock.monotonic() < until:
            clock.sleep(_DRAIN_POLL_SECONDS)
        return not self._busy

    def _take_directory(self) -> None:
        self._lock_file = take(self._works.settings.state_dir)

    def _begin_lease(self) -> None:
        assert self._lock_file is not None
        try:
            self._lease.begin(self._lock_file)
        except BaseException:
            self._lock_file.close()
            self._lock_file = None
            raise
