"""orchestrator service usage …"""

from __future__ import annotations

import click

from orchestrator.cli.output import card, emit_json, human_bytes, moment, size
from orchestrator.cli.remote.client import below
from orchestrator.cli.remote.options import client, json_option
from orchestrator.cli.tables import Line, Row


def _shares(row: Row) -> str:
    return "\n".join(f"{s['of']}: {s['per_cent']} % ({_amount(s, 'used')} of {_amount(s, 'sold')})" for s in row["shares"])


def _amount(share: Row, field: str) -> str:
    return f"{share[field]:,}" if share["of"] == "inodes" else human_bytes(share[field])


def _traffic(row: Row) -> str:
    return "\n".join(f"{month}: {human_bytes(count)}" for month, count in sorted(row["traffic"].items(), reverse=True))


def _databases(row: Row) -> str:
    return human_bytes(row["database_bytes"]) + ("; they take no more: the disk is used up" if row["databases_full"] else "")


_CARD: tuple[Line, ...] = (
    ("service", "service_id"),
    ("node", "node"),
    ("read", moment("at")),
    ("files", size("bytes")),
    ("inodes", "inodes"),
    ("databases", _databases),
    ("cpu", lambda row: f"{row['cpu_seconds']:,.0f} s"),
    ("traffic", _traffic),
    ("of the plan", _shares),
)


@click.command("usage")
@click.argument("service")
@json_option
@click.pass_context
def usage(context: click.Context, /, service: str, as_json: bool) -> None:
    """Show what a hosting account uses, and how much of its plan that is."""
    found = client(context).get(below("services", service, "usage"))
    if as_json:
        emit_json(found)
    else:
        card(_CARD, found)
