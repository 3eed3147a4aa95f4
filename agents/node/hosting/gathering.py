"""``account-gather``: the files and databases of a user that somebody made by hand, as a tarball of the kind that is imported.

The user may have put anything into his home. Files are read by descriptors, through no link and from no other mount, and only
those that he may read himself, or that his programs wrote as the web server. What an import would refuse is refused here.
"""

from __future__ import annotations

import errno
import os
import posixpath
import shutil
import stat
import tarfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, BinaryIO

from agents.node.call import Call
from agents.node.hosting import dumps, loading, marks, strangers, sweep, tarball, tree
from agents.node.hosting.layout import Home, Node
from agents.node.hosting.strangers import Stranger
from agents.node.hosting.tarball import Contents, Most, Rules
from agents.node.protocol import AgentError

_ROOM = 64 << 20
"""Bytes that are left to everybody else on the file system of the tarball."""

_MANY = 20
_BEAT = 0.5
_EVERYTHING = Most(1 << 60, 2_000_000)
"""More names than that are not kept in mind: it is as much as no plan has."""

_OUT = "a link that leads out of the home"
_NOTHING = "a device, a pipe or a socket, which holds nothing"

Beat = Callable[[], None]


@dataclass(slots=True)
class Found:
    """What would move. ``obstacles``: why nothing does; ``left_out``: what holds nothing that could."""

    bytes: int = 0
    inodes: int = 0
    obstacles: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Entry:
    """``member`` as it is in the tarball; ``fd`` of a plain file, until the next is asked for. Else why it is left out, or in the
    way."""

    path: str
    member: tarfile.TarInfo | None = None
    fd: int = -1
    left_out: str = ""
    obstacle: str = ""


def account_gather(call: Call) -> dict[str, Any]:
    """What is in it, as ``account-tarball`` tells it.

    Raises AgentError: wrong-state (the account is open), refused, no-capacity, driver-transient, driver-permanent.
    """
    node = Node(call.place)
    home, adoption = Home(node, call.arguments["user"]), strangers.adoption_of(call)
    with marks.account_lock(node, home.user):
        marks.require_ours(home, call.arguments["service_id"])
        sweep.probes(home)
        loading.require_closed(home)
        who = strangers.stranger(node, adoption.stranger)
        roots = strangers.site_roots(who, adoption)
        where = node.imports
        where.mkdir(mode=0o700, parents=True, exist_ok=True)
        where.chmod(0o700)
        discard(home)
        watch = Watch(where, call)
        try:
            with _made(home) as stream:
                write(stream, who, roots, watch)
                for new, old in adoption.databases:
                    _add_dump(stream, home.gathering / "dump", new, old, watch)
                stream.write(bytes(2 * tarfile.BLOCKSIZE))
            with tarball.opened(call.place, home.gathered.name) as made:
                found = tarball.examine(made, _EVERYTHING, lambda _read: watch())
        except BaseException:
            discard(home)
            raise
        shutil.rmtree(home.gathering, ignore_errors=True)
    return {"file": home.gathered.name, **tarball.told(found)}


def account_gathered(call: Call) -> dict[str, Any]:
    """Take the tarball away. Absent = success."""
    node = Node(call.place)
    home = Home(node, call.arguments["user"])
    with marks.account_lock(node, home.user):
        marks.require_ours(home, call.arguments["service_id"])
        sweep.probes(home)
        discard(home)
    return {}


def discard(home: Home) -> None:
    """The tarball and what was begun of one. All of it is root's alone."""
    shutil.rmtree(home.gathering, ignore_errors=True)
    tree.remove(home.gathered)


@contextmanager
def _made(home: Home) -> Iterator[IO[bytes]]:
    """A new file, which has its name when it is whole."""
    home.gathering.mkdir(mode=0o700)
    path = home.gathering / "tar"
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as stream:
        yield stream
        stream.flush()
        os.fsync(fd)
    path.rename(home.gathered)


@dataclass(slots=True)
class Watch:
    """Says that it goes on, and ends what would fill the disk."""

    where: Path
    call: Call
    saying: str = "gathering the files"
    _next: float = 0.0

    def __call__(self) -> None:
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + _BEAT
        self.call.progress(0.3, self.saying)
        room = os.statvfs(self.where)
        if room.f_bavail * room.f_frsize < _ROOM:
            raise AgentError("no-capacity", f"the file system of {self.where} is full: nothing can be gathered there")


def write(stream: IO[bytes], who: Stranger, roots: Mapping[str, str], beat: Beat) -> None:
    """All of the home; without the end of a tarball. Raises AgentError: refused, driver-transient."""
    for entry in entries(who, roots):
        beat()
        if entry.obstacle:
            raise AgentError("refused", f"it cannot be gathered: {entry.obstacle}")
        if entry.member is None:
            continue
        if entry.fd < 0:
            stream.write(_header(entry.member))
            continue
        with os.fdopen(entry.fd, "rb", closefd=False) as source:
            copy(source, entry.member, stream, beat, entry.path)


