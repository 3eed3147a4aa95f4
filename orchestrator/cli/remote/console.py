"""orchestrator service console: a guest's serial console in this terminal."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import termios
import threading
import tty
from collections.abc import Iterator
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

import click

from orchestrator.cli.failure import Failure
from orchestrator.cli.output import say
from orchestrator.cli.remote.client import NoServer, below
from orchestrator.cli.remote.options import client

if TYPE_CHECKING:
    from websockets.sync.client import ClientConnection

ESCAPE = b"\x1d"  # Ctrl-], as of telnet and virsh
_ENDED = 1000
_STOPPING = 1012
_CHUNK = 4096
_NOT_NOW, _OUTSIDE_FAILED = 3, 5


@click.command("console")
@click.argument("service")
@click.option("--force", is_flag=True, help="Take it from whoever has it; theirs ends.")
@click.pass_context
def console(context: click.Context, /, service: str, force: bool) -> None:
    """The serial console of the service's guest, in this terminal. Ctrl-] ends it."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise Failure("a console needs a terminal to be shown on", hint="from another machine: `ssh -t`", exit_code=2)
    link = client(context).web_socket(f"{below('services', service)}/console", force="true" if force else "false")
    try:
        say(f"The console of {service}. Press Enter to see where it is; Ctrl-] ends it.", err=True)
        with _raw(sys.stdin.fileno()):
            left = _talk(link, keys=sys.stdin.fileno(), screen=sys.stdout.fileno())
        say("")
        if not left:
            raise _ended(link, service)
        say(f"the console of {service} is closed", err=True)
    finally:
        link.close()


def _ended(link: ClientConnection, service: str) -> Failure:
    """Why it ended without being asked to."""
    if link.close_code == _ENDED:
        return Failure(f"the console of {service} has ended: {link.close_reason or 'no reason was given'}", exit_code=_NOT_NOW)
    if link.close_code == _STOPPING:
        return NoServer(f"the console of {service} has ended: the controller stops", exit_code=_OUTSIDE_FAILED)
    return NoServer(f"the console of {service} has ended: the connection to the controller broke", exit_code=_OUTSIDE_FAILED)


def _talk(link: ClientConnection, *, keys: int, screen: int) -> bool:
    """Carry both ways until one side ends; whether it was this one."""
    from websockets.exceptions import ConnectionClosed

    over, tell = os.pipe()
    shown = threading.Thread(target=_show, args=(link, screen, tell), daemon=True)
    shown.start()
    try:
        while True:
            ready, _, _ = select.select([keys, over], [], [])
            if over in ready:
                return False
            typed = os.read(keys, _CHUNK)
            before, escape, _rest = typed.partition(ESCAPE)
            if before:
                link.send(before)
            if escape or not typed:
                return True
    except ConnectionClosed:
        return False
    finally:
        link.close()
        shown.join(1)
        os.close(over)


def _show(link: ClientConnection, screen: int, tell: int) -> None:
    """In a thread of its own. What the screen does not take yet waits at the controller, where there is a bound to it."""
    from websockets.exceptions import ConnectionClosed

    with contextlib.suppress(ConnectionClosed, OSError):
        for message in link:
            rest = message if isinstance(message, bytes) else message.encode()
            while rest:
                rest = rest[os.write(screen, rest) :]
    with contextlib.suppress(OSError):
        os.close(tell)


@contextlib.contextmanager
def _raw(terminal: int) -> Iterator[None]:
    """Every key goes through as it is; however it ends, the terminal is as it was before."""
    before = termios.tcgetattr(terminal)
    handlers = {number: signal.signal(number, _end) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        tty.setraw(terminal, termios.TCSADRAIN)  # what was typed while it opened is for the guest, too
        yield
    finally:
        with contextlib.suppress(termios.error):  # a terminal that is gone
            termios.tcsetattr(terminal, termios.TCSAFLUSH, before)
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _end(number: int, _frame: FrameType | None) -> NoReturn:
    """As a process that the signal ended would say it, only that everything is put back first."""
    raise SystemExit(128 + number)
