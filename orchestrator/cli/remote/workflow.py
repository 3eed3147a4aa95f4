"""Printing a resolved workflow: a table for --dry-run, line by line with every argument for job show."""

from __future__ import annotations

from typing import Any

from orchestrator.cli.output import emit_json, phrase, say, table, text
from orchestrator.cli.tables import Column, Kind, Row


def _arguments(row: Row) -> str:
    if row["skipped"]:
        return f"skipped: {row['skipped']}"
    return ", ".join(f"{name}={_short(value)}" for name, value in row["args"].items())


def _short(value: Any) -> str:
    """Of what has parts only their names: `job show --workflow` prints them whole."""
    if isinstance(value, dict) and "$ref" not in value:
        return "{" + ", ".join(value) + "}"
    return _value(value)


def _value(value: Any) -> str:
    if isinstance(value, dict) and set(value) == {"$ref"}:
        return f"<{value['$ref']}>"
    if isinstance(value, dict | list) and any(isinstance(part, dict | list) for part in _parts(value)):
        return phrase(value)
    return phrase(value) if isinstance(value, dict) else text(value)


def _parts(value: dict[str, Any] | list[Any]) -> list[Any]:
    return list(value.values()) if isinstance(value, dict) else value


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
            say(f"      {name}: {_value(value) or '-'}")
