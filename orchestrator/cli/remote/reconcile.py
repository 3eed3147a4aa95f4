"""orchestrator reconcile: billing's own list against the controller's records."""

from __future__ import annotations

import ipaddress
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

import click

from orchestrator.cli.failure import Failure
from orchestrator.cli.output import emit_json, say, table, when
from orchestrator.cli.remote.client import Client, read_token
from orchestrator.cli.remote.options import client, json_option
from orchestrator.cli.tables import Column, Kind, Row
from orchestrator.domain.sizes import size_words

# As the API takes it, in bytes; a test compares them.
LIST_LIMIT = 16 * 1024 * 1024
_FETCH_SECONDS = 60.0
# Of very many differences each that is mended is a transaction of its own.
_MEND_SECONDS = 900.0
_FAILED = 5
_DEAD = 3

_WORDS = {
    "paid-further": "billing says it is paid further: a payment was lost",
    "paid-less": "billing says it is paid less far",
    "state": "the states differ",
    "unknown-here": "only billing knows it",
    "not-in-list": "the list lacks it",
}


def _side(field: str) -> Callable[[Row], str]:
    """A time for what is about payments, else a state."""

    def show(row: Row) -> str:
        value = str(row[field])
        return when(value) if value and row["kind"] in ("paid-further", "paid-less") else value

    return show


def _done(row: Row) -> str:
    """What became of a payment that was lost."""
    return ": ".join(part for part in (row["outcome"], f"job {row['job_id']}" if row["job_id"] else "", row["detail"]) if part)


_COLUMNS: tuple[Column, ...] = (
    Column("SERVICE", "service_id", Kind.ID),
    Column("DIFFERENCE", lambda row: _WORDS[str(row["kind"])], Kind.PROSE),
    Column("WE KNOW", _side("ours")),
    Column("BILLING SAYS", _side("theirs")),
    Column("DONE", _done, Kind.PROSE, spare=1),
)


@click.command(name="reconcile")
@click.argument("given", metavar="FILE|URL")
@click.option(
    "--list-token-file", default="", metavar="FILE", help="File with the token that the URL's server asks for (Bearer)."
)
@click.option("--dry-run", is_flag=True, help="Only show the differences, and change nothing.")
@click.option("--yes", is_flag=True, help="Do not ask before payments are counted; for scripts.")
@click.option("--keep-waiting", is_flag=True, help="Terminations that wait since a downtime go on waiting.")
@json_option
@click.pass_context
def reconcile(context: click.Context, /, given: str, list_token_file: str, **options: Any) -> None:
    """Count the payments that billing's own list has and the controller has not; show every other difference.

    The list is a JSON array, JSON lines or CSV with the columns service, paid_until (a time with its zone, such as
    2026-12-01T00:00:00+07:00, or nothing) and state.
    """
    name, body = _fetched(given, list_token_file) if "://" in given else _read(given, list_token_file)
    calls = client(context)
    wanted = {"keep_waiting": "true"} if options["keep_waiting"] else {}
    if options["dry_run"]:
        _show(_ask(calls, name, body, dry_run="true", **wanted), as_json=options["as_json"])
        return
    if not options["yes"]:
        if options["as_json"] or not sys.stdin.isatty():
            raise Failure("reconcile asks before it counts a payment", hint="look with --dry-run, then say --yes", exit_code=2)
        if not _agreed(_ask(calls, name, body, dry_run="true", **wanted)):
            return
    done = _ask(calls, name, body, **wanted)
    _show(done, as_json=options["as_json"])
    if done["dead"]:
        raise Failure(
            f"what was paid could not be made: {done['dead']} of the payments count, and are dead letters",
            hint="see `orchestrator event list --dead`",
            exit_code=_DEAD,
        )


def _ask(calls: Client, name: str, body: bytes, **params: Any) -> dict[str, Any]:
    return calls.post("reconciliation", content=body, timeout=_MEND_SECONDS, source=name, **params)


def _agreed(looked: dict[str, Any]) -> bool:
    """Show what would be done, and ask where there is anything to do."""
    _show(looked, as_json=False)
    lost = looked["counts"]["paid-further"]
    asked = [f"count {lost} payment{'s' if lost > 1 else ''}"] if lost else []
    asked += ["release the terminations that wait"] if looked["releases"] else []
    if not asked:
        return False
    if not click.confirm(f"{' and '.join(asked).capitalize()}?", err=True):
        raise Failure("nothing was done", exit_code=2)
    return True


def _show(found: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        emit_json(found)
        return
    table(_COLUMNS, found["differences"], empty="no differences")
    if found["left_out"]:
        say(f"and {found['left_out']} more differences")
    counts = ", ".join(f"{count} {kind}" for kind, count in found["counts"].items() if count) or "no differences"
    say(f"services in the list: {found['services']}; {counts}")
    if found["terminations"]:
        say(found["terminations"])
        if not found["releases"]:
            say(
                "to let them go on by hand: `orchestrator terminations show`, then `orchestrator terminations release --why TEXT`"
            )


# -- the list ----------------------------------------


def _read(path: str, list_token_file: str) -> tuple[str, bytes]:
    if list_token_file:
        raise Failure("--list-token-file is for a URL", exit_code=2)
    try:
        with Path(path).open("rb") as file:
            body = file.read(LIST_LIMIT + 1)
    except (OSError, ValueError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else exc
        raise Failure(f"{path} cannot be read: {reason}", exit_code=2) from None
    _refuse_too_large(len(body), path)
    return Path(path).name, body


def _refuse_too_large(size: int, where: str) -> None:
    if size > LIST_LIMIT:
        raise Failure(f"{where} is far too large for a list: more than {size_words(LIST_LIMIT)}", exit_code=2)


def _fetched(url: str, list_token_file: str) -> tuple[str, bytes]:
    """What the URL answers. No redirect is followed: the token is for this server."""
    import httpx

    parts = _fit(url)
    where = f"{parts.scheme}://{parts.netloc}{parts.path}"  # a query may hold a key, and this goes into the audit
    headers = {"Accept": "application/json, text/csv", "Accept-Encoding": "identity"}
    token = read_token(list_token_file) if list_token_file else ""
    if token:
        headers["Authorization"] = f"Bearer {token}"
    body = bytearray()
    try:
        with httpx.stream("GET", url, headers=headers, timeout=_FETCH_SECONDS, follow_redirects=False) as answer:
            if answer.status_code != httpx.codes.OK:
                raise Failure(f"{where} answered {answer.status_code}", exit_code=_FAILED)
            for part in answer.iter_raw():
                body += part
                _refuse_too_large(len(body), where)
    except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as exc:
        raise Failure(f"{where} cannot be fetched: {exc}", exit_code=_FAILED) from None
    return where, bytes(body)


def _fit(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError as exc:
        raise Failure(f"'{url}' is no URL: {exc}", exit_code=2) from None
    if "@" in parts.netloc:
        raise Failure("a URL is no place for a password", hint="use --list-token-file", exit_code=2)
    if not host or not (parts.scheme == "https" or (parts.scheme == "http" and _loopback(host))):
        raise Failure(f"{parts.scheme}://{host} is not fetched: https is, and http on this machine only", exit_code=2)
    return parts


def _loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
