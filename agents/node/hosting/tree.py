"""Files and directories where a customer may have put anything in the way: opened by descriptor, never through a link, never on
another file system.

What is written for root alone lies in root's own directories; ``make``, ``erase`` and ``remove_of`` work where customers write.
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
import secrets
import stat
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from agents.node.protocol import AgentError

_OPENAT2 = 437
_NO_XDEV, _NO_MAGICLINKS, _NO_SYMLINKS, _BENEATH = 1, 2, 4, 8
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_SIZE_LIMIT = 4 << 20
_PIECE = 64 << 10
_OCTAL = re.compile(r"\\([0-7]{3})")
_NO_DIRECTORY = (errno.ENOTDIR, errno.ELOOP)
_MOUNTED = (errno.EBUSY, errno.EXDEV)

_libc = ctypes.CDLL(None, use_errno=True)


# -- root's own files ------------------------------------------------------------------------------------------------------


def read(path: Path) -> str | None:
    """The text of a plain file; None where there is none. Raises AgentError (refused) for a link or anything else."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as exc:
        if exc.errno == errno.ELOOP:
            raise AgentError("refused", f"{path} is a link and not a file of ours") from None
        raise
    with os.fdopen(fd, "rb") as stream:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise AgentError("refused", f"{path} is not a regular file")
        data = b""
        # In pieces: the kernel's own files take no large buffer.
        while len(data) < _SIZE_LIMIT and (piece := stream.read(_PIECE)):
            data += piece
        return data.decode(errors="surrogateescape")


def lines(text: str) -> list[str]:
    """Those of a file of the system's: they end with a newline and nothing else. ``str.splitlines`` knows other ends, which a
    customer may put into a field or a line of his own (chfn(1), crontab(1)) and have the rest of it taken for another."""
    return text.removesuffix("\n").split("\n") if text else []


def write(path: Path, text: str, *, mode: int = 0o600, owner: tuple[int, int] | None = None, sync: bool = False) -> bool:
    """The file holds ``text``, whole at any moment; whether it was another before. Mode and owner are set in any case."""
    with suppress(AgentError):
        if read(path) == text:
            found = path.stat(follow_symlinks=False)
            if stat.S_IMODE(found.st_mode) == mode and (owner is None or (found.st_uid, found.st_gid) == owner):
                return False
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)
    fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(fd, "wb") as stream:
            stream.write(text.encode(errors="surrogateescape"))
            os.fchmod(fd, mode)
            if owner is not None:
                os.fchown(fd, *owner)
            if sync:
                stream.flush()
                os.fsync(fd)
        new.replace(path)
    except OSError as exc:
        new.unlink(missing_ok=True)
        exc.filename = exc.filename or str(path)  # a write names no file: where there is no room has to be said
        raise
    if sync:
        with opened(path.parent) as directory:
            os.fsync(directory)
    return True


def remove(path: Path) -> bool:
    """Whether there was one. A link is removed and not followed."""
    try:
        path.unlink()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def move(path: Path, target: Path) -> bool:
    """Whether there was one to move. Both are in root's directories; the target is whole, or not there."""
    try:
        found = path.stat(follow_symlinks=False)
    except (FileNotFoundError, NotADirectoryError):
        return False
    if not stat.S_ISREG(found.st_mode):
        raise AgentError("refused", f"{path} is not a regular file")
    try:
        path.replace(target)
    except OSError as exc:
        if exc.errno != errno.EXDEV:
            raise
        write(target, read(path) or "", mode=stat.S_IMODE(found.st_mode), owner=(found.st_uid, found.st_gid), sync=True)
        path.unlink(missing_ok=True)
        os.utime(target, ns=(found.st_atime_ns, found.st_mtime_ns))
    return True


def names(directory: Path) -> list[str]:
    """What is in it, sorted; nothing where it is not there."""
    try:
        with os.scandir(directory) as entries:
            return sorted(entry.name for entry in entries)
    except (FileNotFoundError, NotADirectoryError):
        return []


# -- directories of customers ----------------------------------------------------------------------------------------------


@contextmanager
def opened(path: Path | str, at: int | None = None) -> Iterator[int]:
    """A directory, not through a link as its last part."""
    fd = os.open(path, _DIRECTORY, dir_fd=at)
    try:
        yield fd
    finally:
        os.close(fd)


