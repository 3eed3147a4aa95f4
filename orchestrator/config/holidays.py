"""holidays.yaml: days that count as holidays besides the public ones, such as the joint leave that is decreed each year."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field, WithJsonSchema

from orchestrator.config import fields as f
from orchestrator.config.directory import absent
from orchestrator.config.files import File
from orchestrator.config.problems import Problem, config_error
from orchestrator.config.validate import validate
from orchestrator.config.yaml_reader import Document, Unreadable, read_file

MOST = 1000

_FORM = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def _date(value: object) -> date:
    try:
        if not isinstance(value, str) or not _FORM.fullmatch(value):
            raise ValueError
        return date.fromisoformat(value)
    except ValueError:
        raise ValueError(f"'{str(value)[:60]}' is no date: write year, month and day, such as 2026-12-24") from None


Date = Annotated[date, BeforeValidator(_date), WithJsonSchema({"type": "string", "format": "date"})]


class HolidayEntry(File):
    """One day of the file."""

    date: Date = Field(description="The day, in the provider's time zone: year-month-day.")
    name: f.Line = Field(min_length=1, description="What the day is called.")
    source: f.Line = Field(min_length=1, description="Who decreed it, and where that can be read.")


class HolidaysFile(File):
    """holidays.yaml: days without business besides the public holidays, which are known."""

    holidays: list[HolidayEntry] = Field(max_length=MOST, description="The days; [] = none but the public holidays.")


@dataclass(frozen=True, slots=True)
class Holiday:
    """A day of the provider's zone on which no business is done, and who says so."""

    day: date
    name: str
    source: str


def load_holidays(path: Path) -> tuple[Holiday, ...]:
    """The days of the file in order of time; none where there is no such file.

    Raises ConfigError, its details as ``config.load.load`` has them.
    """
    days, problems = read_holidays(path)
    if problems:
        raise config_error(f"the holidays in {path} cannot be used", problems)
    return days


def read_holidays(path: Path) -> tuple[tuple[Holiday, ...], list[Problem]]:
    """The days as ``load_holidays`` gives them, and what is wrong with the file."""
    if absent(path):
        return (), []
    try:
        document = read_file(path)
    except Unreadable as unreadable:
        return (), list(unreadable.problems)
    found, problems = validate(HolidaysFile, document)
    if found is None:
        return (), problems
    problems.extend(_twice(document, found))
    days = sorted(found.holidays, key=lambda entry: entry.date)
    return tuple(Holiday(day=entry.date, name=entry.name, source=entry.source) for entry in days), problems


def _twice(document: Document, found: HolidaysFile) -> Iterator[Problem]:
    seen: dict[date, str] = {}
    for position, entry in enumerate(found.holidays):
        if entry.date in seen:
            sentence = f"{entry.date} is there twice, also as '{seen[entry.date]}': keep one"
            yield document.problem(("holidays", position, "date"), sentence)
        seen.setdefault(entry.date, entry.name)
