"""orchestrator service …"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from orchestrator.cli.output import card, emit_json, facts, moment, say, table, when
from orchestrator.cli.remote.account import COMMANDS as ACCOUNT
from orchestrator.cli.remote.adopt import COMMANDS as ADOPT
from orchestrator.cli.remote.asking import ask
from orchestrator.cli.remote.charge import rupiah
from orchestrator.cli.remote.client import below
from orchestrator.cli.remote.conduct import COMMANDS as CONDUCT
from orchestrator.cli.remote.confirm import confirm, meant_option
from orchestrator.cli.remote.console import console
from orchestrator.cli.remote.dispute import dispute, settle
from orchestrator.cli.remote.forecast import waiting
from orchestrator.cli.remote.leaving import COMMANDS as LEAVING
from orchestrator.cli.remote.lost import restore
from orchestrator.cli.remote.made import MADE
from orchestrator.cli.remote.options import (
    HOLDS,
    SERVICE_STATES,
    NeededToAct,
    client,
    dry_run_option,
    json_option,
    paging_options,
    show_list,
    watch_option,
)
from orchestrator.cli.remote.systems import COMMANDS as SYSTEMS
from orchestrator.cli.remote.usage import usage
from orchestrator.cli.tables import Column, Kind, Line, Row
from orchestrator.domain.sizes import size_words


def _holds(row: Row) -> str:
    return ", ".join(f"{hold['reason']} ({hold['effect']})" for hold in row["holds"])


def _hold_lines(row: Row) -> str:
    return "\n".join(_hold_line(hold) for hold in row["holds"])


def _hold_line(hold: Row) -> str:
    until = f" until {when(hold['until'])}" if hold["until"] else ""
    complaint = f" for complaint {hold['complaint']}" if hold["complaint"] else ""
    shown = f" (evidence {hold['evidence']})" if hold["evidence"] else ""
    who = f"by {hold['by']}{complaint} since {when(hold['since'])}{until}"
    return f"{hold['reason']} ({hold['effect']}) {who}: {hold['why']}{shown}"


def _complaint_lines(row: Row) -> str:
    return "\n".join(f"{c['id']} {c['kind']} ({c['effect']}): {c['why']}" for c in row["complaints"] if c["closed"] is None)


def _job_lines(row: Row) -> str:
    return "\n".join(f"{j['id']} {j['intent']}: {j['waits'] and 'waits: '}{j['waits'] or j['state']}" for j in row["jobs"])


def _deadline_lines(row: Row) -> str:
    return "\n".join(f"{when(d['at'])} {d['action']}: {d['reason']} ({d['clause']}){waiting(d, '; ')}" for d in row["deadlines"])


def _charge_lines(row: Row) -> str:
    back = " (taken back)"
    return "\n".join(f"{when(c['made_at'])} {rupiah(c)}{'' if c['open'] else back}: {c['reason']}" for c in row["charges"])


def _kept_lines(row: Row) -> str:
    return "\n".join(f"{k['path']}: {k['kind']} of job {k['job_id']}, until {when(k['until'])}" for k in row["kept"])


def _last_backup(row: Row) -> str:
    last = row["backups"]["last"]
    if last is None:
        return "" if row["state"] != "active" else "none"
    return f"{last['id']}, verified {when(last['verified_at'])}, {size_words(last['size_bytes'])}"


def _next_backup(row: Row) -> str:
    """Of a service that is not there (any more) it goes without saying that none is made."""
    found = row["backups"]
    if found["next_slot"]:
        return when(found["next_slot"])
    return f"none unasked: {found['left_out']}" if row["state"] == "active" and found["left_out"] else ""


def _restores_left(row: Row) -> str:
    found = row["backups"]
    return "" if found["restores_included"] is None else f"{found['restores_left']} of {found['restores_included']} this month"


def _dispute_lines(row: Row) -> str:
    return "\n".join(f"invoice {d['invoice_id']} of {when(d['raised_at'])}: {_verdict(d)}" for d in row["disputes"])


def _verdict(dispute: Row) -> str:
    if dispute["upheld"] is None:
        return "too late, it stays due" if dispute["late"] else "open" + (", the rest stays due" if dispute["part"] else "")
    if dispute["upheld"]:
        return "settled for the customer"
    return "settled against the customer" + (f", to be paid by {when(dispute['pay_by'])}" if dispute["pay_by"] else "")


def _due(row: Row) -> str:
    told = when(row["due_at"]) if row["due_at"] else ""
    return f"{told}, settled since" if told and row["due_settled"] else told


def _cancelled(row: Row) -> str:
    found = row["cancellation"]
    if found is None:
        return ""
    confirmed = f", confirmed {when(found['confirmed_at'])}" if found["confirmed_at"] else ""
    given = f", to end at {when(found['at'])}" if found["at"] else ""
    return f"{found['kind']}, asked {when(found['asked_at'])} by {found['by']}{confirmed}{given}: {found['why']}"


def _state(row: Row) -> str:
    """A hold that is not proven to be in force is told apart: the guest may run, or run unthrottled. Stopping wins."""
    if row["state"] != "active":
        return str(row["state"])
    proven = row["suspension_proven_at"] is not None
    if row["suspended"]:
        return "active, suspended" if proven else "active, to be suspended"
    if proven:
        return "active, to be resumed"
    throttled = row["limited_proven_at"] is not None
    if row["limited"]:
        reasons = ", ".join(hold["reason"] for hold in row["holds"] if hold["effect"] == "limit")
        return f"active, limited ({reasons})" if throttled else f"active, to be limited ({reasons})"
    return "active, to be unlimited" if throttled else "active"


def _outgoing_mail(row: Row) -> str:
    found = row["outgoing_mail"]
    if found is None:
        return ""
    return f"{'open' if found['open'] else 'closed'}, as {'its plan says' if found['said_by'] == 'plan' else 'was said of it'}"


def _node(row: Row) -> str:
    problem = row["where"]["node_problem"]
    return f"{row['node']}, which is {problem}" if problem else str(row["node"])


def _runs(row: Row) -> str:
    """Of what is not there (any more), or is held off, it goes without saying."""
    where = row["where"]
    if where["ran_at"] is None or row["state"] != "active":
        return ""
    seen = when(where["ran_at"])
    if where["runs"] is None:
        return f"not known; seen last {seen}"
    return f"yes, seen {seen}" if where["runs"] else f"NO, seen last {seen}"


def _name(row: Row) -> str:
    """The host name that was ordered, or the domain: an account has no other name."""
    return str(row["hostname"] or row["domain"])


_LIST: tuple[Column, ...] = (
    Column("SERVICE", "id", Kind.ID),
    Column("STATE", _state, Kind.ID),
    Column("PLAN", "plan", spare=1),
    Column("NODE", "node", spare=2),
    Column("CLIENT", "client_id", spare=4),
    Column("NAME", _name, spare=5),
    Column("PAID UNTIL", moment("paid_until"), Kind.TIME, spare=3),
    Column("HOLDS", _holds, spare=1),
)
_CARD: tuple[Line, ...] = (
    ("service", "id"),
    ("state", _state),
    ("failed by", lambda row: f"job {row['failed_job']}: orchestrator job show {row['failed_job']}" if row["failed_job"] else ""),
    ("jobs", _job_lines),
    ("holds", _hold_lines),
    ("complaints", _complaint_lines),
    ("client", "client_id"),
    ("order", "order_id"),
    ("plan", "plan"),
    ("template", "template"),
    ("hostname", "hostname"),
    ("domain", "domain"),
    ("domain expired", moment("domain_expired_at")),
    ("domain renewed", moment("domain_renewed_at")),
    ("databases", lambda row: "take no more: the disk is used up" if row["databases_full"] else ""),
    ("outgoing mail", _outgoing_mail),
    ("zone", "zone"),
    ("node", _node),
    ("guest runs", _runs),
    ("was on", "nodes_ever"),
    ("last command", lambda row: f"version {row['version']} of billing" if row["version"] else ""),
    ("payments", lambda row: f"{row['payments']} counted"),
    ("paid until", moment("paid_until")),
    ("due at", _due),
    ("charged back", moment("charged_back_at")),
    ("disputes", _dispute_lines),
    ("charges", _charge_lines),
    ("created", moment("created_at")),
    ("bought", moment("purchased_at")),
    ("activated", moment("activated_at")),
    ("suspension proven", moment("suspension_proven_at")),
    ("limited since", moment("limited_proven_at")),
    ("cancelled", _cancelled),
    ("ended", moment("ended_at")),
    ("forgotten", moment("forgotten_at")),
    ("point of no return", moment("point_of_no_return")),
    ("archived", moment("archived_at")),
    *MADE,
    ("last backup", _last_backup),
    ("next backup", _next_backup),
    ("restores left", _restores_left),
    ("kept", _kept_lines),
    ("to come", _deadline_lines),
)
_FACTS: tuple[Line, ...] = (("facts", facts("facts")),)
_VERDICTS: tuple[Column, ...] = (
    Column("NODE", "node", Kind.ID),
    Column("FITS", "fits"),
    Column("WHY", lambda row: "; ".join(row["reasons"]), Kind.PROSE),
)


@click.group(name="service")
def group() -> None:
    """What customers have, and what can be done with it."""


@group.command("list")
@click.option("--state", type=click.Choice(SERVICE_STATES), help="Only services in this state.")
@click.option("--plan", default="", help="Only services of this plan.")
@click.option("--node", default="", help="Only services on this node.")
@click.option("--client", "client_id", default="", help="Only services of this client.")
@click.option("--hold", type=click.Choice(HOLDS), help="Only services with this hold.")
@click.option("--suspended", is_flag=True, help="Only services that a hold stops.")
@click.option("--limited", is_flag=True, help="Only services that a hold limits.")
@paging_options
@json_option
@click.pass_context
def list_services(context: click.Context, /, suspended: bool, limited: bool, **options: Any) -> None:
    """List services with their state, node and holds."""
    options |= {"suspended": "true" if suspended else "", "limited": "true" if limited else ""}
    show_list(context, "services", _LIST, empty="no services", **options)


@group.command("show")
@click.argument("service")
@click.option("--facts", "with_facts", is_flag=True, help="Also everything that the steps of its jobs recorded, a line each.")
@json_option
@click.pass_context
def show(context: click.Context, /, service: str, with_facts: bool, as_json: bool) -> None:
    """Show one service with its holds, what its jobs made, and what its policy brings next."""
    found = client(context).get(below("services", service))
    if as_json:
        emit_json(found)
    else:
        card(_CARD + (_FACTS if with_facts else ()), found)


@group.command("explain")
@click.argument("service")
@json_option
@click.pass_context
def explain(context: click.Context, /, service: str, as_json: bool) -> None:
    """Tell why the service is on this node, and why not on the others."""
    found = client(context).get(below("services", service, "explain"))
    if as_json:
        emit_json(found)
        return
    if not found["job_id"]:
        say(f"{service} was not placed on a node yet")
        return
    say(f"{service} is on {found['node'] or 'no node now'}; job {found['job_id']} placed it")
    table(_VERDICTS, found["verdicts"], empty="the job wrote no reasons down")


group.add_command(dispute)
group.add_command(settle)
group.add_command(usage)


def act(context: click.Context, service: str, action: str, options: dict[str, Any]) -> None:
    """Ask for one act and show what became of it."""
    body = {"reason": options.get("reason") or ""}
    if "hold" in options:
        body["hold"] = options["hold"]
    ask(context, service, action, body, options)


Acting = Callable[..., Any]

_reason_option = click.option("--reason", "--why", "reason", default="", help="Why; goes into the audit.")
_reason_needed = click.option(
    "--reason", "--why", "reason", cls=NeededToAct, help="Why; goes into the audit. Only --dry-run needs none."
)
_hold_option = click.option(
    "--hold", type=click.Choice(HOLDS), default="manual", show_default=True, help="The hold that it is about."
)


def _acting(action: str, help_text: str, *options: Callable[[Acting], Acting]) -> None:
    @click.pass_context
    def command(context: click.Context, /, service: str, **given: Any) -> None:
        act(context, service, action, given)

    acting: Acting = command
    every: tuple[Callable[[Acting], Acting], ...] = (
        click.argument("service"),
        *options,
        dry_run_option,
        watch_option,
        json_option,
    )
    for option in reversed(every):
        acting = option(acting)
    group.command(action, help=help_text)(acting)


_acting("provision", "Make a paid service that failed to be made, once more.", _reason_option)
_acting("start", "Start the service's guest.", _reason_option)
_acting("stop", "Stop the service's guest: ask it to shut down, then pull the plug.", _reason_option)
_acting("reboot", "Reboot the service's guest.", _reason_option)
_acting("reactivate", "Bring an archived service back, out of its archive.", _reason_option)
_acting("check", "Compare the service with what is really there; changes nothing.", _reason_option)
_acting("suspend", "Set a hold that stops the service, so that nobody can start it.", _reason_needed, _hold_option)
_acting("unsuspend", "Lift a hold; with the last one the service is as it was before.", _reason_option, _hold_option)
_acting(
    "limit",
    "Set a hold that throttles it, a guest's network or an account's processor; it runs on.",
    _reason_needed,
    _hold_option,
)
_acting(
    "unlimit",
    "Lift a hold that limits; with the last one the service has again what its plan says.",
    _reason_option,
    _hold_option,
)


@group.command("terminate")
@click.argument("service")
@_reason_needed
@meant_option
@dry_run_option
@watch_option
@json_option
@click.pass_context
def terminate(context: click.Context, /, service: str, meant: str, **options: Any) -> None:
    """Destroy the service and its data for good, and write the certificate of it."""
    if not options["dry_run"]:
        confirm(service, meant, what="terminate destroys data", warning=f"This destroys {service} and all of its data.")
    act(context, service, "terminate", options)


@group.command("tidy")
@click.argument("service")
@click.option(
    "--left", default="", metavar="NODE", help="Instead: the old copy on this node, which the service is not on any more."
)
@_reason_needed
@meant_option
@dry_run_option
@watch_option
@json_option
@click.pass_context
def tidy(context: click.Context, /, service: str, left: str, meant: str, **options: Any) -> None:
    """Wipe now what a restore left beside the service: a guest's old disk, and what was restored beside its disk or its home."""
    what = f"the old copy of {service} on {left}" if left else f"what is kept beside {service}"
    if not options["dry_run"]:
        confirm(service, meant, what="tidy destroys data", warning=f"This destroys {what}.")
    if left:
        ask(context, service, "tidy-left", {"reason": options.pop("reason") or "", "node": left}, options)
    else:
        act(context, service, "tidy", options)


for each in (*ACCOUNT, *ADOPT, *CONDUCT, *LEAVING, *SYSTEMS, console, restore):
    group.add_command(each)
