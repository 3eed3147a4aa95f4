"""orchestrator node adopt"""

from __future__ import annotations

from typing import Any

import click

from orchestrator.cli.failure import Failure
from orchestrator.cli.output import emit_json, table
from orchestrator.cli.remote.client import below
from orchestrator.cli.remote.options import client, json_option
from orchestrator.cli.tables import Column, Kind, Row

ADOPT_TIMEOUT_SECONDS = 600.0
_NEEDED = ("plan", "customer")


def _became(row: Row) -> str:
    """``dry`` is put into each row by who shows it."""
    if not row["done"]:
        return str(row["says"])
    word = "would be taken in" if row["dry"] else "taken in"
    return "; ".join([word, *row["remarks"]])


_COLUMNS: tuple[Column, ...] = (
    Column("GUEST", "guest", Kind.ID),
    Column("SERVICE", "service_id", Kind.ID),
    Column("WHAT BECAME OF IT", _became, Kind.PROSE),
    Column("DISKS", lambda row: ", ".join(row["disks"]), Kind.PROSE, spare=1),
)


@click.command("adopt")
@click.argument("node")
@click.option("--service", "services", multiple=True, metavar="SERVICE", help="Only this one; with --guest: the service's id.")
@click.option("--guest", default="", metavar="NAME", help="A guest that was there before us and carries no record.")
@click.option("--plan", default="", metavar="PLAN", help="With --guest: the plan it is sold by from now on.")
@click.option("--customer", default="", metavar="ID", help="With --guest: billing's id of its customer.")
@click.option(
    "--address", "addresses", multiple=True, metavar="ADDRESS", help="With --guest: an address that it has; repeatable."
)
@click.option("--template", default="", metavar="TEMPLATE", help="With --guest: what it would be installed from anew.")
@click.option("--dry-run", is_flag=True, help="Only show what would be taken in.")
@json_option
@click.pass_context
def adopt(context: click.Context, /, node: str, services: tuple[str, ...], as_json: bool, **options: Any) -> None:
    """Take in guests that a node has and the records have not.

    After the store was lost its records are written again from the signed record that each guest carries. With --guest: take in
    one that was there before us. Nothing is restarted, and nothing of a guest is changed but our metadata.
    """
    body: dict[str, Any] = {"dry_run": options["dry_run"]}
    if options["guest"]:
        body["newcomer"] = _newcomer(services, options)
    elif any(options[name] for name in (*_NEEDED, "addresses", "template")):
        raise Failure("--plan, --customer, --address and --template belong to --guest", exit_code=2)
    else:
        body["services"] = list(services)
    found = client(context).post(below("nodes", node, "adoption"), body, timeout=ADOPT_TIMEOUT_SECONDS)
    if as_json:
        emit_json(found)
    else:
        rows = [row | {"dry": found["dry_run"]} for row in found["guests"]]
        table(_COLUMNS, rows, empty=f"no guest on {node} carries our mark")
    left = [row["guest"] for row in found["guests"] if not row["done"] and row["says"] != "it is in our records already"]
    if left:
        raise Failure(f"not taken in: {', '.join(left)}", hint="the table says why of each", exit_code=6)


def _newcomer(services: tuple[str, ...], options: dict[str, Any]) -> dict[str, Any]:
    missing = [f"--{name}" for name in _NEEDED if not options[name]]
    if missing or len(services) != 1:
        missing += ["--service, once"] if len(services) != 1 else []
        raise Failure(f"--guest needs {' and '.join(missing)}", exit_code=2)
    return {
        "guest": options["guest"],
        "service_id": services[0],
        "plan": options["plan"],
        "client_id": options["customer"],
        "addresses": list(options["addresses"]),
        "template": options["template"],
    }
