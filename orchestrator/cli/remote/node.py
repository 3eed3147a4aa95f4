"""orchestrator node …"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from orchestrator.cli.failure import Failure
from orchestrator.cli.output import card, emit_json, facts, moment, on_it, say, size, table, when
from orchestrator.cli.remote.client import below
from orchestrator.cli.remote.emptying import Words, empty, emptying_options
from orchestrator.cli.remote.lost import ON_NODES, why_option
from orchestrator.cli.remote.options import client, json_option, paging_options, show_list
from orchestrator.cli.remote.taking_in import adopt
from orchestrator.cli.tables import Column, Kind, Line, Row
from orchestrator.cli.times import Minutes, Moment
from orchestrator.domain.sizes import size_words

# Enrolment may install packages on the node.
ENROL_TIMEOUT_SECONDS = 960.0
DOCTOR_TIMEOUT_SECONDS = 150.0
RESIDUE_TIMEOUT_SECONDS = 150.0
_EVACUATE = Words(under_way="on the move", done="moved", path="evacuate")


def _promised(what: str) -> Callable[[Row], str]:
    """Of what may be promised: what the node has, less what it keeps for itself, times its ratio."""

    def show(row: Row) -> str:
        promised, promisable = row[f"promised_{what}"], row[f"promisable_{what}"]
        words = str if what == "vcpus" else size_words
        return f"{words(promised)} of {'?' if promisable is None else words(promisable)}"

    return show


def _state(row: Row) -> str:
    words = ["up" if row["up"] else "down"]
    if not row["enrolled"]:
        words.append("not enrolled")
    if row["maintenance"]:
        words.append("maintenance")
    if row["drained"]:
        words.append("drained")
    if row["announced"]:
        words.append(f"maintenance from {when(row['announced']['at'])} to {when(row['announced']['until'])}")
    if row["lost"]:
        words.append("lost")
    return ", ".join(words)


def _vcpus(row: Row) -> str:
    """On a hosting node no processor is promised: what an account may take of it is a limit."""
    return "" if row["kind"] == "hosting" else _promised("vcpus")(row)


def _filled(row: Row) -> str:
    """How full the pool is, and from how full on nothing is placed there."""
    rows = (
        ("data", "pool_data_percent", "disk_watermark_percent"),
        ("metadata", "pool_metadata_percent", "metadata_watermark_percent"),
    )
    return ", ".join(f"{name} {row[now]:.0f} % of {row[mark]:g} %" for name, now, mark in rows if row[now] is not None)


def _of_guests(field: str) -> Callable[[Row], str]:
    """What says nothing of a hosting node is not shown of one."""
    return lambda row: "" if row["kind"] == "hosting" else str(row[field])


_LIST: tuple[Column, ...] = (
    Column("NODE", "name", Kind.ID),
    Column("ZONE", "zone", spare=4),
    Column("KIND", "kind", spare=6),
    Column("STATE", _state, Kind.PROSE),
    Column("SERVICES", "guests", spare=3),
    Column("VCPUS", _vcpus, Kind.ID),
    Column("MEMORY", _promised("memory_bytes"), Kind.ID),
    Column("DISK", _promised("disk_bytes"), Kind.ID, spare=1),
    Column("SEEN", moment("seen_at"), Kind.TIME, spare=5),
    Column("PROBLEM", "problem", Kind.PROSE, spare=2),
)
_CARD: tuple[Line, ...] = (
    ("node", "name"),
    ("state", _state),
    ("zone", "zone"),
    ("kind", "kind"),
    ("address", lambda row: f"{row['user']}@{row['address']} port {row['port']}"),
    ("driver", "driver"),
    ("pool", _of_guests("pool")),
    ("bridge", _of_guests("bridge")),
    ("services", "guests"),
    ("cpus", "cpus"),
    ("memory", size("memory_bytes")),
    ("disk", size("disk_bytes")),
    ("pool", _filled),
    ("takes nothing new", lambda row: "; ".join(row["takes_nothing_new"])),
    ("drained", lambda row: f"{moment('drained_at')(row)} by {row['drained_by']}" if row["drained"] else ""),
    ("lost", "lost"),
    ("promised vCPUs", _vcpus),
    ("promised memory", _promised("memory_bytes")),
    ("promised disk", _promised("disk_bytes")),
    ("reserved memory", lambda row: size_words(row["reserved_memory_bytes"]) if row["reserved_memory_bytes"] else ""),
    ("ratios", lambda row: f"cpu {row['cpu_ratio']}, memory {row['memory_ratio']}, disk {row['disk_ratio']}"),
    ("host key", "host_key"),
    ("agent", lambda row: f"{row['agent_version']} {row['agent_sha256']}".strip()),
    ("enrolled", moment("enrolled_at")),
    ("seen", moment("seen_at")),
    ("problem", "problem"),
    ("facts", facts("facts")),
)
_KEYS: tuple[Column, ...] = (Column("KIND", "kind"), Column("FINGERPRINT", "fingerprint", Kind.ID))
_REQUIREMENTS: tuple[Column, ...] = (
    Column("", lambda row: "ok" if row["ok"] else "MISSING"),
    Column("WHAT", "name", Kind.ID),
    Column("FOUND", "found", Kind.PROSE),
    Column("TO DO", lambda row: "" if row["ok"] else str(row["mend"]), Kind.PROSE),
)
_RESIDUE: tuple[Column, ...] = (
    Column("OF", "whose", Kind.PROSE),
    Column("WHAT", "what", Kind.ID),
    Column("SAYS", "says", Kind.PROSE),
)


@click.group(name="node")
def group() -> None:
    """Hypervisors and hosting nodes: what they have, enrolling and examining them."""


@group.command("list")
@paging_options
@json_option
@click.pass_context
def list_nodes(context: click.Context, /, **options: Any) -> None:
    """List the declared nodes with what is promised on them."""
    show_list(context, "nodes", _LIST, empty="no nodes in nodes.yaml", **options)


@group.command("show")
@click.argument("node")
@json_option
@click.pass_context
def show(context: click.Context, /, node: str, as_json: bool) -> None:
    """Show one node."""
    found = client(context).get(below("nodes", node))
    if as_json:
        emit_json(found)
    else:
        card(_CARD, found)


@group.command("host-keys")
@click.argument("node")
@json_option
@click.pass_context
def host_keys(context: click.Context, /, node: str, as_json: bool) -> None:
    """Show the SSH host keys that the node presents now; trusts none of them."""
    found = client(context).get(below("nodes", node, "host-keys"))
    if as_json:
        emit_json(found)
    else:
        table(_KEYS, found["items"], empty="the node presents no host keys")


@group.command("enrol")
@click.argument("node")
@click.option(
    "--identity",
    required=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A private key file on the controller's machine that may log in to the node now.",
)
@click.option("--fingerprint", default="", metavar="SHA256:…", help="The host key you have checked; asked for when left out.")
@click.option("--install", is_flag=True, help="Install the Debian packages that are missing on the node (apt-get).")
@json_option
@click.pass_context
def enrol(context: click.Context, /, node: str, identity: Path, fingerprint: str, install: bool, as_json: bool) -> None:
    """Make a machine a node: pin its host key, put our agent and key there, and prove or prepare what it needs."""
    calls = client(context)
    if not fingerprint:
        fingerprint = _choose(node, calls.get(below("nodes", node, "host-keys"))["items"])
    body = {"fingerprint": fingerprint, "identity": str(identity.absolute()), "install": install}
    report = calls.post(below("nodes", node, "enrol"), body, timeout=ENROL_TIMEOUT_SECONDS)
    if as_json:
        emit_json(report)
    else:
        for line in report["said"]:
            say(line)
        say(f"host key pinned: {report['host_key']['fingerprint']}")
        table(_REQUIREMENTS, report["requirements"], empty="the agent named no requirements")
        if report["hook_refuses"] is not None:
            say(f"the host hook refuses a held guest: {'yes' if report['hook_refuses'] else 'NO'}")
    if not report["complete"]:
        raise Failure(f"{node} is not ready yet", hint="mend what is missing and enrol it again", exit_code=3)
    if not as_json:
        say(f"{node} is enrolled")


def _choose(node: str, keys: list[dict[str, str]]) -> str:
    """The operator looks at the node's key and says yes; never taken unseen."""
    if not keys:
        raise Failure(f"{node} presents no host keys", exit_code=5)
    key = next((key for key in keys if key["kind"] == "ssh-ed25519"), keys[0])
    if not sys.stdin.isatty():
        raise Failure(
            "the node's host key must be checked by a person",
            hint=f"compare it with `ssh-keygen -l` on the node and give --fingerprint; it presents {key['fingerprint']}",
            exit_code=2,
        )
    say(f"{node} presents the host key {key['kind']} {key['fingerprint']}", err=True)
    say("Compare it with `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` on the node itself.", err=True)
    if not click.confirm("Is it the same", default=False, err=True):
        raise Failure("the host key was not confirmed: nothing was done", exit_code=2)
    return key["fingerprint"]


