"""Times and days as people type them after an option. What is wrong is refused here, by the option's own name, before
anything is asked of a controller.
"""

from __future__ import annotations

import re
from datetime import date, datetime
from typing import Any

import click

from orchestrator.cli.output import clean

# As the API takes them.
_YEARS = range(1970, 9001)
_TIME = "write such as 2026-12-01T09:00+07:00, or 2026-12-01T02:00Z"
_DAY = "write such as 2026-12-01"
_SHOWN = 40
_LENGTH = re.compile(r"(?P<count>[1-9][0-9]{0,4})(?P<unit>[mhd])")
_UNITS = {"m": 1, "h": 60, "d": 24 * 60}


class Moment(click.ParamType[str]):
    """A time with its zone, as ISO 8601 writes it or as our own tables show it; gives it as the API takes it.

    A zone must be said: whose days are meant decides about destruction, and this machine's zone need not be the provider's.
    """

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        text = str(value).strip()
        try:
            found = datetime.fromisoformat(text.upper())
        except ValueError:
            self.fail(f"'{_shown(text)}' is no time: {_TIME}", param, ctx)
        if found.tzinfo is None:
            whole = f"{found:%Y-%m-%dT%H:%M}"
            self.fail(f"'{_shown(text)}' has no zone: write such as {whole}+07:00, or {whole}Z", param, ctx)
        if found.year not in _YEARS:
            self.fail(f"'{_shown(text)}' is not between the years {_YEARS[0]} and {_YEARS[-1]}: {_TIME}", param, ctx)
        return found.isoformat()


class Day(click.ParamType[date]):
    """A day, as ISO 8601 writes it."""

    name = "date"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> date:
        if isinstance(value, date):
            return value
        text = str(value).strip()
        try:
            found = date.fromisoformat(text)
        except ValueError:
            self.fail(f"'{_shown(text)}' is no day: {_DAY}", param, ctx)
        if found.year not in _YEARS:
            self.fail(f"'{_shown(text)}' is not between the years {_YEARS[0]} and {_YEARS[-1]}: {_DAY}", param, ctx)
        return found


class Minutes(click.ParamType[int]):
    """A length of time; gives it in minutes."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        text = str(value).strip()
        found = _LENGTH.fullmatch(text)
        if found is None:
            self.fail(f"'{_shown(text)}' is no length of time: write such as 90m, 2h or 1d", param, ctx)
        return int(found["count"]) * _UNITS[found["unit"]]


def _shown(text: str) -> str:
    return clean(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…")
