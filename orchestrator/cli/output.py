"""What commands print: tables for people, JSON for scripts."""

from __future__ import annotations

import json
import shutil
import sys
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import click

from orchestrator.cli.tables import GAP, Column, Field, Line, Row, cells, lay_out, wrapped
from orchestrator.domain.sizes import rate_words, size_words

# Wide enough for any row where nobody looks at a terminal: a line a row can be searched and cut.
_UNBOUNDED = 10_000


def many(count: int, noun: str) -> str:
    """``1 service``, ``2 services``."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def on_it(count: int) -> str:
    """How much of a node's is still there."""
    return f"{many(count, 'service')} {'is' if count == 1 else 'are'} on it"


def emit_json(value: Any) -> None:
    # ASCII: what comes from outside cannot act on a terminal, and any encoding can print it.
    click.echo(json.dumps(value, indent=2, ensure_ascii=True))


def clean(words: str) -> str:
    """``words`` as they may be shown: what would act on a terminal, or turn the direction of a line, is written as an escape.

    That is every character of the Unicode categories Cc (but not newline and tab), Cf and Cs.
    """
    return "".join(_escaped(c) if c not in "\n\t" and unicodedata.category(c) in ("Cc", "Cf", "Cs") else c for c in words)


def _escaped(character: str) -> str:
    number = ord(character)
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def say(words: str = "", *, err: bool = False) -> None:
    """One line for a person, on standard output or standard error."""
    click.echo(clean(words), err=err)


def table(columns: Sequence[Column], rows: Sequence[Row], *, empty: str) -> None:
    """A line a row, within the terminal's width; what finds no room there stands beneath its row."""
    if not rows:
        say(empty)
        return
    found = [[_cell(row, column.field) for column in columns] for row in rows]
    heading, *lines = lay_out(columns, found, _width())
    click.echo(_bold(heading))
    for line in lines:
        click.echo(line)


def card(lines: Sequence[Line], row: Row) -> None:
    """One thing, a line a field; empty fields are left out. Broken at blanks only, so that what is long can be copied whole."""
    shown = [(name, value) for name, field in lines if (value := _cell(row, field))]
    margin = max((cells(name) for name, _ in shown), default=0) + GAP
    for name, value in shown:
        first, *more = wrapped(value, max(20, _width() - margin))
        click.echo((_bold(name) + " " * (margin - cells(name)) + first).rstrip(" "))
        for line in more:
            click.echo((" " * margin + line).rstrip(" "))


def _bold(words: str) -> str:
    return click.style(words, bold=True) if sys.stdout.isatty() else words


def _width() -> int:
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else _UNBOUNDED


def _cell(row: Row, field: Field) -> str:
    return clean(field(row) if callable(field) else text(row.get(field)))


def text(value: Any) -> str:
    """A JSON value for a person."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(text(item) for item in value)
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False)
    return str(value)


def phrase(value: Any) -> str:
    """A JSON value in one line: ``key value, key value``; what is empty is left out."""
    return ", ".join(line.replace(": ", " ", 1) for line in _flat(value, "") if not line.endswith(": -"))


def facts(field: str) -> Callable[[Row], str]:
    """A row for a mapping: a line a value, named by the way to it (``volume.path: …``)."""
    return lambda row: "\n".join(sorted(_flat(row[field], "")))


def _flat(value: Any, name: str) -> Iterator[str]:
    if isinstance(value, dict) and value:
        for key, part in value.items():
            yield from _flat(part, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
        for number, item in enumerate(value):
            yield from _flat(item, f"{name}.{number}")
    elif name:
        yield f"{name}: {text(value)}" if value not in ({}, [], None, "") else f"{name}: -"


def moment(field: str) -> Callable[[Row], str]:
    """A column for a time: UTC, to the second."""

    def show(row: Row) -> str:
        value = row.get(field)
        return when(value) if value else ""

    return show


def when(value: str) -> str:
    """A time as the API writes it (ISO 8601), for a person: UTC, to the second."""
    return datetime.fromisoformat(value).astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def size(field: str) -> Callable[[Row], str]:
    """A column for bytes."""

    def show(row: Row) -> str:
        value = row.get(field)
        return "" if value is None else size_words(int(value))

    return show


def rate(field: str) -> Callable[[Row], str]:
    """A column for bytes per second; 0 is no limit."""

    def show(row: Row) -> str:
        value = row.get(field)
        return "" if value is None else rate_words(int(value))

    return show
