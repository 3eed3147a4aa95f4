"""A repository's own files, past restic: to take away exactly one lock, and to destroy all of it.

restic has no word for either. Its layout is fixed (restic's design document, "Repository Layout"): ``config`` and the directories
of ``KINDS``, with the packs of ``data`` in directories of two digits.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import posixpath
import re
import shlex
import shutil
import ssl
import stat
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from agents.node.protocol import AgentError
from agents.node.restic import argv
from agents.node.restic.outcome import scrub
from agents.node.restic.repository import LOCAL, REST, Repository

# In the order of their destruction: without its keys a repository is noise.
KINDS = ("keys", "snapshots", "index", "locks", "data")
_OWN = frozenset({*KINDS, "config"})
_CALL_SECONDS = 60.0
_FETCHED = 8
"""Packs that lie on the node at a time, where they cannot be read in their place."""
_MISSING = "not found"
_NO_SUCH = re.compile("not found|no such file", re.IGNORECASE)
NO_TARGET = "no-target"
"""The reason where the directory that repositories lie in is not there."""
_REFUSED = re.compile("can.t |couldn.t |remote |failed", re.IGNORECASE)
"""How a line begins in which sftp(1) says that it could not do what it was told."""

Say = Callable[[float, str], None]


class Backend(ABC):
    """Raises AgentError: driver-transient (not reached, or the time was up), refused (this way in may not delete)."""

    @abstractmethod
    def require_way_in(self) -> None:
        """Raises AgentError where there is none, and says why; restic loses what ssh says of it."""

    @abstractmethod
    def require_place(self) -> None:
        """Raises AgentError (driver-transient) where the directory that the repository lies in is not there: its disk may
        only not be mounted, and what was made below it would lie on another. A rest-server does not tell."""

    @abstractmethod
    def remove_lock(self, lock_id: str) -> None:
        """One lock; absent is success."""

    @abstractmethod
    def destroy(self, say: Say) -> None:
        """All of the repository; absent is success."""

    @abstractmethod
    def sizes(self, kind: str) -> dict[str, int]:
        """The files of one of ``KINDS``, with their bytes."""

    @abstractmethod
    def digests(self, packs: Sequence[str]) -> Iterator[tuple[str, str]]:
        """The packs, each with the SHA-256 of its file as it is read now; '' where it is not there."""

    @abstractmethod
    def files_of(self, kind: str) -> list[str]:
        """The names of the files of one of ``KINDS`` but ``data``, of a repository that has a ``config``.

        Raises AgentError where it has none, or it cannot be told: then restic has to be asked.
        """

    def discard_unfinished(self) -> None:
        """Remove the keys of a repository that has no ``config`` and holds nothing; refused where it holds anything."""
        holding = [kind for kind in ("data", "snapshots", "index") if self.sizes(kind)]
        if holding:
            raise AgentError(
                "refused",
                f"there are {' and '.join(holding)} of a repository whose config is missing",
                hint="it is damaged, and its data may be saved: an operator must look",
                reason="damaged",
            )
        for key in self.sizes("keys"):
            self.remove_key(key)

    @abstractmethod
    def remove_key(self, name: str) -> None: ...

    @abstractmethod
    def left(self) -> list[str]:
        """What is left of it: names of restic's own files and directories that still hold something."""


def backend(repository: Repository, files: argv.Files, *, end: float) -> Backend:
    """The way in for the repository's kind of place. ``end``: of time.monotonic."""
    if repository.kind == LOCAL:
        return _Local(Path(repository.path))
    if repository.kind == REST:
        return _Rest(repository, end)
    return _Sftp(repository, files, end)


def no_place(directory: str) -> AgentError:
    return AgentError(
        "driver-transient",
        f"the target {directory} is not there: is it mounted?",
        hint=f"mount it, or where it has never been there make it once: mkdir -p {shlex.quote(directory)}",
        reason=NO_TARGET,
    )


def digest_of(path: Path) -> str:
    """The SHA-256 of the file; '' where there is none."""
    try:
        with path.open("rb", buffering=0) as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except FileNotFoundError:
        return ""


