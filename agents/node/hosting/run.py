"""Runs the node's own programs: words, never a shell; a clean environment; a time after which all of it is killed."""

from __future__ import annotations

import errno
import os
import resource
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from agents.node.protocol import AgentError

ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG": "C.UTF-8",
    "LC_ALL": "C.UTF-8",
    "HOME": "/root",
}
SECONDS = 60.0
NO_ROOM = "No space left on device"
_TOLD = 600
_FILES = 65536
# Where systemd makes directories for a service that it starts. What is tried there has no name.
_USED = ("/tmp", "/run", "/var/tmp")  # noqa: S108
_PAGE = 4096


@dataclass(frozen=True, slots=True)
class Done:
    """How a program ended: 0 = well, below 0 = by a signal, 127 = it is not there."""

    status: int
    out: str
    err: str

    @property
    def lacks_room(self) -> bool:
        """Whether it says that a disk is full: which may pass, and is no fault of what it was given."""
        return NO_ROOM in self.err

    @property
    def said(self) -> str:
        """The end of what it said, in one line."""
        return " ".join((self.err.strip() or self.out.strip()).split())[-_TOLD:]


@dataclass(frozen=True, slots=True)
class As:
    """Whose rights a program gets: those of an account, and none of the agent's groups."""

    uid: int
    gid: int


def run(
    words: Sequence[str],
    *,
    given: str = "",
    seconds: float = SECONDS,
    more: Mapping[str, str] | None = None,
    by: As | None = None,
) -> Done:
    """Run it to its end. Raises AgentError (driver-transient) where it does not end in time."""
    process: subprocess.Popen[str]
    try:
        process = subprocess.Popen(
            list(words),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**ENVIRONMENT, **(more or {})},
            cwd="/",
            text=True,
            errors="replace",
            start_new_session=True,
            user=by.uid if by else None,
            group=by.gid if by else None,
            extra_groups=() if by else None,
        )
    except FileNotFoundError:
        return Done(127, "", f"{words[0]} is not installed")
    try:
        out, err = process.communicate(given, timeout=seconds)
    except subprocess.TimeoutExpired:
        raise AgentError("driver-transient", f"{words[0]} did not end within {seconds:g} s") from None
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    return Done(process.returncode, out, err)


def must(words: Sequence[str], *, doing: str, given: str = "", seconds: float = SECONDS, ok: Sequence[int] = (0,)) -> str:
    """Its output. Raises AgentError with the program's own words where it did not go well: driver-permanent, or driver-transient
    where a disk is full."""
    done = run(words, given=given, seconds=seconds)
    if done.status not in ok:
        told = f"{doing}: {words[0]} ended with {done.status}: {done.said}"
        if done.lacks_room:
            raise AgentError("driver-transient", told)
        # What a service lacks for its start stands in the journal only: without a byte of room it has no namespace.
        full = [path for path in _USED if is_full(path)] if words[0] == "systemctl" else []
        if full:
            raise AgentError("driver-transient", f"{told}; {NO_ROOM} ({', '.join(full)})")
        raise AgentError("driver-permanent", told)
    return done.out


def is_full(directory: str) -> bool:
    """Whether not even a page can be written there. It is tried: what a file system calls free it need not give to anybody."""
    try:
        with tempfile.TemporaryFile(dir=directory, buffering=0) as page:
            page.write(bytes(_PAGE))
    except OSError as exc:
        return exc.errno == errno.ENOSPC
    return False


def allow_many_files() -> None:
    """nginx opens every log and certificate when it tests its configuration; so do those it is a child of."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _FILES if hard == resource.RLIM_INFINITY else min(hard, _FILES)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
