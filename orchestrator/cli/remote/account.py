"""orchestrator service account, set-account and certificate: what of a hosting account is set beyond its order."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path
from typing import Any

import click

from orchestrator.cli.failure import Failure
from orchestrator.cli.output import clean, emit_json, say, when
from orchestrator.cli.remote.asking import ask, told
from orchestrator.cli.remote.client import below
from orchestrator.cli.remote.options import client, dry_run_option, json_option, watch_option
from orchestrator.cli.tables import Row
from orchestrator.domain.sizes import size_words

MOST_BYTES = 256 * 1024
# A tarball is looked through before the controller answers.
_LOOK_SECONDS = 1800.0

IMPORTS = "/var/lib/orchestrator-agent/imports"
# How the controller calls what it was sent.
_BODY = "body."
PARTS = ("sites", "databases", "cron")
_FORM = "`orchestrator service account SERVICE` shows the form; docs/webhooks.md tells what may stand where"

_reason_option = click.option("--reason", "--why", "reason", default="", help="Why; goes into the audit.")


@click.command("account")
@click.argument("service")
@json_option
@click.pass_context
def account(context: click.Context, /, service: str, as_json: bool) -> None:
    """Show sites, databases and cron of a hosting account, in the form that set-account takes."""
    found = client(context).get(below("services", service, "account"))
    if as_json:
        emit_json(found)
        return
    for line in _comments(found):
        say(f"# {line}")
    click.echo(clean(_text(found)), nl=False)


def _comments(found: Row) -> list[str]:
    lines = [
        f"{each['site']}: certificate until {when(each['until'])}, for {', '.join(each['domains'])}"
        for each in found["certificates"]
    ]
    lines += [f"{each['name']}: a password is set" for each in found["databases"] if each["password_set"]]
    if found["databases_full"]:
        lines.append("the databases take no more until the disk has room again")
    return lines


def _text(found: Row) -> str:
    """YAML, without what cannot be set, or would be changed by being named."""
    import yaml

    plain = {
        "sites": [dict(each) for each in found["sites"]],
        "databases": [{"name": each["name"]} for each in found["databases"]],
        "cron": [dict(each) for each in found["cron"]],
    }
    return str(yaml.safe_dump(plain, sort_keys=False, allow_unicode=False, default_flow_style=None, width=1 << 20))


@click.command("set-account")
@click.argument("service")
@click.argument("file", metavar="FILE")
@_reason_option
@dry_run_option
@watch_option
@json_option
@click.pass_context
def set_account(context: click.Context, /, service: str, file: str, **options: Any) -> None:
    """Set sites, databases or cron of a hosting account as FILE says (YAML or JSON, '-' = standard input).

    Each part that FILE names is set whole; the others stay as they are.
    """
    body = _read(file) | ({"reason": options["reason"]} if options["reason"] else {})
    try:
        ask(context, service, "account", body, options)
    except Failure as exc:
        raise _of_file(exc, file) from None


@click.command("certificate")
@click.argument("service")
@click.option("--site", default="main", show_default=True, help="The site that it is for.")
@click.option("--cert", required=True, metavar="FILE", help="PEM: the site's own certificate, then those to its authority.")
@click.option("--key", required=True, metavar="FILE", help="Its key, PEM, without a passphrase. It is shown by nothing.")
@_reason_option
@watch_option
@json_option
@click.pass_context
def certificate(context: click.Context, /, service: str, site: str, cert: str, key: str, **options: Any) -> None:
    """Install a certificate for a site of a hosting account."""
    body = {"site": site, "certificate": _text_of(cert), "key": _text_of(key), "reason": options["reason"]}
    ask(context, service, "certificate", body, {**options, "dry_run": False})


_IMPORTS = "/var/lib/orchestrator-agent/imports"


@click.command("import")
@click.argument("service")
@click.argument("file", metavar="FILE")
@click.option("--pay", is_flag=True, help="What it costs beyond what is free may be charged.")
@_reason_option
@dry_run_option
@watch_option
@json_option
@click.pass_context
def import_account(context: click.Context, /, service: str, file: str, pay: bool, **options: Any) -> None:
    """Move a hosting account in from a tarball with its home, dumps and domains.

    FILE is the name of a tarball that lies in /var/lib/orchestrator-agent/imports on the service's node.
    """
    if "/" in file:
        hint = f"copy it into {IMPORTS} on the service's node, and give its name alone"
        raise Failure(f"'{file}' is a path, and the name of a tarball on the node is expected", hint=hint, exit_code=2)
    body = {"file": file, "pay": pay, "reason": options["reason"]}
    calls = client(context)
    dry = "true" if options["dry_run"] else ""
    answer = calls.post(below("services", service, "import"), body, timeout=_LOOK_SECONDS, dry_run=dry)
    if not options["as_json"]:
        say(_moving(service, answer))
    if not options["as_json"] and not options["dry_run"]:
        say(f"the tarball stays on the node, {_IMPORTS}/{answer['file']}: remove it there when it is needed no more")
    told(context, calls, f"{service}: import", answer, options)


def _moving(service: str, answer: Row) -> str:
    costs = f"; it costs Rp {answer['amount']:,}" if answer["amount"] else ""
    dumps = f", databases {', '.join(answer['databases'])}" if answer["databases"] else ""
    size = f"{size_words(answer['bytes'])} in {answer['inodes']:,} files and directories{dumps}"
    return f"{service}: {answer['file']}, {size}: {answer['counts']}{costs}"


def _read(file: str) -> dict[str, Any]:
    """What stands in it; every value a text, so that a version of PHP is none of a number's."""
    import yaml

    text = _text_of(file)
    try:
        loader = yaml.BaseLoader(text)
        try:
            found = loader.get_single_data()
        finally:
            loader.dispose()
    except yaml.YAMLError as exc:
        where = f":{exc.problem_mark.line + 1}" if isinstance(exc, yaml.MarkedYAMLError) and exc.problem_mark else ""
        why = f": {exc.problem}" if isinstance(exc, yaml.scanner.ScannerError | yaml.parser.ParserError) else ""
        raise Failure(f"{file}{where}: this is neither YAML nor JSON{why}", exit_code=2) from None
    if not isinstance(found, dict) or not all(isinstance(name, str) for name in found):
        raise Failure(f"{file}: sites, databases or cron are expected", hint=_FORM, exit_code=2)
    for name in found:
        if name not in PARTS:
            raise Failure(f"{file}: {_unknown(name)}", hint=_FORM, exit_code=2)
        if not found[name] and not isinstance(found[name], list):
            hint = f"leave '{name}' out where it is to stay as it is; write '{name}: []' where there is to be none of it"
            raise Failure(f"{file}: '{name}' says nothing", hint=hint, exit_code=2)
    return found


