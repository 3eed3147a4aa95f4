"""orchestrator machine …"""

from __future__ import annotations

import sys
from typing import Any

import click

from orchestrator.cli.failure import Failure
from orchestrator.cli.output import card, emit_json, moment, say, table, when
from orchestrator.cli.remote.client import below
from orchestrator.cli.remote.options import MACHINE_STATES, NeededToAct, client, json_option, paging_options, show_list
from orchestrator.cli.tables import Column, Kind, Line, Row
from orchestrator.domain.sizes import size_words

# A BMC takes its time, and a machine that is to turn off even more.
ASK_TIMEOUT_SECONDS = 330.0
NOT_READY = 3

dry_run_option = click.option("--dry-run", is_flag=True, help="Say what would be, and change nothing.")
_why_option = click.option("--why", cls=NeededToAct, default="", help="A sentence; goes into the audit.")


def _state(row: Row) -> str:
    return f"{row['state']}, declared in maintenance" if row["maintenance"] else str(row["state"])


def _bmc(row: Row) -> str:
    if not row["enrolled"]:
        return "not enrolled"
    return "answers" if row["up"] else "does not answer"


def _why(row: Row) -> str:
    # Why it came to be declared says nothing of why it is not available yet.
    return "; ".join(filter(None, (row["waits"] or row["reason"], row["problem"])))


_LIST: tuple[Column, ...] = (
    Column("MACHINE", "name", Kind.ID),
    Column("CLASS", "machine_class", Kind.ID, spare=2),
    Column("ZONE", "zone", spare=4),
    Column("STATE", _state, Kind.PROSE),
    Column("SERVICE", "service_id", Kind.ID, spare=1),
    Column("BMC", _bmc),
    Column("POWER", "power", spare=3),
    Column("HEALTH", "health", spare=5),
    Column("SEEN", moment("seen_at"), Kind.TIME, spare=7),
    Column("WHY", _why, Kind.PROSE, spare=6),
)


def _differences(row: Row) -> str:
    return "\n".join(f"{'GRAVE: ' if each['grave'] else ''}{each['says']}" for each in row["differences"])


def _disks(row: Row) -> str:
    """What the deploy image found; the one that takes the system is marked."""
    found = (row["inspection"] or {}).get("disks", ())
    lines = (
        f"{each['serial'] or 'no serial number'}: {each['name']}, {size_words(each['bytes'])}"
        f"{', takes the system' if each['serial'] and each['serial'] == row['system_disk'] else ''}"
        for each in found
    )
    return "\n".join(lines)


def _gone(row: Row) -> str:
    found = (row["inspection"] or {}).get("gone", ())
    return "\n".join(f"{each['serial']}: by {each['by']} at {when(each['at'])}: {each['why']}" for each in found)


def _told(row: Row) -> str:
    """What the BMC told last, a line a thing; what stands in the card already, or is empty, is left out."""
    told = row["told"]
    model = " ".join(filter(None, (told.get(each) for each in ("manufacturer", "model"))))
    lines = {
        "model": model,
        "serial number": told.get("serial"),
        "firmware": told.get("firmware"),
        "processors": told.get("processors"),
        "memory": size_words(told["memory_bytes"]) if told.get("memory_bytes") else "",
        "MACs": ", ".join(told.get("macs", ())),
        "next boot": f"from {told['boot_once']}, once" if told.get("boot_once") else "",
        "CD drive": "an image is in it" if told.get("media_inserted") else "",
    }
    said = [f"{name}: {value}" for name, value in lines.items() if value]
    return "\n".join([*said, *(_sensor(each) for each in told.get("sensors", ()))])


def _sensor(found: Row) -> str:
    unit = {"celsius": "°C", "percent": "%"}.get(found["unit"], found["unit"])
    unwell = f", {found['health']}" if found["health"] not in ("", "ok") else ""
    return f"{found['name']}: {found['value']:g} {unit}{unwell}"


_CARD: tuple[Line, ...] = (
    ("machine", "name"),
    ("state", _state),
    ("why", "reason"),
    ("waits", "waits"),
    ("service", "service_id"),
    ("job", "job_id"),
    ("class", "machine_class"),
    ("zone", "zone"),
    ("driver", "driver"),
    ("BMC", lambda row: f"{row['bmc_user']} at {row['bmc']}{row['bmc_system']}" if row["bmc"] else ""),
    ("certificate", "certificate"),
    ("UUID", "uuid"),
    ("power", "power"),
    ("power, customer's", lambda row: row["own_power"] if row["own_power"] != row["power"] else ""),
    ("health", "health"),
    ("MACs, declared", "macs"),
    ("disks, declared", "disks"),
    ("disks, found", _disks),
    ("disks, gone", _gone),
    ("deploy address", "deploy_address"),
    ("deploy router", "deploy_gateway"),
    ("deploy card", "deploy_mac"),
    ("differs", _differences),
    ("enrolled", moment("enrolled_at")),
    ("changed", moment("changed_at")),
    ("seen", moment("seen_at")),
    ("problem", "problem"),
    ("BMC told", _told),
)
_FINDINGS: tuple[Column, ...] = (
    Column("", lambda row: "ok" if row["ok"] else "NOT"),
    Column("WHAT", "name", Kind.ID),
    Column("FOUND", "found", Kind.PROSE),
    Column("TO DO", lambda row: "" if row["ok"] else str(row["mend"]), Kind.PROSE),
)
_LOG: tuple[Column, ...] = (
    Column("AT", moment("at"), Kind.TIME),
    Column("SEVERITY", "severity"),
    Column("TEXT", "text", Kind.PROSE),
)


