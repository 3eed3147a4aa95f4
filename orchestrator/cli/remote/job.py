"""orchestrator job …"""

from __future__ import annotations

from typing import Any

import click

from orchestrator.cli.output import card, emit_json, moment, say, table, when
from orchestrator.cli.remote.client import below
from orchestrator.cli.remote.options import JOB_STATES, client, json_option, paging_options, show_list, watch_option
from orchestrator.cli.remote.watch import WAITING, WAITS, say_waits, step_note, watch_job
from orchestrator.cli.remote.workflow import show_lines
from orchestrator.cli.tables import Column, Kind, Line, Row


def _waits_because(row: Row) -> str:
    """Empty where it waits no more: its reason is kept, but says nothing of a job that is over."""
    return str(row["approval_reason"]) if row["state"] == WAITING else ""


def _waits_for(row: Row) -> str:
    """What it cannot reach; empty where that is nothing."""
    found = row["waits_for"]
    if not found:
        return ""
    return f"{found['away']} since {when(found['since'])}: {found['why']}; tries again at {when(found['until'])}"


def _note(row: Row) -> str:
    away = _waits_for(row)
    return str(row["error"] or _waits_because(row) or (away and f"waits for {away}"))


_LIST: tuple[Column, ...] = (
    Column("JOB", "id", Kind.ID),
    Column("SERVICE", "service_id", Kind.ID),
    Column("INTENT", "intent", Kind.ID),
    Column("STATE", "state", Kind.ID),
    Column("RUN", "run", spare=4),
    Column("CREATED", moment("created_at"), Kind.TIME, spare=2),
    Column("FINISHED", moment("finished_at"), Kind.TIME, spare=5),
    Column("ASKED BY", "asked_by", spare=3),
    Column("REASON", "reason", Kind.PROSE, spare=6),
    Column("NOTE", _note, Kind.PROSE, spare=1),
)
_CARD: tuple[Line, ...] = (
    ("job", "id"),
    ("service", "service_id"),
    ("intent", "intent"),
    ("playbook", "playbook"),
    ("state", "state"),
    ("run", "run"),
    ("reason", "reason"),
    ("asked by", "asked_by"),
    ("waits because", _waits_because),
    ("waits for", _waits_for),
    ("approved by", "approved_by"),
    ("note", lambda row: "" if row["error_code"] else str(row["error"])),
    ("error", lambda row: f"{row['error']} ({row['error_code']})" if row["error_code"] else ""),
    ("created", moment("created_at")),
    ("started", moment("started_at")),
    ("finished", moment("finished_at")),
)
_STEPS: tuple[Column, ...] = (
    Column("STEP", "id", Kind.ID),
    Column("STATE", "state", Kind.ID),
    Column("ATTEMPTS", "attempts", spare=3),
    Column("STARTED", moment("started_at"), Kind.TIME, spare=1),
    Column("FINISHED", moment("finished_at"), Kind.TIME, spare=2),
    Column("NOTE", step_note, Kind.PROSE, spare=4),
)


@click.group(name="job")
def group() -> None:
    """What is being done, what was done, and what waits."""


@group.command("list")
@click.option("--service", "service_id", default="", help="Only jobs of this service.")
@click.option("--state", type=click.Choice(JOB_STATES), help="Only jobs in this state.")
@paging_options
@json_option
@click.pass_context
def list_jobs(context: click.Context, /, **options: Any) -> None:
    """List jobs, the newest first."""
    show_list(context, "jobs", _LIST, empty="no jobs", **options)


@group.command("show")
@click.argument("job")
@click.option("--workflow", is_flag=True, help="Also print the resolved workflow with its arguments.")
@json_option
@click.pass_context
def show(context: click.Context, /, job: str, workflow: bool, as_json: bool) -> None:
    """Show one job with its steps."""
    found = client(context).get(below("jobs", job))
    if as_json:
        emit_json(found)
        return
    card(_CARD, found)
    say()
    table(_STEPS, found["steps"], empty="its workflow was not resolved yet")
    if workflow and found["workflow"]:
        say()
        show_lines(found["workflow"])


@group.command("watch")
@click.argument("job")
@json_option
@click.pass_context
def watch(context: click.Context, /, job: str, as_json: bool) -> None:
    """Follow a job until it rests; ends with the job's own exit code. Leaving with Ctrl-C does not stop the job."""
    watch_job(client(context), job, as_json=as_json)


def _acting(name: str, help_text: str) -> None:
    @group.command(name, help=help_text)
    @click.argument("job")
    @click.option("--why", "--reason", "why", default="", help="Why; goes into the audit.")
    @watch_option
    @json_option
    @click.pass_context
    def command(context: click.Context, /, job: str, why: str, watch: bool, as_json: bool) -> None:
        calls = client(context)
        found = calls.post(below("jobs", job, name), {"why": why} if why else None)
        if watch:
            watch_job(calls, job, as_json=as_json)
            return
        if as_json:
            emit_json(found)
        elif found["state"] == WAITING:
            say_waits("", job, found["approval_reason"])
        else:
            say(f"job {job}: {found['state']}")
        if found["state"] == WAITING:
            context.exit(WAITS)


_acting("approve", "Let a job run that waits for an operator.")
_acting("cancel", "Stop a job before its next step; what it made is undone.")
_acting("retry", "Run a job again that failed, was cancelled or needs an operator.")
