"""orchestrator init, migrate, serve."""

from __future__ import annotations

import getpass
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.cli.local.place import config_dir
from orchestrator.cli.output import emit_json, say

if TYPE_CHECKING:
    import socket

    from fastapi import FastAPI

    from orchestrator.config.model import Settings
    from orchestrator.wiring.controller import Controller


_NEXT = (
    ("serve", "run the controller (or start its unit)"),
    ("doctor", "whether all is in place"),
    ("node enrol NODE --identity FILE", "make a machine a node"),
    ("node doctor NODE", "whether it has what it needs"),
    ("machine enrol MACHINE", "where machines.yaml has dedicated machines"),
    ("token create NAME --role ROLE", "for callers over TCP, where `listen` is set"),
)
API = "the API on TCP"
_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_FROZEN_WHY = "the controller was started with --frozen"


@click.command("init")
@_json_option
@click.pass_context
def init(context: click.Context, /, as_json: bool) -> None:
    """Make the state directory, the controller's keys and the database. What is there already is left as it is."""
    from orchestrator import wiring

    directory = config_dir(context)
    config = wiring.load_config(directory)
    wiring.init(config)
    if as_json:
        emit_json({"state_dir": str(config.settings.state_dir)})
        return
    say(f"ready in {config.settings.state_dir}: keys and database")
    say("next:")
    for command, what in _NEXT:
        say(f"  orchestrator {command:<34} {what}")
    say("Keep a copy of the keys in the state directory elsewhere: without them nothing that they wrapped can be read.")


@click.command("migrate")
@click.option(
    "--from-sqlite",
    "source",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Move what this SQLite file holds into the PostgreSQL database of the configuration. Stop the controller before.",
)
@_json_option
@click.pass_context
def migrate(context: click.Context, /, source: Path | None, as_json: bool) -> None:
    """Bring the database's tables to this version: forward only, and once. With SQLite stop the controller before."""
    from orchestrator import wiring

    if source is not None:
        _move(context, source, as_json=as_json)
        return
    with wiring.opened(wiring.load_config(config_dir(context))) as (db, _clock):
        changed = not db.migrated()
        if changed:
            db.migrate()
    if as_json:
        emit_json({"changed": changed})
    else:
        say("the database was brought to this version" if changed else "the database is at this version already")


def _move(context: click.Context, source: Path, *, as_json: bool) -> None:
    from orchestrator import wiring

    moved, kept = wiring.move_database(wiring.load_config(config_dir(context)), source, who=f"unix:{getpass.getuser()}")
    rows = sum(moved.rows.values())
    if as_json:
        trail = {"audit_rows": moved.audit_rows, "audit_head": moved.audit_head}
        emit_json({"rows": rows, "tables": moved.rows, "kept": str(kept), **trail})
        return
    say(f"moved {rows} rows of {len(moved.rows)} tables; each was counted and compared on both sides")
    say(f"audit trail: {moved.audit_rows} rows, the last hash is {moved.audit_head or 'none'}")
    say(f"the file is kept as {kept}: no controller is to be started on it any more")


@click.command("rotate-master-key")
@_json_option
@click.pass_context
def rotate_master_key(context: click.Context, /, as_json: bool) -> None:
    """Make a new master key and wrap everything with it anew. Stop the controller before; broken off, run it again."""
    from orchestrator import wiring

    count, resumed = wiring.rotate_master_key(wiring.load_config(config_dir(context)), who=f"unix:{getpass.getuser()}")
    if as_json:
        emit_json({"repositories": count, "resumed": resumed})
        return
    say("the rotation that was broken off is finished" if resumed else "there is a new master key")
    say(f"wrapped anew: the signing key, and the keys of {count} repositories")
    say(
        "Copy the keys in the state directory to their safe place again. Older copies of the database open with the old key only."
    )


@click.command("serve")
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
    help="From which level on things are logged.",
)
@click.option(
    "--frozen",
    is_flag=True,
    envvar="ORCHESTRATOR_FROZEN",
    help="Freeze before any job runs: after the database was brought back from a copy.  [env: ORCHESTRATOR_FROZEN=1]",
)
@click.option("--frozen-why", metavar="TEXT", help="Why; with it --frozen need not be said.")
@click.pass_context
def serve(context: click.Context, /, log_level: str, frozen: bool, frozen_why: str | None) -> None:
    """Run the controller: its jobs, and its API on the unix socket and where `listen` says. Ends gracefully on SIGTERM."""
    from orchestrator import wiring
    from orchestrator.api import server
    from orchestrator.api.app import create_app
    from orchestrator.cli.local.desk import beside_desk
    from orchestrator.drivers.local.supervisor import tell_ready
    from orchestrator.observe import logs

    config = wiring.load_config(config_dir(context))
    settings = config.settings
    logs.setup(level=log_level)
    controller = wiring.build(config)
    if settings.tls is not None:
        server.require_identity((settings.tls.certificate_file, settings.tls.key_file), what=API)
    # The addresses are taken first: a second controller fails here, before any job runs.
    sockets = server.bind(unix_socket=settings.socket, listen=settings.listen)
    where = f"{settings.socket}" + (f" and {settings.listen}" if settings.listen else "")
    by = f"unix:{getpass.getuser()}"

    def ready() -> None:
        say(f"serving on {where}")
        tell_ready()

    try:
        controller.start(frozen=(by, frozen_why or _FROZEN_WHY) if frozen or frozen_why else None)
    except BaseException:
        for sock in sockets:
            sock.close()
        settings.socket.unlink(missing_ok=True)
        raise
    try:
        app = create_app(controller.api_context())
        with beside_desk(controller), _by_tls(app, settings, sockets):
            server.serve(app, sockets, ready=ready)
    finally:
        _end(controller)


@contextmanager
def _by_tls(app: FastAPI, settings: Settings, sockets: list[socket.socket]) -> Iterator[None]:
    """Serve TCP by TLS, in a thread of its own, where that is configured; else what serves the unix socket serves it, too."""
    from orchestrator.api import server

    if settings.tls is None or not settings.listen:
        yield
        return
    identity = (settings.tls.certificate_file, settings.tls.key_file)
    with server.beside(app, sockets.pop(), identity, what=API):
        yield


def _end(controller: Controller) -> None:
    """Stop; where steps still run, leave without waiting for their threads: their jobs are recovered at the next start."""
    if controller.stop() is False:
        say("steps are still running; their jobs go on at the next start", err=True)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)
