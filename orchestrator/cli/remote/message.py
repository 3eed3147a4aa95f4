"""orchestrator message …"""

from __future__ import annotations

from typing import Any

import click

from orchestrator.cli.output import card, emit_json, moment, say, table
from orchestrator.cli.remote.client import below
from orchestrator.cli.remote.options import MESSAGE_STATES, client, json_option, paging_options, show_list
from orchestrator.cli.tables import Column, Kind, Line, Row

_LIST: tuple[Column, ...] = (
    Column("MESSAGE", "id", Kind.ID),
    Column("CREATED", moment("created_at"), Kind.TIME, spare=5),
    Column("TYPE", "type", spare=2),
    Column("SERVICE", "service_id", spare=3),
    Column("STATE", "state", Kind.ID),
    Column("TAKEN", moment("taken_at"), Kind.TIME, spare=6),
    Column("ATTEMPTS", "attempts", spare=4),
    Column("NEXT ATTEMPT", moment("next_attempt_at"), Kind.TIME, spare=7),
    Column("PROBLEM", "last_problem", Kind.PROSE, spare=1),
)
_CARD: tuple[Line, ...] = (
    ("message", "id"),
    ("type", "type"),
    ("service", "service_id"),
    ("state", "state"),
    ("created", moment("created_at")),
    ("taken", moment("taken_at")),
    ("dead since", moment("dead_at")),
    ("attempts", "attempts"),
    ("next attempt", moment("next_attempt_at")),
    ("body", "body"),
    ("note", "note"),
)
_DELIVERIES: tuple[Column, ...] = (
    Column("ATTEMPT", moment("at"), Kind.TIME),
    Column("STATUS", lambda row: str(row["status"] or "none"), Kind.ID),
    Column("TOOK", lambda row: f"{row['milliseconds']} ms", Kind.ID, spare=1),
    Column("PROBLEM", "problem", Kind.PROSE),
)


@click.group(name="message")
def group() -> None:
    """What billing is told, whether it took it, and what it did not."""


@group.command("list")
@click.option("--state", type=click.Choice(MESSAGE_STATES), help="Only messages in this state; 'dead' is the dead-letter list.")
@click.option("--type", "kind", default="", help="Only messages of this type, such as notice.notice-terminate.")
@click.option("--service", "service_id", default="", help="Only messages about this service.")
@paging_options
@json_option
@click.pass_context
def list_messages(context: click.Context, /, kind: str, **options: Any) -> None:
    """List messages, the newest first."""
    show_list(context, "messages", _LIST, empty="no messages", **options, type=kind)


@group.command("show")
@click.argument("message")
@json_option
@click.pass_context
def show(context: click.Context, /, message: str, as_json: bool) -> None:
    """Show one message with its body and every attempt to deliver it: the proof that billing was told."""
    found = client(context).get(below("messages", message))
    if as_json:
        emit_json(found)
        return
    card(_CARD, found)
    say()
    table(_DELIVERIES, found["deliveries"], empty="not posted yet")


@group.command("retry")
@click.argument("message", required=False)
@click.option(
    "--all",
    "everything",
    is_flag=True,
    help="Every dead message, or those that --type and --service name. This or MESSAGE is needed.",
)
@click.option("--type", "kind", default="", help="With --all: only messages of this type.")
@click.option("--service", "service_id", default="", help="With --all: only messages about this service.")
@json_option
@click.pass_context
def retry(context: click.Context, /, message: str | None, everything: bool, kind: str, service_id: str, as_json: bool) -> None:
    """Have a message posted again that billing has not taken: at once, and for as long as a new one."""
    if everything == (message is not None):
        raise click.UsageError("name one message, or say --all", context)
    if not everything and (kind or service_id):
        raise click.UsageError("--type and --service go with --all", context)
    calls = client(context)
    if message is not None:
        found = calls.post(below("messages", message, "retry"))
    else:
        found = calls.post("messages/retry", type=kind, service_id=service_id)
    if as_json:
        emit_json(found)
    else:
        say(_posted(found, message))


def _posted(found: Row, message: str | None) -> str:
    if message is not None:
        return f"message {message} is posted again"
    count = found["messages"]
    return {0: "no message is dead", 1: "1 message is posted again"}.get(count, f"{count} messages are posted again")
