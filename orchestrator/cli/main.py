"""``orchestrator NOUN VERB``: the entry point. Commands are imported when they are called, so that --help stays fast."""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
import os
import sys
from typing import NamedTuple

import click
from click.exceptions import NoSuchCommand

from orchestrator.cli.failure import INTERRUPTED, Failure, problem_line
from orchestrator.cli.output import say
from orchestrator.cli.remote.client import DEFAULT_SOCKET, Target, read_token
from orchestrator.domain.errors import OUTCOMES, OrchestratorError

OUTSIDE_FAILED = 5
DEFAULT_CONFIG = "/etc/orchestrator"


class Entry(NamedTuple):
    """Where a command is defined (module:attribute), and its line in --help."""

    target: str
    short_help: str


_REMOTE = "orchestrator.cli.remote"
_LOCAL = "orchestrator.cli.local"
COMMANDS: dict[str, Entry] = {
    "service": Entry(f"{_REMOTE}.service:group", "What customers have, and what can be done with it."),
    "job": Entry(f"{_REMOTE}.job:group", "What is being done, what was done, and what waits."),
    "node": Entry(f"{_REMOTE}.node:group", "Hypervisors and hosting nodes: what they have, enrolling and examining them."),
    "drift": Entry(f"{_REMOTE}.drift:drift", "What differs between the records and what the nodes show."),
    "machine": Entry(f"{_REMOTE}.machine:group", "Dedicated machines: their states, enrolling and examining them."),
    "controller": Entry(f"{_REMOTE}.controller:group", "The processes that work on this database."),
    "plan": Entry(f"{_REMOTE}.catalog:plan", "What is sold."),
    "template": Entry(f"{_REMOTE}.catalog:template", "OS images that guests are made from."),
    "ip": Entry(f"{_REMOTE}.ip:group", "Address ranges and who holds what of them."),
    "event": Entry(f"{_REMOTE}.event:group", "What billing said, and the dead letters."),
    "charge": Entry(f"{_REMOTE}.charge:group", "What customers owe for operations, beside their invoices."),
    "message": Entry(f"{_REMOTE}.message:group", "What billing is told, whether it took it, and what it did not."),
    "audit": Entry(f"{_LOCAL}.audit:group", "Who did what; append-only, chained by hashes."),
    "policy": Entry(f"{_REMOTE}.policy:group", "What is promised, in sentences."),
    "forecast": Entry(f"{_REMOTE}.forecast:forecast", "What will happen to whom, when and why."),
    "terminations": Entry(f"{_REMOTE}.terminations:group", "Whether deadlines terminate, and letting them."),
    "reconcile": Entry(f"{_REMOTE}.reconcile:reconcile", "Billing's own list: count the payments that were lost."),
    "freeze": Entry(f"{_REMOTE}.freeze:group", "Stop everything that suspends or destroys, at once."),
    "certificate": Entry(f"{_LOCAL}.certificate:group", "Proofs of wiping; verify works without a controller."),
    "backup": Entry(f"{_LOCAL}.backup:group", "Backups of services: what stands, making one, and their keys."),
    "restore": Entry(f"{_REMOTE}.restore:restore", "Bring back what a backup of a service holds."),
    "state": Entry(f"{_LOCAL}.state:group", "Copies of the controller itself: making one, and bringing one back."),
    "deploy-image": Entry(f"{_LOCAL}.desk:group", "The small system that dedicated machines are installed and erased by."),
    "init": Entry(f"{_LOCAL}.setup:init", "Make the state directory, the keys and the database."),
    "serve": Entry(f"{_LOCAL}.setup:serve", "Run the controller."),
    "migrate": Entry(f"{_LOCAL}.setup:migrate", "Bring the database to this version."),
    "config": Entry(f"{_LOCAL}.config:group", "Check and show the configuration."),
    "simulate": Entry(f"{_LOCAL}.simulate:simulate", "Run a fleet through a year under a policy, on a virtual clock."),
    "doctor": Entry(f"{_LOCAL}.doctor:doctor", "Find out what keeps the controller from working."),
    "rotate-master-key": Entry(f"{_LOCAL}.setup:rotate_master_key", "Put a new master key in the old one's place."),
    "completion": Entry(f"{_LOCAL}.completion:completion", "What completes these commands in a shell."),
    "token": Entry(f"{_LOCAL}.token:group", "Tokens for the API over TCP."),
}