def _header(member: tarfile.TarInfo) -> bytes:
    return member.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")


def copy(source: BinaryIO, member: tarfile.TarInfo, stream: IO[bytes], beat: Beat, path: str) -> None:
    """So many bytes as it had when it was looked at; what was written behind them meanwhile is no part of it."""
    stream.write(_header(member))
    left = member.size
    while left:
        piece = source.read(min(left, 1 << 20))
        if not piece:
            raise AgentError("driver-transient", f"{_shown(path)} became shorter while it was read", hint="end who writes there")
        stream.write(piece)
        left -= len(piece)
        beat()
    stream.write(bytes(-member.size % tarfile.BLOCKSIZE))


def _add_dump(stream: IO[bytes], path: Path, new: str, old: str, beat: Watch) -> None:
    beat.saying = f"dumping {old}"
    path.unlink(missing_ok=True)
    dumps.dump(old, path, look=beat)
    member = tarfile.TarInfo(f"{tarball.DATABASES}/{new}.sql")
    member.size, member.mode = path.stat().st_size, 0o600
    with path.open("rb") as source:
        copy(source, member, stream, beat, old)
    path.unlink()


# -- what there is -------------------------------------------------------------------------------------------------------------


def measure(who: Stranger, roots: Mapping[str, str], *, beat: Beat, most: Most = _EVERYTHING) -> Found:
    """As it would be gathered, by the rules of an import."""
    found, contents = Found(), Contents()
    rules = Rules(contents, most)
    left: dict[str, list[str]] = {}
    for entry in entries(who, roots):
        beat()
        if entry.left_out:
            left.setdefault(entry.left_out, []).append(entry.path)
        elif entry.obstacle:
            found.obstacles += [entry.obstacle] if len(found.obstacles) < _MANY else []
        elif entry.member is not None:
            try:
                rules.take(entry.member)
            except AgentError as exc:
                found.obstacles += [exc.message] if len(found.obstacles) < _MANY else []
                if exc.code == "no-capacity":
                    break
    found.bytes, found.inodes = contents.bytes, contents.inodes
    for why, paths in sorted(left.items()):
        told = ", ".join(_shown(f"{who.home}/{path}") for path in paths[:3])
        found.left_out.append(f"{told}{f' and {len(paths) - 3} more' if len(paths) > 3 else ''}: {why}")
    return found


def entries(who: Stranger, roots: Mapping[str, str]) -> Iterator[Entry]:
    """All that is in the home, in the order of a tarball. A site's directory is put where an account has it, and a link where it
    was, so that what leads there still does."""
    walk = _Walk(who, roots)
    with tree.opened(who.home) as top:
        device = os.fstat(top).st_dev
        if "" in roots:
            yield Entry("", _member(walk.place(""), os.fstat(top), who, tarfile.DIRTYPE))
        waiting = [""]
        while waiting:
            here = waiting.pop()
            try:
                fd = tree.open_beneath(top, here or ".")
            except OSError as exc:
                if exc.errno == errno.ENOENT:  # gone meanwhile
                    continue
                why = "something is mounted there" if exc.errno == errno.EXDEV else f"{exc.strerror}"
                yield Entry(here, obstacle=f"{_shown(f'{who.home}/{here}')} cannot be read: {why}")
                continue
            try:
                for name in _names(fd):
                    path = f"{here}/{name}" if here else name
                    with suppress(FileNotFoundError):
                        yield from walk.entry(fd, name, path, device, waiting)
            finally:
                os.close(fd)


