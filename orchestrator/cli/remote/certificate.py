"""orchestrator certificate list, show, public-key (``verify`` works without a controller and is in ``cli.local``)."""

from __future__ import annotations

from typing import Any

import click

from orchestrator.cli.failure import Failure
from orchestrator.cli.output import emit_json, moment, say
from orchestrator.cli.remote.client import Client, below
from orchestrator.cli.remote.options import client, json_option, paging_options, show_list
from orchestrator.cli.tables import Column, Kind

PUBLIC_KEY = "public-key"

_LIST: tuple[Column, ...] = (
    Column("CERTIFICATE", "id", Kind.ID),
    Column("SERVICE", "service_id", Kind.ID),
    Column("JOB", "job_id", Kind.ID, spare=2),
    Column("CREATED", moment("created_at"), Kind.TIME, spare=1),
)


@click.command("list")
@click.option("--service", "service_id", default="", help="Only certificates of this service.")
@paging_options
@json_option
@click.pass_context
def list_certificates(context: click.Context, /, **options: Any) -> None:
    """List the wipe certificates."""
    show_list(context, "certificates", _LIST, empty="no certificates", **options)


@click.command("show")
@click.argument("certificate")
@click.option("--json", is_flag=True, expose_value=False, help="It is JSON in any case.")
@click.pass_context
def show(context: click.Context, /, certificate: str) -> None:
    """Print the signed certificate, by its id or its service's: JSON, to be kept as it is for `certificate verify`."""
    calls = client(context)
    if certificate == PUBLIC_KEY:
        certificate = _of_the_service_of_that_name(calls)
    emit_json(calls.get(below("certificates", certificate))["certificate"])


def _of_the_service_of_that_name(calls: Client) -> str:
    """A service may be called as the API calls the controller's key; whoever meant the key is told how to get it."""
    *_, page = calls.pages("certificates", limit=500, after="", everything=True, service_id=PUBLIC_KEY)
    if not page["items"]:
        raise Failure(
            f"there is no certificate {PUBLIC_KEY}, and none of a service of that name",
            hint="for the controller's key: `orchestrator certificate public-key`",
            exit_code=3,
        )
    return str(page["items"][-1]["id"])


@click.command(PUBLIC_KEY)
@json_option
@click.pass_context
def public_key(context: click.Context, /, as_json: bool) -> None:
    """Print the controller's public key (Ed25519, base64), to be kept beside the certificates."""
    found = client(context).get("certificates/public-key")
    if as_json:
        emit_json(found)
    else:
        say(found["public_key"])
