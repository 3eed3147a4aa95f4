"""orchestrator backup: most of it asks the controller (cli/remote/backup.py), the keys of an escrow need none."""

from __future__ import annotations

import getpass
import os
import sys
from pathlib import Path

import click

from orchestrator.cli.failure import Failure
from orchestrator.cli.local.place import config_dir
from orchestrator.cli.output import emit_json, say
from orchestrator.cli.remote import backup as remote
from orchestrator.cli.remote.restore import drill, restores
from orchestrator.domain.backups.escrow import is_escrow, repositories

_file_argument = click.argument("file", type=click.Path(path_type=Path))
_passphrase_option = click.option(
    "--passphrase-file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="File (mode 0600) with the passphrase; else it is asked.",
)


@click.group("backup")
def group() -> None:
    """Copies of services."""


group.add_command(remote.now)
group.add_command(remote.list_backups)
group.add_command(remote.plan)
group.add_command(remote.show)
group.add_command(restores)
group.add_command(remote.give_up)
group.add_command(drill)


@group.command("export-keys")
@_file_argument
@_passphrase_option
@click.option("--in-clear", is_flag=True, help="Seal it with nothing: whoever has the file reads every backup.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def export_keys(context: click.Context, /, file: Path, passphrase_file: Path | None, in_clear: bool, as_json: bool) -> None:
    """Write location and key of every repository to a new file, for a safe: with it restic alone reads the backups."""
    from orchestrator import wiring

    if in_clear and passphrase_file is not None:
        raise Failure("--in-clear and --passphrase-file exclude each other", exit_code=2)
    config = wiring.load_config(config_dir(context))
    if file.exists():
        raise Failure(f"{file} is there already, and is left as it is", hint="name another file", exit_code=2)
    passphrase = None if in_clear else _passphrase(passphrase_file, twice=True)
    count = wiring.export_keys(config, file, passphrase=passphrase, who=f"unix:{getpass.getuser()}")
    if in_clear:
        say("the keys stand in the file in clear: whoever has it reads every backup", err=True)
    if as_json:
        emit_json({"file": str(file), "repositories": count, "sealed": not in_clear})
    else:
        apart = "" if in_clear else ", and its passphrase away from it"
        say(f"{file}: the keys of {count} repositories. Keep it away from this machine{apart}.")


@group.command("show-escrow")
@_file_argument
@_passphrase_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show_escrow(file: Path, passphrase_file: Path | None, as_json: bool) -> None:
    """Print what such a file holds. Needs no controller, no network and no configuration."""
    from orchestrator.drivers.local import escrow

    content = escrow.read(file)
    if escrow.is_sealed(content):
        content = escrow.unseal(content, _passphrase(passphrase_file, twice=False))
    if not is_escrow(content):
        raise Failure(f"{file}: this is no escrow file", hint="name one that backup export-keys wrote", exit_code=2)
    if as_json:
        emit_json({"repositories": repositories(content)})
    else:
        click.echo(content, nl=False)


def _passphrase(path: Path | None, *, twice: bool) -> str:
    if path is not None:
        from orchestrator.drivers.local import escrow

        return escrow.passphrase_of(path)
    if not _terminal():
        raise Failure("no terminal to ask on: give --passphrase-file FILE", exit_code=2)
    asked: str = click.prompt("Passphrase", hide_input=True, confirmation_prompt=twice, err=True)
    return asked


def _terminal() -> bool:
    """Whether somebody can be asked, and does not see what is typed: getpass takes the process's own terminal first."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return sys.stdin.isatty()
    return True
