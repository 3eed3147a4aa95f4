"""orchestrator token create, list, revoke: straight in the database, so that the first token needs no token."""

from __future__ import annotations

import getpass
import re
import secrets
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import TYPE_CHECKING

import click

from orchestrator.cli.failure import Failure
from orchestrator.cli.local.place import config_dir
from orchestrator.cli.output import emit_json, moment, say, table
from orchestrator.cli.tables import Column, Kind

if TYPE_CHECKING:
    from orchestrator.ports.clock import Clock
    from orchestrator.store.database import Database

MINUTE, LONGEST = timedelta(minutes=1), timedelta(days=3660)
ROLES = ("admin", "operator", "billing", "readonly")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_LIST: tuple[Column, ...] = (
    Column("TOKEN", "name", Kind.ID),
    Column("ROLE", "role"),
    Column("CREATED", moment("created_at"), Kind.TIME),
    Column("EXPIRES", moment("expires_at"), Kind.TIME),
    Column("REVOKED", moment("revoked_at"), Kind.TIME),
)


@click.group("token")
def group() -> None:
    """Tokens for the API over TCP. On the unix socket none is needed."""


@group.command("create")
@click.argument("name")
@click.option(
    "--role",
    required=True,
    type=click.Choice(ROLES),
    help="What it may do: readonly looks; billing also acts on services; operator also approves and freezes; admin everything.",
)
@click.option(
    "--expires",
    default="",
    metavar="DURATION",
    help="After this it opens nothing any more, such as 7d. Left out: it does until it is revoked.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def create(context: click.Context, /, name: str, role: str, expires: str, as_json: bool) -> None:
    """Make a token and print it, this one time."""
    lasts = _lasts(expires)
    if not _NAME.fullmatch(name):
        raise Failure("a token's name is made of letters, digits, '.', '-' and '_', at most 63", exit_code=2)
    from orchestrator.store import audit, tokens

    token = secrets.token_urlsafe(32)
    with _store(context) as (db, clock), db.write() as conn:
        now = clock.now()
        until = None if lasts is None else now + lasts
        tokens.add(conn, name=name, role=role, token=token, now=now, expires_at=until)
        ends = None if until is None else until.isoformat()
        audit.append(conn, at=now, who=_who(), what="token created", facts={"name": name, "role": role, "expires_at": ends})
    if as_json:
        emit_json({"name": name, "role": role, "token": token, "expires_at": ends})
    else:
        say(token)


@group.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def list_tokens(context: click.Context, /, as_json: bool) -> None:
    """List the tokens by name; revoked ones too. The tokens themselves are kept nowhere."""
    from orchestrator.store import tokens

    with _store(context) as (db, _clock), db.read() as conn:
        found = tokens.list_all(conn)
    rows = [
        {
            "name": token.name,
            "role": token.role,
            "created_at": token.created_at.isoformat(),
            "expires_at": None if token.expires_at is None else token.expires_at.isoformat(),
            "revoked_at": None if token.revoked_at is None else token.revoked_at.isoformat(),
        }
        for token in found
    ]
    if as_json:
        emit_json({"items": rows})
    else:
        table(_LIST, rows, empty="no tokens")


@group.command("revoke")
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def revoke(context: click.Context, /, name: str, as_json: bool) -> None:
    """Make a token useless at once."""
    from orchestrator.store import audit, tokens

    with _store(context) as (db, clock), db.write() as conn:
        now = clock.now()
        tokens.revoke(conn, name, now=now)
        audit.append(conn, at=now, who=_who(), what="token revoked", facts={"name": name})
    if as_json:
        emit_json({"name": name, "revoked_at": now.isoformat()})
    else:
        say(f"{name} is revoked")


def _lasts(words: str) -> timedelta | None:
    """Raises Failure where it is no duration, or none that a token could have."""
    from orchestrator.config.units import parse_duration

    if not words:
        return None
    try:
        found = parse_duration(words)
    except ValueError as exc:
        raise Failure(f"--expires: {exc}", exit_code=2) from None
    if not MINUTE <= found <= LONGEST:
        raise Failure("--expires: a token lasts for a minute at least, and for ten years at most", exit_code=2)
    return found


def _store(context: click.Context) -> AbstractContextManager[tuple[Database, Clock]]:
    from orchestrator import wiring

    return wiring.opened(wiring.load_config(config_dir(context)))


def _who() -> str:
    return f"unix:{getpass.getuser()}"
