"""A terminal for the command line to run on."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
from collections.abc import Sequence

from tests.served import ORCHESTRATOR

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
