"""The words of deadlines: what can fall due, and one thing that does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from orchestrator.domain.intents import IntentKind


class Action(StrEnum):
    """What falls due. Of two at the same moment the one that stands here first is done first."""

    CANCEL_ORDER = "cancel-order"
    CHARGE_TRAFFIC = "charge-traffic"
    CHARGE_HOURS = "charge-hours"
    VERDICT_DUE = "verdict-due"
    CHARGEBACK = "chargeback"
    BACKUP = "backup"
    NOTICE_MAINTENANCE = "notice-maintenance"
    NOTICE_RESTART = "notice-restart"
    RESTART = "restart"
    REMIND_SUSPEND = "remind-suspend"
    SUSPEND = "suspend"
    REMIND_TERMINATE = "remind-terminate"
    NOTICE_TERMINATE = "notice-terminate"
    TERMINATE = "terminate"
    CHARGEBACK_TERMINATE = "chargeback-terminate"
    LIFT_HOLD = "lift-hold"
    LIMIT_CONDUCT = "limit-conduct"
    NOTICE_CONDUCT = "notice-conduct"
    TERMINATE_CONDUCT = "terminate-conduct"
    END = "end"
    ERASE = "erase"
    TIDY = "tidy"
    FORGET = "forget"
    LATE_REACTIVATION = "late-reactivation"
    MINIMUM_TERM_ENDS = "minimum-term-ends"
    REACTIVATION_ENDS = "reactivation-ends"

    @property
    def intent(self) -> IntentKind | None:
        """The kind of the jobs that carry it out; None where it makes none, or where the record says which."""
        return _INTENTS.get(self)

    @property
    def destroys(self) -> bool:
        """What it does cannot be taken back."""
        return self.intent is not None and self.intent.ends

    @property
    def tells(self) -> bool:
        """It does nothing but tell the customer, through billing."""
        return self in _TELLS

    @property
    def marks(self) -> bool:
        """A moment from which something is otherwise than before. It is foretold, and nothing is done."""
        return self in _MARKS

    @property
    def recurs(self) -> bool:
        """It comes again and again for as long as the service lives. The forecast leaves it out: it has a plan of its own."""
        return self == Action.BACKUP


_INTENTS = {
    Action.BACKUP: IntentKind.BACKUP,
    Action.RESTART: IntentKind.CHANGE_PLAN,
    Action.SUSPEND: IntentKind.SUSPEND,
    Action.CHARGEBACK: IntentKind.SUSPEND,
    Action.TERMINATE: IntentKind.TERMINATE,
    Action.CHARGEBACK_TERMINATE: IntentKind.TERMINATE,
    Action.TERMINATE_CONDUCT: IntentKind.TERMINATE,
    Action.END: IntentKind.TERMINATE,
    Action.ERASE: IntentKind.ERASE,
    Action.TIDY: IntentKind.TIDY,
}
_TELLS = frozenset(
    {
        Action.NOTICE_MAINTENANCE,
        Action.NOTICE_RESTART,
        Action.REMIND_SUSPEND,
        Action.REMIND_TERMINATE,
        Action.NOTICE_TERMINATE,
        Action.NOTICE_CONDUCT,
        Action.VERDICT_DUE,
        Action.LATE_REACTIVATION,
    }
)
_MARKS = frozenset({Action.MINIMUM_TERM_ENDS, Action.REACTIVATION_ENDS})


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadline:
    """One thing that is to be done at ``at``, which may have passed.

    ``occurrence``: what it belongs to and how often it comes; with the action it is done once. ``asks``: the text says "may", so
    that it waits for an operator. ``waits``: why it is not done even when its time has come; '' where nothing is in the way.
    ``evidence``: the SHA-256 of the files that go with what is told. ``job``: the one that is to do what is foretold, and
    waits for somebody.
    """

    action: Action
    at: datetime
    reason: str
    clause: str
    occurrence: str
    asks: bool = False
    waits: str = ""
    evidence: tuple[str, ...] = ()
    job: str = ""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A job that a deadline made and that waits for somebody; ``why`` as operators read it."""

    job: str
    why: str


Told = Mapping[tuple[Action, str], datetime]
"""When billing took what told the customer, by action and occurrence."""
