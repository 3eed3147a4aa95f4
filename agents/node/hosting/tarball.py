"""A tarball by which an account moves in: looked through to its end before anything of it is written.

It holds ``home/…``, what lies in the account's home; ``databases/NAME.sql``, a dump each; and ``account.json``, its sites,
databases and lines of cron. It comes from a stranger: whatever leads out of the home, or would be more than a plain file, a
directory or a link, is refused by its name. Plain or gzip; other ways of packing want as much memory as their maker likes.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import posixpath
import re
import stat
import tarfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO, Any, BinaryIO, Protocol, cast

from agents.node import amounts
from agents.node.hosting.layout import Node
from agents.node.place import Place
from agents.node.protocol import AgentError

HOME, DATABASES, SETTINGS = "home", "databases", "account.json"
_DUMP = re.compile(r"databases/([a-z0-9_]{1,16})\.sql")
_SETTINGS_BYTES = 48 * 1024
_BLOCK = 4096
# Of each member in a tarball: its header, and the rest of its last block.
_HEADERS = 3 * 1024
_SLACK = 1 << 20
_END = bytes(2 * tarfile.BLOCKSIZE)
_PIECE = 1 << 20
_GZIP = b"\x1f\x8b"
_PARTS = frozenset({"sites", "databases", "cron"})
# What a name may not hold: everything that would act on whoever reads the message about it.
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f]")

Look = Callable[[int], None]
"""Told how many bytes of the file were read; what it raises ends the look."""


@dataclass(slots=True)
class Contents:
    """``bytes`` as the files take them on a disk, with the dumps; ``sha256`` of the file itself."""

    sha256: str = ""
    bytes: int = 0
    inodes: int = 0
    dumps: dict[str, int] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Most:
    """More than that of bytes or inodes is refused."""

    bytes: int
    inodes: int


def told(found: Contents) -> dict[str, Any]:
    """As an answer has it."""
    return {
        "sha256": found.sha256,
        "bytes": found.bytes,
        "inodes": found.inodes,
        "databases": [{"name": name, "bytes": size} for name, size in sorted(found.dumps.items())],
        "settings": found.settings,
    }


@contextmanager
def opened(place: Place, name: str) -> Iterator[BinaryIO]:
    """Raises AgentError: not-found, refused where somebody else might change it."""
    where = Node(place).imports
    where.mkdir(mode=0o700, parents=True, exist_ok=True)
    where.chmod(0o700)
    try:
        fd = os.open(where / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        raise AgentError("not-found", f"there is no {where}/{name} on this node", hint="copy the tarball there first") from None
    except OSError as exc:
        raise AgentError("refused", f"{where}/{name} cannot be opened: {exc.strerror}") from None
    found = os.fstat(fd)
    if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
        os.close(fd)
        said = f"{where}/{name} is no plain file that root alone can write"
        raise AgentError("refused", said, hint="chown root, chmod 0600")
    with os.fdopen(fd, "rb") as stream:
        yield stream


def examine(stream: BinaryIO, most: Most, look: Look) -> Contents:
    """All of it. Raises AgentError: refused, naming what is not taken; no-capacity where it is more than ``most``."""
    stream.seek(0)
    packed = stream.read(len(_GZIP)) == _GZIP
    stream.seek(0)
    hashed = _Hashed(stream, look)
    plain = _Bounded(gzip.GzipFile(fileobj=cast("BinaryIO", hashed), mode="rb") if packed else hashed, most)
    found = Contents()
    rules = Rules(found, most)
    try:
        with tarfile.open(fileobj=cast("BinaryIO", plain), mode="r|", errorlevel=2) as archive:
            for member in archive:
                rules.take(member)
                if member.name.removeprefix("./") == SETTINGS:
                    found.settings = _settings(archive, member)
        plain.finish()
    except (tarfile.TarError, zlib.error, EOFError, gzip.BadGzipFile) as exc:
        raise AgentError("refused", f"it is no whole tarball, plain or gzip: {type(exc).__name__}: {exc}") from None
    except (MemoryError, RecursionError, OverflowError, ValueError) as exc:
        raise AgentError("refused", f"it is no tarball that can be read safely: {type(exc).__name__}") from None
    hashed.finish()
    found.sha256 = hashed.digest.hexdigest()
    return found


def files(stream: BinaryIO) -> Iterator[bytes]:
    """A tarball of what lies in the home and of nothing else, with plain names and plain modes, made out of one that was looked
    through: what unpacks it sees no header that a stranger wrote."""
    with unpacked(stream) as plain, tarfile.open(fileobj=plain, mode="r|") as archive:
        for member in archive:
            name = member.name.removeprefix("./").rstrip("/")
            if not name.startswith(f"{HOME}/"):
                continue
            yield _plain(name, member).tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")
            text = archive.extractfile(member) if member.isreg() else None
            while text is not None and (piece := text.read(_PIECE)):
                yield piece
            yield bytes(-member.size % tarfile.BLOCKSIZE if member.isreg() else 0)
    yield bytes(2 * tarfile.BLOCKSIZE)


def in_home(stream: BinaryIO) -> Iterator[tarfile.TarInfo]:
    """What of one that was looked through ``files`` has, by its names in the home."""
    with unpacked(stream) as plain, tarfile.open(fileobj=plain, mode="r|") as archive:
        for member in archive:
            name = member.name.removeprefix("./").rstrip("/")
            if name.startswith(f"{HOME}/"):
                yield _plain(name, member)


def _plain(name: str, member: tarfile.TarInfo) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name.removeprefix(f"{HOME}/"))
    made.type = tarfile.REGTYPE if member.isreg() else member.type
    made.mode, made.mtime = member.mode & 0o777, max(int(member.mtime), 0)
    made.size = member.size if member.isreg() else 0
    if member.issym():
        made.linkname = member.linkname
    if member.islnk():
        made.linkname = member.linkname.removeprefix("./").removeprefix(f"{HOME}/")
    return made


def dumps(stream: BinaryIO) -> Iterator[tuple[str, IO[bytes]]]:
    """Each dump with its text; of one that was looked through. A text is to be read before the next is asked for."""
    with unpacked(stream) as plain, tarfile.open(fileobj=plain, mode="r|") as archive:
        for member in archive:
            found = _DUMP.fullmatch(member.name.removeprefix("./"))
            text = archive.extractfile(member) if found else None
            if found and text is not None:
                yield found[1], text


@contextmanager
def unpacked(stream: BinaryIO) -> Iterator[BinaryIO]:
    """From the beginning of the file on."""
    stream.seek(0)
    packed = stream.read(len(_GZIP)) == _GZIP
    stream.seek(0)
    if not packed:
        yield stream
        return
    with gzip.GzipFile(fileobj=stream, mode="rb") as plain:
        yield cast("BinaryIO", plain)


class _Reader(Protocol):
    def read(self, size: int, /) -> bytes: ...


class _Hashed:
    """Reads of the file go through here: what was looked at is what is unpacked later."""

    def __init__(self, stream: BinaryIO, look: Look) -> None:
        self.digest = hashlib.sha256()
        self._stream = stream
        self._look = look
        self._read = 0

    def read(self, size: int = -1, /) -> bytes:
        data = self._stream.read(_PIECE if size < 0 else size)
        self.digest.update(data)
        self._read += len(data)
        self._look(self._read)
        return data

    def finish(self) -> None:
        while self.read(_PIECE):
            pass


class _Bounded:
    """What comes out of the packing, no more of it than the account may have: a small file can hold a large one."""

    def __init__(self, plain: _Reader, most: Most) -> None:
        self._plain = plain
        self._left = most.bytes + most.inodes * _HEADERS + _SLACK
        self._most = most
        self._tail = b""

    def read(self, size: int) -> bytes:
        data = self._plain.read(size)
        self._left -= len(data)
        if self._left < 0:
            raise _too_much(amounts.size(self._most.bytes))
        self._tail = (self._tail + data)[-len(_END) :]
        return data

    def finish(self) -> None:
        """To its end, and that is an end: what was cut off may have lacked the very part that matters."""
        while self.read(_PIECE):
            pass
        if self._tail != _END:
            raise AgentError("refused", "the tarball is not taken: its end is missing")


class Rules:
    """What is taken, one member after another."""

    def __init__(self, found: Contents, most: Most) -> None:
        self._found = found
        self._most = most
        self._seen: dict[str, bytes] = {}
        self._owner: int | None = None

    def take(self, member: tarfile.TarInfo) -> None:
        """Raises AgentError (refused)."""
        name = _name(member)
        if member.size < 0:
            raise _refused(name, "says that it is smaller than nothing")
        if name in self._seen:
            raise _refused(name, "is in it twice")
        if member.sparse is not None or member.type == tarfile.GNUTYPE_SPARSE:
            raise _refused(name, "is sparse: it says that it is larger than it is")
        top = name.partition("/")[0]
        if top == HOME:
            self._in_home(name, member)
        elif name == SETTINGS or _DUMP.fullmatch(name):
            if not member.isreg():
                raise _refused(name, "is no plain file")
            if name != SETTINGS:
                self._found.dumps[_stem(name)] = member.size
        elif not (name in (".", DATABASES) and member.isdir()):
            raise _refused(name, f"is neither in {HOME}/, nor {DATABASES}/NAME.sql, nor {SETTINGS}")
        self._seen[name] = member.type
        self._count(member)

    def _in_home(self, name: str, member: tarfile.TarInfo) -> None:
        if not (member.isreg() or member.isdir() or member.issym() or member.islnk()):
            raise _refused(name, "is a device, a pipe or the like")
        if member.mode & (stat.S_ISUID | stat.S_ISGID):
            raise _refused(name, "has the setuid or setgid bit")
        if self._owner is None:
            self._owner = member.uid
        if member.uid != self._owner:
            raise _refused(name, f"belongs to uid {member.uid}, and what came before it to {self._owner}")
        if name == HOME and not member.isdir():
            raise _refused(name, "is no directory")
        for above in _above(name):
            if self._seen.get(above, tarfile.DIRTYPE) != tarfile.DIRTYPE:
                raise _refused(name, f"lies behind {_shown(above)}, which is no directory")
        self._link(name, member)

    def _link(self, name: str, member: tarfile.TarInfo) -> None:
        if member.issym():
            _require_inside(name, posixpath.join(posixpath.dirname(name), member.linkname), member.linkname)
        if member.islnk():
            target = member.linkname.removeprefix("./")
            _require_inside(name, target, member.linkname)
            if self._seen.get(target) not in (tarfile.REGTYPE, tarfile.AREGTYPE):
                raise _refused(name, f"is another name of {_shown(target)}, which is no plain file before it")

    def _count(self, member: tarfile.TarInfo) -> None:
        found = self._found
        found.inodes += 0 if member.islnk() else 1
        found.bytes += -(-member.size // _BLOCK) * _BLOCK if member.isreg() else _BLOCK if member.isdir() else 0
        if found.inodes > self._most.inodes:
            raise _too_much(f"{self._most.inodes} files and directories")
        if found.bytes > self._most.bytes:
            raise _too_much(amounts.size(self._most.bytes))


def _name(member: tarfile.TarInfo) -> str:
    """Its name in its plainest form; ``.`` alone is the tarball's own directory."""
    name = member.name.removeprefix("./").rstrip("/")
    parts = name.split("/")
    if member.name.startswith("/") or not name or any(part in ("", ".", "..") for part in parts):
        if member.name.rstrip("/") == "." and member.isdir():
            return "."
        raise _refused(member.name, "is no path inside the tarball")
    if _UNPRINTABLE.search(name):
        raise _refused(name, "holds characters that cannot be printed")
    return name


