"""orchestrator event …"""

from __future__ import annotations

from typing import Any

import click

from orchestrator.cli.failure import Failure
from orchestrator.cli.output import card, emit_json, moment, say
from orchestrator.cli.remote.client import below
from orchestrator.cli.remote.options import EVENT_OUTCOMES, client, json_option, paging_options, show_list, watch_option
from orchestrator.cli.remote.watch import WAITING, WAITS, say_waits, watch_job
from orchestrator.cli.tables import Column, Kind, Line

# What a replay can come to that is no success: not possible in this state, and refused by a rule.
_IN_VAIN = {"dead": 3, "refused": 4}

_LIST: tuple[Column, ...] = (
    Column("EVENT", "seq", Kind.ID),
    Column("RECEIVED", moment("received_at"), Kind.TIME, spare=3),
    Column("SOURCE", "source", spare=6),
    Column("ID", "id", Kind.ID, spare=7),
    Column("TYPE", "type", spare=1),
    Column("SERVICE", "service_id", Kind.ID),
    Column("VERSION", "version", spare=5),
    Column("OUTCOME", "outcome"),
    Column("JOB", "job_id", Kind.ID, spare=4),
    Column("SAYS", lambda row: str(row["problem"] or row["detail"]), Kind.PROSE, spare=2),
)
_CARD: tuple[Line, ...] = (
    ("event", "seq"),
    ("source", "source"),
    ("id", "id"),
    ("type", "type"),
    ("service", "service_id"),
    ("version", "version"),
    ("sent", moment("sent_at")),
    ("received", moment("received_at")),
    ("outcome", "outcome"),
    ("detail", "detail"),
    ("job", "job_id"),
    ("replays", "replays"),
    ("body", "body"),
)


@click.group(name="event")
def group() -> None:
    """What billing said, and the dead letters."""


@group.command("list")
@click.option("--dead", is_flag=True, help="Only the dead letters: events that could not be processed.")
@click.option("--outcome", type=click.Choice(EVENT_OUTCOMES), help="Only events with this outcome.")
@click.option("--service", "service_id", default="", help="Only events about this service.")
@paging_options
@json_option
@click.pass_context
def list_events(context: click.Context, /, dead: bool, outcome: str | None, **options: Any) -> None:
    """List events, the newest first."""
    if dead and outcome not in (None, "dead"):
        raise click.UsageError("--dead and --outcome contradict each other", context)
    show_list(context, "events", _LIST, empty="no events", outcome="dead" if dead else outcome, **options)


@group.command("show")
@click.argument("event", type=click.IntRange(min=1))
@json_option
@click.pass_context
def show(context: click.Context, /, event: int, as_json: bool) -> None:
    """Show one event with its body."""
    found = client(context).get(below("events", str(event)))
    if as_json:
        emit_json(found)
    else:
        card(_CARD, found)


@group.command("replay")
@click.argument("event", type=click.IntRange(min=1))
@watch_option
@json_option
@click.pass_context
def replay(context: click.Context, /, event: int, watch: bool, as_json: bool) -> None:
    """Have an event processed once more, after what kept it from being processed was mended."""
    calls = client(context)
    answer = calls.post(below("events", str(event), "replay"))
    if watch and answer["job_id"]:
        watch_job(calls, answer["job_id"], as_json=as_json)
        return
    if as_json:
        emit_json(answer)
    if answer["outcome"] in _IN_VAIN:
        raise Failure(
            f"event {event} is {answer['outcome']} again: {answer['detail']}",
            hint=f"see `orchestrator event show {event}`",
            exit_code=_IN_VAIN[answer["outcome"]],
        )
    if not as_json:
        say(f"event {event}: {answer['outcome']}" + (f": job {answer['job_id']}" if answer["job_id"] else ""))
        if answer["detail"]:
            say(answer["detail"])
    if answer["job_id"]:
        _end_where_it_waits(context, calls.get(below("jobs", answer["job_id"])), as_json)


def _end_where_it_waits(context: click.Context, job: dict[str, Any], as_json: bool) -> None:
    if job["state"] != WAITING:
        return
    if not as_json:
        say_waits("", job["id"], job["approval_reason"])
    context.exit(WAITS)
