"""orchestrator audit: list asks the controller; export reads the store, and verify a controller's trail or an export."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING

import click

from orchestrator.cli.failure import Failure
from orchestrator.cli.local.place import config_dir
from orchestrator.cli.output import emit_json, say
from orchestrator.cli.remote import audit as remote

if TYPE_CHECKING:
    from orchestrator.domain.audit_chain import AuditEntry


@click.group("audit")
def group() -> None:
    """Who did what; append-only, chained by hashes."""


group.add_command(remote.list_audit)


@group.command("export")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, allow_dash=True), default="-")
@click.option(
    "--json", "as_json", is_flag=True, help="Print how many rows were written, and the last hash, as JSON; wants a FILE."
)
@click.pass_context
def export(context: click.Context, /, file: Path, as_json: bool) -> None:
    """Write the whole trail to a new FILE (or to standard output), one JSON object a line, the oldest first.

    Read from the store of this machine, row for row as they were hashed, so that `audit verify --file` can check them anywhere.
    """
    from orchestrator import wiring
    from orchestrator.store import audit

    to_output = str(file) == "-"
    if as_json and to_output:
        raise Failure("--json wants a FILE: the rows themselves go to standard output", exit_code=2)
    with wiring.opened(wiring.load_config(config_dir(context))) as (db, _clock), db.read() as conn:
        if to_output:
            _write(audit.oldest_first(conn), sys.stdout)
            return
        try:
            stream = os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8")
        except FileExistsError:
            raise Failure(f"{file} is there already", hint="name a new file", exit_code=2) from None
        with stream:
            count, head = _write(audit.oldest_first(conn), stream)
    if as_json:
        emit_json({"file": str(file), "entries": count, "head": head})
    else:
        say(f"{count} rows in {file}; the last hash, to be noted elsewhere: {head or '-'}")


@group.command("verify")
@click.option("--head", default="", metavar="HASH", help="A hash noted earlier, elsewhere, that must still be in the trail.")
@click.option(
    "--file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Check what `audit export` wrote there instead. Needs no controller, no network and no configuration.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def verify(context: click.Context, /, head: str, file: Path | None, as_json: bool) -> None:
    """Read the whole trail and check that every row follows from the one before it."""
    if file is None:
        remote.verify(context, head=head, as_json=as_json)
        return
    from orchestrator.domain.audit_chain import check

    found = check(_read(file), head=head)
    told = {"ok": found.ok, "entries": found.entries, "head": found.head, "problem": found.problem, "at_seq": found.at_seq}
    remote.tell(told, as_json=as_json)


def _write(rows: Iterator[AuditEntry], stream: IO[str]) -> tuple[int, str]:
    from orchestrator.domain.audit_chain import to_json

    count, head = 0, ""
    for entry in rows:
        stream.write(json.dumps(to_json(entry), ensure_ascii=False, sort_keys=True) + "\n")
        count, head = count + 1, entry.hash
    return count, head


def _read(file: Path) -> Iterator[AuditEntry]:
    """The rows of an export. Raises Failure at the first line that is none."""
    from orchestrator.domain.audit_chain import from_json

    with file.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                yield from_json(json.loads(line))
            except ValueError as exc:
                raise Failure(f"{file}:{number}: this is no row of the audit trail: {exc}", exit_code=6) from None
