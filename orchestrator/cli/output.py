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

# Wide enough for any row where nobody looks at a terminal: a line a row can be searched and cut.
_UNBOUNDED = 10_000
_BINARY = ("TiB", "GiB", "MiB", "KiB")
# Binary first: of two that are as short the one that people mean of memory.
_UNITS = {unit: 2**power for unit, power in zip(_BINARY, (40, 30, 20, 10), strict=True)} | {
    unit: 10**power for unit, power in (("TB", 12), ("GB", 9), ("MB", 6))
}
# In bits; the order, of those that are as short, is that of the configuration.
_RATES = {
    **{unit: 8 * size for unit, size in (("B", 1), ("kB", 10**3), ("MB", 10**6), ("GB", 10**9), ("TB", 10**12))},
    **{unit: 8 * 2**power for unit, power in zip(reversed(_BINARY), (10, 20, 30, 40), strict=True)},
    "bit": 1,
    "kbit": 10**3,
    "Mbit": 10**6,
    "Gbit": 10**9,
    "Kibit": 2**10,
    "Mibit": 2**20,
    "Gibit": 2**30,
}
# A whole number longer than this says less than a rounded one.
_SHORT = 10_000


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
        return "" if value is None else human_bytes(int(value))

    return show


def rate(field: str) -> Callable[[Row], str]:
    """A column for bytes per second; 0 is no limit."""

    def show(row: Row) -> str:
        value = row.get(field)
        return "" if value is None else human_rate(int(value)) if value else "not limited"

    return show


def human_rate(per_second: int) -> str:
    """As configuration files write it: in the unit, of bytes or of bits, that makes the shortest whole number of them."""
    bits = per_second * 8
    whole = [(bits // one, unit) for unit, one in _RATES.items() if bits >= one and bits % one == 0]
    number, unit = min(whole, key=lambda found: len(str(found[0])), default=(0, "B"))
    return f"{number} {unit}/s"


def human_bytes(count: int) -> str:
    """Whole where a unit makes it whole, decimal or binary, as configuration files write it: ``20 GB``, ``4 GiB``; the shorter
    of both. Else rounded, and binary.
    """
    whole = [(count // one, unit) for unit, one in _UNITS.items() if count >= one and count % one == 0]
    number, unit = min(whole, key=lambda found: len(str(found[0])), default=(count, "B"))
    if number < _SHORT:
        return f"{number} {unit}"
    unit, one = next((unit, one) for unit, one in _UNITS.items() if unit in _BINARY and count >= one)
    return _rounded(count / one, unit)


def human_share(count: int, of: int) -> str:
    """``18.8 GB of 20 GB``: both in the unit of what there is in all, so that they can be compared by eye."""
    unit = human_bytes(of).split()[-1]
    one = _UNITS.get(unit, 1)
    return f"{human_bytes(count) if one == 1 or count % one == 0 else _rounded(count / one, unit)} of {human_bytes(of)}"


def _rounded(value: float, unit: str) -> str:
    return f"{value:.0f} {unit}" if value >= 100 else f"{value:.1f} {unit}"
