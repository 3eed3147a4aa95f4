"""Puts the world, the network and the controller together and lets the time pass."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from orchestrator.domain.calendar import Calendar
from orchestrator.domain.guards import AWAY
from orchestrator.domain.policies import Policy
from orchestrator.domain.reconciliation import BillingState, Entry, paid_further, payment
from orchestrator.domain.services import Service
from orchestrator.domain.simulation.billing import SOURCE, Account, Billing
from orchestrator.domain.simulation.controller import Controller
from orchestrator.domain.simulation.dice import Dice
from orchestrator.domain.simulation.kept import states
from orchestrator.domain.simulation.report import Act, PaidWipe, Report
from orchestrator.domain.simulation.scenario import DAY, Scenario
from orchestrator.domain.simulation.timeline import Timeline


def simulate(
    scenario: Scenario,
    policy: Policy,
    calendar: Calendar,
    dice: Dice,
    *,
    watch: Callable[[Act], None] | None = None,
    progress: Callable[[int], None] | None = None,
) -> Report:
    """The scenario from its start to its end. ``watch`` is told every act, ``progress`` each day that has passed."""
    year = _Year(scenario, policy, calendar, dice, watch)
    for day in range(1, scenario.days + 1):
        year.timeline.run(scenario.start + day * DAY)
        if progress is not None:
            progress(day)
    return year.end()


class _Year:
    def __init__(
        self, scenario: Scenario, policy: Policy, calendar: Calendar, dice: Dice, watch: Callable[[Act], None] | None
    ) -> None:
        self.timeline = Timeline()
        self._scenario = scenario
        self._report = Report(calendar, watch)
        self._controller = Controller(
            self.timeline,
            scenario,
            policy,
            calendar,
            self._report,
            outside=self,
        )
        self._billing = Billing(self.timeline, scenario, calendar, dice, deliver=self._controller.receive)
        for outage in scenario.outages:
            if outage.end - outage.start > AWAY:
                self.timeline.at(scenario.up(outage.end + scenario.reconcile_after), self._reconcile)

    def end(self) -> Report:
        self._controller.close(self._scenario.end)
        self._report.lost = self._billing.lost
        self._report.states = states(self._controller.kept.values())
        return self._report

    # -- whom the controller has to do with ----------------------------------------

    def asked(self, service_id: str, job_id: str, now: datetime) -> None:
        self._billing.asked(service_id, job_id, now)

    def look_up(self, service: Service, job_id: str, now: datetime) -> bool:
        account = self._billing.accounts[service.id]
        if account.may_go(job_id, now):
            return True
        self._mend(account, service, now)
        return False

    def wiped(self, service: Service, job_id: str, now: datetime) -> None:
        """Judged by billing's books alone, as they were when its word was given."""
        account = self._billing.accounts[service.id]
        account.gone = True
        if not account.paid(now) or account.paid_until is None:
            return
        under_way = self._billing.under_way.get(service.id, 0) > 0
        case = PaidWipe(service_id=service.id, at=now, paid_until=account.paid_until, under_way=under_way)
        late = account.paid_after_the_word(job_id)
        (self._report.paid_after_the_word if late else self._report.wrong_wipes).append(case)

    def cancelled(self, service: Service) -> None:
        account = self._billing.accounts[service.id]
        account.gone = True
        if account.paid_until is not None:
            self._report.paid_orders_cancelled += 1

    # -- people ----------------------------------------

    def _reconcile(self, now: datetime) -> None:
        """An operator compares each record with billing's own list, makes good what the controller never heard of, and lets
        terminations go on."""
        for account in self._billing.accounts.values():
            kept = self._controller.kept.get(account.id)
            if kept is not None and kept.service is not None:  # what is unknown here the list tells a person, and mends nothing
                self._mend(account, kept.service, now)
        self._controller.release(now)

    def _mend(self, account: Account, service: Service, now: datetime) -> None:
        state = BillingState.ACTIVE if account.paid(now) else BillingState.SUSPENDED
        entry = Entry(service_id=account.id, paid_until=account.paid_until, state=state)
        if not account.gone and paid_further(service, entry):
            account.sent += 1
            event_id = f"{account.id}.{account.sent}"
            event = payment(service, entry, source=SOURCE, event_id=event_id, now=now)
            account.heard(event)
            self._controller.receive(event, now)
