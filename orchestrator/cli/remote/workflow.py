"""Printing a resolved workflow: a table for --dry-run, line by line with every argument for job show."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from orchestrator.cli.output import emit_json, say, table, text
from orchestrator.cli.tables import Column, Kind, Row
from orchestrator.domain.sizes import rate_words, size_words

# Of what has more parts only their names are in the table: the facts of a service, say.
_MOST = 20


def _arguments(row: Row) -> str:
    if row["skipped"]:
        return f"skipped: {row['skipped']}"
    return "; ".join(_said(name, value, most=_MOST) for name, value in row["args"].items() if value not in (None, "", [], {}))


def _said(name: str, value: Any, *, most: int | None = None) -> str:
    """One argument: what has parts with each that is not empty, of more than ``most`` only their names."""
    if not _has_parts(value):
        label, words = _words(name, value)
        return f"{label}: {words or '-'}"
    parts = [f"{label} {words}" for label, words in _flat("", value) if words]
    if most is not None and len(parts) > most:
        names = list(value) if isinstance(value, dict) else [str(len(value))]
        return f"{name}: {', '.join(names)} (whole with --json)"
    return f"{name}: {', '.join(parts) or '-'}"


def _flat(name: str, value: Any) -> Iterator[tuple[str, str]]:
    if not _has_parts(value):
        yield _words(name, value)
        return
    named = value.items() if isinstance(value, dict) else enumerate(value, start=1)
    for key, part in named:
        yield from _flat(f"{name}.{key}" if name else str(key), part)


def _has_parts(value: Any) -> bool:
    if isinstance(value, list):
        return any(isinstance(part, dict | list) for part in value)
    return isinstance(value, dict) and bool(value) and "$ref" not in value


def _words(name: str, value: Any) -> tuple[str, str]:
    """Its name and itself for a person; JSON has bytes."""
    if isinstance(value, dict):
        return name, f"<{value['$ref']}>" if "$ref" in value else ""
    if isinstance(value, int) and not isinstance(value, bool):
        for ending, words in (("_bytes_per_second", rate_words), ("_bytes", size_words)):
            if name.endswith(ending):
                return name.removesuffix(ending), words(value)
    return name, text(value)


# The fence is asked inside the step, at the very act: paid since, held or frozen, and it does not happen.
_CALLS: tuple[Column, ...] = (
    Column("STEP", "id", Kind.ID),
    Column("DOES", "step", Kind.ID),
    Column("FENCE", lambda row: "asked" if row["destructive"] else ""),
    Column("ON FAILURE", "on_failure", spare=1),
    Column("WITH", _arguments, Kind.PROSE),
)


def show_workflow(workflow: dict[str, Any], *, as_json: bool) -> None:
    """The steps in their order; ``<step.fact>`` stands for what an earlier step will give."""
    if as_json:
        emit_json(workflow)
        return
    say(f"{workflow['playbook']} for {workflow['service_id']}:")
    table(_CALLS, workflow["calls"], empty="no steps")


def show_lines(workflow: dict[str, Any]) -> None:
    """The same with every argument, a line each."""
    say(f"{workflow['playbook']} for {workflow['service_id']}:")
    for number, call in enumerate(workflow["calls"], start=1):
        words = [call["step"], *(["asks the fence"] if call["destructive"] else []), f"on failure: {call['on_failure']}"]
        say(f"{number:3} {call['id']}: {', '.join(words)}")
        if call["skipped"]:
            say(f"      skipped: {call['skipped']}")
        for name, value in call["args"].items():
            say(f"      {_said(name, value)}")
