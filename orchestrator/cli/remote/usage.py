"""orchestrator service usage …"""

from __future__ import annotations

import click

from orchestrator.cli.output import card, emit_json, moment
from orchestrator.cli.remote.client import below
from orchestrator.cli.remote.options import client, json_option
from orchestrator.cli.tables import Line, Row
from orchestrator.domain.sizes import compared, size_words

_OF = {"disk": "disk, files and databases together", "traffic": "traffic of this month"}


def _shares(row: Row) -> str:
    return "\n".join(_share(share) for share in row["shares"])


def _share(share: Row) -> str:
    of = _OF.get(share["of"], share["of"])
    used, sold = share["used"], share["sold"]
    told = f"{used:,} of {sold:,}" if share["of"] == "inodes" else "{} of {}".format(*compared(used, sold))
    return f"{of}: {share['per_cent']} % ({told})"


def _files(row: Row) -> str:
    return f"{size_words(row['bytes'])} in {row['inodes']:,} inodes (files, directories and links)"


def _traffic(row: Row) -> str:
    """The months are those of the node's logs, whose zone need not be the provider's."""
    return "\n".join(
        f"{month}: {size_words(count)} in and out, by the node's clock"
        for month, count in sorted(row["traffic"].items(), reverse=True)
    )


def _months(row: Row) -> str:
    return "\n".join(f"{month}: {size_words(count)} in and out" for month, count in sorted(row["traffic"].items(), reverse=True))


def _databases(row: Row) -> str:
    return size_words(row["database_bytes"]) + ("; they take no more: the disk is used up" if row["databases_full"] else "")


_CARD: tuple[Line, ...] = (
    ("service", "service_id"),
    ("node", "node"),
    ("read at", moment("at")),
    ("files", _files),
    ("databases", _databases),
    ("cpu time", lambda row: f"{row['cpu_seconds']:,.0f} s of one core since it was first read"),
    ("traffic", _traffic),
    ("of the plan", _shares),
)


_GUEST: tuple[Line, ...] = (
    ("service", "service_id"),
    ("node", "node"),
    ("read at", moment("at")),
    ("traffic", _months),
    ("of the plan", _shares),
    ("throttled", lambda row: "until the month ends: the traffic of its plan is used up" if row["throttled"] else "no"),
)


@click.command("usage")
@click.argument("service")
@json_option
@click.pass_context
def usage(context: click.Context, /, service: str, as_json: bool) -> None:
    """Show what a hosting account uses, or a guest's traffic, as last read from its node, and how much of its plan that is.

    Accounts are read every 15 minutes. Of guests the traffic alone is read, every minute: disk and memory are what was sold.
    """
    found = client(context).get(below("services", service, "usage"))
    if as_json:
        emit_json(found)
    else:
        card(_CARD if "inodes" in found else _GUEST, found)
