"""Billing's own list of services, as text: a JSON array, JSON lines, or CSV with a header.

Strict, as the vocabulary of events is: a row that cannot be read is a service about which nothing is known, so the whole list is
refused, with every bad row by its line, and nothing of it is applied.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from orchestrator.config.problems import did_you_mean
from orchestrator.domain.errors import RequestError
from orchestrator.domain.reconciliation import BillingState, Entry
from orchestrator.domain.services import SERVICE_ID

# Longest list that is taken, in bytes: room for more than 100,000 services.
LIST_LIMIT = 16 * 1024 * 1024
FIELDS = ("service", "paid_until", "state")
SHOWN_PROBLEMS = 100
_HINT = "the list is described in docs/reconciliation.md; nothing was changed"
_YEARS = range(1970, 9001)

# A line, and what stands there: the row as it was written, or the sentence that says why it is none.
_Row = tuple[int, Mapping[str, Any] | str]


class _Bad(ValueError):
    """A row that cannot be used; the text is the sentence."""


def parse(body: bytes) -> tuple[Entry, ...]:
    """The rows of the list, in its order. Raises RequestError with details["problems"] = [{path: "line N", sentence}]."""
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise _refused([(body.count(b"\n", 0, exc.start) + 1, "not UTF-8")]) from None
    entries: dict[str, Entry] = {}
    problems: list[tuple[int, str]] = []
    for line, row in _rows(text):
        try:
            entry = _entry(row)
            if entry.service_id in entries:
                raise _Bad(f"service {entry.service_id} is in the list twice")
            entries[entry.service_id] = entry
        except _Bad as exc:
            problems.append((line, str(exc)))
    if problems:
        raise _refused(problems)
    if not entries:
        raise _refused([(1, "the list has no rows")])
    return tuple(entries.values())


def _refused(problems: list[tuple[int, str]]) -> RequestError:
    shown = [{"path": f"line {line}", "sentence": sentence} for line, sentence in problems[:SHOWN_PROBLEMS]]
    more = len(problems) - len(shown)
    if more:
        shown.append({"path": "and more", "sentence": f"{more} more rows cannot be used"})
    first = shown[0]
    sentence = f"the list cannot be used: {first['path']}: {first['sentence']}"
    return RequestError(sentence, hint=_HINT, problems=shown)


def _rows(text: str) -> Iterator[_Row]:
    """The rows, by the first character that is no blank: `[` an array, `{` JSON lines, else CSV."""
    begin = text.lstrip()[:1]
    if begin == "[":
        return _array(text)
    return _lines(text) if begin == "{" else _csv(text)


# -- the three ways to write it ----------------------------------------


def _array(text: str) -> Iterator[_Row]:
    """Element by element, so that each is known by the line on which it begins."""
    at = _skip(text, text.index("[") + 1)
    line, counted = 1, 0
    if text[at : at + 1] != "]":
        while True:
            line, counted = line + text.count("\n", counted, at), at
            try:
                found, at = _DECODER.raw_decode(text, at)
            except (ValueError, RecursionError) as exc:
                yield line, _why(exc)
                return
            yield line, found if isinstance(found, dict) else "a row is an object with service, paid_until and state"
            at = _skip(text, at)
            mark = text[at : at + 1]
            if mark == "]":
                break
            if mark != ",":
                yield line + text.count("\n", counted, at), "a comma or the end of the array is expected here"
                return
            at = _skip(text, at + 1)
    rest = _skip(text, at + 1)
    if rest < len(text):
        yield 1 + text.count("\n", 0, rest), "there is something behind the end of the array"


def _lines(text: str) -> Iterator[_Row]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            found = _DECODER.decode(line)
        except (ValueError, RecursionError) as exc:
            yield number, _why(exc)
            continue
        yield number, found if isinstance(found, dict) else "a row is an object with service, paid_until and state"


def _csv(text: str) -> Iterator[_Row]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = [name.strip() for name in next(reader, [])]
        if sorted(header) != sorted(FIELDS):
            yield 1, f"the first line names the columns: {','.join(FIELDS)}"
            return
        for cells in reader:
            if not cells:
                continue
            if len(cells) != len(header):
                yield reader.line_num, f"{len(cells)} columns instead of {len(header)}"
                continue
            row: dict[str, Any] = dict(zip(header, (cell.strip() for cell in cells), strict=True))
            yield reader.line_num, {**row, "paid_until": row["paid_until"] or None}
    except csv.Error as exc:
        yield max(reader.line_num, 1), f"not CSV: {exc}"


def _skip(text: str, at: int) -> int:
    while at < len(text) and text[at] in " \t\r\n":
        at += 1
    return at


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _Bad("a member is named twice")
    return found


def _no_number(name: str) -> None:
    raise _Bad(f"{name} is not JSON")


_DECODER = json.JSONDecoder(object_pairs_hook=_once, parse_constant=_no_number)


def _why(problem: ValueError | RecursionError) -> str:
    if isinstance(problem, _Bad):
        return str(problem)
    return f"not JSON: {problem.msg}" if isinstance(problem, json.JSONDecodeError) else "not JSON"


# -- one row ----------------------------------------


def _entry(row: Mapping[str, Any] | str) -> Entry:
    if isinstance(row, str):
        raise _Bad(row)
    for name in row:
        if name not in FIELDS:
            raise _Bad(f"there is no field {_shown(name)}{did_you_mean(name, FIELDS)}: a row has {', '.join(FIELDS)}")
    for name in FIELDS:
        if name not in row:
            raise _Bad(f"{name} is missing")
    service = row["service"]
    if not isinstance(service, str) or not SERVICE_ID.fullmatch(service):
        raise _Bad("service: 1 to 48 letters, digits, '-' and '_', beginning with a letter or digit")
    state = row["state"]
    if not isinstance(state, str) or state not in list(BillingState):
        raise _Bad(f"state: {_shown(state)} is none of {', '.join(BillingState)}")
    return Entry(service_id=service, paid_until=_moment(row["paid_until"]), state=BillingState(state))


def _moment(value: Any) -> datetime | None:
    if value is None:
        return None
    wanted = "paid_until: a time in ISO 8601 with a zone is expected, as 2027-01-01T00:00:00Z, or nothing where nothing is paid"
    if not isinstance(value, str):
        raise _Bad(wanted)
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise _Bad(wanted) from None
    if moment.tzinfo is None:
        raise _Bad(wanted)
    if moment.year not in _YEARS:
        raise _Bad("paid_until: a time between the years 1970 and 9000 is expected")
    return moment.astimezone(UTC)


def _shown(value: object) -> str:
    """Short, and in characters that any answer and any terminal can carry."""
    return ascii(value)[:60]
