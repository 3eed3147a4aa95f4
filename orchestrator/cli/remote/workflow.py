"""Printing a resolved workflow, for --dry-run and job show."""

from __future__ import annotations

from typing import Any

from orchestrator.cli.output import Column, Row, emit_json, say, table, text


def _arguments(row: Row) -> str:
    if row["skipped"]:
        return f"skipped: {row['skipped']}"
    return ", ".join(f"{name}={_value(value)}" for name, value in row["args"].items())


def _value(value: Any) -> str:
    if isinstance(value, dict) and set(value) == {"$ref"}:
        return f"<{value['$ref']}>"
    return text(value)


_CALLS: tuple[Column, ...] = (
    ("STEP", "id"),
    ("DOES", "step"),
    ("DESTROYS", lambda row: "yes" if row["destructive"] else ""),
    ("ON FAILURE", "on_failure"),
    ("WITH", _arguments),
)


def show_workflow(workflow: dict[str, Any], *, as_json: bool) -> None:
    """The steps in their order; ``<step.fact>`` stands for what an earlier step will give."""
    if as_json:
        emit_json(workflow)
        return
    say(f"{workflow['playbook']} for {workflow['service_id']}:")
    table(_CALLS, workflow["calls"], empty="no steps")
