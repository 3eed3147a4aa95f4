"""Options that many commands share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import click

from orchestrator.cli.failure import Failure
from orchestrator.cli.output import emit_json, say, table
from orchestrator.cli.remote.client import Client, Target
from orchestrator.cli.tables import Column

# The words of the domain, spelled out: what talks HTTP imports nothing of it. A test compares them.
SERVICE_STATES = ("ordered", "provisioning", "active", "terminating", "archived", "erased", "cancelled", "failed")
JOB_STATES = ("waiting_approval", "queued", "running", "undoing", "done", "failed", "needs_operator", "cancelled")
EVENT_OUTCOMES = ("accepted", "duplicate-command", "stale", "nothing", "refused", "dead")
MACHINE_STATES = ("declared", "available", "allocated", "testing", "cleaning", "broken", "maintenance")
MESSAGE_STATES = ("waiting", "taken", "dead")
BACKUP_STATES = ("begun", "made", "verified", "partial", "failed", "refused", "forgotten", "skipped")
HOLDS = ("manual", "nonpayment", "abuse", "quota", "maintenance", "legal", "dispute")
CHARGES = ("reactivation", "traffic", "hours", "restore", "migration")
HOLD_EFFECTS = ("stop", "limit", "no-erase", "read-only", "none")
COMPLAINTS = ("abuse", "copyright", "licence", "harm", "domain", "quota")
CLOSED = ("ceased", "waived", "resolved")
EFFECTS = ("limit", "read-only", "suspend", "terminate")
USES = ("open-proxy", "p2p", "mining", "mass-mail", "ssh-tunnel", "streaming", "vpn")
ASKS = ("backup", "restore", "downgrade", "shorter-term", "start", "reboot", "stop")

F = TypeVar("F", bound=Callable[..., Any])


class NeededToAct(click.Option):
    """An option that may be left out with --dry-run only."""

    def handle_parse_result(self, ctx: click.Context, opts: Mapping[str, Any], args: list[str]) -> tuple[Any, list[str]]:
        if not (ctx.resilient_parsing or opts.get("dry_run") or opts.get(self.name or "")):
            raise click.MissingParameter(ctx=ctx, param=self)
        return super().handle_parse_result(ctx, opts, args)


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, as the API answered it.")
watch_option = click.option("--watch", is_flag=True, help="Wait for the job, show its progress, and end with its exit code.")
dry_run_option = click.option("--dry-run", is_flag=True, help="Print the workflow that would run, and change nothing.")


def one_of(given: Mapping[str, Any], flags: Sequence[str], *, asked: str) -> str:
    """The one of these flags that was given. Of two that contradict each other none is taken."""
    chosen = [flag for flag in flags if given[flag]]
    if len(chosen) != 1:
        raise Failure(asked, hint=f"one of {', '.join('--' + flag.replace('_', '-') for flag in flags)}", exit_code=2)
    return chosen[0]


def client(context: click.Context) -> Client:
    """The client for the target that the global options named; closed when the command has ended."""
    made = Client(context.find_object(Target) or Target())
    context.call_on_close(made.close)
    return made


def paging_options(command: F) -> F:
    """--limit, --after and --all."""
    for option in (
        click.option("--all", "everything", is_flag=True, help="Fetch every page, not only one."),
        click.option("--after", default="", metavar="CURSOR", help="Go on behind this page (see the line 'more')."),
        click.option(
            "--limit",
            default=50,
            show_default=True,
            type=click.IntRange(1, 500),
            metavar="N",
            help="Items on a page, 500 at most.",
        ),
    ):
        command = option(command)
    return command


def show_list(
    context: click.Context,
    path: str,
    columns: tuple[Column, ...],
    *,
    as_json: bool,
    limit: int,
    after: str,
    everything: bool,
    empty: str,
    **filters: Any,
) -> None:
    """Print a list page by page: a table, or one JSON object with all items that were fetched."""
    items: list[dict[str, Any]] = []
    following: str | None = None
    note = ""
    for page in client(context).pages(path, limit=limit, after=after, everything=everything, **filters):
        items.extend(page["items"])
        following = page.get("next")
        note = page.get("note", "")
    if as_json:
        emit_json({"items": items, "next": following, **({"note": note} if note else {})})
        return
    table(columns, items, empty=empty)
    if note:
        say(note, err=True)
    if following:
        say(f"more: --after {following}   (or --all)", err=True)
