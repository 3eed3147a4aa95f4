"""orchestrator policy …"""

from __future__ import annotations

from typing import Any

import click

from orchestrator.cli.output import card, emit_json, say, table
from orchestrator.cli.remote.client import below
from orchestrator.cli.remote.options import client, json_option, paging_options, show_list
from orchestrator.cli.tables import Column, Kind, Line, Row

_LIST: tuple[Column, ...] = (
    Column("POLICY", "name", Kind.ID),
    Column("PROVIDER", "provider"),
    Column("PLANS", "plans", Kind.PROSE, spare=1),
    Column("DOCUMENT", "document", Kind.PROSE, spare=2),
)
_CARD: tuple[Line, ...] = (
    ("policy", "name"),
    ("provider", "provider"),
    ("document", "document"),
    ("plans", lambda row: ", ".join(row["plans"]) or "none"),
)


def _today(row: Row) -> str:
    return "silent" if row["silent"] else "kept" if row["kept"] else "by hand"


_RULES: tuple[Column, ...] = (
    Column("TOPIC", "topic", spare=2),
    Column("TODAY", _today, Kind.ID),
    Column("RULE", "sentence", Kind.PROSE),
    Column("CLAUSE", "clause", Kind.PROSE, spare=1),
)


@click.group(name="policy")
def group() -> None:
    """What is promised, in sentences."""


@group.command("list")
@paging_options
@json_option
@click.pass_context
def list_policies(context: click.Context, /, **options: Any) -> None:
    """List the policies and the plans that promise them."""
    show_list(context, "policies", _LIST, empty="no policies", **options)


@group.command("show")
@click.argument("name")
@json_option
@click.pass_context
def show(context: click.Context, /, name: str, as_json: bool) -> None:
    """Tell every rule of a policy with its clause, and what its document is silent on."""
    found = client(context).get(below("policies", name))
    if as_json:
        emit_json(found)
        return
    card(_CARD, found)
    say()
    table(_RULES, found["rules"], empty="no rules")
    say()
    say("kept: the controller does it, what destroys once billing, or a person, has confirmed it")
    say("by hand: it is shown here and kept by people; silent: nothing is done")
