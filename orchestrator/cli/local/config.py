"""orchestrator config check, show."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import click

from orchestrator.cli.failure import Failure, problem_line
from orchestrator.cli.local.place import config_dir
from orchestrator.cli.output import emit_json, say


@click.group("config")
def group() -> None:
    """Check and show the configuration."""


@group.command("check")
@click.argument("directory", required=False, type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print the problems as JSON.")
@click.pass_context
def check(context: click.Context, /, directory: Path | None, as_json: bool) -> None:
    """Check every file, playbooks too: each problem as file:line: path: sentence. Exit code 0 or 2."""
    from orchestrator import wiring

    where = directory or config_dir(context)
    problems = [dict(problem) for problem in wiring.check(where)]
    if as_json:
        emit_json({"directory": str(where), "problems": problems})
    if problems:
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        lines = () if as_json else tuple(problem_line(problem) for problem in problems)
        raise Failure(f"the configuration in {where} cannot be used: {count}", lines=lines, exit_code=2)
    if not as_json:
        say(f"the configuration in {where} can be used")


@group.command("show")
@click.pass_context
def show(context: click.Context, /) -> None:
    """Print the configuration as the controller understands it: JSON, with defaults filled in and base units."""
    from orchestrator import wiring
    from orchestrator.observe.logs import redact

    emit_json(redact(plain(wiring.load_config(config_dir(context)))))


def plain(value: Any) -> Any:
    """Domain values as JSON values."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, Enum):
        return value.value
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