def _stem(name: str) -> str:
    found = _DUMP.fullmatch(name)
    return found[1] if found else ""


def _above(name: str) -> Iterator[str]:
    """The directories that it lies in."""
    parts = name.split("/")
    return ("/".join(parts[:count]) for count in range(1, len(parts)))


def _require_inside(name: str, target: str, said: str) -> None:
    """By its words: what they lead through on the node is a matter of the account's own rights."""
    plain = posixpath.normpath(target)
    if plain != HOME and not plain.startswith(f"{HOME}/"):
        raise _refused(name, f"leads out of the home, to {_shown(said)}")


def _settings(archive: tarfile.TarFile, member: tarfile.TarInfo) -> dict[str, Any]:
    """What the file says; whether an account can have that is for the controller."""
    text = archive.extractfile(member)
    if member.size > _SETTINGS_BYTES or text is None:
        raise _refused(SETTINGS, f"is larger than {_SETTINGS_BYTES} bytes")
    try:
        found = json.loads(text.read())
    except (ValueError, RecursionError):
        raise _refused(SETTINGS, "is no JSON") from None
    if not isinstance(found, dict) or not set(found) <= _PARTS:
        raise _refused(SETTINGS, f"is no object of {', '.join(sorted(_PARTS))}")
    return found


def _shown(name: str) -> str:
    return ascii(name)[1:-1][:200]


def _refused(name: str, why: str) -> AgentError:
    return AgentError("refused", f"the tarball is not taken: {_shown(name)} {why}")


def _too_much(most: str) -> AgentError:
    return AgentError("no-capacity", f"the tarball holds more than {most}")