@click.group(name="machine")
def group() -> None:
    """Dedicated machines: in which state each is, enrolling and examining them, taking one out."""


@group.command("list")
@click.option("--state", default="", type=click.Choice(("", *MACHINE_STATES)), help="Only those in this state.")
@click.option("--class", "machine_class", default="", metavar="CLASS", help="Only those of this class.")
@click.option("--zone", default="", metavar="ZONE", help="Only those in this zone.")
@paging_options
@json_option
@click.pass_context
def list_machines(context: click.Context, /, **options: Any) -> None:
    """List the declared machines."""
    show_list(context, "machines", _LIST, empty="no such machines in machines.yaml", **options)


@group.command("show")
@click.argument("machine")
@json_option
@click.pass_context
def show(context: click.Context, /, machine: str, as_json: bool) -> None:
    """Show one machine: what is declared, told and found of it."""
    found = client(context).get(below("machines", machine))
    if as_json:
        emit_json(found)
    else:
        card(_CARD, found)


@group.command("certificate")
@click.argument("machine")
@json_option
@click.pass_context
def certificate(context: click.Context, /, machine: str, as_json: bool) -> None:
    """Show the certificate that the machine's BMC presents now; trusts nothing."""
    found = client(context).get(below("machines", machine, "certificate"))
    if as_json:
        emit_json(found)
    else:
        card((("SHA-256", "fingerprint"), ("subject", "subject"), ("until", moment("until"))), found)


@group.command("enrol")
@click.argument("machine")
@click.option(
    "--fingerprint", default="", metavar="SHA-256", help="The BMC's certificate that you have checked; asked for when left out."
)
@dry_run_option
@json_option
@click.pass_context
def enrol(context: click.Context, /, machine: str, fingerprint: str, dry_run: bool, as_json: bool) -> None:
    """Pin the certificate of a machine's BMC, and name every difference from what is declared."""
    calls = client(context)
    if not fingerprint:
        fingerprint = _choose(machine, calls.get(below("machines", machine, "certificate")))
    path = below("machines", machine, "enrol")
    report = calls.post(path, {"certificate_sha256": fingerprint}, timeout=ASK_TIMEOUT_SECONDS, dry_run="true" if dry_run else "")
    if as_json:
        emit_json(report)
    else:
        _say_enrolled(machine, report)
    if any(each["grave"] for each in report["differences"]):
        raise Failure(f"{machine} is not what was declared", hint="mend the machine, or machines.yaml", exit_code=NOT_READY)


def _say_enrolled(machine: str, report: dict[str, Any]) -> None:
    found = report["machine"]
    say(f"certificate {'to be pinned' if report['dry_run'] else 'pinned'}: {found['certificate']}")
    say(f"the BMC tells of machine {found['uuid']}")
    for each in report["differences"]:
        say(f"{'GRAVE: ' if each['grave'] else 'differs: '}{each['says']}")
    if not report["dry_run"]:
        say(f"{machine} is enrolled; it is {found['state']}")
    if report["waits"] and not any(each["grave"] for each in report["differences"]):
        say(f"not available yet: {report['waits']}")


def _choose(machine: str, found: dict[str, Any]) -> str:
    """The operator looks at the certificate and says yes; never taken unseen."""
    fingerprint = str(found["fingerprint"])
    if not sys.stdin.isatty():
        raise Failure(
            "the BMC's certificate must be checked by a person",
            hint=f"compare it with what the BMC shows on its own console and give --fingerprint; it presents {fingerprint}",
            exit_code=2,
        )
    say(f"The BMC of {machine} presents the certificate of {found['subject'] or 'nobody'}, SHA-256:", err=True)
    say(fingerprint, err=True)
    say("Compare it with what the BMC itself shows: in its own pages or its setup, over its console or a cable.", err=True)
    if not click.confirm("Is it the same", default=False, err=True):
        raise Failure("the certificate was not confirmed: nothing was done", exit_code=2)
    return fingerprint


@group.command("doctor")
@click.argument("machine")
@json_option
@click.pass_context
def doctor(context: click.Context, /, machine: str, as_json: bool) -> None:
    """Ask a machine's BMC now, and say what is not well and what to do."""
    report = client(context).post(below("machines", machine, "doctor"), timeout=ASK_TIMEOUT_SECONDS)
    if as_json:
        emit_json(report)
    else:
        table(_FINDINGS, report["findings"], empty="nothing was found")
    if not report["ok"]:
        raise Failure(f"{machine} is not well", hint="see the column TO DO", exit_code=NOT_READY)