def open_beneath(at: int, name: str) -> int:
    """A directory below ``at`` on the same mount, without any link (openat2(2), Linux 5.6). Raises OSError: EXDEV where
    something is mounted there, also where that is of the same file system."""
    how = struct.pack("QQQ", _DIRECTORY, 0, _NO_XDEV | _NO_MAGICLINKS | _NO_SYMLINKS | _BENEATH)
    fd = int(_libc.syscall(_OPENAT2, at, os.fsencode(name), how, len(how)))
    if fd < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), name)
    return fd


@dataclass(frozen=True, slots=True)
class Directory:
    """One that an account shall have, below its chroot: each part's mode and owner."""

    parts: Sequence[str]
    mode: int
    owner: tuple[int, int]


def make(at: int, wanted: Directory) -> str:
    """'' where it is there now; else why not: the customer has something else in its place, which is left as it is.

    Its mode and owner are set only where it is made.
    """
    fd = os.dup(at)
    try:
        for number, part in enumerate(wanted.parts):
            made = False
            if number == len(wanted.parts) - 1:
                with suppress(FileExistsError):
                    os.mkdir(part, 0o700, dir_fd=fd)
                    made = True
            try:
                below = open_beneath(fd, part)
            except OSError as exc:
                return f"{'/'.join(wanted.parts[: number + 1])} is no directory of the account's: {exc.strerror}"
            os.close(fd)
            fd = below
            if made:
                os.fchown(fd, *wanted.owner)
                os.fchmod(fd, wanted.mode)
        return ""
    finally:
        os.close(fd)


_ACL = "system.posix_acl_access"


def let_pass(fd: int, uid: int) -> None:
    """Mode 0750, and one more user may pass through the directory: not list it, nor write in it (acl(5)).

    The alternative, www-data as a member of every account's group, would let it read all that is readable for the group, and
    nginx would have to start anew for each account.
    """
    rows = ((1, 7, 0xFFFFFFFF), (2, 1, uid), (4, 5, 0xFFFFFFFF), (16, 5, 0xFFFFFFFF), (32, 0, 0xFFFFFFFF))
    wanted = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *row) for row in rows)
    try:
        present = os.getxattr(fd, _ACL)
    except OSError:
        present = b""
    if present != wanted:
        os.setxattr(fd, _ACL, wanted)


def mountinfo(root: Path) -> str:
    """What is mounted, as the kernel tells it."""
    with suppress(OSError):
        return (root / "proc/self/mountinfo").read_text(errors="surrogateescape")
    return ""


def mounts_below(root: Path, mountinfo: str) -> list[str]:
    """Where something is mounted in ``root`` or on it (proc(5), mountinfo)."""
    found = []
    for line in lines(mountinfo):
        fields = line.split(" ")
        if len(fields) > 4:
            point = _OCTAL.sub(lambda found: chr(int(found[1], 8)), fields[4])
            if point == str(root) or point.startswith(f"{root}/"):
                found.append(point)
    return found


@dataclass(slots=True)
class Erased:
    """Names that were removed."""

    files: int = 0
    directories: int = 0


def erase(parent: Path, name: str, *, holding: str) -> Erased:
    """Remove the directory ``name`` with all that is in it. Goes on where an interrupted call ended.

    First it is renamed into ``parent/holding``, which only root may enter: from then on nobody else works in it. However deep it
    is, only two directories are open at a time: each subdirectory is moved up before it is emptied. A link is removed and never
    followed; of a file with other names only this name goes. Where anything is mounted it ends with AgentError (refused), and
    nothing there is touched; so does it where somebody else has made ``holding``.
    """
    erased = Erased()
    with opened(parent) as above:
        with suppress(FileExistsError):
            os.mkdir(holding, 0o700, dir_fd=above)
        with opened(holding, above) as top:
            if os.fstat(top).st_uid != os.geteuid():
                raise AgentError("refused", f"{parent / holding} is not root's: nothing was moved into it", hint="remove it")
            os.fchmod(top, 0o700)
            with os.scandir(top) as entries:
                queue = [each.name for each in entries if each.name.startswith(f"{name}.")]
            counter = 1 + max((int(each.rpartition(".")[2]) for each in queue), default=0)
            first = f"{name}.{counter}"
            if _take(above, name, top, first):
                queue.append(first)
            _Eraser(name, top, counter + 1, erased).run(queue)
    return erased


