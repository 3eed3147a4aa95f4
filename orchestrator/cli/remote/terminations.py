"""orchestrator terminations: whether deadlines terminate, after the controller or its store has been away."""

from __future__ import annotations

from typing import Any

import click

from orchestrator.cli.output import emit_json, say, when
from orchestrator.cli.remote.options import client, json_option


@click.group(name="terminations")
def group() -> None:
    """Whether deadlines terminate, and letting them."""


@group.command("show")
@json_option
@click.pass_context
def show(context: click.Context, /, as_json: bool) -> None:
    """Tell whether deadlines wait before they terminate, and why."""
    _say(client(context).get("terminations"), as_json)


@group.command("release")
@click.option("--why", required=True, help="How you made sure of what was paid meanwhile; goes into the audit.")
@json_option
@click.pass_context
def release(context: click.Context, /, why: str, as_json: bool) -> None:
    """Let deadlines terminate again."""
    _say(client(context).post("terminations/release", {"why": why}), as_json)


def _say(found: dict[str, Any], as_json: bool) -> None:
    if as_json:
        emit_json(found)
    elif found["wait"]:
        say(f"no deadline terminates anything since {when(found['since'])}: {found['why']}")
        say("ask billing what was paid meanwhile, then `orchestrator terminations release --why TEXT`")
    else:
        say("deadlines terminate")
