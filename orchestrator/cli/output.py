"""What commands print: tables for people, JSON for scripts. rich is imported when something is drawn, never before."""

from __future__ import annotations

import json
import sys
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

Row = Mapping[str, Any]
Column = tuple[str, str | Callable[[Row], str]]

# Wide enough for any row where nobody looks at a terminal: a line a row can be searched and cut.
_UNBOUNDED = 10_000


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


def console() -> Console:
    from rich.console import Console

    # highlight and markup off: what comes from outside is text, not style.
    return Console(markup=False, highlight=False, width=None if sys.stdout.isatty() else _UNBOUNDED)


def table(columns: Sequence[Column], rows: Sequence[Row], *, empty: str) -> None:
    """One line a row. A column is a heading and a field, or a function of the row."""
    from rich.table import Table
    from rich.text import Text

    if not rows:
        say(empty)
        return
    drawn = Table(box=None, pad_edge=False, header_style="bold")
    for heading, _ in columns:
        drawn.add_column(heading, overflow="fold")
    for row in rows:
        drawn.add_row(*(Text(_cell(row, field)) for _, field in columns))
    _draw(drawn)


def card(columns: Sequence[Column], row: Row) -> None:
    """One thing, a line a field; empty fields are left out."""
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=None, pad_edge=False, show_header=False)
    drawn.add_column(style="bold", no_wrap=True)
    drawn.add_column(overflow="fold")
    for heading, field in columns:
        value = _cell(row, field)
        if value:
            drawn.add_row(Text(heading), Text(value))
    _draw(drawn)


def _draw(drawn: Table) -> None:
    """Where nobody looks at a terminal, without the blanks that fill each line up."""
    shown = console()
    if sys.stdout.isatty():
        shown.print(drawn)
        return
    with shown.capture() as captured:
        shown.print(drawn)
    for line in captured.get().splitlines():
        click.echo(line.rstrip(" "))


def _cell(row: Row, field: str | Callable[[Row], str]) -> str:
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


def facts(field: str) -> Callable[[Row], str]:
    """A row for a mapping: a line a value, named by the way to it (``volume.path: …``)."""
    return lambda row: "\n".join(_flat(row[field], ""))


def _flat(value: Any, name: str) -> Iterator[str]:
    if isinstance(value, dict) and value:
        for key in sorted(value):
            yield from _flat(value[key], f"{name}.{key}" if name else str(key))
    elif isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
        for number, item in enumerate(value):
            yield from _flat(item, f"{name}.{number}")
    elif name:
        yield f"{name}: {text(value)}" if value not in ({}, [], None, "") else f"{name}: -"


def moment(field: str) -> Callable[[Row], str]:
    """A column for a time: UTC, to the second."""

    def show(row: Row) -> str:
        value = row.get(field)
        if not value:
            return ""
        return datetime.fromisoformat(value).astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")

    return show


def size(field: str) -> Callable[[Row], str]:
    """A column for bytes, in powers of 1024."""

    def show(row: Row) -> str:
        value = row.get(field)
        return "" if value is None else human_bytes(int(value))

    return show


def human_bytes(count: int) -> str:
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if value < 1024 or unit == "TiB":
            return f"{value:.0f} {unit}" if unit == "B" or value >= 100 or value == int(value) else f"{value:.1f} {unit}"
        value /= 1024
    return f"{count} B"