@group.command("doctor")
@click.argument("node")
@json_option
@click.pass_context
def doctor(context: click.Context, /, node: str, as_json: bool) -> None:
    """Have the node's agent look for everything that a node must have."""
    report = client(context).post(below("nodes", node, "doctor"), timeout=DOCTOR_TIMEOUT_SECONDS)
    if as_json:
        emit_json(report)
    else:
        table(_REQUIREMENTS, report["requirements"], empty="the agent named no requirements")
        if report["accelerated"] is not None:
            say(f"hardware virtualisation: {'yes' if report['accelerated'] else 'no, software emulation'}")
    if not report["ok"]:
        raise Failure(f"{node} lacks something", hint="see the column TO DO", exit_code=3)


@group.command("residue")
@click.argument("node")
@json_option
@click.pass_context
def residue(context: click.Context, /, node: str, as_json: bool) -> None:
    """Look through a hosting node for what others left: accounts that are none there, and users that are gone."""
    report = client(context).post(below("nodes", node, "residue"), timeout=RESIDUE_TIMEOUT_SECONDS)
    if as_json:
        emit_json(report)
    else:
        rows = [{"whose": _whose(row), "what": what, "says": ""} for row in report["accounts"] for what in row["found"]] + [
            {"whose": row["kind"], "what": row["what"], "says": row["says"]} for row in report["orphans"]
        ]
        table(_RESIDUE, rows, empty=f"nothing that others left is on {node}" if report["clean"] else "nothing was found")
        for line in report["unknown"]:
            say(f"could not be looked into: {line}")
    if not report["clean"]:
        raise Failure(
            f"{node} holds what belongs to nobody there, or could not be seen whole",
            hint="nothing of it was touched: look what it is, then remove it by hand",
            exit_code=6,
        )


