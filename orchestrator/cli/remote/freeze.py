"""orchestrator freeze: one word stops everything that suspends or destroys."""

from __future__ import annotations

from typing import Any

import click

from orchestrator.cli.output import emit_json, say, when
from orchestrator.cli.remote.options import client, json_option

_why_option = click.option("--why", default="", help="Why; shown to everybody who is refused because of it.")
UNSAID = "no reason was given"


@click.group(
    name="freeze",
    invoke_without_command=True,
    help="Stop everything that suspends or destroys, at once. Without a further word: freeze now.",
)
@_why_option
@json_option
@click.pass_context
def group(context: click.Context, /, why: str, as_json: bool) -> None:
    """The bare word acts, because it is typed in a hurry."""
    if context.invoked_subcommand is None:
        _freeze(context, why, as_json)


@group.command("on")
@_why_option
@json_option
@click.pass_context
def on(context: click.Context, /, why: str, as_json: bool) -> None:
    """Freeze: jobs that suspend or terminate wait. A freeze that stands already keeps its reason."""
    _freeze(context, why, as_json)


@group.command("off")
@json_option
@click.pass_context
def off(context: click.Context, /, as_json: bool) -> None:
    """Lift the freeze; the jobs that waited for it go on."""
    _say(client(context).delete("freeze"), as_json)


@group.command("show")
@json_option
@click.pass_context
def show(context: click.Context, /, as_json: bool) -> None:
    """Tell whether a freeze is in force."""
    _say(client(context).get("freeze"), as_json)


def _freeze(context: click.Context, why: str, as_json: bool) -> None:
    found = client(context).put("freeze", {"why": why or UNSAID})
    _say(found, as_json)
    if why and found["why"] != why:
        say(f"this freeze stood already and keeps its reason; '{why}' was not taken, only noted in the audit", err=True)


def _say(found: dict[str, Any], as_json: bool) -> None:
    if as_json:
        emit_json(found)
    elif found["frozen"]:
        say(f"frozen by {found['by']} since {when(found['since'])}: {found['why']}")
        say("nothing suspends or destroys until `orchestrator freeze off`")
    else:
        say("not frozen")
        for job in found["released"]:
            say(f"goes on: {job['intent']} of {job['service_id']}, job {job['id']}")
