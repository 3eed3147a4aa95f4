"""Tables and cards for people. An id is never cut or folded, however narrow the terminal: other columns give way, and at last
stand beneath their row, each by its name.

Drawn by hand rather than with a library: which column may give way is the whole point, and the import costs more than the
work.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple

Row = Mapping[str, Any]
Field = str | Callable[[Row], str]
Line = tuple[str, Field]
"""A line of a card: its name, and a field or a function of the row."""

GAP = 2
# What stands beneath a row, and what goes on there.
_INDENT = " " * 4
_FURTHER = _INDENT * 2


class Kind(Enum):
    """How a column gives way: an ID never does, a WORD is cut with '…', a TIME to minute or day, PROSE is wrapped at blanks."""

    ID = "id"
    WORD = "word"
    TIME = "time"
    PROSE = "prose"


_LEAST = {Kind.WORD: 8, Kind.TIME: 10, Kind.PROSE: 20}
# A time as `output.when` writes it, and how it is shortened; the longest that there is room for.
_TIME = re.compile(r"((\d{4}-\d\d-\d\d) \d\d:\d\d):\d\dZ")
_SHORTER = (r"\1Z", r"\2")


class Column(NamedTuple):
    """``spare``: 0 = always beside the others; of those the highest is put beneath the row first where room is short."""

    heading: str
    field: Field
    kind: Kind = Kind.WORD
    spare: int = 0


@dataclass(slots=True)
class _Laid:
    column: Column
    cells: list[str]
    width: int

    @property
    def least(self) -> int:
        """A word that can be put beneath whole is not cut."""
        whole = self.column.kind is Kind.WORD and self.column.spare
        return self.width if whole else min(self.width, max(_LEAST.get(self.column.kind, self.width), cells(self.column.heading)))


def cells(text: str) -> int:
    """How many cells of a terminal ``text`` takes: East Asian wide letters two, combining marks none (UAX 11)."""
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def lay_out(columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int) -> list[str]:
    """The lines of the table within ``width`` cells, heading first. Wider only where the columns that never give way are."""
    laid = [_measured(column, [row[number] for row in rows]) for number, column in enumerate(columns)]
    beneath = _take_out(laid, width)
    _narrow(laid, width)
    lines = _lines([column.column.heading for column in laid], laid)
    for number in range(len(rows)):
        lines += _lines([column.cells[number] for column in laid], laid)
        lines += _beneath([(column.column, column.cells[number]) for column in beneath], width)
    return lines


def wrapped(text: str, width: int) -> list[str]:
    """``text`` in lines of at most ``width`` cells, broken at blanks only: a longer word stands on a line of its own."""
    found: list[str] = []
    for paragraph in text.split("\n"):
        line = ""
        for word in paragraph.split(" "):
            longer = f"{line} {word}" if line else word
            if line and cells(longer) > width:
                found.append(line)
                longer = word
            line = longer
        found.append(line)
    return found


def _measured(column: Column, values: list[str]) -> _Laid:
    longest = max((cells(part) for value in values for part in value.split("\n")), default=0)
    return _Laid(column, values, max(longest, cells(column.heading)))


def _take_out(laid: list[_Laid], width: int) -> list[_Laid]:
    """Take out what is empty, then what is worth least, until the rest fits at its narrowest; that which is to stand beneath."""
    taken: list[_Laid] = []
    for empty in [column for column in laid if column.column.spare and not any(column.cells)]:
        if _whole(column.width for column in laid) > width:
            laid.remove(empty)
    order = list(laid)
    while _whole(column.least for column in laid) > width:
        spare = [column for column in laid if column.column.spare]
        if not spare:
            break
        taken.append(max(spare, key=lambda column: column.column.spare))
        laid.remove(taken[-1])
    return sorted(taken, key=order.index)


def _beneath(values: Iterable[tuple[Column, str]], width: int) -> list[str]:
    """``name: value`` one behind the other while there is room; what is longer than a line goes on further in."""
    lines: list[str] = []
    for column, value in values:
        if not value:
            continue
        first, *more = _folded(column, f"{column.heading.lower()}: {value.replace(chr(10), ', ')}", width)
        longer = f"{lines[-1]}{' ' * GAP}{first}" if lines else ""
        if longer and not more and cells(longer) <= width:
            lines[-1] = longer
        else:
            lines += [_INDENT + first, *(_FURTHER + line for line in more)]
    return lines


def _folded(column: Column, text: str, width: int) -> list[str]:
    """The lines of one value beneath; only a word that alone is longer than a line is cut."""
    if cells(text) <= width - len(_INDENT):
        return [text]
    room = max(_LEAST[Kind.PROSE], width - len(_FURTHER))
    lines = wrapped(text, room)
    return [_shortened(line, room) for line in lines] if column.kind is Kind.WORD else lines


def _whole(widths: Iterable[int]) -> int:
    return sum(width + GAP for width in widths) - GAP


def _narrow(laid: list[_Laid], width: int) -> None:
    """Take from the widest of those that may give way, cell by cell."""
    for column in laid:
        if column.column.kind is not Kind.ID:
            column.width = min(column.width, width)
    least = [column.least for column in laid]
    while _whole(column.width for column in laid) > width:
        wide = [(column.width, -number) for number, column in enumerate(laid) if column.width > least[number]]
        if not wide:
            return
        laid[-max(wide)[1]].width -= 1


def _lines(values: Sequence[str], laid: Sequence[_Laid]) -> list[str]:
    """One row, a line or more."""
    parts = [
        wrapped(value, column.width) if column.column.kind is Kind.PROSE else [_cut(part, column) for part in value.split("\n")]
        for value, column in zip(values, laid, strict=True)
    ]
    lines: list[str] = []
    for number in range(max(map(len, parts), default=0)):
        line = ""
        for part, column in zip(parts, laid, strict=True):
            word = part[number] if number < len(part) else ""
            line += word + " " * (column.width - cells(word) + GAP)
        lines.append(line.rstrip(" "))
    return lines


def _cut(text: str, column: _Laid) -> str:
    if cells(text) <= column.width:
        return text
    if column.column.kind is Kind.TIME and (time := _TIME.fullmatch(text)):
        return next((shorter for form in _SHORTER if cells(shorter := time.expand(form)) <= column.width), time[2])
    return _shortened(text, column.width)


def _shortened(text: str, width: int) -> str:
    if cells(text) <= width:
        return text
    kept = ""
    for character in text:
        if cells(kept + character) > width - 1:
            break
        kept += character
    return f"{kept}…"
