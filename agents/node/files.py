"""Opening files of a pool so that nothing outside it can be reached through them."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import posixpath
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from agents.node.arguments import VOLUME_NAME
from agents.node.place import Place
from agents.node.protocol import AgentError

PATIENCE = 3.0
"""Seconds that a volume may still be open elsewhere before its wipe is refused for now."""

_RENAME_NOREPLACE = 1


@contextmanager
def pool_of(place: Place, path: str) -> Iterator[tuple[int, str]]:
    """The open pool directory and the file's name in it. Raises AgentError (refused) for a path outside declared pools."""
    directory, name = posixpath.split(path)
    fd = os.open(place.pool(directory), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield fd, name
    finally:
        os.close(fd)


def volume_name(name: str) -> str:
    """``name`` if it is that of a service's volume; templates and others' files are refused."""
    if not VOLUME_NAME.fullmatch(name) or name.endswith(".wiping"):
        raise AgentError("refused", f"{name} is not the name of a service's volume")
    return name


def open_in(directory: int, name: str, flags: int = os.O_RDONLY) -> int | None:
    """A descriptor of the regular file ``name``, None where there is none. A link or anything else is refused.

    O_NONBLOCK: opening a pipe that somebody put there must not hang; it has no effect on a regular file.
    """
    try:
        fd = os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, dir_fd=directory)
    except FileNotFoundError:
        return None
    except OSError as exc:
        if exc.errno in (errno.ELOOP, errno.ENXIO, errno.EISDIR):
            raise AgentError("refused", f"{name} is not a regular file") from None
        if exc.errno == errno.EINVAL and flags & os.O_DIRECT:
            raise AgentError("refused", f"the file system of {name} cannot write past its cache (O_DIRECT)") from None
        raise
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise AgentError("refused", f"{name} is not a regular file")
    return fd


def refuse_other_names(fd: int, name: str) -> None:
    """A file with a second name (hard link) may belong to somebody else under that: refused."""
    links = os.fstat(fd).st_nlink
    if links != 1:
        raise AgentError("refused", f"{name} has {links} names (hard links): it may belong to something else")


def is_there(directory: int, name: str) -> bool:
    """Whether anything has that name."""
    try:
        os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def remove(directory: int, name: str) -> None:
    """Remove a file that holds nothing yet; absent is as good."""
    with suppress(FileNotFoundError):
        os.unlink(name, dir_fd=directory)


def rename_new(directory: int, old: str, new: str) -> None:
    """Rename in one instant, and never over anything: FileExistsError where ``new`` is there (renameat2(2))."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.renameat2(directory, os.fsencode(old), directory, os.fsencode(new), _RENAME_NOREPLACE) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), new)


def require_same(directory: int, name: str, fd: int) -> None:
    """Raises AgentError (in-doubt) where ``name`` is no longer the open file: somebody moved it or put another there."""
    found, wanted = None, os.fstat(fd)
    with suppress(FileNotFoundError):
        found = os.stat(name, dir_fd=directory, follow_symlinks=False)
    if found is None or (found.st_dev, found.st_ino) != (wanted.st_dev, wanted.st_ino):
        raise AgentError(
            "in-doubt",
            f"{name} is no longer the file that was opened to be wiped: it was moved or replaced, and nothing was removed",
            hint="an operator must look where that file is now",
        )


def refuse_in_use(fd: int, name: str) -> None:
    """Raises AgentError (driver-transient) where another process keeps the file open for longer than PATIENCE.

    A shorter look (libvirt reads every volume's header when it refreshes a pool) is waited for.
    """
    end = time.monotonic() + PATIENCE
    while not _alone(fd):
        if time.monotonic() > end:
            holders = ", ".join(processes_with(fd)) or "another process"
            raise AgentError("driver-transient", f"{name} is in use by {holders}", hint="stop the guest first")
        time.sleep(0.1)


def _alone(fd: int) -> bool:
    """A write lease is granted only to the one who is alone with a file (fcntl(2)); it is given back at once."""
    try:
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_WRLCK)
    except OSError as exc:
        # A file system that knows no leases does not tell; what /proc shows then has to do.
        return exc.errno not in (errno.EAGAIN, errno.EACCES) and not processes_with(fd)
    fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return True


def processes_with(fd: int) -> list[str]:
    """``name (pid)`` of other processes that have the same file open, as far as /proc shows."""
    wanted = os.fstat(fd)
    found = []
    for process in Path("/proc").iterdir():
        if not process.name.isdigit() or int(process.name) == os.getpid():
            continue
        try:
            entries = [entry.stat() for entry in (process / "fd").iterdir()]
            name = os.fsdecode((process / "comm").read_bytes()).strip()
        except OSError:
            continue  # it ended meanwhile
        if any((e.st_dev, e.st_ino) == (wanted.st_dev, wanted.st_ino) for e in entries):
            found.append(f"{name} ({process.name})")
    return found
