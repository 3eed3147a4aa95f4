"""orchestrator service change-plan, reinstall, reset-password, set-keys, mail, rescue, test-hardware: services from outside."""

from __future__ import annotations

from typing import Any

import click

from orchestrator.cli.failure import Failure
from orchestrator.cli.output import emit_json, say
from orchestrator.cli.remote.asking import ask
from orchestrator.cli.remote.client import below
from orchestrator.cli.remote.confirm import confirm, meant_option
from orchestrator.cli.remote.options import NeededToAct, client, dry_run_option, json_option, one_of, watch_option

_MOST = 16 * 1024
_reason_needed = click.option(
    "--reason", "--why", "reason", cls=NeededToAct, help="Why; goes into the audit. Only --dry-run needs none."
)


@click.command("change-plan")
@click.argument("service")
@click.argument("plan")
@click.option(
    "--restart",
    type=click.Choice(["never", "now", "window"]),
    default="never",
    show_default=True,
    help="Of a guest: whether it is restarted where it cannot get all of it while it runs; window: in the next one of its node.",
)
@_reason_needed
@dry_run_option
@watch_option
@json_option
@click.pass_context
def change_plan(context: click.Context, /, service: str, plan: str, restart: str, reason: str | None, **options: Any) -> None:
    """Move a guest or an account to the size and the limits of another plan. A guest's disk is never made smaller."""
    ask(context, service, "change-plan", {"reason": reason or "", "plan": plan, "restart": restart}, options)


@click.command("cancel-restart")
@click.argument("service")
@_reason_needed
@json_option
@click.pass_context
def cancel_restart(context: click.Context, /, service: str, reason: str | None, as_json: bool) -> None:
    """Call off the restart that is planned for a window; the guest's next stop and start does what is left to do."""
    answer = client(context).post(below("services", service, "cancel-restart"), {"reason": reason or ""})
    if as_json:
        emit_json(answer)
    else:
        say(f"{service}: {answer['detail']}")


@click.command("reinstall")
@click.argument("service")
@click.option("--template", default="", help="What is installed; left out: the template that it has.")
@click.option("--all-disks", is_flag=True, help="Of a machine: erase every disk first, not only write over the system's.")
@_reason_needed
@meant_option
@dry_run_option
@watch_option
@json_option
@click.pass_context
def reinstall(
    context: click.Context, /, service: str, template: str, all_disks: bool, reason: str | None, meant: str, **options: Any
) -> None:
    """Install the system of a guest or a machine anew, with the same addresses and keys. What is on its disk is lost."""
    if not options["dry_run"]:
        confirm(service, meant, what="reinstall destroys data", warning=f"This destroys what is on the disk of {service}.")
    body = {"reason": reason or "", "template": template, "all_disks": all_disks}
    ask(context, service, "reinstall", body, options)


@click.command("reset-password")
@click.argument("service")
@click.option("--hash-file", required=True, metavar="FILE", help="With the hash of the new password ('-' = standard input).")
@_reason_needed
@dry_run_option
@watch_option
@json_option
@click.pass_context
def reset_password(context: click.Context, /, service: str, hash_file: str, reason: str | None, **options: Any) -> None:
    """Set the password of root: in a guest that runs, by its agent; on a machine's disk, while it is off, and it boots again.

    A password is never given, only its hash: mkpasswd -m yescrypt | orchestrator service reset-password SERVICE --hash-file - …
    """
    body = {"reason": reason or "", "password_hash": _line(hash_file, what="the hash of a password")}
    ask(context, service, "reset-password", body, options)


@click.command("set-keys")
@click.argument("service")
@click.option("--key", "keys", multiple=True, required=True, metavar="FILE", help="A public SSH key. Repeatable.")
@_reason_needed
@dry_run_option
@watch_option
@json_option
@click.pass_context
def set_keys(context: click.Context, /, service: str, keys: tuple[str, ...], reason: str | None, **options: Any) -> None:
    """Let these SSH keys log in as root of a guest that runs, and no others, by the agent inside of it."""
    body = {"reason": reason or "", "ssh_keys": [_line(file, what="a public SSH key") for file in keys]}
    ask(context, service, "set-keys", body, options)