class _Local(Backend):
    def __init__(self, path: Path) -> None:
        self._path = path

    def require_way_in(self) -> None:
        """A directory of this machine needs none."""

    def require_place(self) -> None:
        if not self._path.parent.is_dir():
            raise no_place(str(self._path.parent))

    def remove_lock(self, lock_id: str) -> None:
        (self._path / "locks" / lock_id).unlink(missing_ok=True)

    def remove_key(self, name: str) -> None:
        (self._path / "keys" / name).unlink(missing_ok=True)

    def sizes(self, kind: str) -> dict[str, int]:
        """Packs are told, not the directories of two digits, which are made with the repository."""
        top = self._path / kind
        return {each.name: each.stat().st_size for each in top.rglob("*") if each.is_file()} if top.is_dir() else {}

    def files_of(self, kind: str) -> list[str]:
        try:
            (self._path / "config").lstat()
            return [each.name for each in (self._path / kind).iterdir()]
        except OSError as exc:
            raise AgentError("driver-permanent", f"{exc.filename}: {exc.strerror}", reason="unknown") from None

    def digests(self, packs: Sequence[str]) -> Iterator[tuple[str, str]]:
        for pack in packs:
            yield pack, digest_of(self._path / "data" / pack[:2] / pack)

    def destroy(self, say: Say) -> None:
        there = self._names()
        strangers = sorted(set(there) - _OWN)
        if strangers:
            told = ", ".join(strangers)[:200]
            raise AgentError("refused", f"{self._path} holds what is not restic's: {told}", hint="an operator must look at it")
        for number, kind in enumerate(KINDS):
            say(number / len(KINDS), f"destroying {self._path}: {kind}")
            if kind in there:
                shutil.rmtree(self._path / kind)
        (self._path / "config").unlink(missing_ok=True)
        if self._path.exists():
            self._path.rmdir()

    def left(self) -> list[str]:
        return [str(self._path / name) for name in self._names()] or ([str(self._path)] if self._path.exists() else [])

    def _names(self) -> list[str]:
        try:
            status = self._path.stat(follow_symlinks=False)
        except FileNotFoundError:
            if not self._path.parent.is_dir():
                raise AgentError(
                    "wrong-state", f"there is no directory {self._path.parent}: is its disk mounted?", reason=NO_TARGET
                ) from None
            return []
        if not stat.S_ISDIR(status.st_mode):
            raise AgentError("refused", f"{self._path} is no directory")
        return sorted(each.name for each in self._path.iterdir())


