"""orchestrator plan … and orchestrator template …"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import click

from orchestrator.cli.output import card, emit_json, rate, size
from orchestrator.cli.remote.client import below
from orchestrator.cli.remote.options import client, json_option, paging_options, show_list
from orchestrator.cli.tables import Column, Kind, Line, Row


def _cpu(row: Mapping[str, Any]) -> str:
    share = row["cpu_percent"]
    return "" if share is None else f"{share} % of a core{' per vCPU' if row['vcpus'] else ''}"


def _limited_cpu(row: Mapping[str, Any]) -> str:
    share = row["limited_cpu_percent"]
    return "" if share is None else f"{share} % of a core"


def _operations(field: str) -> Callable[[Mapping[str, Any]], str]:
    """So many a second; 0 is no limit."""

    def show(row: Mapping[str, Any]) -> str:
        value = row[field]
        return "" if value is None else f"{value} a second" if value else "no limit"

    return show


_PLANS: tuple[Column, ...] = (
    Column("PLAN", "name", Kind.ID),
    Column("KIND", "kind", spare=3),
    Column("VCPUS", "vcpus"),
    Column("MEMORY", size("memory_bytes")),
    Column("DISK", size("disk_bytes")),
    Column("POLICY", "policy", Kind.ID, spare=1),
    Column("TEMPLATE", "default_template", spare=2),
    Column("DESCRIPTION", "description", Kind.PROSE, spare=4),
)


def _traffic_over(row: Row) -> str:
    if row["traffic_over_bytes_per_second"]:
        return "throttled to " + rate("traffic_over_bytes_per_second")(row)
    return f"Rp {row['traffic_over_per_gb']:,} per GB" if row["traffic_over_per_gb"] else ""


_PLAN: tuple[Line, ...] = (
    ("plan", "name"),
    ("kind", "kind"),
    ("description", "description"),
    ("vcpus", "vcpus"),
    ("class", "machine_class"),
    ("cpu", _cpu),
    ("cpu, limited", _limited_cpu),
    ("memory", size("memory_bytes")),
    ("disk", size("disk_bytes")),
    ("inodes", "inodes"),
    ("processes", "tasks"),
    ("disk rate", rate("disk_bytes_per_second")),
    ("disk operations", _operations("disk_iops")),
    ("disk rate, each way", rate("io_bytes_per_second")),
    ("disk operations, each way", _operations("iops")),
    ("sites", "sites"),
    ("databases", "databases"),
    ("PHP", "php"),
    ("network rate", rate("network_bytes_per_second")),
    ("network, limited", rate("limited_network_bytes_per_second")),
    ("encrypted", "encrypted"),
    ("full copy", "full_copy"),
    ("IPv4 addresses", "ipv4"),
    ("IPv6 addresses", "ipv6"),
    ("templates", "templates"),
    ("default template", "default_template"),
    ("zones", "zones"),
    ("policy", "policy"),
    ("traffic a month", lambda row: "no limit" if row["traffic_bytes"] is None else size("traffic_bytes")(row)),
    ("traffic over it", _traffic_over),
    ("price an hour", lambda row: f"Rp {row['price_per_hour']:,}" if row["price_per_hour"] else ""),
    ("backups bought", "backups_bought"),
    ("backup cap", lambda row: "" if row["backup_cap_bytes"] is None else size("backup_cap_bytes")(row)),
    ("backup cap, inodes", lambda row: "" if row["backup_cap_inodes"] is None else f"{row['backup_cap_inodes']:,}"),
    ("forbids", "forbids"),
)
_TEMPLATES: tuple[Column, ...] = (
    Column("TEMPLATE", "name", Kind.ID),
    Column("OS", "os", spare=2),
    Column("SIZE", size("size_bytes")),
    Column("VOLUME", "volume", Kind.ID, spare=1),
    Column("READY BY", "ready", spare=3),
)
_TEMPLATE: tuple[Line, ...] = (
    ("template", "name"),
    ("os", "os"),
    ("volume", "volume"),
    ("sha256", "sha256"),
    ("size", size("size_bytes")),
    ("format", "format"),
    ("kernel", "kernel"),
    ("initrd", "initrd"),
    ("kernel arguments", "kernel_arguments"),
    ("cloud-init", "cloud_init"),
    ("guest agent", "agent"),
    ("ready by", "ready"),
)


@click.group(name="plan")
def plan() -> None:
    """What is sold."""


@click.group(name="template")
def template() -> None:
    """OS images that guests are made from."""


@plan.command("list")
@paging_options
@json_option
@click.pass_context
def list_plans(context: click.Context, /, **options: Any) -> None:
    """List the plans."""
    show_list(context, "plans", _PLANS, empty="no plans", **options)


@plan.command("show")
@click.argument("name")
@json_option
@click.pass_context
def show_plan(context: click.Context, /, name: str, as_json: bool) -> None:
    """Show one plan with its limits."""
    _show(context, below("plans", name), _PLAN, as_json)


@template.command("list")
@paging_options
@json_option
@click.pass_context
def list_templates(context: click.Context, /, **options: Any) -> None:
    """List the templates."""
    show_list(context, "templates", _TEMPLATES, empty="no templates", **options)


@template.command("show")
@click.argument("name")
@json_option
@click.pass_context
def show_template(context: click.Context, /, name: str, as_json: bool) -> None:
    """Show one template."""
    _show(context, below("templates", name), _TEMPLATE, as_json)


def _show(context: click.Context, path: str, lines: tuple[Line, ...], as_json: bool) -> None:
    found = client(context).get(path)
    if as_json:
        emit_json(found)
    else:
        card(lines, found)
