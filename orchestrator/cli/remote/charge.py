"""orchestrator charge …"""

from __future__ import annotations

from typing import Any

import click

from orchestrator.cli.output import card, emit_json, moment, say
from orchestrator.cli.remote.client import below
from orchestrator.cli.remote.options import CHARGES, client, json_option, paging_options, show_list
from orchestrator.cli.tables import Column, Kind, Line, Row
from orchestrator.cli.times import Moment


def rupiah(row: Row) -> str:
    """``Rp 100,000``."""
    return f"Rp {row['amount']:,}"


def _stands(row: Row) -> str:
    return "open" if row["open"] else "taken back"


_LIST: tuple[Column, ...] = (
    Column("CHARGE", "id", Kind.ID),
    Column("SERVICE", "service_id", Kind.ID, spare=4),
    Column("KIND", "kind", spare=3),
    Column("AMOUNT", rupiah),
    Column("STANDS", _stands),
    Column("MADE", moment("made_at"), Kind.TIME, spare=2),
    Column("REASON", "reason", Kind.PROSE, spare=1),
)
_CARD: tuple[Line, ...] = (
    ("charge", "id"),
    ("service", "service_id"),
    ("kind", "kind"),
    ("amount", rupiah),
    ("quantity", "quantity"),
    ("reason", "reason"),
    ("policy", "policy"),
    ("clause", "clause"),
    ("job", "job_id"),
    ("made", moment("made_at")),
    ("times made", "times"),
    ("stands", _stands),
    ("taken back", moment("taken_back_at")),
    ("why taken back", "why_taken_back"),
)


@click.group(name="charge")
def group() -> None:
    """What customers owe for operations, beside their invoices."""


@group.command("list")
@click.option("--service", "service_id", default="", help="Only charges of this service.")
@click.option("--kind", type=click.Choice(CHARGES), help="Only charges of this kind.")
@click.option("--since", type=Moment(), help="Only those made then or later, such as 2026-11-01T00:00+07:00.")
@click.option(
    "--open/--taken-back", "standing", default=None, help="Only charges that stand, or only those taken back. Left out: both."
)
@paging_options
@json_option
@click.pass_context
def list_charges(context: click.Context, /, standing: bool | None, **options: Any) -> None:
    """List charges by id."""
    wanted = "" if standing is None else str(standing).lower()
    show_list(context, "charges", _LIST, empty="no charges", open=wanted, **options)


@group.command("show")
@click.argument("charge")
@json_option
@click.pass_context
def show(context: click.Context, /, charge: str, as_json: bool) -> None:
    """Show one charge, with the clause that it follows from."""
    found = client(context).get(below("charges", charge))
    if as_json:
        emit_json(found)
    else:
        card(_CARD, found)


@group.command("take-back")
@click.argument("charge")
@click.option("--why", required=True, help="Why it is not owed; goes into the audit, and to billing.")
@json_option
@click.pass_context
def take_back(context: click.Context, /, charge: str, why: str, as_json: bool) -> None:
    """Take a charge back, for good; billing is told."""
    found = client(context).post(below("charges", charge, "take-back"), {"why": why})
    if as_json:
        emit_json(found)
    else:
        say(f"{found['id']}: {rupiah(found)} taken back")
