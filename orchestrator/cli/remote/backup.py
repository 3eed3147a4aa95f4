"""orchestrator backup now, list, plan, show, give-up (the group stands in cli/local/backup.py)."""

from __future__ import annotations

from typing import Any

import click

from orchestrator.cli.failure import Failure
from orchestrator.cli.output import card, emit_json, moment, say, size, table, when
from orchestrator.cli.remote.client import below
from orchestrator.cli.remote.confirm import confirm, meant_option
from orchestrator.cli.remote.options import (
    BACKUP_STATES,
    client,
    dry_run_option,
    json_option,
    paging_options,
    show_list,
    watch_option,
)
from orchestrator.cli.remote.service import act
from orchestrator.cli.tables import Column, Kind, Line

_CONTROLLER = "_controller"
"""The name of its own copies below a target, as the escrow names them."""

_LIST: tuple[Column, ...] = (
    Column("BACKUP", "id", Kind.ID),
    Column("SERVICE", "service_id", Kind.ID, spare=4),
    Column("STATE", "state"),
    Column("BEGUN", moment("begun_at"), Kind.TIME, spare=2),
    Column("SIZE", size("size_bytes"), spare=3),
    Column("KIND", "consistency", spare=3),
    Column("PROBLEM", "problem", Kind.PROSE, spare=1),
)
_WEEK: tuple[Column, ...] = (
    Column("AT", moment("at"), Kind.TIME),
    Column("SERVICE", "service_id", Kind.ID),
    Column("NODE", "node", Kind.ID),
    Column("SLOT", moment("slot"), Kind.TIME, spare=1),
)
_LEFT_OUT: tuple[Column, ...] = (Column("SERVICE", "service_id", Kind.ID), Column("WHY", "reason", Kind.PROSE, spare=1))
_CARD: tuple[Line, ...] = (
    ("backup", "id"),
    ("service", "service_id"),
    ("job", "job_id"),
    ("state", "state"),
    ("generation", "generation"),
    ("snapshot", "snapshot_id"),
    ("slot", moment("slot")),
    ("begun", moment("begun_at")),
    ("made", moment("made_at")),
    ("verified", moment("verified_at")),
    ("forgotten", moment("forgotten_at")),
    ("room given back", moment("pruned_at")),
    ("size", size("size_bytes")),
    ("inodes", "inodes"),
    ("read", size("read_bytes")),
    ("stored", size("stored_bytes")),
    ("consistency", "consistency"),
    ("share read", "share"),
    ("problem", "problem"),
    ("left out", "left_out"),
)


@click.command("now")
@click.argument("service")
@click.option("--reason", "--why", "reason", default="", help="Why; goes into the audit.")
@dry_run_option
@watch_option
@json_option
@click.pass_context
def now(context: click.Context, /, service: str, **options: Any) -> None:
    """Make a backup of the service now, unless its policy says that it is too soon, or that it gets none."""
    act(context, service, "backup", options)


@click.command("list")
@click.option("--service", "service_id", default="", help="Only backups of this service.")
@click.option("--state", type=click.Choice(BACKUP_STATES), help="Only backups in this state.")
@paging_options
@json_option
@click.pass_context
def list_backups(context: click.Context, /, **options: Any) -> None:
    """List backups, the newest first; those that are forgotten, too."""
    show_list(context, "backups", _LIST, empty="no backups", **options)


@click.command("plan")
@click.option("--service", "service_id", default="", help="Only this service.")
@click.option("--node", default="", help="Only backups on this node.")
@json_option
@click.pass_context
def plan(context: click.Context, /, service_id: str, node: str, as_json: bool) -> None:
    """Show the coming week: which backups the schedule brings when, and which services are left out and why."""
    week = client(context).get("backups/plan", service_id=service_id, node=node)
    if as_json:
        emit_json(week)
        return
    table(_WEEK, week["planned"], empty="no backup falls due in the coming week")
    if not week["planned"] and week["next_slot"]:
        say(f"the next one of {service_id} falls due at {when(week['next_slot'])}")
    if week["planned"] or week["next_slot"]:
        say(f"times are UTC; days and hours of backups are those of {week['timezone']}")
    if week["left_out"]:
        say("\nleft out:")
        table(_LEFT_OUT, week["left_out"], empty="")
    for crowded in week["crowded"]:
        say(f"node {crowded['node']} cannot do all that falls due: {crowded['beyond']} are put off beyond the week", err=True)


@click.command("give-up")
@click.argument("service")
@click.argument("generation", type=click.IntRange(min=1))
@click.option("--reason", "--why", "reason", required=True, help="Why; goes into the audit, and into the service's certificate.")
@click.option("--last", is_flag=True, help="Also where no verified backup is left without it.")
@meant_option
@json_option
@click.pass_context
def give_up(context: click.Context, /, service: str, generation: int, reason: str, last: bool, meant: str, as_json: bool) -> None:
    """Give up a repository that is not there any more: its key is destroyed, and what may be left of it opens to nobody."""
    if service == _CONTROLLER:
        raise Failure(
            f"{_CONTROLLER} is no service but the controller itself",
            hint=f"orchestrator state give-up {generation} --reason TEXT, on its own machine",
            exit_code=2,
        )
    warning = f"This destroys the key of generation {generation} of the backups of {service}."
    confirm(service, meant, what="give-up destroys a key", warning=warning)
    path = below("backups", "generations", service, str(generation), "give-up")
    found = client(context).post(path, {"reason": reason, "last": last})
    if as_json:
        emit_json(found)
    else:
        say(f"{service}: generation {found['number']} at {found['target']} is given up, and its key destroyed")


@click.command("show")
@click.argument("backup")
@json_option
@click.pass_context
def show(context: click.Context, /, backup: str, as_json: bool) -> None:
    """Show one backup, and why it does not count where it does not."""
    found = client(context).get(below("backups", backup))
    if as_json:
        emit_json(found)
    else:
        card(_CARD, found)
