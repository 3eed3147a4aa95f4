"""orchestrator restore, backup restores and backup drill: bringing back what a backup holds, and knowing that it can be done."""

from __future__ import annotations

from typing import Any

import click

from orchestrator.cli.output import emit_json, moment, say, size, table, when
from orchestrator.cli.remote.client import below
from orchestrator.cli.remote.options import (
    NeededToAct,
    client,
    dry_run_option,
    json_option,
    paging_options,
    show_list,
    watch_option,
)
from orchestrator.cli.remote.watch import WAITS, say_outcome, watch_job
from orchestrator.cli.remote.workflow import show_workflow
from orchestrator.cli.tables import Column, Kind, Row
from orchestrator.domain.sizes import size_words

_LIST: tuple[Column, ...] = (
    Column("ASKED", moment("counted_at"), Kind.TIME),
    Column("STATE", lambda row: "done" if row["done_at"] else row["state"]),
    Column("SIZE", size("size_bytes"), spare=3),
    Column("JOB", "job_id", Kind.ID, spare=2),
    Column("CHARGE", "charge_id", Kind.ID, spare=4),
    Column("BY", "asked_by", spare=5),
    Column("WHY", lambda row: _why(row), Kind.PROSE, spare=1),
)


# Of an account, and beside.
_WHERE = {
    (False, False): "in place of its disk",
    (False, True): "beside its disk",
    (True, False): "over what is in its home",
    (True, True): "beside its home",
}


@click.command("restore")
@click.argument("service")
@click.option("--backup", default="", help="Which backup; left out: the newest verified one.")
@click.option("--beside", is_flag=True, help="Onto a new volume, or into a directory, beside what is there, which stays.")
@click.option("--path", "paths", multiple=True, help="Of an account: only this path inside its home. May be given again.")
@click.option("--database", "databases", multiple=True, help="Of an account: only this database. May be given again.")
@click.option("--files-only", is_flag=True, help="Of an account: its files, and no databases.")
@click.option("--delete", is_flag=True, help="Of an account: what is there and not in the backup goes.")
@click.option("--pay", is_flag=True, help="What it costs beyond the month's allowance may be charged.")
@click.option("--reason", "--why", "reason", cls=NeededToAct, help="Why; goes into the audit. Only --dry-run needs none.")
@dry_run_option
@watch_option
@json_option
@click.pass_context
def restore(
    context: click.Context, /, service: str, reason: str | None, dry_run: bool, watch: bool, as_json: bool, **given: Any
) -> None:
    """Bring back what a backup of the service holds. In place a guest is stopped for it, and its old disk kept for a while; an
    account is closed meanwhile, and what is written over is gone."""
    body = {"reason": reason or "", **given}
    calls = client(context)
    answer = calls.post(below("services", service, "restore"), body, dry_run="true" if dry_run else "")
    if dry_run:
        _would(service, answer, as_json=as_json)
        return
    if watch and answer["job_id"]:
        if not as_json:
            say(f"{service}: restore: job {answer['job_id']}")
        watch_job(calls, answer["job_id"], as_json=as_json)
        return
    if as_json:
        emit_json(answer)
    else:
        say(_sentence(answer))
        say_outcome(f"{service}: restore", answer, none="no job was needed: ")
    if answer["waits"]:
        context.exit(WAITS)


def _would(service: str, answer: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        emit_json(answer)
        return
    say(f"{service}: would restore {_sentence(answer)}{'' if answer['amount'] else '; it costs nothing'}")
    if answer["room"]:
        say(answer["room"])
    show_workflow(answer["workflow"] or {}, as_json=False)


def _sentence(answer: Row) -> str:
    where = _WHERE[answer["kind"] == "hosting", answer["beside"]]
    costs = f"; it costs Rp {answer['amount']:,}" if answer["amount"] else ""
    made = f" of {when(answer['made_at'])}" if answer["made_at"] else ""
    return f"backup {answer['backup_id']}{made}, {size_words(answer['size_bytes'])}, {where}: {answer['counts']}{costs}"


@click.command("restores")
@click.argument("service")
@json_option
@click.pass_context
def restores(context: click.Context, /, service: str, as_json: bool) -> None:
    """Show what was restored of the service, and what of this month's allowance is left."""
    found = client(context).get(below("services", service, "restores"))
    if as_json:
        emit_json(found)
        return
    table(_LIST, found["items"], empty="nothing was restored")
    say(_allowance(found))


def _allowance(found: Row) -> str:
    if found["per_month"] is None:
        return "the policy counts no restores"
    more = "" if found["over_per_gb"] is None else f"; more at Rp {found['over_per_gb']:,} per GB: --pay"
    included = min(found["used"], found["per_month"])
    beyond = found["used"] - included
    over = f", {beyond} more{'' if found['over_per_gb'] is None else ' charged'}" if beyond else f", {found['left']} left"
    return f"{included} of {found['per_month']} included used this month{over}{more}"


def _why(row: Row) -> str:
    """The reason for which it was asked for, and why it does not count any more."""
    return "; ".join(filter(None, (row["reason"], row["why"] and f"given back: {row['why']}")))


_DRILLS: tuple[Column, ...] = (
    Column("JOB", "id", Kind.ID),
    Column("SERVICE", "service_id", Kind.ID),
    Column("NODE", "node", Kind.ID, spare=3),
    Column("STATE", "state"),
    Column("BEGUN", moment("begun_at"), Kind.TIME),
    Column("DISK", lambda row: row["signature"] or "-", spare=3),
    Column("WEEK", lambda row: row["week"] or "asked for", spare=2),
    Column("BACKUP", "backup_id", Kind.ID, spare=4),
    Column("WHY", "why", Kind.PROSE, spare=1),
)


@click.group("drill")
def drill() -> None:
    """Restore drills: whether what is kept can be brought back."""


@drill.command("list")
@click.option("--service", "service_id", default="", help="Only drills of this service.")
@paging_options
@json_option
@click.pass_context
def list_drills(context: click.Context, /, **options: Any) -> None:
    """List restore drills, the newest first, and why those failed that did."""
    show_list(context, "backups/drills", _DRILLS, empty="no drills", **options)


@drill.command("now")
@click.argument("service")
@click.option("--reason", "--why", "reason", default="", help="Why; goes into the audit.")
@watch_option
@json_option
@click.pass_context
def drill_now(context: click.Context, /, service: str, reason: str, watch: bool, as_json: bool) -> None:
    """Restore the service's newest verified backup aside, read it back, and throw it away. It counts against nothing."""
    calls = client(context)
    answer = calls.post("backups/drills", {"service_id": service, "reason": reason})
    if watch:
        if not as_json:
            say(f"{service}: drill: job {answer['job_id']}")
        watch_job(calls, answer["job_id"], as_json=as_json)
    elif as_json:
        emit_json(answer)
    else:
        say_outcome(f"{service}: drill", answer)
