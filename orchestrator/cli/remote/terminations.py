"""orchestrator terminations: whether deadlines terminate, and letting them where they wait."""

from __future__ import annotations

from typing import Any

import click

from orchestrator.cli.output import emit_json, say, when
from orchestrator.cli.remote.options import client, json_option

_COUNT_SECONDS = 300.0


@click.group(name="terminations")
def group() -> None:
    """Whether deadlines terminate, and letting them."""


@group.command("show")
@json_option
@click.pass_context
def show(context: click.Context, /, as_json: bool) -> None:
    """Tell whether deadlines wait before they terminate, and why."""
    calls = client(context)
    found = calls.get("terminations")
    _say(found, as_json)
    # Who asks at night whether anything is destroyed must not read "yes" of it while nothing is.
    if not as_json and not found["wait"] and calls.get("freeze")["frozen"]:
        say("but a freeze is in force: what they ask for waits until `orchestrator freeze off`")


@group.command("release")
@click.option("--why", required=True, help="How you made sure of what they waited for; goes into the audit.")
@click.option(
    "--yes-terminate",
    type=click.IntRange(0, 1_000_000_000),
    metavar="COUNT",
    help="At a change of policies: exactly so many services may be terminated by it, as `terminations show` counts them.",
)
@json_option
@click.pass_context
def release(context: click.Context, /, why: str, yes_terminate: int | None, as_json: bool) -> None:
    """Let deadlines terminate again."""
    body: dict[str, Any] = {"why": why} | ({} if yes_terminate is None else {"yes_terminate": yes_terminate})
    # Whom a change of policies concerns is counted once more, over all services.
    _say(client(context).post("terminations/release", body, timeout=_COUNT_SECONDS), as_json)


def _say(found: dict[str, Any], as_json: bool) -> None:
    if as_json:
        emit_json(found)
        return
    if not found["wait"]:
        say("deadlines terminate")
    for wait in found["waits"]:
        until = f" until {when(wait['until'])}" if wait["until"] else ""
        say(f"no deadline terminates anything since {when(wait['since'])}{until}: {wait['why']}")
        if wait["services"]:
            more = wait["count"] - len(wait["services"])
            say(f"  these: {', '.join(wait['services'])}{f' and {more} more' if more > 0 else ''}")
        say(f"  what to do: {wait['mend']}")
