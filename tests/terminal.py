"""A terminal for the command line to run on."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from tests.served import ORCHESTRATOR

SECONDS = 20.0
_STYLE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def on_a_terminal(arguments: Sequence[str], *, answer: str = "", columns: int = 80) -> str:
    """What the command says, without its colours, on a terminal of that many columns where ``answer`` is typed."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    kept = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    process = subprocess.Popen(
        [*ORCHESTRATOR, *arguments], stdin=slave, stdout=slave, stderr=slave, env=kept | {"TERM": "xterm"}, close_fds=True
    )
    os.close(slave)
    os.write(master, answer.encode())
    said = b""
    while True:
        try:
            chunk = os.read(master, 65536)
        except OSError:  # the terminal is closed by the last process that had it
            break
        if not chunk:
            break
        said += chunk
    os.close(master)
    process.wait(60)
    return _STYLE.sub("", said.decode().replace("\r\n", "\n"))


@contextmanager
def command_on_a_terminal(*arguments: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A command that goes on, on a terminal of its own: the process, and the terminal's other end."""
    master, slave = pty.openpty()
    process = subprocess.Popen([*ORCHESTRATOR, *arguments], stdin=slave, stdout=slave, stderr=slave, start_new_session=True)
    try:
        yield process, master
    finally:
        process.kill()
        process.wait(SECONDS)
        os.close(master)
        os.close(slave)


def shows(screen: int, word: bytes, *, seconds: float = SECONDS) -> bytes:
    """What the terminal shows until the word is there; each part of it within so many seconds."""
    said = b""
    while word not in said:
        assert select.select([screen], [], [], seconds)[0], said
        said += os.read(screen, 65536)
    return said


def cooked(screen: int) -> bool:
    """Whether the terminal echoes and waits for whole lines, as it does before a command makes it raw."""
    wanted = termios.ECHO | termios.ICANON
    return int(termios.tcgetattr(screen)[3]) & wanted == wanted
