"""orchestrator service dispute, settle."""

from __future__ import annotations

from typing import Any

import click

from orchestrator.cli.output import emit_json, say
from orchestrator.cli.remote.client import below
from orchestrator.cli.remote.options import client, json_option, one_of
from orchestrator.cli.remote.watch import WAITS, say_waits
from orchestrator.cli.times import Moment

_invoice_option = click.option("--invoice", "invoice_id", required=True, help="The invoice's id, as billing has it.")


@click.command("dispute")
@click.argument("service")
@_invoice_option
@click.option("--why", required=True, help="What the customer says; goes into the audit.")
@click.option("--part", is_flag=True, help="Only a part is disputed: the rest stays due, and the clock goes on.")
@click.option(
    "--issued",
    "issued_at",
    type=Moment(),
    help="When the invoice was issued, such as 2026-11-01T00:00+07:00, for a policy whose days count from it.",
)
@json_option
@click.pass_context
def dispute(context: click.Context, /, service: str, as_json: bool, **body: Any) -> None:
    """Note that an invoice is disputed: the clock of nonpayment stands until it is settled."""
    _show(context, service, "dispute", body, as_json)


@click.command("settle")
@click.argument("service")
@_invoice_option
@click.option("--upheld", is_flag=True, help="For the customer. This or --rejected is needed.")
@click.option("--rejected", is_flag=True, help="Against the customer. This or --upheld is needed.")
@click.option("--why", default="", help="Why; goes into the audit.")
@json_option
@click.pass_context
def settle(context: click.Context, /, service: str, as_json: bool, **body: Any) -> None:
    """Note the verdict of a dispute."""
    verdict = one_of(body, ("upheld", "rejected"), asked="what is the verdict?")
    given = {"invoice_id": body["invoice_id"], "upheld": verdict == "upheld", "why": body["why"]}
    _show(context, service, "settle", given, as_json)


def _show(context: click.Context, service: str, act: str, body: dict[str, Any], as_json: bool) -> None:
    answer = client(context).post(below("services", service, act), body)
    if as_json:
        emit_json(answer)
    else:
        say(f"{service}: {answer['detail'] or answer['outcome']}")
        if answer["waits"]:
            say_waits(f"{service}: ", answer["job_id"], answer["waits"])
        elif answer["job_id"]:
            say(f"job {answer['job_id']} brings it back   (follow it: orchestrator job watch {answer['job_id']})")
    if answer["waits"]:
        context.exit(WAITS)
