"""Walks through an account's directory: by descriptors, through no link, into nothing that is mounted there."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from agents.node.hosting import tree

_GONE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EXDEV, errno.ENAMETOOLONG)
"""What a directory may answer that was met a moment ago, or lies deeper than any path goes: restic does not get there either."""

_RUN, _READ = 0o750, 0o640
_TEXT = 64 << 10

Beat = Callable[[], None]


def _below(top: int, beat: Beat) -> Iterator[tuple[int, str, os.stat_result, str]]:
    """Everything below the open directory: the directory that it is in, its name there, what it is, its path."""
    waiting = ["."]
    while waiting:
        here = waiting.pop()
        beat()
        try:
            fd = tree.open_beneath(top, here)
        except OSError as exc:
            if exc.errno in _GONE:
                continue
            raise
        try:
            with os.scandir(fd) as entries:
                for entry in entries:
                    with suppress(FileNotFoundError):
                        path = entry.name if here == "." else f"{here}/{entry.name}"
                        found = entry.stat(follow_symlinks=False)
                        if stat.S_ISDIR(found.st_mode):
                            waiting.append(path)
                        yield fd, entry.name, found, path
        finally:
            os.close(fd)


@dataclass(slots=True)
class InTheWay:
    """Paths, relative to the directory that was looked through. ``foreign``: names of another user's files that have other names,
    too. ``unread``: pipes and sockets, and whatever else holds nothing that can be read."""

    foreign: list[str] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)


def in_the_way(directory: Path, uid: int, *, beat: Beat) -> InTheWay:
    """What a program of root's must not find there that writes files over those that are there."""
    way = InTheWay()
    with tree.opened(directory) as top:
        for _, _, found, path in _below(top, beat):
            if stat.S_ISDIR(found.st_mode):
                continue
            if found.st_nlink > 1 and found.st_uid != uid:
                way.foreign.append(path)
            if not stat.S_ISREG(found.st_mode) and not stat.S_ISLNK(found.st_mode):
                way.unread.append(path)
    return way


def unlink(directory: Path, path: str) -> None:
    """A name in it, whose directory is reached through no link; absent is success."""
    above, _, name = path.rpartition("/")
    with tree.opened(directory) as top, suppress(FileNotFoundError):
        fd = tree.open_beneath(top, above or ".")
        try:
            os.unlink(name, dir_fd=fd)
        finally:
            os.close(fd)


def text_beneath(top: int, path: str) -> str:
    """A small text below an open directory, through no link; '' where there is none."""
    above, _, name = path.rpartition("/")
    try:
        fd = tree.open_beneath(top, above or ".")
    except OSError:
        return ""
    try:
        opened = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=fd)
    except OSError:
        return ""
    finally:
        os.close(fd)
    try:
        plain = stat.S_ISREG(os.fstat(opened).st_mode)
        return os.read(opened, _TEXT).decode(errors="replace") if plain else ""
    finally:
        os.close(opened)


def show(directory: Path, group: int, *, beat: Beat) -> None:
    """All of it becomes root's, to be read by that group and changed by nobody; what could be run can be run. It is in a
    directory of root's that nobody else has entered."""
    with tree.opened(directory) as top:
        for fd, name, found, _ in _below(top, beat):
            os.chown(name, 0, group, dir_fd=fd, follow_symlinks=False)
            if stat.S_ISDIR(found.st_mode):
                os.chmod(name, _RUN, dir_fd=fd)
            elif stat.S_ISREG(found.st_mode):
                os.chmod(name, _RUN if found.st_mode & stat.S_IXUSR else _READ, dir_fd=fd)
