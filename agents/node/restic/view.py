"""A directory of a customer's, seen so that nothing outside it can be reached through it.

restic runs as root and goes by paths. A customer who puts a link in the place of a directory at the right moment could have it
read or write anything. So restic sees the directory through a bind mount of its own, in a mount namespace that ends with it, on
which no symbolic link is followed (mount(2), MS_NOSYMFOLLOW, Linux 5.10); to read, it is mounted read-only. Its path is always
the same, so that a home that was moved still has its parent snapshot.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from agents.node import kernel
from agents.node.protocol import AgentError


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """``directory`` as it shall be seen, at ``place`` (an empty directory). ``identity`` is its device and inode."""

    directory: str
    place: str
    identity: tuple[int, int]
    write: bool = False

    def enter(self) -> None:
        """Called in the child that will become restic. Raises OSError."""
        if os.geteuid() != 0:  # only in tests: nobody but root may mount, and only root has anything to guard
            os.chdir(self.directory)
            return
        kernel.keep_mounts_private()
        # Opened in the new namespace: a mount of the old one cannot be bound here.
        fd = open_directory(self.directory)
        found = os.fstat(fd)
        if (found.st_dev, found.st_ino) != self.identity:
            raise OSError(errno.ESTALE, "another directory took its place", self.directory)
        kernel.mount(f"/proc/self/fd/{fd}", self.place, kernel.BIND)
        guard = kernel.NOSYMFOLLOW | kernel.NOSUID | kernel.NODEV | kernel.NOATIME | (0 if self.write else kernel.RDONLY)
        kernel.mount(None, self.place, kernel.REMOUNT | kernel.BIND | guard)
        os.close(fd)
        os.chdir(self.place)


def open_directory(path: str) -> int:
    """A descriptor of the directory; none of the path's parts may be a link. Raises OSError."""
    fd = os.open("/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    for part in path.strip("/").split("/"):
        try:
            below = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
        finally:
            os.close(fd)
        fd = below
    return fd


@contextmanager
def opened(path: str) -> Iterator[int]:
    """The open directory. Raises AgentError: not-found, refused (a link or no directory)."""
    try:
        fd = open_directory(path)
    except FileNotFoundError:
        raise AgentError("not-found", f"there is no directory {path}", reason="no-source") from None
    except (NotADirectoryError, OSError) as exc:
        if exc.errno not in (errno.ENOTDIR, errno.ELOOP):
            raise
        raise AgentError("refused", f"{path} is no directory, or leads through a link: name the real directory") from None
    try:
        yield fd
    finally:
        os.close(fd)


def identity(fd: int) -> tuple[int, int]:
    found = os.fstat(fd)
    return found.st_dev, found.st_ino


def make_directory(path: str) -> None:
    """Make the last part of the path where it is missing, for the owner of the directory that it lies in."""
    parent, _, name = path.rpartition("/")
    with opened(parent or "/") as fd:
        try:
            os.mkdir(name, 0o700, dir_fd=fd)
        except FileExistsError:
            return
        made = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
        try:
            owner = os.fstat(fd)
            if stat.S_ISDIR(os.fstat(made).st_mode) and os.geteuid() == 0:
                os.fchown(made, owner.st_uid, owner.st_gid)
        finally:
            os.close(made)