class _Walk:
    def __init__(self, who: Stranger, roots: Mapping[str, str]) -> None:
        self._who = who
        self._roots = roots
        self._known: dict[tuple[int, int], str] = {}

    def place(self, path: str) -> str:
        """Where in the tarball it is."""
        best = max((r for r in self._roots if not r or path == r or path.startswith(f"{r}/")), key=len, default=None)
        if best is None:
            return f"{tarball.HOME}/{path}"
        rest = path[len(best) :].lstrip("/")
        site = f"{tarball.HOME}/sites/{self._roots[best]}/public"
        return f"{site}/{rest}" if rest else site

    def entry(self, fd: int, name: str, path: str, device: int, waiting: list[str]) -> Iterator[Entry]:
        found = os.stat(name, dir_fd=fd, follow_symlinks=False)
        if stat.S_ISLNK(found.st_mode):
            yield self._link(os.readlink(name, dir_fd=fd), path, found)
        elif stat.S_ISDIR(found.st_mode):
            yield from self._directory(path, found, device, waiting)
        elif stat.S_ISREG(found.st_mode):
            yield from self._file(fd, name, path)
        else:
            yield Entry(path, left_out=_NOTHING)

    def _directory(self, path: str, found: os.stat_result, device: int, waiting: list[str]) -> Iterator[Entry]:
        why = "something is mounted there" if found.st_dev != device else self._closed(found)
        if why:
            yield Entry(path, obstacle=f"{self._shown(path)} cannot be taken: {why}")
            return
        waiting.append(path)
        place = self.place(path)
        yield Entry(path, _member(place, found, self._who, tarfile.DIRTYPE))
        above, _, name = path.rpartition("/")
        was = f"{self.place(above) if above or '' in self._roots else tarball.HOME}/{name}"
        if was != place:
            link = _member(was, found, self._who, tarfile.SYMTYPE)
            link.linkname = posixpath.relpath(place, posixpath.dirname(was))
            yield Entry(path, link)

    def _link(self, target: str, path: str, found: os.stat_result) -> Entry:
        whole = posixpath.normpath(posixpath.join(self._who.home, posixpath.dirname(path), target))
        if whole != self._who.home and not whole.startswith(f"{self._who.home}/"):
            return Entry(path, left_out=_OUT)
        member = _member(self.place(path), found, self._who, tarfile.SYMTYPE)
        below = whole.removeprefix(self._who.home).lstrip("/")
        place = self.place(below) if below or "" in self._roots else tarball.HOME
        stays = not target.startswith("/") and place == f"{tarball.HOME}/{below}".rstrip("/")
        stays = stays and self.place(path) == f"{tarball.HOME}/{path}"
        member.linkname = target if stays else posixpath.relpath(place, posixpath.dirname(member.name))
        return Entry(path, member)

    def _file(self, fd: int, name: str, path: str) -> Iterator[Entry]:
        """Judged as it is when it is opened: what was looked at before may be another by then."""
        try:
            opened = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=fd)
        except OSError as exc:
            if exc.errno != errno.ENOENT:
                yield Entry(path, obstacle=f"{self._shown(path)} cannot be read: {exc.strerror}")
            return
        try:
            found = os.fstat(opened)
            why = self._closed(found)
            if not stat.S_ISREG(found.st_mode):
                yield Entry(path, left_out=_NOTHING)
            elif why:
                yield Entry(path, obstacle=f"{self._shown(path)} cannot be taken: {why}")
            else:
                yield self._plain(path, found, opened)
        finally:
            os.close(opened)

    def _plain(self, path: str, found: os.stat_result, opened: int) -> Entry:
        place, key = self.place(path), (found.st_dev, found.st_ino)
        first = self._known.setdefault(key, place) if found.st_nlink > 1 else place
        if first != place:
            again = _member(place, found, self._who, tarfile.LNKTYPE)
            again.linkname = first
            return Entry(path, again)
        member = _member(place, found, self._who, tarfile.REGTYPE)
        member.size = found.st_size
        return Entry(path, member, opened)

    def _shown(self, path: str) -> str:
        return _shown(f"{self._who.home}/{path}")

    def _closed(self, found: os.stat_result) -> str:
        """Why it is none of his; '' = it is."""
        if found.st_uid in (self._who.uid, self._who.web_uid) and (found.st_uid == self._who.uid or _single(found)):
            return ""
        if not _single(found):
            return f"it is another name of a file of uid {found.st_uid}"
        need = 5 if stat.S_ISDIR(found.st_mode) else 4
        open_to = found.st_mode >> 3 if found.st_gid in self._who.gids else found.st_mode
        return "" if open_to & need == need else f"it belongs to uid {found.st_uid}, and {self._who.name} may not read it"


def _names(fd: int) -> list[str]:
    with os.scandir(fd) as there:
        return sorted(each.name for each in there)


def _single(found: os.stat_result) -> bool:
    return stat.S_ISDIR(found.st_mode) or found.st_nlink == 1


def _member(name: str, found: os.stat_result, who: Stranger, kind: bytes) -> tarfile.TarInfo:
    """All of it is one owner's. What the web server could read as a file's owner or group it may read as everybody else in the
    account: nobody else passes into its home."""
    made = tarfile.TarInfo(name)
    mode = found.st_mode & 0o777
    if found.st_uid == who.web_uid:
        mode |= (mode & 0o500) >> 6 | (mode & 0o700)
    if found.st_gid == who.web_gid:
        mode |= (mode & 0o050) >> 3
    mode |= 0o700 if kind == tarfile.DIRTYPE else 0o600
    made.type, made.mode, made.mtime = kind, mode, max(int(found.st_mtime), 0)
    return made


def _shown(path: str) -> str:
    return ascii(path)[1:-1][:200]
