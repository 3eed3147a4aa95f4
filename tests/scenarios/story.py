"""One customer of one provider: what billing says, what the clock brings, and what became of it.

A real controller on the simulated node, with the shipped policy of the provider. Time jumps from one moment at which something
falls due to the next, and the controller counts as having looked all the while. Days and hours are counted from the moment that
``overdue`` or ``begin`` names day 0.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from orchestrator.config.policies import load_policies
from orchestrator.domain.confirmation import Confirmation
from orchestrator.domain.guards import Look
from orchestrator.domain.intents import IntentKind, JobState
from orchestrator.domain.jobs import Job
from orchestrator.domain.policies import Policy
from orchestrator.domain.services import Service
from orchestrator.engine.due import retry_after
from orchestrator.engine.durable import Halted
from orchestrator.engine.looks import left_of
from orchestrator.store import deadlines, services, settings
from orchestrator.store import jobs as job_store
from orchestrator.store.database import Connection
from orchestrator.store.tables import outbox
from tests.fault.house import PLAN, House, Options
from tests.integration.test_due import DAY, HOUR, Year, record

__all__ = ["DAY", "HOUR", "MINUTE", "Story"]

MINUTE = timedelta(minutes=1)
POLICIES = Path(__file__).parents[2] / "configs" / "policies"


@cache
def shipped() -> dict[str, Policy]:
    return dict(load_policies(POLICIES))


class Story(Year):
    """``s1`` is the customer's service; ``day0`` the moment that days are counted from.

    ``steps``: time passes in the steps of ``Year``, as a controller's does, and not from one due moment to the next.
    """

    def __init__(self, directory: Path, provider: str) -> None:
        super().__init__(directory)
        self.provider = provider
        self.steps = False
        self._begin: Callable[[], object] = self.begin
        self._meanwhile: dict[str, Callable[[], object]] = {}
        self._died = threading.Event()
        self.day0 = self.clock.now()

    def begin(self, policy: Policy | None = None, **options: Any) -> Story:
        """The controller runs, with the provider's policy or another in its place."""
        told = policy or shipped()[self.provider]
        self._begin = lambda: self.open(replace(told, name=PLAN.policy), Options(**options))
        self._begin()
        return self

    @property
    def it(self) -> House:
        assert self.house is not None
        return self.house

    @property
    def service(self) -> Service:
        return record(self.it)

    # -- what billing and the customer do ----------------------------------------

    def says(self, kind: str, **data: Any) -> str:
        """Billing says it, and what follows is done; the answer's outcome."""
        outcome = self.it.event(kind, "s1", **data).outcome
        self.turn()
        return outcome

    def ordered(self) -> Story:
        """An order that is not paid."""
        self.says("order.created", client_id="c1", plan=PLAN.name, order_id="o1")
        self.day0 = self.clock.now()
        return self

    def running(self) -> Story:
        """A paid service that runs."""
        assert self.it.wait(self.it.order("s1").job_id).state == JobState.DONE
        self.turn()
        self.day0 = self.clock.now()
        return self

    def overdue(self) -> Story:
        """A service that runs, and whose invoice falls due on day 0."""
        self.running()
        return self.owes()

    def owes(self) -> Story:
        """An invoice falls due, from whose day is counted now."""
        self.day0 = self.clock.now()
        self.says("invoice.overdue", invoice_id="i1", due_at=self.day0.isoformat())
        return self

    def pays(self, *, days: int = 30, invoice: str = "i1") -> str:
        """The customer pays for so many days from day 0 on."""
        return self.says("invoice.paid", invoice_id=invoice, paid_until=(self.day0 + days * DAY).isoformat())

    def confirms(self) -> str:
        """Billing confirms the termination that waits for it."""
        job = self.last
        return self.says("termination.confirmed", event_id=f"answer-{job.id}", job_id=job.id)

    def agrees(self) -> None:
        """An operator lets what waits run."""
        job = self.last
        assert job.state == JobState.WAITING_APPROVAL, (job.intent, job.state)
        self.it.engine.approve(job.id, "anna")
        self.turn()

    def until(self, after: timedelta) -> Story:
        """The clock goes on until so long after day 0."""
        self.later(self.day0 + after - self.clock.now())
        return self

    # -- what comes in between ----------------------------------------

    def at(self, point: str) -> None:
        act = self._meanwhile.pop(point, None)
        if act is not None:
            act()

    def meanwhile(self, point: str, act: Callable[[], object]) -> None:
        """``act`` is done once, when a job passes the point ("vps-terminate/wipe/before"). It must not wait for the job."""
        self._meanwhile[point] = act

    def pays_at(self, point: str, *, days: int = 30, invoice: str = "i1") -> None:
        """The customer's payment comes in when a job passes the point."""
        self.meanwhile(point, self._payment(days=days, invoice=invoice))

    def pays_and_it_dies_at(self, point: str, *, days: int = 30, invoice: str = "i1") -> None:
        """The payment is the last thing that the controller hears before it breaks off."""
        self.dies_at(point, self._payment(days=days, invoice=invoice))

    def _payment(self, *, days: int, invoice: str) -> Callable[[], object]:
        until = (self.day0 + days * DAY).isoformat()
        return lambda: self.it.event("invoice.paid", "s1", invoice_id=invoice, paid_until=until)

    def dies_at(self, point: str, first: Callable[[], object] = lambda: None) -> None:
        """The controller breaks off when a job passes the point, ``first`` being done; it is started again at once."""

        def die() -> None:
            first()
            self._died.set()
            raise Halted

        self.meanwhile(point, die)

    def rest(self) -> None:
        until = self.clock.monotonic() + 60
        while not self.at_rest():
            if self._died.is_set():
                self._died.clear()
                self.close()
                self._begin()
            assert self.clock.monotonic() < until, "it does not come to rest"
            self.clock.sleep(0.01)

    @property
    def passed(self) -> bool:
        """Whether everything that was to come in between has."""
        return not self._meanwhile

    # -- how time passes ----------------------------------------

    def later(self, by: timedelta) -> None:
        """Time passes with the controller up, which does what falls due, at its moment."""
        if self.steps:
            super().later(by)
            return
        end = self.clock.ahead + by
        self.turn()
        while self.clock.ahead < end:
            self._jump(min(self._until_something_is_due(), end - self.clock.ahead))
            self.turn()

    def next(self) -> None:
        """The clock goes on to the next moment at which something falls due; an hour, where what is due waits for a look."""
        by = self._until_something_is_due()
        self.later(by if by < 10_000 * DAY else HOUR)

    def _jump(self, by: timedelta) -> None:
        """The clock goes on, and the controller counts as having looked all the while.

        In one with the guard's own looks, so that none sees the clock ahead of the mark: where it noticed a gap or a set clock
        before, that stands.
        """
        guard = self.it.engine._brakes
        with guard._turn:
            self.clock.ahead += by
            now = self.clock.now()
            with self.it.db.write() as conn:
                settings.put(conn, settings.LOOKED_AT, now.isoformat(), now=now)
            guard._before = Look(now, self.clock.monotonic())

    def _until_something_is_due(self) -> timedelta:
        """From now to the next moment at which the controller has something to do by itself."""
        now = self.clock.now()
        with self.it.db.read() as conn:
            moments = [*self._deadlines(conn), *_letters(conn), *_answers(conn)]
            moments += [wait.until for wait in settings.waits(conn).values() if wait.until is not None]
        # The moment itself is past when the controller looks: it is asked for what is due at or before its now.
        return min((moment for moment in moments if moment > now), default=datetime.max.replace(tzinfo=now.tzinfo)) - now

    def _deadlines(self, conn: Connection) -> list[datetime]:
        """What falls due, and when what was tried in vain is tried again: at the first look at which that may be."""
        found = []
        for service_id, look in deadlines.next_looks(conn).items():
            service = services.get(conn, service_id)
            assert service is not None
            seen = deadlines.seen_to(conn, [service_id])[service_id]
            left, tried = left_of(service, self.it.catalog, seen), seen.tried
            found += [deadline.at for deadline in left]
            again = [tried[key] for deadline in left if (key := (deadline.action, deadline.occurrence)) in tried]
            found += [max(last + retry_after(times), look or last) for times, last in again]
        return found

    def away(self, by: timedelta) -> None:
        """Nobody is there for so long: the controller has ended, and begins again."""
        self.close()
        self.clock.ahead += by
        self._begin()
        self.turn()

    # -- what became of it ----------------------------------------

    @property
    def last(self) -> Job:
        return self.it.jobs("s1")[-1]

    @property
    def done(self) -> list[str]:
        """Which jobs there were, oldest first."""
        return [job.intent.value for job in self.it.jobs("s1")]

    @property
    def waits(self) -> str:
        """What the last job waits for; '' where it waits for nobody."""
        return self.last.approval_reason if self.last.state == JobState.WAITING_APPROVAL else ""

    @property
    def state(self) -> str:
        """The state, and whether it is suspended in earnest: by the node's own word."""
        suspended = ", suspended" if self._refuses_to_start() else ""
        return f"{self.it.state('s1')}{suspended}"

    def _refuses_to_start(self) -> bool:
        guests = self.it.world.read()["nodes"]["n1"]["guests"]
        guest = guests.get("orch.s1")
        return guest is not None and bool(guest["mark"]["holds"]) and guest["power"] == "stopped"

    def told(self, prefix: str = "") -> list[str]:
        """The types of the messages that billing took, oldest first."""
        return [body["type"] for body in self._messages() if body["type"].startswith(prefix)]

    def messages(self, kind: str) -> list[dict[str, Any]]:
        """The data of the messages of a type."""
        return [body["data"] for body in self._messages() if body["type"] == kind]

    def _messages(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _, body, status in self.it.notifier.deliveries() if status < 300]

    def when(self, intent: IntentKind) -> timedelta:
        """So long after day 0 its last job of the kind was made."""
        made = [job.created_at for job in self.it.jobs("s1") if job.intent == intent]
        return made[-1] - self.day0

    def local(self, moment: datetime) -> str:
        return moment.isoformat(timespec="minutes")


def _letters(conn: Connection) -> list[datetime]:
    """When messages that billing has not taken are posted again."""
    return list(conn.scalars(sa.select(outbox.c.next_attempt_at).where(outbox.c.next_attempt_at.is_not(None))))


def _answers(conn: Connection) -> list[datetime]:
    """Until when billing may answer the questions that are open."""
    asked = [Confirmation.in_job(job) for job in job_store.in_states(conn, [JobState.WAITING_APPROVAL])]
    return [question.answer_by for question in asked if question is not None and question.answer_by is not None]