@click.command("mail")
@click.argument("service")
@click.option("--open", is_flag=True, help="Its guest may send to port 25 of others. One of these three is needed.")
@click.option("--close", is_flag=True, help="It may not; connections that stand end with it, too.")
@click.option("--as-plan", is_flag=True, help="As its plan says.")
@_reason_needed
@dry_run_option
@watch_option
@json_option
@click.pass_context
def mail(context: click.Context, /, service: str, reason: str | None, **options: Any) -> None:
    """Let a guest send mail to others (TCP port 25) or not, at once and from then on, whether it runs or is suspended."""
    said = one_of(options, ("open", "close", "as_plan"), asked="what is it to be?")
    body = {"reason": reason or "", "mail": {"open": "open", "close": "closed", "as_plan": "plan"}[said]}
    ask(context, service, "set-mail", body, options)


@click.command("test-hardware")
@click.argument("service")
@click.option("--memory", is_flag=True, help="Test its memory.")
@click.option("--disks", is_flag=True, help="Read its disks. Neither named: both.")
@click.option("--seconds", type=click.IntRange(30, 604800), default=600, show_default=True, metavar="N", help="For all of it.")
@_reason_needed
@dry_run_option
@watch_option
@json_option
@click.pass_context
def test_hardware(
    context: click.Context, /, service: str, memory: bool, disks: bool, seconds: int, reason: str | None, **options: Any
) -> None:
    """Test memory and disks of a machine. It is switched off for so long; nothing on its disks changes."""
    body = {"reason": reason or "", "memory": memory, "disks": disks, "seconds": seconds}
    ask(context, service, "test-hardware", body, options)


@click.group("rescue")
def rescue() -> None:
    """Boot a machine into a rescue system in its memory, and leave that."""


@rescue.command("on")
@click.argument("service")
@click.option("--key", "keys", multiple=True, metavar="FILE", help="A public SSH key; left out: the service's own. Repeatable.")
@_reason_needed
@dry_run_option
@watch_option
@json_option
@click.pass_context
def rescue_on(context: click.Context, /, service: str, keys: tuple[str, ...], reason: str | None, **options: Any) -> None:
    """Boot the machine into a rescue system that whoever has the key may log in to as root. Its disks are not touched."""
    body = {"on": True, "reason": reason or "", "ssh_keys": [_line(file, what="a public SSH key") for file in keys]}
    ask(context, service, "rescue", body, options)


@rescue.command("off")
@click.argument("service")
@click.option("--reason", "--why", "reason", default="", help="Why; goes into the audit.")
@dry_run_option
@watch_option
@json_option
@click.pass_context
def rescue_off(context: click.Context, /, service: str, reason: str, **options: Any) -> None:
    """End the rescue system, and start the machine from its disk."""
    ask(context, service, "rescue", {"on": False, "reason": reason}, options)


def _line(file: str, *, what: str) -> str:
    """The one line of the file. A private key, taken by mistake, is not sent anywhere."""
    try:
        with click.open_file(file, "rb") as stream:
            text: str = stream.read(_MOST + 1).decode()
    except OSError as exc:
        raise Failure(f"{file} cannot be read: {exc.strerror}", exit_code=2) from None
    except ValueError:
        raise Failure(f"{file} is no text", exit_code=2) from None
    found = [line.strip() for line in text.split("\n") if line.strip()] if len(text) <= _MOST else []
    if len(found) != 1:
        raise Failure(f"{file}: one line is expected, with {what}", exit_code=2)
    return found[0]


@click.command("move")
@click.argument("service")
@click.option("--to", default="", metavar="NODE", help="The node that is to take it in; left out: whichever placement chooses.")
@_reason_needed
@dry_run_option
@watch_option
@json_option
@click.pass_context
def move(context: click.Context, /, service: str, to: str, reason: str | None, **options: Any) -> None:
    """Move a guest to another node, with its addresses and its disk. It is off meanwhile; its old disk is wiped."""
    ask(context, service, "move", {"reason": reason or "", "to": to}, options)


COMMANDS = (change_plan, cancel_restart, move, reinstall, reset_password, set_keys, mail, rescue, test_hardware)
