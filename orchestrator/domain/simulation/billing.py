"""The world outside: customers, their invoices, and the webhooks by which the controller hears of them.

What billing itself knows (``Account``) is the truth by which a wipe is judged. It is never read from the controller's record.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from orchestrator.domain.calendar import Calendar
from orchestrator.domain.events import Event, EventType
from orchestrator.domain.guards import TRIES
from orchestrator.domain.simulation.dice import Dice
from orchestrator.domain.simulation.scenario import DAY, HOUR, Habit, Scenario
from orchestrator.domain.simulation.timeline import Timeline

SOURCE = "simulated"
PLAN = "simulated"
SAY_PAID = frozenset({EventType.ORDER_PAID, EventType.INVOICE_PAID, EventType.TERMINATION_REFUSED})
_OVERDUE_SAID = HOUR
_ON_TIME = (-7 * DAY, timedelta(0))
_LATE = (timedelta(0), 20 * DAY)
_LATE_CHANCE = 0.5
_TWICE = (HOUR, 3 * DAY)
_CHARGEBACK = (3 * DAY, 25 * DAY)
_SETTLES = (DAY, 12 * DAY)
_SETTLES_CHANCE = 0.5


class Account:
    """One customer and the service, as billing knows them. ``paid_until`` is the truth; ``term`` counts what was paid.

    ``heard_until``: what the controller was last told of that. ``words``: when billing, or who looked into its books, said of
    which job that the service is not paid for and may go.
    """

    __slots__ = (
        "dice",
        "disputed",
        "first",
        "gone",
        "habit",
        "heard_until",
        "id",
        "invoices",
        "paid_at",
        "paid_until",
        "sent",
        "stops_at",
        "term",
        "words",
    )

    def __init__(self, service_id: str, habit: Habit, dice: Dice) -> None:
        self.id = service_id
        self.habit = habit
        self.dice = dice
        self.first: datetime | None = None
        self.heard_until: datetime | None = None
        self.paid_at: datetime | None = None
        self.paid_until: datetime | None = None
        self.term = 0
        self.invoices = 0
        self.sent = 0
        self.stops_at = dice.whole(1, 12) if habit == Habit.STOPS else 0
        self.disputed = False
        self.gone = False
        self.words: dict[str, datetime] = {}

    def paid(self, now: datetime) -> bool:
        """Whether billing would say that the service is paid for at this moment."""
        return self.paid_until is not None and self.paid_until > now

    def may_go(self, job_id: str, now: datetime) -> bool:
        """What the books say when somebody looks into them because of that job. A yes is a word that counts."""
        if self.paid(now):
            return False
        self.words[job_id] = now
        return True

    def paid_after_the_word(self, job_id: str) -> bool:
        """Whether it was said of that job that it may go, and paid only then, which the controller has not heard of yet."""
        word = self.words.get(job_id)
        later = word is not None and self.paid_at is not None and self.paid_at >= word
        return later and self.heard_until != self.paid_until

    def heard(self, event: Event) -> None:
        """The controller takes that event."""
        if event.type in SAY_PAID:
            self.heard_until = event.paid_until


class Billing:
    """Plays all customers. ``deliver`` hands an event to the controller at the moment at which it gets through."""

    def __init__(
        self,
        timeline: Timeline,
        scenario: Scenario,
        calendar: Calendar,
        dice: Dice,
        *,
        deliver: Callable[[Event, datetime], None],
    ) -> None:
        self._timeline = timeline
        self._scenario = scenario
        self._calendar = calendar
        self._fate = dice.child("webhooks")
        self._deliver = deliver
        self.accounts: dict[str, Account] = {}
        self.lost = 0
        self.under_way: dict[str, int] = {}
        customers = dice.child("customers")
        for number in range(1, scenario.services + 1):
            thrown = customers.child(str(number))
            service_id = f"s{number}"
            self.accounts[service_id] = Account(service_id, habit(scenario.habits, thrown), thrown)
            ordered = scenario.start + thrown.between(timedelta(0), scenario.ordered_within)
            timeline.at(ordered, partial(self._order, self.accounts[service_id]))

    # -- customers ----------------------------------------

    def _order(self, account: Account, now: datetime) -> None:
        self._send(EventType.ORDER_CREATED, account, now, client_id=f"c{account.id}", plan=PLAN)
        if account.habit != Habit.ORDERS_ONLY:
            self._timeline.at(now + account.dice.between(timedelta(minutes=1), DAY), lambda at: self._pay_order(account, at))

    def _pay_order(self, account: Account, now: datetime) -> None:
        account.first = now
        self._paid(account, now, EventType.ORDER_PAID, "order")

    def _invoice(self, account: Account, due: datetime, now: datetime) -> None:
        """What the customer will do about the invoice of that due date."""
        account.invoices += 1
        self._timeline.at(due + _OVERDUE_SAID, lambda at: self._say_overdue(account, due, at))
        after = self._behaviour(account)
        if after is not None:
            invoice = f"i{account.invoices}"
            self._timeline.at(max(now, due + after), lambda at: self._pay_invoice(account, invoice, at))

    def _behaviour(self, account: Account) -> timedelta | None:
        """How long after the due date it is paid; None: never."""
        late = account.habit == Habit.LATE and account.dice.happens(_LATE_CHANCE)
        if account.habit == Habit.STOPS and account.term >= account.stops_at:
            return None
        ahead = max(_ON_TIME[0], -self._scenario.invoice_ahead)
        return account.dice.between(*_LATE) if late else account.dice.between(ahead, _ON_TIME[1])

    def _pay_invoice(self, account: Account, invoice: str, now: datetime) -> None:
        if account.gone:
            return
        self._paid(account, now, EventType.INVOICE_PAID, invoice)
        if account.habit == Habit.TWICE:
            again = now + account.dice.between(*_TWICE)
            until = account.paid_until
            self._timeline.at(again, lambda at: self._pay_again(account, invoice, until, at))
        if account.habit == Habit.DISPUTES and not account.disputed:
            account.disputed = True
            self._timeline.at(now + account.dice.between(*_CHARGEBACK), lambda at: self._charge_back(account, invoice, at))

    def _paid(self, account: Account, now: datetime, event: EventType, invoice: str) -> None:
        """The payment covers up to the anniversary after the last one that was paid, or after now where that is later."""
        assert account.first is not None
        account.term += 1
        while (until := self._calendar.anniversary(account.first, account.term)) <= now:
            account.term += 1
        account.paid_at, account.paid_until = now, until
        self._send(event, account, now, invoice_id=invoice, paid_until=until)
        decides = max(now, until - self._scenario.invoice_ahead)
        self._timeline.at(decides, lambda at: self._renew(account, until, at))

    def _renew(self, account: Account, due: datetime, now: datetime) -> None:
        """The next invoice, unless the money for what it follows was taken back: that customer settles, or never does."""
        if not account.gone and account.paid_until == due:
            self._invoice(account, due, now)

    def _pay_again(self, account: Account, invoice: str, until: datetime | None, now: datetime) -> None:
        if not account.gone:
            self._send(EventType.INVOICE_PAID, account, now, invoice_id=invoice, paid_until=until)

    def _charge_back(self, account: Account, invoice: str, now: datetime) -> None:
        """The customer's bank takes the payment back: what it had bought is not paid any more."""
        if account.gone or account.first is None:
            return
        account.term -= 1
        account.paid_until = self._calendar.anniversary(account.first, account.term)
        until = account.paid_until
        self._send(EventType.INVOICE_REFUNDED, account, now, invoice_id=invoice, paid_until=until)
        if account.dice.happens(_SETTLES_CHANCE):
            settled = now + account.dice.between(*_SETTLES)
            self._timeline.at(settled, lambda at: self._settle(account, f"{invoice}-settled", at))

    def _settle(self, account: Account, invoice: str, now: datetime) -> None:
        if not account.gone:
            self._paid(account, now, EventType.INVOICE_PAID, invoice)

    def _say_overdue(self, account: Account, due: datetime, now: datetime) -> None:
        if not account.gone and account.paid_until == due:
            self._send(EventType.INVOICE_OVERDUE, account, now, due_at=due)

    def asked(self, service_id: str, job_id: str, now: datetime) -> None:
        """It is asked whether a service may be destroyed, looks into its books, and answers as it says everything."""
        account = self.accounts[service_id]
        if account.may_go(job_id, now):
            self._send(EventType.TERMINATION_CONFIRMED, account, now, job_id=job_id)
        else:
            self._send(EventType.TERMINATION_REFUSED, account, now, job_id=job_id, paid_until=account.paid_until)

    # -- webhooks ----------------------------------------

    def _send(self, kind: EventType, account: Account, now: datetime, **told: Any) -> None:
        """Send it until it gets through: at once, late, twice, or never."""
        account.sent += 1
        event_id = f"{account.id}.{account.sent}"
        event = Event(source=SOURCE, id=event_id, type=kind, service_id=account.id, sent_at=now, **told)
        fate, network = self._fate.child(event_id), self._scenario.network
        lost, late, doubled = (fate.happens(chance) for chance in (network.lost, network.late, network.doubled))
        first = now + (fate.between(HOUR, 3 * DAY) if late else fate.between(timedelta(0), network.delay))
        arrives = None if lost else self._gets_through(first)
        if arrives is None:
            self.lost += 1
            return
        self.under_way[account.id] = self.under_way.get(account.id, 0) + 1
        self._timeline.at(arrives, lambda at: self._arrive(event, at))
        if doubled and (again := self._gets_through(arrives + fate.between(timedelta(minutes=1), 2 * DAY))) is not None:
            self._timeline.at(again, lambda at: self._deliver(event, at))

    def _arrive(self, event: Event, now: datetime) -> None:
        self.under_way[event.service_id] -= 1
        self.accounts[event.service_id].heard(event)
        self._deliver(event, now)

    def _gets_through(self, first: datetime) -> datetime | None:
        """When one of the tries finds the controller; None where they end before it is back."""
        return next((first + wait for wait in TRIES if self._scenario.up(first + wait) == first + wait), None)


def habit(shares: Mapping[Habit, float], dice: Dice) -> Habit:
    """One of the habits, by their shares, which need not add up to 1."""
    thrown = dice.number() * sum(shares.values())
    for found, share in shares.items():
        thrown -= share
        if thrown < 0:
            return found
    return next(iter(shares))
