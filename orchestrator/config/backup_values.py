"""The kinds of values that only backups have: hours of the day, spans of the week, places; and how they are written again."""

from __future__ import annotations

import re
from datetime import time, timedelta
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema

from orchestrator.config.units import DURATION_PATTERN, RATE_PATTERN, parse_duration, parse_rate
from orchestrator.domain.backups.offer import DAY_MINUTES, Span
from orchestrator.domain.backups.targets import place_of

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_DAY = "|".join(_DAYS)
_HOUR = r"([01][0-9]|2[0-3]):[0-5][0-9]"
_CLOCK = re.compile(_HOUR)
_SPAN_TEXT = rf"({_DAY}) ({_HOUR})-(({_DAY}) )?({_HOUR}|24:00)"
_SPAN = re.compile(rf"(?P<day>{_DAY}) (?P<start>[0-9]{{2}}:[0-9]{{2}})-(?:(?P<other>{_DAY}) )?(?P<end>[0-9]{{2}}:[0-9]{{2}})")
_MINUTE = timedelta(minutes=1)
_KIB = 1024


def clock_time(value: object) -> time:
    if not isinstance(value, str) or not _CLOCK.fullmatch(value):
        raise ValueError(f"'{value}' is no time of the day: write hours and minutes, such as '01:30'")
    return time(int(value[:2]), int(value[3:]))


def clock_words(value: time) -> str:
    return f"{value.hour:02}:{value.minute:02}"


def week_span(value: object) -> Span:
    found = _SPAN.fullmatch(value) if isinstance(value, str) and re.fullmatch(_SPAN_TEXT, value) else None
    if found is None:
        raise ValueError(f"'{value}' is no part of the week: write such as 'Sun 02:00-04:00' or 'Sat 22:00-Sun 04:00'")
    start = _DAYS.index(found["day"]) * DAY_MINUTES + _minutes(found["start"])
    end = _DAYS.index(found["other"] or found["day"]) * DAY_MINUTES + _minutes(found["end"])
    if found["other"] is None and end <= start:
        raise ValueError(f"'{value}' ends before it begins: name the day on which it ends, too, as in 'Sat 22:00-Sun 04:00'")
    if end == start:
        raise ValueError(f"'{value}' is empty, or the whole week")
    return Span(start, end)


def span_words(span: Span) -> str:
    day, start = divmod(span.start, DAY_MINUTES)
    other, end = divmod(span.end, DAY_MINUTES)
    if end == 0 and other > 0:
        other, end = other - 1, DAY_MINUTES
    same = other == day and span.end > span.start
    return f"{_DAYS[day]} {_text(start)}-{'' if same else f'{_DAYS[other]} '}{_text(end)}"


def _minutes(text: str) -> int:
    return int(text[:2]) * 60 + int(text[3:])


def _text(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"


def _slot(value: object) -> timedelta:
    duration = parse_duration(value)
    if not _MINUTE <= duration <= timedelta(days=1) or duration % _MINUTE:
        raise ValueError(f"'{value}' is out of range: whole minutes, between 1m and 24h")
    return duration


def _location(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("must be a text")
    place_of(value)
    return value


def _rest_user(value: object) -> str:
    if not isinstance(value, str) or len(value) > 255 or not value.isprintable() or ":" in value:
        raise ValueError("must be one line of at most 255 characters, without ':'")
    return value


def _kib_rate(value: object) -> int:
    """restic counts whole KiB, and a rate of none would be no limit at all."""
    rate = parse_rate(value)
    if 0 < rate < _KIB:
        raise ValueError(f"'{value}' is too little: at least 1 KiB/s, or 0 for no limit")
    return rate


def _kind(check: Any, schema: dict[str, Any]) -> tuple[BeforeValidator, WithJsonSchema]:
    return BeforeValidator(check), WithJsonSchema(schema)


ClockTime = Annotated[time, *_kind(clock_time, {"type": "string", "pattern": f"^{_HOUR}$"})]
WeekSpan = Annotated[Span, *_kind(week_span, {"type": "string", "pattern": f"^{_SPAN_TEXT}$"})]
SlotLength = Annotated[timedelta, *_kind(_slot, {"type": "string", "pattern": DURATION_PATTERN})]
Location = Annotated[str, *_kind(_location, {"type": "string", "minLength": 1})]
RestUser = Annotated[str, *_kind(_rest_user, {"type": "string"})]
KibRate = Annotated[int, *_kind(_kib_rate, {"anyOf": [{"type": "string", "pattern": RATE_PATTERN}, {"const": 0}]})]