class LazyGroup(click.Group):
    """A group whose commands are imported by name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        module, _, attribute = entry.target.partition(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        if ctx.resilient_parsing:  # a shell asks what would complete a line
            importlib.import_module("orchestrator.cli.remote.ids").complete(command)
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except NoSuchCommand as exc:
            # The group itself knows of no commands before they are asked for.
            raise NoSuchCommand(exc.command_name, possibilities=COMMANDS, ctx=ctx) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.short_help) for name, entry in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.option(
    "--socket",
    envvar="ORCHESTRATOR_SOCKET",
    show_envvar=True,
    default=DEFAULT_SOCKET,
    show_default=True,
    metavar="PATH",
    help="The controller's unix socket.",
)
@click.option(
    "--url",
    envvar="ORCHESTRATOR_URL",
    show_envvar=True,
    default="",
    metavar="URL",
    help="Talk to a controller over TCP instead, such as https://controller.example:8080; needs a token.",
)
@click.option(
    "--token-file",
    envvar="ORCHESTRATOR_TOKEN_FILE",
    show_envvar=True,
    metavar="FILE",
    help="File with the token for --url; or the token itself in ORCHESTRATOR_TOKEN.",
)
@click.option(
    "--config",
    "config_dir",
    envvar="ORCHESTRATOR_CONFIG",
    show_envvar=True,
    default=DEFAULT_CONFIG,
    show_default=True,
    metavar="DIR",
    help="Configuration directory, for the commands that work on this machine.",
)
@click.version_option(package_name="orchestrator", prog_name="orchestrator")
@click.pass_context
def cli(context: click.Context, /, socket: str, url: str, token_file: str | None, config_dir: str) -> None:
    """Makes machines follow what billing says, and proves each act.

    Exit codes: 0 done, 1 our own fault, 2 wrong call or files, 3 not possible in this state, 4 refused by a rule or waiting
    for approval, 5 something outside failed or no controller runs, 6 an operator must look, 7 not allowed.
    """
    context.obj = Target(socket=socket, url=url, token=read_token(token_file))
    context.meta["orchestrator.config_dir"] = config_dir


def main(arguments: list[str] | None = None) -> None:
    """Run, and turn whatever goes wrong into a sentence on standard error and an exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal of another encoding shows an escape for what it has no letter for.
            stream.reconfigure(errors="backslashreplace")
    sys.exit(run(arguments))


def run(arguments: list[str] | None = None) -> int:
    """As ``main``, but returns the exit code."""
    try:
        # Commands return nothing; an exit code comes back for --help and context.exit().
        code = cli.main(args=arguments, prog_name="orchestrator", standalone_mode=False)
    except Failure as exc:
        return tell(exc)
    except OrchestratorError as exc:
        return _say_ours(exc)
    except click.ClickException as exc:
        exc.show()
        return exc.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of a pipe went away (`| head`): no error, but nothing may be flushed into it at exit.
        _discard_output()
        return 0
    except OSError as exc:
        return _say_system(exc)
    except Exception as exc:
        if os.environ.get("ORCHESTRATOR_DEBUG"):
            logging.getLogger("orchestrator.cli").error("unexpected error", exc_info=exc)
        hint = "set ORCHESTRATOR_DEBUG=1 and repeat it to see where"
        return _say(f"unexpected error: {type(exc).__name__}: {exc}", hint=hint, exit_code=1)
    return code if isinstance(code, int) else 0


def tell(failure: Failure) -> int:
    """Say it on standard error; the exit code."""
    return _say(failure.message, hint=failure.hint, lines=failure.lines, exit_code=failure.exit_code)


def _say_system(error: OSError) -> int:
    """A file, or the place where the words go (a full disk), did what files do."""
    message = f"{error.filename}: {error.strerror}" if error.filename else f"its words could not be written: {error.strerror}"
    if error.filename is None:
        _discard_output()
    return _say(message, exit_code=OUTSIDE_FAILED)


def _discard_output() -> None:
    """What is still waiting to be written must not fail once more when the process ends."""
    with contextlib.suppress(io.UnsupportedOperation):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _say_ours(error: OrchestratorError) -> int:
    problems = error.details.get("problems", [])
    lines = tuple(problem_line(problem) for problem in problems if isinstance(problem, dict))
    return _say(error.message, hint=error.hint, lines=lines, exit_code=OUTCOMES[error.code].exit_code)


def _say(message: str, *, hint: str = "", lines: tuple[str, ...] = (), exit_code: int) -> int:
    say(f"orchestrator: {message}", err=True)
    for line in lines:
        say(f"  {line}", err=True)
    if hint:
        say(f"  {hint}", err=True)
    return exit_code


if __name__ == "__main__":
    main()
