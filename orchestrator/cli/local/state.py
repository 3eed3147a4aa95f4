"""orchestrator state: copies of the controller itself. They need no controller that runs; bringing one back not even a store."""

from __future__ import annotations

import getpass
import os
import stat
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from orchestrator.cli.failure import Failure
from orchestrator.cli.local.place import config_dir
from orchestrator.cli.output import card, emit_json, moment, say, size, table
from orchestrator.cli.tables import Column, Kind, Line
from orchestrator.domain.backups.state import FOLDER
from orchestrator.domain.backups.state_return import commands, place_of
from orchestrator.domain.backups.targets import repository_name
from orchestrator.domain.backups.words import GenerationState

if TYPE_CHECKING:
    from orchestrator.domain.backups.state import Manifest
    from orchestrator.domain.backups.words import Backup, Generation
    from orchestrator.ports.repositories import RepositoryAccess, SnapshotFacts

F = TypeVar("F", bound=Callable[..., Any])
_PATH = click.Path(path_type=Path)
_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_LIST: tuple[Column, ...] = (
    Column("COPY", "id", Kind.ID),
    Column("STATE", "state"),
    Column("BEGUN", moment("begun_at"), Kind.TIME, spare=1),
    Column("SIZE", size("size_bytes"), spare=2),
    Column("SNAPSHOT", lambda row: row["snapshot"][:8], spare=3),
    Column("REPOSITORY", "repository", spare=2),
    Column("PROBLEM", "problem", Kind.PROSE, spare=1),
)
_HELD: tuple[Column, ...] = (
    Column("SNAPSHOT", "snapshot", Kind.ID),
    Column("TAKEN", moment("taken_at"), Kind.TIME),
    Column("SIZE", size("size_bytes"), spare=1),
    Column("FILES", "files", spare=3),
    Column("REPOSITORY", "repository", spare=2),
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
@click.option(
    "--repository",
    "location",
    default="",
    metavar="LOCATION",
    help="Ask this one, or those of this target, not the store.",
)
@_reaching
@_json_option
@click.pass_context
def list_copies(context: click.Context, /, location: str, as_json: bool, **way: Any) -> None:
    """List the copies, the newest first: those that the store knows of, or what a repository holds (needs nothing else)."""
    from orchestrator import wiring

    if location:
        found = wiring.held_copies(_access(location, **way))
        rows = [_held(copy, held.access.location) for held in found for copy in held.copies]
        columns, places = _HELD, [{"repository": each.access.location, "problem": each.problem} for each in found]
        broken = [f"{each['repository']} cannot be read: {each['problem']}" for each in places if each["problem"]]
    else:
        config = wiring.load_config(config_dir(context))
        generations = wiring.state_repositories(config)
        rows = [_row(each) for each in reversed(wiring.state_copies(config))]
        columns, places = _LIST, [_place(each) for each in generations]
        broken = [_broken(each) for each in generations if each.stands and each.state != GenerationState.MADE]
    if as_json:
        emit_json({"items": rows, "repositories": places})
        return
    table(columns, rows, empty="no copies")
    for sentence in broken:
        say(sentence, err=True)


@group.command("give-up")
@click.argument("generation", type=click.IntRange(min=1))
@click.option("--reason", "--why", "reason", required=True, help="Why; goes into the audit.")
@click.option("--last", is_flag=True, help="Also where no other repository has a verified copy.")
@_json_option
@click.pass_context
def give_up(context: click.Context, /, generation: int, reason: str, last: bool, as_json: bool) -> None:
    """Look no more for a repository of such copies that is not there, or cannot be mended. Nothing is destroyed."""
    from orchestrator import wiring

    config = wiring.load_config(config_dir(context))
    found = wiring.give_up_state(config, generation, who=f"unix:{getpass.getuser()}", why=reason, last=last)
    if as_json:
        emit_json(_place(found))
    else:
        name = repository_name(FOLDER, generation)
        say(f"{name} at {found.target} is given up. What is left of it the key still opens: remove it")


@group.command("restore")
@click.option("--repository", "location", required=True, metavar="LOCATION", help="The repository, or the target it lies in.")
@click.option("--into", "target", required=True, type=_PATH, metavar="DIR", help="A directory that is not there yet.")
@click.option("--snapshot", default="", metavar="ID", help="The copy whose id begins so; left out: the newest.")
@_reaching
@_json_option
def restore(location: str, target: Path, snapshot: str, as_json: bool, **way: Any) -> None:
    """Bring a copy back into a new directory. Needs the repository and its key: no controller, no configuration, no store."""
    from orchestrator import wiring
    from orchestrator.domain.backups.state import STATE

    found = wiring.restore_state(_access(location, **way), target, snapshot=snapshot)
    lines = _lines(found, target.absolute())
    told = {
        "directory": str(target.absolute()),
        "provider": found.provider,
        "taken_at": _time(found.taken_at),
        "version": found.version,
        "config_dir": found.config_dir,
        "state_dir": found.state_dir,
        "database": str(target.absolute() / STATE / found.database),
        "database_url": found.database_url,
        "audit_rows": found.audit_rows,
        "audit_head": found.audit_head,
        "commands": lines,
    }
    if as_json:
        emit_json(told)
        return
    card(_RESTORED, told)
    say("\nEvery file is as it was copied. On the new machine, as root, with no controller running (USER: the controller's):")
    for line in lines:
        say(f"  {line}")
    say("Without the unit, the last line is this, as USER: orchestrator serve --frozen")


def _lines(found: Manifest, directory: Path) -> list[str]:
    """What puts it in its place, as the files are that were brought back, and as this machine is."""
    places = (place for name in found.files if (place := place_of(name)) is not None)
    modes = {name: stat.S_IMODE((directory / name).stat().st_mode) for name in found.files}
    there = {place for place in (*places, Path(found.config_dir)) if os.path.lexists(place)}
    return list(commands(found, directory, modes=modes, there=there))


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
        "begun_at": _time(copy.begun_at),
        "verified_at": None if copy.verified_at is None else _time(copy.verified_at),
        "generation": copy.generation,
        "repository": repository_name(FOLDER, copy.generation),
        "snapshot": copy.snapshot_id,
        "size_bytes": copy.size_bytes,
        "stored_bytes": copy.stored_bytes,
        "problem": copy.problem,
    }


def _held(copy: SnapshotFacts, location: str) -> dict[str, Any]:
    told = {"snapshot": copy.id, "taken_at": _time(copy.taken_at), "size_bytes": copy.bytes, "files": copy.files}
    return {**told, "repository": location}


def _place(generation: Generation) -> dict[str, Any]:
    name = repository_name(FOLDER, generation.number)
    return {"repository": name, "target": generation.target, "state": generation.state.value, "why": generation.why}


def _broken(generation: Generation) -> str:
    told = f"{repository_name(FOLDER, generation.number)} is {generation.state}: {generation.why}"
    return f"{told}. It goes when as many copies as are kept are verified in a newer one"


def _time(value: datetime) -> str:
    """As the API writes it."""
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
