"""orchestrator service adopt: a user of its node that somebody made by hand moves into a hosting account."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from orchestrator.cli.failure import Failure
from orchestrator.cli.output import emit_json, say
from orchestrator.cli.remote.client import below
from orchestrator.cli.remote.options import client, dry_run_option, json_option, watch_option
from orchestrator.cli.remote.watch import WAITS, say_outcome, watch_job
from orchestrator.cli.remote.workflow import show_workflow
from orchestrator.cli.tables import Row
from orchestrator.domain.sizes import size_words

# The user's home is looked through before the controller answers.
_LOOK_SECONDS = 1800.0
REFUSED = 4


@click.command("adopt")
@click.argument("service")
@click.option("--user", required=True, help="The user of the service's node that somebody made by hand.")
@click.option("--site", "sites", multiple=True, metavar="NAME=DIRECTORY", help="A directory of his that is to be a site.")
@click.option("--database", "databases", multiple=True, metavar="[NAME=]DATABASE", help="A database of his, and its new name.")
@click.option("--no-cron", is_flag=True, help="His crontab stays, and goes on.")
@click.option("--node", default="", help="Where he lives; refused where the account is on another node.")
@click.option("--pay", is_flag=True, help="What it costs beyond what is free may be charged.")
@click.option("--reason", "--why", "reason", default="", help="Why; goes into the audit.")
@dry_run_option
@watch_option
@json_option
@click.pass_context
def adopt(context: click.Context, /, service: str, user: str, **options: Any) -> None:
    """Take a site that lives on the service's node as a user made by hand into its hosting account.

    Its files, databases and crontab are copied into the account, which serves its domains from then on. The old vhost and
    crontab are set aside; the user, his files and his databases stay as they are. --dry-run tells what is there and what
    does not fit.
    """
    body = {
        "user": user,
        "sites": [_pair(each, "root") for each in options["sites"]],
        "databases": [_pair(each if "=" in each else f"{each}={each}", "source") for each in options["databases"]],
        "cron": not options["no_cron"],
        "node": options["node"],
        "pay": options["pay"],
        "reason": options["reason"],
    }
    calls = client(context)
    dry = "true" if options["dry_run"] else ""
    answer = calls.post(below("services", service, "adopt"), body, timeout=_LOOK_SECONDS, dry_run=dry)
    if options["dry_run"]:
        _show(context, service, answer, as_json=options["as_json"])
        return
    if not options["as_json"]:
        _tell(_facts(service, answer))
        _tell(_list("not taken", answer["not_taken"]))
    if options["watch"] and answer["job_id"]:
        if not options["as_json"]:
            say(f"{service}: adopt: job {answer['job_id']}")
            _tell(_list("left afterwards, until you remove it", answer["left"]))
        watch_job(calls, answer["job_id"], as_json=options["as_json"])
        return
    if options["as_json"]:
        emit_json(answer)
    else:
        say_outcome(f"{service}: adopt", answer, none="no job was needed: ")
        _tell(_list("left afterwards, until you remove it", answer["left"]))
    if answer["waits"]:
        context.exit(WAITS)


def _pair(text: str, second: str) -> dict[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name or not value:
        raise Failure(f"{text!r} is not NAME and what it is", hint="such as --site main=/home/shop/public_html", exit_code=2)
    return {"name": name, second: value}


def _show(context: click.Context, service: str, answer: Row, *, as_json: bool) -> None:
    """All of a dry run. What cannot be done ends as a refusal does."""
    stops = bool(answer["misfits"]) or not answer["workflow"]
    if as_json:
        emit_json(answer)
    else:
        _tell(_facts(service, answer))
        _tell(_list("not taken", answer["not_taken"]))
        _tell(_list("left afterwards, until you remove it", answer["left"]))
        _tell(_list("it cannot be adopted", answer["misfits"]))
        if not stops:
            show_workflow(answer["workflow"], as_json=False)
    if stops:
        context.exit(REFUSED)


def _facts(service: str, answer: Row) -> list[str]:
    found = answer["found"]
    costs = f"; it costs Rp {answer['amount']:,}" if answer["amount"] else ""
    size = f"{size_words(found['bytes'])} in {found['inodes']:,} files and directories"
    lines = [f"{service}: {found['name']} (uid {found['uid']}), {found['home']}, {size}: {answer['counts']}{costs}"]
    for site in found["sites"]:
        php = f", PHP {site['php']}" if site["php"] else ""
        lines.append(f"  site {site['name']}: {site['root']}, for {', '.join(site['domains']) or 'no domain'}{php}")
    lines += [f"  database {each['name']}: {each['from']}, {size_words(each['bytes'])}" for each in found["databases"]]
    lines += [f"  cron: {each['schedule']} {each['command']}" for each in found["cron"]]
    lines += [f"  certificate of {each['site']}: until {each['until']}" for each in found["certificates"] if each["fits"]]
    lines += [f"  set aside: {path}" for path in found["files"]]
    return lines


def _list(title: str, rows: Sequence[str]) -> list[str]:
    return [f"{title}:", *(f"  {row}" for row in rows)] if rows else []


def _tell(lines: Sequence[str]) -> None:
    for line in lines:
        say(line)


COMMANDS = (adopt,)