@group.command("log")
@click.argument("machine")
@json_option
@click.pass_context
def log(context: click.Context, /, machine: str, as_json: bool) -> None:
    """Show the newest entries of the BMC's own log, by the BMC's clock."""
    found = client(context).get(below("machines", machine, "log"))
    if as_json:
        emit_json(found)
    else:
        table(_LOG, found["items"], empty="its BMC keeps no log")


@group.command("broken")
@click.argument("machine")
@_why_option
@dry_run_option
@json_option
@click.pass_context
def broken(context: click.Context, /, machine: str, **options: Any) -> None:
    """Call a machine broken that has no service: none is placed on it."""
    _move(context, machine, "broken", {"why": options["why"]}, options)


@group.command("disk-gone")
@click.argument("machine")
@click.argument("serial")
@_why_option
@dry_run_option
@json_option
@click.pass_context
def disk_gone(context: click.Context, /, machine: str, serial: str, **options: Any) -> None:
    """Say that a disk is not in a machine any more that has a service: nothing asks for it then, and the certificate says so."""
    found = _post(context, machine, "disk-gone", {"serial": serial, "why": options["why"]}, options)
    if options["as_json"]:
        emit_json(found)
    else:
        say(f"{machine}: disk {serial} {'would count' if options['dry_run'] else 'counts'} as gone")


@group.command("test")
@click.argument("machine")
@click.option("--memory", is_flag=True, help="Test its memory.")
@click.option("--disks", is_flag=True, help="Read its disks. Neither named: both.")
@click.option("--seconds", type=click.IntRange(30, 604800), default=600, show_default=True, metavar="N", help="For all of it.")
@_why_option
@dry_run_option
@json_option
@click.pass_context
def test(context: click.Context, /, machine: str, memory: bool, disks: bool, seconds: int, **options: Any) -> None:
    """Have the deploy image test an available machine, which is taken out meanwhile; one that fails is broken."""
    _move(context, machine, "test", {"memory": memory, "disks": disks, "seconds": seconds, "why": options["why"]}, options)


@group.group("maintenance")
def maintenance() -> None:
    """Take a machine out, and put it back."""


@maintenance.command("on")
@click.argument("machine")
@_why_option
@dry_run_option
@json_option
@click.pass_context
def maintenance_on(context: click.Context, /, machine: str, **options: Any) -> None:
    """Take a machine out that has no service: none is placed on it."""
    _move(context, machine, "maintenance", {"on": True, "why": options["why"]}, options)


@maintenance.command("off")
@click.argument("machine")
@_why_option
@dry_run_option
@json_option
@click.pass_context
def maintenance_off(context: click.Context, /, machine: str, **options: Any) -> None:
    """Put a machine back; it has to be enrolled anew before anything is placed on it."""
    _move(context, machine, "maintenance", {"on": False, "why": options["why"]}, options)


@group.group("power")
def power() -> None:
    """Turn a machine on or off that has no service."""


@power.command("on")
@click.argument("machine")
@_why_option
@dry_run_option
@json_option
@click.pass_context
def power_on(context: click.Context, /, machine: str, **options: Any) -> None:
    """Turn a machine on that has no service."""
    _switch(context, machine, {"on": True}, options)


@power.command("off")
@click.argument("machine")
@click.option("--graceful", is_flag=True, help="Ask its operating system, which may do nothing of it.")
@_why_option
@dry_run_option
@json_option
@click.pass_context
def power_off(context: click.Context, /, machine: str, **options: Any) -> None:
    """Turn a machine off that has no service."""
    _switch(context, machine, {"on": False, "graceful": options["graceful"]}, options)


def _move(context: click.Context, machine: str, act: str, body: dict[str, Any], options: dict[str, Any]) -> None:
    found = _post(context, machine, act, body, options)
    if options["as_json"]:
        emit_json(found)
    elif options["dry_run"]:
        say(f"{machine} would be {found['state']}")
    else:
        waits = f": {found['waits']}" if found["waits"] else ""
        say(f"{machine} is {found['state']}{waits}")


def _switch(context: click.Context, machine: str, body: dict[str, Any], options: dict[str, Any]) -> None:
    found = _post(context, machine, "power", body | {"why": options["why"]}, options)
    wanted = "on" if body["on"] else "off"
    if options["as_json"]:
        emit_json(found)
    elif options["dry_run"]:
        say(
            f"{machine} is {found['power']}, and would be turned {wanted}"
            if found["power"] != wanted
            else f"{machine} is {wanted}"
        )
    else:
        say(f"{machine} is {found['power']}")


def _post(context: click.Context, machine: str, act: str, body: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    dry = options["dry_run"]
    given = body | {"why": body["why"] or "a dry run"} if dry else body
    path = below("machines", machine, act)
    return client(context).post(path, given, timeout=ASK_TIMEOUT_SECONDS, dry_run="true" if dry else "")
