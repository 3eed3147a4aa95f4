"""orchestrator audit list, and what verify asks of a controller and says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from orchestrator.cli.failure import Failure
from orchestrator.cli.output import emit_json, moment, phrase, say
from orchestrator.cli.remote.options import client, json_option, paging_options, show_list
from orchestrator.cli.tables import Column, Kind, Row


def _facts(row: Row) -> str:
    """What the other columns do not tell already."""
    told = {"service_id", "job_id"}
    return phrase({name: value for name, value in row["facts"].items() if name not in told or value != row[name]})


_LIST: tuple[Column, ...] = (
    Column("ROW", "seq", Kind.ID),
    Column("AT", moment("at"), Kind.TIME, spare=2),
    Column("WHO", "who", spare=3),
    Column("WHAT", "what"),
    Column("SERVICE", "service_id", Kind.ID),
    Column("JOB", "job_id", Kind.ID, spare=4),
    Column("FACTS", _facts, Kind.PROSE, spare=1),
)


@click.command("list")
@click.option("--service", "service_id", default="", help="Only rows about this service.")
@click.option("--acts", is_flag=True, help="Only what was done, not what callers read of customers' data.")
@paging_options
@json_option
@click.pass_context
def list_audit(context: click.Context, /, acts: bool, **options: Any) -> None:
    """List the trail, the newest first."""
    show_list(context, "audit", _LIST, empty="no rows", acts="true" if acts else "", **options)


def verify(context: click.Context, *, head: str, as_json: bool) -> None:
    """Have the controller read the whole trail."""
    tell(client(context).get("audit/verify", head=head), as_json=as_json)


def tell(found: Mapping[str, Any], *, as_json: bool) -> None:
    """What was found. Raises Failure where the trail does not hold."""
    if as_json:
        emit_json(dict(found))
    if not found["ok"]:
        where = "" if found["at_seq"] is None else f" at row {found['at_seq']}"
        raise Failure(
            f"the audit trail does not hold{where}: {found['problem']}",
            hint="somebody changed the database or the file by hand, or it is not the one you think",
            exit_code=6,
        )
    if not as_json:
        say(f"{found['entries']} rows, all of them hold; the last hash, to be noted elsewhere: {found['head'] or '-'}")
