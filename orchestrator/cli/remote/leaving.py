"""orchestrator service cancel, keep and forget: how a service is left."""

from __future__ import annotations

from datetime import date
from typing import Any

import click

from orchestrator.cli.failure import Failure
from orchestrator.cli.output import emit_json, say, when
from orchestrator.cli.remote.client import below
from orchestrator.cli.remote.confirm import confirm, meant_option
from orchestrator.cli.remote.options import NeededToAct, client, json_option
from orchestrator.cli.times import Day


@click.command("cancel")
@click.argument("service")
@click.option("--why", cls=NeededToAct, help="Why; goes into the audit. Only --dry-run needs none.")
@click.option("--confirmed", is_flag=True, help="The customer has confirmed it; also to confirm one that is noted.")
@click.option("--on", type=Day(), help="It ends with this day of the provider's, such as 2026-12-31, whatever the policy says.")
@click.option(
    "--money-back", is_flag=True, help="It ends at once, and billing is told to refund, where the policy promises that."
)
@click.option("--without-cause", is_flag=True, help="It ends by the policy's clause on ending the contract without cause.")
@click.option("--by-provider", is_flag=True, help="You end it, not the customer: without cause.")
@click.option("--dry-run", is_flag=True, help="Print the day on which it would end and the clause, and change nothing.")
@json_option
@click.pass_context
def cancel(
    context: click.Context,
    /,
    service: str,
    why: str | None,
    on: date | None,
    dry_run: bool,
    as_json: bool,
    **flags: bool,
) -> None:
    """Note that the service is to end, when its policy says so. It runs until then."""
    if flags["money_back"] and (flags["without_cause"] or flags["by_provider"]):
        raise Failure("--money-back goes neither with --without-cause nor with --by-provider", exit_code=2)
    body: dict[str, Any] = {"why": why or "", **flags}
    if on is not None:
        body["on"] = on.isoformat()
    answer = client(context).post(below("services", service, "cancel"), body, dry_run="true" if dry_run else "")
    if as_json:
        emit_json(answer)
        return
    said = "would end" if dry_run else "ends"
    clause = f" [{answer['clause']}]" if answer["clause"] else ""
    if answer["effective_at"]:
        say(f"{service}: {said} at {when(answer['effective_at'])}: {answer['why']}{clause}")
    elif answer["needs"]:
        say(f"{service}: nothing ends yet: {answer['why']}{clause}")
    else:
        say(f"{service}: {answer['detail']}")


@click.command("keep")
@click.argument("service")
@click.option("--why", default="", help="Why; goes into the audit.")
@json_option
@click.pass_context
def keep(context: click.Context, /, service: str, why: str, as_json: bool) -> None:
    """Take a cancellation back, as long as nothing was destroyed."""
    _tell(service, client(context).post(below("services", service, "keep"), {"why": why}), as_json)


@click.command("forget")
@click.argument("service")
@click.option("--why", required=True, help="Who asked for it; goes into the audit, which stays: no place for personal data.")
@meant_option
@json_option
@click.pass_context
def forget(context: click.Context, /, service: str, why: str, meant: str, as_json: bool) -> None:
    """Delete the personal data of a service that has ended, because its customer asks for it."""
    confirm(service, meant, what="forget deletes data", warning=f"This deletes all that is personal of {service}.")
    _tell(service, client(context).post(below("services", service, "forget"), {"why": why}), as_json)


def _tell(service: str, answer: dict[str, Any], as_json: bool) -> None:
    if as_json:
        emit_json(answer)
    else:
        say(f"{service}: {answer['detail']}")


COMMANDS = (cancel, keep, forget)
