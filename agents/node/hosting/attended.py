"""Programs that take long, such as a dump: looked after until they end, and ended with the agent.

Nothing of one is left when ``attend`` returns or raises, and where the agent is killed the kernel ends it.
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import IO, BinaryIO

from agents.node.hosting.layout import Home
from agents.node.hosting.run import ENVIRONMENT, Done
from agents.node.kernel import die_with_parent

BEAT = 0.5
"""Seconds between two looks."""

_TOLD = 16 << 10

Look = Callable[[], None]
"""Called at each beat; what it raises ends the program."""


def attend(words: Sequence[str], *, look: Look, given: Iterable[bytes] | None = None, into: BinaryIO | None = None) -> Done:
    """How it ended. ``given`` is its input, ``into`` gets its output; environment and session are of its own."""
    told = os.memfd_create("stderr")
    try:
        process = subprocess.Popen(
            list(words),
            stdin=subprocess.DEVNULL if given is None else subprocess.PIPE,
            stdout=into or subprocess.DEVNULL,
            stderr=told,
            env=ENVIRONMENT,
            cwd="/",
            start_new_session=True,
            preexec_fn=die_with_parent,  # the agent has one thread
        )
        try:
            if process.stdin is not None:
                _feed(process.stdin, given or (), look)
            while process.poll() is None:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(BEAT)
                look()
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            if process.stdin is not None:
                with suppress(BrokenPipeError):
                    process.stdin.close()
        size = os.fstat(told).st_size
        err = os.pread(told, _TOLD, max(0, size - _TOLD)).decode(errors="replace")
        return Done(process.returncode, "", err)
    except FileNotFoundError:
        return Done(127, "", f"{words[0]} is not installed")
    finally:
        os.close(told)


def _feed(pipe: IO[bytes], given: Iterable[bytes], look: Look) -> None:
    """Until all is written, or the reader has gone and says why. A reader that takes its time is looked after, too."""
    os.set_blocking(pipe.fileno(), False)
    looked = time.monotonic()
    with selectors.DefaultSelector() as selector, suppress(BrokenPipeError):
        selector.register(pipe, selectors.EVENT_WRITE)
        for piece in given:
            left = memoryview(piece)
            while left:
                if selector.select(BEAT):
                    left = left[os.write(pipe.fileno(), left) :]
                if time.monotonic() > looked + BEAT:
                    look()
                    looked = time.monotonic()
        pipe.close()


def as_account(home: Home, words: Sequence[str]) -> list[str]:
    """The words that run a program with the rights and limits of an account: its user and group and no others, in its slice.

    The kernel forgets with whom a process is to end when its user changes; so that is said once more behind the change.
    """
    scope = ["systemd-run", "--quiet", "--scope", "--collect", f"--slice={home.slice}"]
    rights = ["setpriv", f"--reuid={home.uid}", f"--regid={home.uid}", "--clear-groups", "--no-new-privs", "--pdeathsig=KILL"]
    return [*scope, *rights, *words]