class _Sftp(Backend):
    """Through OpenSSH's sftp(1), as the account may be restricted to it."""

    def __init__(self, repository: Repository, files: argv.Files, end: float) -> None:
        self._repository, self._files, self._end = repository, files, end

    def require_way_in(self) -> None:
        self._batch(["pwd"])

    def require_place(self) -> None:
        directory = posixpath.dirname(self._repository.path)
        said = self._batch([f"cd {quoted(directory)}"])
        if said.returncode != 0 and _NO_SUCH.search(said.stderr):
            raise no_place(directory)
        if said.returncode != 0:
            raise self._failure("looking for the target", said)

    def remove_lock(self, lock_id: str) -> None:
        said = self._batch([f"rm {quoted(f'{self._repository.path}/locks/{lock_id}')}"])
        if said.returncode != 0 and _MISSING not in said.stderr.lower():
            raise self._failure("removing a lock", said)

    def remove_key(self, name: str) -> None:
        said = self._batch([f"rm {quoted(f'{self._repository.path}/keys/{name}')}"])
        if said.returncode != 0:
            raise self._failure("removing a key", said)

    def sizes(self, kind: str) -> dict[str, int]:
        tops = [f"{kind}/{number:02x}" for number in range(256)] if kind == "data" else [kind]
        said = self._batch([f"-ls -ln {quoted(f'{self._repository.path}/{top}')}" for top in tops])
        if any(_REFUSED.match(line) and _MISSING not in line.lower() for line in said.stderr.splitlines()):
            raise self._failure(f"listing {kind}", said)  # what could not be listed is not nothing
        return listing(said.stdout)

    def files_of(self, kind: str) -> list[str]:
        said = self._batch([f"ls -ln {quoted(f'{self._repository.path}/{each}')}" for each in ("config", kind)])
        if said.returncode != 0:
            raise self._failure(f"listing {kind}", said)
        return [name for name in listing(said.stdout) if name != "config"]

    def digests(self, packs: Sequence[str]) -> Iterator[tuple[str, str]]:
        """A few at a time come to the node's disk, and go again."""
        for first in range(0, len(packs), _FETCHED):
            some, target = packs[first : first + _FETCHED], Path(self._files.scratch)
            self._batch([f"-get {quoted(f'{self._repository.path}/data/{p[:2]}/{p}')} {quoted(str(target / p))}" for p in some])
            for pack in some:
                digest = digest_of(target / pack)
                if digest != pack:
                    self._require_fetched(target / pack)
                yield pack, digest
                (target / pack).unlink(missing_ok=True)

    def _require_fetched(self, here: Path) -> None:
        """What came here in part says nothing of what lies there. Raises AgentError (driver-transient)."""
        came = here.stat().st_size if here.exists() else 0
        there = self._batch([f"-ls -ln {quoted(f'{self._repository.path}/data/{here.name[:2]}/{here.name}')}"])
        if came < listing(there.stdout).get(here.name, 0):
            raise AgentError(
                "driver-transient",
                f"{self._repository.location}: pack {here.name[:8]} could not be fetched: {came} bytes of it came",
                hint=f"is there room in {here.parent}?",
                reason="stopped",
            )

    def destroy(self, say: Say) -> None:
        say(0.0, f"destroying {self._repository.location}")
        self._batch(destruction(self._repository.path))

    def left(self) -> list[str]:
        said = self._batch([f"ls -1 {quoted(self._repository.path)}"])
        if said.returncode != 0 and _MISSING in said.stderr.lower():
            parent = self._batch([f"ls -1 {quoted(posixpath.dirname(self._repository.path))}"])
            if parent.returncode != 0:
                raise self._failure("looking where the repository was", parent)
            return []
        if said.returncode != 0:
            raise self._failure("looking what is left of the repository", said)
        return [self._repository.path, *(line.strip() for line in said.stdout.splitlines() if not line.startswith("sftp>"))]

    def _batch(self, lines: list[str]) -> subprocess.CompletedProcess[str]:
        host = self._repository.host.strip("[]")
        words = ["sftp", *argv.ssh_options(self._files), "-P", str(self._repository.port), "-b", "-"]
        try:
            said = subprocess.run(
                [*words, f"{self._repository.user}@{host if ':' not in host else f'[{host}]'}"],
                input="\n".join(lines) + "\n",
                capture_output=True,
                text=True,
                errors="replace",
                timeout=max(1.0, self._end - time.monotonic()),
                env=argv.environment(self._repository, self._files),
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise AgentError(
                "driver-transient", f"{self._repository.location} did not answer in time", reason="stopped"
            ) from None
        if said.returncode == 255:  # ssh's own: no connection (ssh(1), EXIT STATUS)
            raise self._failure("connecting", said)
        return said

    def _failure(self, doing: str, said: subprocess.CompletedProcess[str]) -> AgentError:
        words = [line for line in said.stderr.splitlines() if line.strip()]
        reason = scrub(words[-1] if words else "no reason given", self._repository.secrets)[:300]
        denied = "permission denied (" in said.stderr.lower() or "verification failed" in said.stderr.lower()
        code = "driver-transient" if said.returncode == 255 and not denied else "driver-permanent"
        return AgentError(code, f"{self._repository.location}: {doing}: {reason}", reason="not-let-in" if denied else "network")


def destruction(path: str) -> list[str]:
    """What sftp is told to remove a repository: restic's own names only, whatever else may lie there. Pure."""
    lines: list[str] = []
    for kind in KINDS:
        below = [f"data/{number:02x}" for number in range(256)] if kind == "data" else []
        for name in (*below, kind):
            lines += [f"-rm {quoted(f'{path}/{name}')}/*", f"-rmdir {quoted(f'{path}/{name}')}"]
    return [*lines, f"-rm {quoted(f'{path}/config')}", f"-rmdir {quoted(path)}"]


def listing(output: str) -> dict[str, int]:
    """Names and bytes of the files that ``ls -ln`` of sftp(1) tells. Pure.

    A line is mode, links, owner, group, bytes, three words of date, name.
    """
    rows = [line.split(None, 8) for line in output.splitlines() if line.startswith("-")]
    return {posixpath.basename(row[8].strip()): int(row[4]) for row in rows if len(row) == 9 and row[4].isdigit()}


def quoted(path: str) -> str:
    """A path as sftp(1) takes it: between double quotes nothing but a quote and a backslash means anything."""
    return '"' + path.replace("\\", "\\\\").replace('"', '\\"') + '"'


class _Rest(Backend):
    """Through rest-server's own calls (restic's manual, "REST Backend"), over one kept connection."""

    def __init__(self, repository: Repository, end: float) -> None:
        self._repository, self._end = repository, end
        self._connection: http.client.HTTPConnection | None = None

    def require_way_in(self) -> None:
        self._ask("HEAD", "config")

    def require_place(self) -> None:
        """It is the server's own matter."""

    def remove_lock(self, lock_id: str) -> None:
        self._delete(f"locks/{lock_id}")

    def remove_key(self, name: str) -> None:
        self._delete(f"keys/{name}")

    def files_of(self, kind: str) -> list[str]:
        status, _ = self._ask("HEAD", "config")
        self._require(status, "looking for config")
        status, body = self._ask("GET", f"{kind}/")
        self._require(status, f"listing {kind}")
        return [str(row["name"]) for row in json.loads(body or b"[]") or []]

    def digests(self, packs: Sequence[str]) -> Iterator[tuple[str, str]]:
        for pack in packs:
            status, body = self._ask("GET", f"data/{pack}")
            if status != http.client.NOT_FOUND:
                self._require(status, f"reading pack {pack[:8]}")
            yield pack, hashlib.sha256(body).hexdigest() if status == http.client.OK else ""

    def destroy(self, say: Say) -> None:
        for kind in KINDS:
            names = self.sizes(kind)
            for number, name in enumerate(names):
                say(number / len(names), f"destroying {self._repository.location}: {kind}")
                self._delete(f"{kind}/{name}")
        self._delete("config")

    def left(self) -> list[str]:
        found = [f"{kind}/{name}" for kind in KINDS for name in self.sizes(kind)]
        status, _ = self._ask("HEAD", "config")
        return found + (["config"] if status == http.client.OK else [])

    def sizes(self, kind: str) -> dict[str, int]:
        status, body = self._ask("GET", f"{kind}/")
        if status == http.client.NOT_FOUND:
            return {}
        self._require(status, f"listing {kind}")
        return {str(row["name"]): int(row.get("size", 0)) for row in json.loads(body or b"[]") or []}

    def _delete(self, name: str) -> None:
        status, _ = self._ask("DELETE", name)
        if status != http.client.NOT_FOUND:
            self._require(status, f"deleting {name}")

    def _require(self, status: int, doing: str) -> None:
        if status == http.client.OK:
            return
        where = f"{self._repository.location}: {doing}: HTTP status {status}"
        if status == http.client.FORBIDDEN:
            raise AgentError(
                "refused", where, hint="an append-only endpoint does not delete: ask the keeper's", reason="append-only"
            )
        if status == http.client.UNAUTHORIZED:
            raise AgentError("driver-permanent", where, hint="check user and secret of the backup target", reason="not-let-in")
        code = "driver-transient" if status >= http.client.INTERNAL_SERVER_ERROR else "driver-permanent"
        raise AgentError(code, where, reason="network")

    def _ask(self, method: str, name: str) -> tuple[int, bytes]:
        headers = {"Accept": "application/vnd.x.restic.rest.v2"}
        if self._repository.login:
            pair = f"{self._repository.login}:{self._repository.secret}".encode()
            headers["Authorization"] = f"Basic {base64.b64encode(pair).decode()}"
        for last in (False, True):
            kept = self._connection is not None
            try:
                connection = self._connected()
                connection.request(method, f"/{self._repository.path}{name}", headers=headers)
                answer = connection.getresponse()
                return answer.status, answer.read()
            except (OSError, http.client.HTTPException) as exc:
                self._connection = None
                if last or not kept:  # a kept connection may have been closed meanwhile: once more
                    why = getattr(exc, "strerror", None) or str(exc) or type(exc).__name__
                    raise AgentError("driver-transient", f"{self._repository.location}: {why}", reason="network") from None
        raise AssertionError("the loop ends by itself")

    def _connected(self) -> http.client.HTTPConnection:
        if time.monotonic() > self._end:
            raise AgentError("driver-transient", f"{self._repository.location} did not answer in time", reason="stopped")
        if self._connection is None:
            host, port = self._repository.host.strip("[]"), self._repository.port
            options: dict[str, Any] = {"timeout": _CALL_SECONDS}
            if self._repository.scheme == "https":
                self._connection = http.client.HTTPSConnection(host, port, context=ssl.create_default_context(), **options)
            else:
                self._connection = http.client.HTTPConnection(host, port, **options)
        return self._connection
