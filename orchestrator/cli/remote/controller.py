"""orchestrator controller …"""

from __future__ import annotations

import click

from orchestrator.cli.output import emit_json, moment, table
from orchestrator.cli.remote.options import client, json_option
from orchestrator.cli.tables import Column, Kind, Row


def _state(row: Row) -> str:
    words = [row["state"], *(["leads"] if row["leads"] else []), *(["answers"] if row["here"] else [])]
    return ", ".join(words)


_LIST: tuple[Column, ...] = (
    Column("CONTROLLER", "id", Kind.ID),
    Column("HOST", "hostname"),
    Column("PROCESS", "pid", spare=3),
    Column("VERSION", "version", spare=4),
    Column("STATE", _state, Kind.PROSE),
    Column("STARTED", moment("started_at"), Kind.TIME, spare=2),
    Column("HEARD", moment("heartbeat_at"), Kind.TIME),
    Column("ENDED", moment("ended_at"), Kind.TIME, spare=1),
)


@click.group(name="controller")
def group() -> None:
    """The processes that work on this database."""


@group.command("list")
@json_option
@click.pass_context
def list_controllers(context: click.Context, /, as_json: bool) -> None:
    """List the controllers: which one leads, when each was last heard of, and which were lost."""
    found = client(context).get("controllers")
    if as_json:
        emit_json(found)
    else:
        table(_LIST, found["items"], empty="no controller works on this database")
