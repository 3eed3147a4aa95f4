"""orchestrator ip …"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from orchestrator.cli.output import card, emit_json, table
from orchestrator.cli.remote.client import below
from orchestrator.cli.remote.options import client, json_option, paging_options, show_list
from orchestrator.cli.tables import Column, Kind, Line, Row


def _lines(field: str) -> Callable[[Row], str]:
    """Where there are many addresses: a line each."""
    return lambda row: "\n".join(row[field])


_RANGES: tuple[Column, ...] = (
    Column("RANGE", "name", Kind.ID),
    Column("ZONE", "zone", spare=2),
    Column("FAMILY", lambda row: f"IPv{row['family']}", spare=3),
    Column("SIZE", "size", Kind.ID, spare=1),
    Column("USED", "used", Kind.ID),
    Column("COOLING", "cooling", Kind.ID),
    Column("FREE", "free", Kind.ID),
)
_LEASES: tuple[Column, ...] = (
    Column("SERVICE", "service_id", Kind.ID),
    Column("IPV4", _lines("ipv4"), Kind.ID),
    Column("IPV6", _lines("ipv6"), Kind.ID),
    Column("MAC", "mac", Kind.ID, spare=1),
    Column("JOB", "job_id", Kind.ID, spare=2),
)
_LEASE: tuple[Line, ...] = (
    ("service", "service_id"),
    ("ipv4", "ipv4"),
    ("gateway", "gateway4"),
    ("ipv6", "ipv6"),
    ("gateway", "gateway6"),
    ("mac", "mac"),
    ("job", "job_id"),
)


@click.group(name="ip")
def group() -> None:
    """Address ranges and who holds what of them."""


@group.command("ranges")
@json_option
@click.pass_context
def ranges(context: click.Context, /, as_json: bool) -> None:
    """Show how full each range is."""
    found = client(context).get("ips/ranges")
    if as_json:
        emit_json(found)
    else:
        table(_RANGES, found["items"], empty="no address ranges in nodes.yaml")


@group.command("list")
@paging_options
@json_option
@click.pass_context
def list_leases(context: click.Context, /, **options: Any) -> None:
    """List the addresses that services hold."""
    show_list(context, "ips/leases", _LEASES, empty="no service on this page holds addresses", **options)


@group.command("show")
@click.argument("service")
@json_option
@click.pass_context
def show(context: click.Context, /, service: str, as_json: bool) -> None:
    """Show the addresses of one service."""
    found = client(context).get(below("ips", "leases", service))
    if as_json:
        emit_json(found)
    else:
        card(_LEASE, found)
