"""The kinds of values that policies hold: days, hours, rupiah, kinds of service, and words of a closed list.

Every check raises ValueError with a sentence that a person can act on.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Any, TypeVar

from pydantic import BeforeValidator, Field, WithJsonSchema

from orchestrator.config.problems import did_you_mean
from orchestrator.config.units import SIZE_PATTERN, parse_size
from orchestrator.domain import policies as p
from orchestrator.domain.calendar import MOST_DAYS, DayKind
from orchestrator.domain.calendar import Days as DomainDays
from orchestrator.domain.plans import Use

E = TypeVar("E", bound=StrEnum)

_DAYS = re.compile(r"([0-9]{1,6}) (business )?days?")
_HOURS = re.compile(r"([0-9]{1,6}) (?:h|hours?)")
_MOST_HOURS = 24 * 366
DAYS_PATTERN = "^[0-9]+ (business )?days?$"
HOURS_PATTERN = "^[0-9]+ (h|hours?)$"


def parse_days(value: object) -> DomainDays:
    """``"2 days"``, ``"1 day"``, ``"30 business days"``. Raises ValueError with a sentence."""
    match = _DAYS.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"'{_short(value)}' is no number of days: write such as '2 days' or '30 business days'")
    if int(match[1]) > MOST_DAYS:
        raise ValueError(f"'{_short(value)}' is longer than a hundred years")
    return DomainDays(int(match[1]), DayKind.BUSINESS if match[2] else DayKind.CALENDAR)


def parse_hours(value: object) -> timedelta:
    """``"72 h"`` or ``"72 hours"``: hours by the clock, whatever the day. Raises ValueError with a sentence."""
    match = _HOURS.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"'{_short(value)}' is no number of hours: write such as '72 h'")
    if not 0 < int(match[1]) <= _MOST_HOURS:
        raise ValueError(f"'{_short(value)}' is out of range: between 1 hour and a year")
    return timedelta(hours=int(match[1]))


def _kinds_known(value: object) -> object:
    """Of a mapping by kind, or a list of kinds."""
    if not isinstance(value, dict | list):
        raise ValueError("must name kinds of service: " + ", ".join(p.KINDS))
    for kind in value:
        if kind not in p.KINDS:
            raise ValueError(
                f"there is no kind '{_short(kind)}'{did_you_mean(str(kind), p.KINDS)}; kinds are {', '.join(p.KINDS)}"
            )
    if not value:
        raise ValueError("is empty: leave the rule out where the document is silent")
    return _unlike(value)


def _unlike(value: object) -> object:
    if isinstance(value, list) and any(value.count(each) > 1 for each in value):
        raise ValueError("names something twice")
    return value


def _mildest_first(value: object) -> object:
    """The first one is what is done unless somebody says more: it must not be the harshest by a slip of the pen."""
    order = [effect.value for effect in (p.Effect.LIMIT, p.Effect.READ_ONLY, p.Effect.SUSPEND, p.Effect.TERMINATE)]
    if isinstance(value, list):
        known = [order.index(each) for each in value if each in order]
        if known != sorted(known):
            raise ValueError(f"the mildest stands first, in the order {', '.join(order)}")
    return _unlike(value)


def _country(value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch("[A-Z]{2}", value):
        raise ValueError("must be a country's two capital letters (ISO 3166-1), such as 'ID'")
    return value


def _word(of: type[E], words: tuple[E, ...]) -> Callable[[object], E]:
    spelled = [f"'{word.value}'" for word in words]
    listing = " or ".join((", ".join(spelled[:-1]), spelled[-1])) if len(spelled) > 1 else spelled[0]

    def check(value: object) -> E:
        if value not in [word.value for word in words]:
            near = did_you_mean(value, [word.value for word in words]) if isinstance(value, str) else ""
            raise ValueError(f"must be {listing}{near}")
        return of(value)

    return check


def _words(of: type[E], *words: E) -> tuple[BeforeValidator, WithJsonSchema]:
    chosen = words or tuple(of)
    return BeforeValidator(_word(of, chosen)), WithJsonSchema({"enum": [word.value for word in chosen]})


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:40]}…"


_DAYS_SCHEMA: dict[str, Any] = {"type": "string", "pattern": DAYS_PATTERN}
_KIND_SCHEMA: dict[str, Any] = {"enum": list(p.KINDS)}
_RUPIAH_SCHEMA: dict[str, Any] = {"type": "integer", "minimum": 0, "maximum": 10**12}


def _by_kind(values: dict[str, Any]) -> tuple[BeforeValidator, WithJsonSchema]:
    schema = {"type": "object", "propertyNames": _KIND_SCHEMA, "additionalProperties": values, "minProperties": 1}
    return BeforeValidator(_kinds_known), WithJsonSchema(schema)


Days = Annotated[DomainDays, BeforeValidator(parse_days), WithJsonSchema(_DAYS_SCHEMA)]
Hours = Annotated[timedelta, BeforeValidator(parse_hours), WithJsonSchema({"type": "string", "pattern": HOURS_PATTERN})]
Rupiah = Annotated[int, Field(ge=0, le=10**12)]
Months = Annotated[int, Field(ge=1, le=1200)]
Bytes = Annotated[
    int,
    BeforeValidator(parse_size),
    WithJsonSchema({"anyOf": [{"type": "string", "pattern": SIZE_PATTERN}, {"type": "integer"}]}),
]
Reminders = Annotated[list[Days], BeforeValidator(_unlike), Field(max_length=20)]
DaysByKind = Annotated[dict[str, Days], *_by_kind(_DAYS_SCHEMA)]
RupiahByKind = Annotated[dict[str, Rupiah], *_by_kind(_RUPIAH_SCHEMA)]
MonthsByKind = Annotated[dict[str, Months], *_by_kind({"type": "integer", "minimum": 1, "maximum": 1200})]
Kinds = Annotated[
    list[str],
    BeforeValidator(_kinds_known),
    WithJsonSchema({"type": "array", "items": _KIND_SCHEMA, "uniqueItems": True, "minItems": 1}),
]
Country = Annotated[str, BeforeValidator(_country), WithJsonSchema({"type": "string", "pattern": "^[A-Z]{2}$"})]

Act = Annotated[p.Act, *_words(p.Act)]
Acts = Annotated[list[Act], BeforeValidator(_unlike), Field(min_length=1, max_length=10)]
HoldingEffect = Annotated[p.Effect, *_words(p.Effect, p.Effect.SUSPEND, p.Effect.LIMIT, p.Effect.READ_ONLY)]
PaymentEffect = Annotated[p.Effect, *_words(p.Effect, p.Effect.SUSPEND, p.Effect.TERMINATE)]
AnyEffect = Annotated[p.Effect, *_words(p.Effect)]
Effects = Annotated[list[AnyEffect], BeforeValidator(_mildest_first), Field(min_length=1, max_length=10)]
TerminateSince = Annotated[p.TerminateSince, *_words(p.TerminateSince)]
EraseSince = Annotated[p.EraseSince, *_words(p.EraseSince)]
MoneyBackSince = Annotated[p.MoneyBackSince, *_words(p.MoneyBackSince)]
Uses = Annotated[list[Annotated[Use, *_words(Use)]], BeforeValidator(_unlike), Field(max_length=len(Use))]
LatePaymentEffect = Annotated[p.LatePaymentEffect, *_words(p.LatePaymentEffect)]
CancellationEffect = Annotated[p.CancellationEffect, *_words(p.CancellationEffect)]
Period = Annotated[p.Period, *_words(p.Period)]
