"""One customer of one provider: what billing says, what the clock brings, and what became of it.

A real controller on the simulated node, with the shipped policy of the provider. Time passes in steps that are short enough for
the controller to have looked all the while. Days and hours are counted from the moment that ``overdue`` or ``begin`` names day 0.
"""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from orchestrator.config.policies import load_policies
from orchestrator.domain.intents import IntentKind, JobState
from orchestrator.domain.jobs import Job
from orchestrator.domain.policies import Policy
from orchestrator.domain.services import Service
from tests.fault.house import PLAN, House, Options
from tests.integration.test_due import DAY, HOUR, Year, record

__all__ = ["DAY", "HOUR", "MINUTE", "Story"]

MINUTE = timedelta(minutes=1)
POLICIES = Path(__file__).parents[2] / "configs" / "policies"


@cache
def shipped() -> dict[str, Policy]:
    return dict(load_policies(POLICIES))


class Story(Year):
    """``s1`` is the customer's service; ``day0`` the moment that days are counted from."""

    def __init__(self, directory: Path, provider: str) -> None:
        super().__init__(directory)
        self.provider = provider
        self.day0 = self.clock.now()

    def begin(self, policy: Policy | None = None, **options: Any) -> Story:
        """The controller runs, with the provider's policy or another in its place."""
        told = policy or shipped()[self.provider]
        self.open(replace(told, name=PLAN.policy), Options(**options))
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