def _take(above: int, name: str, top: int, first: str) -> bool:
    try:
        found = os.stat(name, dir_fd=above, follow_symlinks=False)
    except FileNotFoundError:
        return False
    if not stat.S_ISDIR(found.st_mode):
        raise AgentError("refused", f"{name} is not a directory")
    try:
        os.rename(name, first, src_dir_fd=above, dst_dir_fd=top)
    except OSError as exc:
        if exc.errno in _MOUNTED:
            raise _mounted(name) from None
        raise
    return True


@dataclass(slots=True)
class _Eraser:
    name: str
    top: int
    counter: int
    erased: Erased

    def run(self, queue: list[str]) -> None:
        while queue:
            each = queue.pop()
            try:
                fd = open_beneath(self.top, each)
            except OSError as exc:
                if exc.errno in _MOUNTED:
                    raise _mounted(each) from None
                if exc.errno not in _NO_DIRECTORY:
                    raise
                # Put in the place of the directory in the moment before that was moved in here.
                os.unlink(each, dir_fd=self.top)
                self.erased.files += 1
                continue
            try:
                for entry in list(os.scandir(fd)):
                    self._entry(fd, entry, queue)
            finally:
                os.close(fd)
            os.rmdir(each, dir_fd=self.top)
            self.erased.directories += 1

    def _entry(self, fd: int, entry: os.DirEntry[str], queue: list[str]) -> None:
        try:
            if not entry.is_dir(follow_symlinks=False):
                os.unlink(entry.name, dir_fd=fd)
                self.erased.files += 1
                return
            if _was_empty(fd, entry.name):
                self.erased.directories += 1
                return
            up = f"{self.name}.{self.counter}"
            self.counter += 1
            os.rename(entry.name, up, src_dir_fd=fd, dst_dir_fd=self.top)
            queue.append(up)
        except OSError as exc:
            if exc.errno in _MOUNTED:
                raise _mounted(entry.name) from None
            raise


def _was_empty(fd: int, name: str) -> bool:
    """Whether it could be removed at once."""
    try:
        os.rmdir(name, dir_fd=fd)
    except OSError as exc:
        if exc.errno in (errno.ENOTEMPTY, errno.EEXIST):
            return False
        raise
    return True


def _mounted(name: str) -> AgentError:
    return AgentError(
        "refused",
        f"something is mounted on {name} in the account's directory: nothing there was touched",
        hint="unmount it first",
    )


_HOLDING = ".orchestrator-wiping-"
"""Where everybody may write: behind it the uid, and something that nobody can have foreseen and made before."""


def files_of(directory: Path, uid: int) -> list[Path]:
    """What belongs to that user in a directory where everybody may write, and in those below, and what an interrupted removal
    left of it; links are not followed."""
    found: list[Path] = []
    waiting = [directory]
    while waiting:
        here = waiting.pop()
        try:
            entries = list(os.scandir(here))
        except OSError:
            continue
        for entry in entries:
            with suppress(OSError):
                status = entry.stat(follow_symlinks=False)
                if _is_of(entry.name, status, uid):
                    found.append(Path(entry.path))
                elif stat.S_ISDIR(status.st_mode) and status.st_mode & stat.S_IWOTH:
                    waiting.append(Path(entry.path))
    return sorted(found)


def _is_of(name: str, status: os.stat_result, uid: int) -> bool:
    ours = status.st_uid == os.geteuid() and stat.S_ISDIR(status.st_mode) and name.startswith(f"{_HOLDING}{uid}-")
    return status.st_uid == uid or ours


def remove_of(directory: Path, name: str, uid: int) -> None:
    """Remove what that user has in such a directory, if it is still his."""
    with opened(directory) as fd:
        try:
            found = os.stat(name, dir_fd=fd, follow_symlinks=False)
        except FileNotFoundError:
            return
        if not _is_of(name, found, uid):
            return
        if not stat.S_ISDIR(found.st_mode):
            os.unlink(name, dir_fd=fd)
            return
    holding = f"{_HOLDING}{uid}-{secrets.token_hex(16)}"
    erase(directory, name, holding=holding)
    with suppress(OSError):
        (directory / holding).rmdir()
