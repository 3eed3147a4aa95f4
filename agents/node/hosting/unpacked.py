"""What an import puts into a home, noted before it does: an import that fails takes that out again, and nothing else.

Noted are the names that were not there before. What was there, and was written over, is its customer's and stays. Of what is
noted a file goes where it is as it was unpacked, by its size and time; one that somebody has changed since stays, too.
"""

from __future__ import annotations

import errno
import json
import os
import posixpath
import stat
import tarfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agents.node.hosting import manifest, tree
from agents.node.hosting.layout import Home

_FILE, _DIRECTORY, _LINK = "file", "directory", "link"
_TOLD = 20
_NANO = 10**9

Look = Callable[[], None]


@dataclass(slots=True)
class TakenOut:
    """``left``: the first of those names that stay, of ``left_count``."""

    removed: int = 0
    left_count: int = 0
    left: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Row:
    """A name below the home. ``size`` and ``mtime`` (whole seconds) of a file; ``target`` of a symbolic link."""

    name: str
    kind: str
    size: int = 0
    mtime: int = 0
    target: str = ""


def note(home: Home, members: Iterable[tarfile.TarInfo], *, job_id: str, look: Look) -> None:
    """Before anything is unpacked, and once for a job: what its first attempt has made is its own."""
    if _job_of(home) == job_id:
        return
    manifest.directory(home)
    new = _journal(home).with_suffix(".new")
    new.unlink(missing_ok=True)
    fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "w", encoding="ascii") as stream, _home(home) as at:
        stream.write(json.dumps({"job_id": job_id}) + "\n")
        for row in _absent(at, members):
            stream.write(json.dumps([row.name, row.kind, row.size, row.mtime, row.target]) + "\n")
            look()
        stream.flush()
        os.fsync(fd)
    new.replace(_journal(home))
    with tree.opened(home.records) as directory:
        os.fsync(directory)


def take_out(home: Home, *, job_id: str, uid: int, whole: bool, look: Look) -> TakenOut:
    """Remove what the job's import has put there as that user; again does nothing. ``whole``: all was unpacked; else the last
    file may be a part of what it was to be."""
    taken = TakenOut()
    if _job_of(home) != job_id:
        return taken
    rows, partial = _rows(home)[::-1], not whole
    with _home(home) as at:
        for row in rows:
            look()
            gone = _remove(at, row, uid=uid, partial=partial)
            if gone is None:
                continue
            if row.kind != _DIRECTORY:
                partial = False  # tar writes one after the other
            taken.removed += gone
            taken.left_count += not gone
            if not gone and len(taken.left) < _TOLD:
                taken.left.append(row.name)
    return taken


def forget(home: Home) -> None:
    tree.remove(_journal(home))


def _journal(home: Home) -> Path:
    return home.records / "import-files"


def _job_of(home: Home) -> str:
    with suppress(OSError, ValueError, AttributeError), _journal(home).open(encoding="ascii") as stream:
        return str(json.loads(stream.readline()).get("job_id", ""))
    return ""


def _rows(home: Home) -> list[_Row]:
    with _journal(home).open(encoding="ascii") as stream:
        stream.readline()
        return [_Row(*_read(line)) for line in stream]


def _read(line: str) -> Any:
    return json.loads(line)


@contextmanager
def _home(home: Home) -> Iterator[int]:
    with tree.opened(home.chroot) as chroot:
        at = tree.open_beneath(chroot, "home")
    try:
        yield at
    finally:
        os.close(at)


def _absent(at: int, members: Iterable[tarfile.TarInfo]) -> Iterator[_Row]:
    """What of the members, and of the directories that they lie in, is not there; directories before what is in them."""
    files: dict[str, tuple[int, int]] = {}
    seen: set[str] = set()
    for member in members:
        for above in _above(member.name, itself=member.isdir()):
            if above not in seen:
                seen.add(above)
                if _is_absent(at, above):
                    yield _Row(above, _DIRECTORY)
        if member.isdir():
            continue
        if not member.issym():
            files[member.name] = files[member.linkname] if member.islnk() else (member.size, int(member.mtime))
        if not _is_absent(at, member.name):
            continue
        if member.issym():
            yield _Row(member.name, _LINK, target=member.linkname)
        else:
            yield _Row(member.name, _FILE, *files[member.name])


def _above(name: str, *, itself: bool) -> Iterator[str]:
    parts = name.split("/")
    return ("/".join(parts[:count]) for count in range(1, len(parts) + itself))


def _is_absent(at: int, name: str) -> bool:
    """Whether the name is provably free. Behind a link or a mount nothing is: what is there is not ours to say."""
    try:
        with _parent(at, name) as above:
            os.stat(posixpath.basename(name), dir_fd=above, follow_symlinks=False)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return False


@contextmanager
def _parent(at: int, name: str) -> Iterator[int]:
    above = posixpath.dirname(name)
    fd = tree.open_beneath(at, above) if above else os.dup(at)
    try:
        yield fd
    finally:
        os.close(fd)


def _remove(at: int, row: _Row, *, uid: int, partial: bool) -> bool | None:
    """Whether it was removed; None where it is not there."""
    base = posixpath.basename(row.name)
    try:
        with _parent(at, row.name) as above:
            found = os.stat(base, dir_fd=above, follow_symlinks=False)
            if found.st_uid != uid or not _is_ours(above, base, row, found, partial=partial):
                return False
            if row.kind == _DIRECTORY:
                os.rmdir(base, dir_fd=above)
            else:
                os.unlink(base, dir_fd=above)
    except FileNotFoundError:
        return None
    except OSError as exc:
        if exc.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ELOOP, errno.ENOTDIR, errno.EXDEV, errno.EBUSY):
            return False
        raise
    return True


def _is_ours(above: int, base: str, row: _Row, found: os.stat_result, *, partial: bool) -> bool:
    if row.kind == _DIRECTORY:
        return stat.S_ISDIR(found.st_mode)
    if row.kind == _LINK:
        return stat.S_ISLNK(found.st_mode) and os.readlink(base, dir_fd=above) == row.target
    if not stat.S_ISREG(found.st_mode):
        return False
    return (found.st_size, found.st_mtime_ns) == (row.size, row.mtime * _NANO) or (partial and found.st_size <= row.size)
