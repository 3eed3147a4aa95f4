"""orchestrator service hold, release, report, answer, complaints, evidence, may."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Any

import click

from orchestrator.cli.failure import Failure
from orchestrator.cli.output import emit_json, moment, say, size, table
from orchestrator.cli.remote.client import below
from orchestrator.cli.remote.options import (
    ASKS,
    CLOSED,
    COMPLAINTS,
    EFFECTS,
    HOLD_EFFECTS,
    HOLDS,
    USES,
    client,
    json_option,
    one_of,
)
from orchestrator.cli.remote.watch import WAITS, say_outcome
from orchestrator.cli.tables import Column, Kind, Row
from orchestrator.cli.times import Moment
from orchestrator.domain.sizes import size_words

MOST_BYTES = 1 << 20
REFUSED = 4


def _outcome(row: Row) -> str:
    return f"{row['closed']}: {row['closed_why']}" if row["closed"] else "open"


_COMPLAINTS: tuple[Column, ...] = (
    Column("COMPLAINT", "id", Kind.ID),
    Column("KIND", "kind"),
    Column("RECEIVED", moment("received_at"), Kind.TIME),
    Column("EFFECT", "effect"),
    Column("HELD SINCE", moment("held_at"), Kind.TIME, spare=2),
    Column("BY", "by", spare=3),
    Column("WHAT", "what", spare=4),
    Column("WHY", "why", Kind.PROSE),
    Column("OUTCOME", _outcome, Kind.PROSE, spare=1),
    Column("EVIDENCE", "evidence", Kind.ID, spare=5),
)
_EVIDENCE: tuple[Column, ...] = (
    Column("SHA-256", "sha256", Kind.ID),
    Column("NAME", "name", Kind.PROSE, spare=1),
    Column("SIZE", size("size")),
    Column("ADDED", moment("added_at"), Kind.TIME, spare=2),
    Column("BY", "by", spare=3),
)

_why_option = click.option("--why", required=True, help="A sentence; goes into the audit.")
_evidence_option = click.option("--evidence", metavar="FILE", help="A file of any kind that is kept with it, 1 MiB at most.")


@click.command("hold")
@click.argument("service")
@click.option("--reason", "--hold", "reason", type=click.Choice(HOLDS), required=True, help="What the hold is for.")
@click.option(
    "--effect",
    type=click.Choice(HOLD_EFFECTS),
    required=True,
    help="What it does: stop (switched off), limit (its network throttled), no-erase (not terminated), none (noted only); "
    "read-only is refused for a VPS.",
)
@_why_option
@_evidence_option
@click.option(
    "--until", type=Moment(), help="The clock lifts it then, such as 2026-12-01T09:00+07:00. Left out: somebody has to."
)
@json_option
@click.pass_context
def hold(context: click.Context, /, service: str, **options: Any) -> None:
    """Set a hold: one that stops the service, limits it, or keeps its data from being erased."""
    body = {"reason": options["reason"], "effect": options["effect"], "why": options["why"], "until": options["until"]}
    _act(context, f"{service}: hold", below("services", service, "holds"), body, options)


@click.command("release")
@click.argument("service")
@click.option("--reason", "--hold", "reason", type=click.Choice(HOLDS), required=True, help="The hold that is lifted.")
@_why_option
@json_option
@click.pass_context
def release(context: click.Context, /, service: str, **options: Any) -> None:
    """Lift a hold, whatever its effect."""
    path = below("services", service, "holds", options["reason"], "release")
    _act(context, f"{service}: release", path, {"why": options["why"]}, options)


@click.command("report")
@click.argument("service")
@click.argument("kind", type=click.Choice(COMPLAINTS))
@_why_option
@click.option("--what", type=click.Choice(USES), help="With abuse: a use that the plan forbids.")
@click.option("--effect", type=click.Choice(EFFECTS), help="One that the policy names; left out: the mildest.")
@click.option("--received", type=Moment(), help="When it was received, such as 2026-12-01T09:00+07:00. Left out: now.")
@_evidence_option
@json_option
@click.pass_context
def report(context: click.Context, /, service: str, kind: str, **options: Any) -> None:
    """Take a complaint against the service; what follows is in its policy."""
    body = {name: options[name] for name in ("why", "what", "effect")} | {"kind": kind, "received_at": options["received"]}
    answer = _act(context, f"{service}: report", below("services", service, "complaints"), body, options, ends=False)
    if not options["as_json"]:
        say(f"complaint {answer['complaint']}")
    if answer["waits"]:
        context.exit(WAITS)


@click.command("answer")
@click.argument("service")
@click.argument("complaint")
@click.option("--ceased", is_flag=True, help="The customer has stopped it. One of these three is needed.")
@click.option("--waived", is_flag=True, help="It does not count, on evidence.")
@click.option("--resolved", is_flag=True, help="It is settled otherwise.")
@_why_option
@_evidence_option
@json_option
@click.pass_context
def answer(context: click.Context, /, service: str, complaint: str, **options: Any) -> None:
    """End a complaint; its hold is lifted with it, unless another complaint holds the service so."""
    closed = one_of(options, CLOSED, asked="how did it end?")
    path = below("services", service, "complaints", complaint, "answer")
    _act(context, f"{service}: {complaint}", path, {"closed": closed, "why": options["why"]}, options)


@click.command("complaints")
@click.argument("service")
@json_option
@click.pass_context
def complaints(context: click.Context, /, service: str, as_json: bool) -> None:
    """List the complaints against the service and what became of them."""
    found = client(context).get(below("services", service, "complaints"))
    if as_json:
        emit_json(found)
    else:
        table(_COMPLAINTS, found["items"], empty="no complaints")


@click.command("evidence")
@click.argument("service")
@click.argument("sha256", required=False)
@click.option("--output", metavar="FILE", help="With SHA256: where the file is written; one that is there is left alone.")
@json_option
@click.pass_context
def evidence(context: click.Context, /, service: str, sha256: str | None, output: str | None, as_json: bool) -> None:
    """List the files that are kept with the service, or fetch one."""
    calls = client(context)
    if sha256 is None:
        found = calls.get(below("services", service, "evidence"))
        if as_json:
            emit_json(found)
        else:
            table(_EVIDENCE, found["items"], empty="no evidence")
        return
    found = calls.get(below("services", service, "evidence", sha256))
    if as_json:
        emit_json(found)
        return
    if output is None:
        raise Failure("where is the file to be written?", hint="--output FILE", exit_code=2)
    content = base64.b64decode(found["content"])
    if hashlib.sha256(content).hexdigest() != sha256:
        raise Failure("what came is not what was asked for: its hash is another", exit_code=5)
    try:
        with Path(output).open("xb") as file:
            file.write(content)
    except FileExistsError:
        raise Failure(f"{output} is there already: it is left alone", exit_code=2) from None
    say(f"{output}: {size_words(len(content))}, SHA-256 {sha256}")


@click.command("may")
@click.argument("service")
@click.argument("act", type=click.Choice(ASKS))
@json_option
@click.pass_context
def may(context: click.Context, /, service: str, act: str, as_json: bool) -> None:
    """Tell whether the customer may have this done now, and if not, by which rule; does nothing."""
    found = client(context).get(below("services", service, "may", act))
    if as_json:
        emit_json(found)
    elif found["allowed"]:
        say(f"{service}: {act} is allowed [policy {found['policy']}]" + (f"; {found['note']}" if found["note"] else ""))
    else:
        say(f"{service}: {found['reason']} [{found['rule']}]")
    if not found["allowed"]:
        context.exit(REFUSED)


COMMANDS = (hold, release, report, answer, complaints, evidence, may)


def _act(
    context: click.Context, about: str, path: str, body: dict[str, Any], options: dict[str, Any], *, ends: bool = True
) -> dict[str, Any]:
    """Ask for it and show what became of it. ``ends``: an act that waits for somebody ends the command with that exit code."""
    file = options.get("evidence")
    given = {name: value for name, value in body.items() if value is not None} | ({"evidence": _read(file)} if file else {})
    found = client(context).post(path, given)
    if options["as_json"]:
        emit_json(found)
    else:
        say_outcome(about, found)
    if ends and found["waits"]:
        context.exit(WAITS)
    return found


def _read(name: str) -> dict[str, str]:
    """The file as the API takes it; what it is called is for people."""
    path = Path(name)
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as exc:
        raise Failure(f"the evidence {name} cannot be read: {exc.strerror}", exit_code=2) from None
    if not content:
        raise Failure(f"the evidence {name} is empty: nothing would be kept of it", exit_code=2)
    if len(content) > MOST_BYTES:
        raise Failure(f"the evidence {name} is larger than {size_words(MOST_BYTES)}", exit_code=2)
    if not path.name.isprintable():
        raise Failure("the file's name has characters that cannot be shown", hint="give it another name", exit_code=2)
    return {"name": path.name, "content": base64.b64encode(content).decode("ascii")}
