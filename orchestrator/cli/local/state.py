"""orchestrator state: copies of the controller itself. They need no controller that runs; bringing one back not even a store."""

from __future__ import annotations

import getpass
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from orchestrator.cli.failure import Failure
from orchestrator.cli.local.place import config_dir
from orchestrator.cli.output import card, emit_json, moment, say, size, table
from orchestrator.cli.tables import Column, Kind, Line

if TYPE_CHECKING:
    from orchestrator.domain.backups.words import Backup
    from orchestrator.ports.repositories import RepositoryAccess

F = TypeVar("F", bound=Callable[..., Any])
_PATH = click.Path(path_type=Path)
_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_LIST: tuple[Column, ...] = (
    Column("COPY", "id", Kind.ID),
    Column("STATE", "state"),
    Column("BEGUN", moment("begun_at"), Kind.TIME, spare=1),
    Column("SIZE", size("size_bytes"), spare=2),
    Column("SNAPSHOT", lambda row: row["snapshot"][:8], spare=3),
    Column("PROBLEM", "problem", Kind.PROSE, spare=1),
)
_HELD: tuple[Column, ...] = (
    Column("SNAPSHOT", "snapshot", Kind.ID),
    Column("TAKEN", moment("taken_at"), Kind.TIME),
    Column("SIZE", size("size_bytes"), spare=1),
    Column("FILES", "files", spare=2),
)
_RESTORED: tuple[Line, ...] = (
    ("provider", "provider"),
    ("taken", moment("taken_at")),
    ("audit rows", "audit_rows"),
    ("audit head", "audit_head"),
)


def _reaching(command: F) -> F:
    """The options that lead to a repository without any configuration."""
    for option in reversed(
        (
            click.option("--key-file", type=_PATH, metavar="FILE", help="File (mode 0600) with the key that opens it."),
            click.option("--user", default="", help="User of a rest-server."),
            click.option("--secret-file", type=_PATH, metavar="FILE", help="File (mode 0600) with that user's password."),
            click.option("--ssh-key-file", type=_PATH, metavar="FILE", help="File (mode 0600) with the SSH key for sftp."),
            click.option("--ssh-known-hosts-file", type=_PATH, metavar="FILE", help="File with the SSH server's host keys."),
        )
    ):
        command = option(command)
    return command


@click.group("state")
def group() -> None:
    """Copies of the controller's own state: database, keys and configuration."""


@group.command("backup")
@_json_option
@click.pass_context
def backup(context: click.Context, /, as_json: bool) -> None:
    """Make a copy now, whether or not one is due and a controller runs. It is verified before an older one goes."""
    from orchestrator import wiring

    made = wiring.back_up_state(wiring.load_config(config_dir(context)), who=f"unix:{getpass.getuser()}")
    if as_json:
        emit_json(_row(made))
    else:
        say(f"{made.id}: made and verified, snapshot {made.snapshot_id[:8]}")


@group.command("list")
@click.option("--repository", "location", default="", metavar="LOCATION", help="Ask this repository, not the store.")
@_reaching
@_json_option
@click.pass_context
def list_copies(context: click.Context, /, location: str, as_json: bool, **way: Any) -> None:
    """List the copies, the newest first: those that the store knows of, or what a repository holds (needs nothing else)."""
    from orchestrator import wiring

    if location:
        rows = [
            {"snapshot": each.id, "taken_at": each.taken_at.isoformat(), "size_bytes": each.bytes, "files": each.files}
            for each in wiring.held_copies(_access(location, **way))
        ]
        columns = _HELD
    else:
        rows = [_row(each) for each in reversed(wiring.state_copies(wiring.load_config(config_dir(context))))]
        columns = _LIST
    if as_json:
        emit_json({"items": rows})
    else:
        table(columns, rows, empty="no copies")


@group.command("restore")
@click.option("--repository", "location", required=True, metavar="LOCATION", help="The repository, as the escrow file names it.")
@click.option("--into", "target", required=True, type=_PATH, metavar="DIR", help="A directory that is not there yet.")
@click.option("--snapshot", default="", metavar="ID", help="The copy whose id begins so; left out: the newest.")
@_reaching
@_json_option
def restore(location: str, target: Path, snapshot: str, as_json: bool, **way: Any) -> None:
    """Bring a copy back into a new directory. Needs the repository and its key: no controller, no configuration, no store."""
    from orchestrator import wiring
    from orchestrator.domain.backups.state import ELSEWHERE, STATE

    found = wiring.restore_state(_access(location, **way), target, snapshot=snapshot)
    told = {
        "directory": str(target.absolute()),
        "provider": found.provider,
        "taken_at": found.taken_at.isoformat(),
        "version": found.version,
        "config_dir": found.config_dir,
        "state_dir": found.state_dir,
        "database": str(target.absolute() / STATE / found.database),
        "database_url": found.database_url,
        "audit_rows": found.audit_rows,
        "audit_head": found.audit_head,
    }
    if as_json:
        emit_json(told)
        return
    card(_RESTORED, told)
    say("\nEvery file is as it was copied. On the new machine, as root, with no controller running:")
    say(f"  cp -a {target}/config/. {found.config_dir}/")
    say(f"  cp -a {target}/state/. {found.state_dir}/")
    if (target / ELSEWHERE).is_dir():
        say(f"  cp -a {target}/elsewhere/. /")
    say(f"  chown -R USER: {found.config_dir} {found.state_dir}    # the controller's user")
    if not found.database.endswith(".sqlite"):
        say(f"  pg_restore --clean --if-exists --dbname NAME {found.state_dir}/{found.database}")
    say("  orchestrator serve --frozen")


def _access(
    location: str, *, key_file: Path | None, user: str, secret_file: Path | None, ssh_key_file: Path | None, **other: Any
) -> RepositoryAccess:
    from orchestrator import wiring

    if key_file is None:
        raise Failure("--key-file is missing: the file with the key that opens the repository", exit_code=2)
    known_hosts: Path | None = other["ssh_known_hosts_file"]
    return wiring.state_access(
        location,
        key_file=key_file,
        user=user,
        secret_file=secret_file,
        ssh_key_file=ssh_key_file,
        ssh_known_hosts_file=known_hosts,
    )


def _row(copy: Backup) -> dict[str, Any]:
    return {
        "id": copy.id,
        "state": copy.state.value,
        "begun_at": copy.begun_at.isoformat(),
        "verified_at": None if copy.verified_at is None else copy.verified_at.isoformat(),
        "generation": copy.generation,
        "snapshot": copy.snapshot_id,
        "size_bytes": copy.size_bytes,
        "stored_bytes": copy.stored_bytes,
        "problem": copy.problem,
    }
