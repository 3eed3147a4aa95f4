"""The words of the rules, and what every rule has."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

KINDS = ("vps", "hosting", "dedicated", "colocation", "half-rack", "full-rack", "cloud", "reseller")
"""The kinds of service that documents speak of. Rules per kind are mappings from these words; a kind that is not in one has no
such rule. A ``PlanKind`` can be looked up in them as it is."""


class Act(StrEnum):
    """What a customer may ask for, and a rule may refuse."""

    BACKUP = "backup"
    RESTORE = "restore"
    DOWNGRADE = "downgrade"
    SHORTER_TERM = "shorter-term"


class Effect(StrEnum):
    """What a rule does to a service. All but ``TERMINATE`` are the effects of a hold: suspend is ``HoldEffect.STOP``."""

    SUSPEND = "suspend"
    LIMIT = "limit"
    READ_ONLY = "read-only"
    TERMINATE = "terminate"


class TerminateSince(StrEnum):
    """``SUSPENSION``: proven in force; without one there is no deadline. ``PERIOD_END``: the end of what was last paid for."""

    DUE = "due"
    SUSPENSION = "suspension"
    PERIOD_END = "period-end"


class EraseSince(StrEnum):
    """``CANCELLATION``: the day it took effect, or of the termination where nobody cancelled."""

    CANCELLATION = "cancellation"
    TERMINATION = "termination"


class MoneyBackSince(StrEnum):
    ACTIVATION = "activation"
    PURCHASE = "purchase"


class LatePaymentEffect(StrEnum):
    """What a payment does that comes after the termination. ``FROM_ARCHIVE``: the service comes back, while that is kept."""

    REFUSED = "refused"
    FROM_ARCHIVE = "from-archive"


class CancellationEffect(StrEnum):
    """When a cancellation by the customer takes effect. ``CONFIRMED``: as soon as the customer has confirmed it."""

    PERIOD_END = "period-end"
    CONFIRMED = "confirmed"


class Period(StrEnum):
    """What a billing period is: a month from the order's day, or a calendar month."""

    ANNIVERSARY = "anniversary"
    CALENDAR_MONTH = "calendar-month"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """``clause``: number or heading in the provider's document. A rule with nothing more says that it is so."""

    clause: str
