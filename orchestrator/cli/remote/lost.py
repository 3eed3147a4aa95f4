"""orchestrator node lost, statement, restore and found, and service restore: a node that never comes back."""

from __future__ import annotations

import sys
from typing import Any

import click

from orchestrator.cli.failure import Failure
from orchestrator.cli.output import emit_json, many, say
from orchestrator.cli.remote.asking import told
from orchestrator.cli.remote.client import below
from orchestrator.cli.remote.emptying import Words, empty, emptying_options
from orchestrator.cli.remote.options import NeededToAct, client, dry_run_option, json_option, watch_option

# Both its libvirtd and its agent are asked first, and what comes back has its guests looked at.
SECONDS = 120.0
_RESTORE = Words(under_way="being restored", done="restored", path="restore")

why_option = click.option("--why", required=True, metavar="TEXT", help="The reason, for the audit and for whoever looks later.")


@click.command("lost")
@click.argument("node")
@why_option
@click.option("--statement", default="", metavar="TEXT", help="What you state of the machine; asked for when left out.")
@click.option("--yes-i-mean", "meant", default="", metavar="NODE", help="For scripts: the node's name once more.")
@json_option
@click.pass_context
def lost(context: click.Context, /, node: str, why: str, statement: str, meant: str, as_json: bool) -> None:
    """State, under your name and signed, that a node is off, or cut off, for good. Nothing is sent to it any more."""
    if not (statement and meant) and not sys.stdin.isatty():
        raise Failure(f"{node} would be lost", hint=f"say so: --statement TEXT --yes-i-mean {node}", exit_code=2)
    if not statement:
        say(
            f"What do you state of {node}? Who saw that it is off, how it was switched off or cut off, what of its disks.",
            err=True,
        )
        statement = click.prompt("I state that", err=True)
    if not meant:
        say(f"Its services may then be started elsewhere: if {node} still runs, each of them runs twice.", err=True)
        meant = click.prompt("Type the node's name to sign that", default="", show_default=False, err=True)
    if meant != node:
        raise Failure(f"'{meant}' is not '{node}': nothing was done", exit_code=2)
    found = client(context).post(below("nodes", node, "lost"), {"why": why, "statement": statement}, timeout=SECONDS)
    if as_json:
        emit_json(found)
        return
    services = found["statement"]["services"]
    say(f"{node} is lost, statement {found['statement']['id']}; it releases {many(len(services), 'service')}")
    for job in found["under_way"]:
        say(f"job {job} was at work there: it ends by itself")
    if services:
        say(f"to bring them up elsewhere: orchestrator node restore {node} --why TEXT --watch")


@click.command("statement")
@click.argument("node")
@click.option("--json", is_flag=True, expose_value=False, help="It is JSON in any case.")
@click.pass_context
def statement(context: click.Context, /, node: str) -> None:
    """Print what was stated of a node last, signed: JSON, to be kept as it is for `certificate verify`."""
    found = client(context).get(below("nodes", node, "statements"))["items"]
    if not found:
        raise Failure(f"nothing was ever stated of {node}", exit_code=3)
    emit_json(found[0])


@click.command("found")
@click.argument("node")
@why_option
@json_option
@click.pass_context
def found(context: click.Context, /, node: str, why: str, as_json: bool) -> None:
    """Use a lost node again that is back. What runs elsewhere by now is kept off there; nothing is wiped, and it is drained."""
    answer = client(context).post(below("nodes", node, "found"), {"why": why}, timeout=SECONDS)
    if as_json:
        emit_json(answer)
        return
    for guest in answer["kept_off"]:
        say(f"{guest} is held and off on {node}: its service goes on elsewhere")
    for guest in answer["freed"]:
        say(f"{guest} goes on there")
    say(f"{node} is used again, and drained")
    say(f"see orchestrator drift --node {node}, then orchestrator node undrain {node} --why TEXT")


@click.command("restore")
@click.argument("node")
@why_option
@emptying_options
@json_option
@click.pass_context
def restore_all(context: click.Context, /, node: str, **given: Any) -> None:
    """Bring the services of a lost node up elsewhere out of their newest backups, so many at a time."""
    empty(context, node, _RESTORE, **given)


@click.command("restore")
@click.argument("service")
@click.option("--to", default="", metavar="NODE", help="The node that is to take it in; left out: whichever placement chooses.")
@click.option("--backup", default="", help="Which backup; left out: the newest verified one.")
@click.option("--reason", "--why", "reason", cls=NeededToAct, help="Why; goes into the audit. Only --dry-run needs none.")
@dry_run_option
@watch_option
@json_option
@click.pass_context
def restore(context: click.Context, /, service: str, to: str, backup: str, reason: str | None, **options: Any) -> None:
    """Bring the guest of a lost node up on another one, with its addresses, out of its newest backup. What came after is lost."""
    calls, body = client(context), {"reason": reason or "", "to": to, "backup": backup}
    answer = calls.post(below("services", service, "recover"), body, dry_run="true" if options["dry_run"] else "")
    if answer["detail"] and not options["as_json"]:
        say(f"{service}: {answer['detail']}")
    told(context, calls, f"{service}: restore", answer, options)


ON_NODES = (lost, statement, found, restore_all)
