"""orchestrator config check, show."""

from __future__ import annotations

import os
from pathlib import Path

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

    where = Path(os.path.abspath(directory or config_dir(context)))  # noqa: PTH100 -- without following links
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
@click.option("--json", is_flag=True, expose_value=False, help="It is JSON in any case.")
@click.pass_context
def show(context: click.Context, /) -> None:
    """Print the configuration as the controller understands it: each file with its own keys, defaults filled in, as JSON."""
    from orchestrator import wiring
    from orchestrator.config import shown
    from orchestrator.observe.logs import redact

    config = wiring.load_config(config_dir(context))
    emit_json(redact({"directory": str(config.directory), **shown.files(config)}))