group.add_command(adopt)


def _whose(row: Row) -> str:
    """The account's user, and the service that it was of."""
    return f"{row['user']} ({row['service_id'] or 'no service of ours'}{', marked' if row['marked'] else ''})"


@group.command("drain")
@click.argument("node")
@why_option
@json_option
@click.pass_context
def drain(context: click.Context, /, node: str, why: str, as_json: bool) -> None:
    """Place nothing new on a node; what is there stays."""
    _drain(context, node, {"why": why, "on": True}, as_json=as_json)


@group.command("undrain")
@click.argument("node")
@why_option
@json_option
@click.pass_context
def undrain(context: click.Context, /, node: str, why: str, as_json: bool) -> None:
    """Place services on a node again."""
    _drain(context, node, {"why": why, "on": False}, as_json=as_json)


def _drain(context: click.Context, node: str, body: dict[str, Any], *, as_json: bool) -> None:
    found = client(context).post(below("nodes", node, "drain"), body)
    if as_json:
        emit_json(found)
    elif not found["takes_nothing_new"]:
        say(f"{node} takes services")
    else:
        say(f"{node} takes nothing new: {'; '.join(found['takes_nothing_new'])}. {on_it(found['guests'])}")


@group.command("maintenance")
@click.argument("node")
@click.option("--at", type=Moment(), metavar="TIME", help="When it begins, with its zone.")
@click.option("--for", "minutes", type=Minutes(), metavar="DURATION", help="How long it takes: 90m, 4h or 2d.")
@click.option("--cancel", is_flag=True, help="Call off what is announced; whoever was told hears of that.")
@click.option("--why", required=True, metavar="TEXT", help="What is done, or why it is not; customers hear it.")
@json_option
@click.pass_context
def maintenance(
    context: click.Context, /, node: str, at: str | None, minutes: int | None, cancel: bool, why: str, as_json: bool
) -> None:
    """Announce maintenance of a node: the customers of what is on it are told through billing."""
    if cancel == (at is not None or minutes is not None) or (at is None) != (minutes is None):
        raise Failure("say when it is, or that it is called off", hint="--at TIME --for DURATION, or --cancel", exit_code=2)
    body = {"why": why, "cancel": True} if cancel else {"why": why, "at": at, "minutes": minutes}
    found = client(context).post(below("nodes", node, "maintenance"), body)
    if as_json:
        emit_json(found)
    elif found["announced"] is None:
        say(f"no maintenance of {node} is announced any more")
    else:
        told = found["announced"]
        span = f"from {when(told['at'])} to {when(told['until'])}"
        say(f"maintenance of {node} is announced {span}: {on_it(found['guests'])}")


@group.command("evacuate")
@click.argument("node")
@why_option
@emptying_options
@json_option
@click.pass_context
def evacuate(context: click.Context, /, node: str, **given: Any) -> None:
    """Move the services of a drained node away, so many at a time."""
    empty(context, node, _EVACUATE, **given)


for each in ON_NODES:
    group.add_command(each)