def _unknown(name: str) -> str:
    """Of a file that was taken by mistake nothing is sent, and nothing shown: it may hold secrets."""
    meant = get_close_matches(name, PARTS, n=1)
    if meant:
        return f"unknown part '{name}'; did you mean '{meant[0]}'?"
    return "has a part that is none of sites, databases and cron: is it the right file?"


def _of_file(failure: Failure, file: str) -> Failure:
    """What the controller has against the body, said of the file that it was read from."""
    if not failure.message.startswith(_BODY):
        return failure
    lines = tuple(line.removeprefix(_BODY) for line in failure.lines)
    message = f"{file}: {failure.message.removeprefix(_BODY)}"
    return Failure(message, hint=_FORM, exit_code=failure.exit_code, lines=lines)


def _text_of(file: str) -> str:
    try:
        with click.open_file(file, "rb") if file == "-" else Path(file).open("rb") as stream:
            data = stream.read(MOST_BYTES + 1)
    except (OSError, ValueError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else exc
        raise Failure(f"{file} cannot be read: {reason}", exit_code=2) from None
    if len(data) > MOST_BYTES:
        raise Failure(f"{file} is far too large: more than {size_words(MOST_BYTES)}", exit_code=2)
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise Failure(f"{file} is not text (UTF-8)", exit_code=2) from None


COMMANDS = (account, set_account, certificate, import_account)
