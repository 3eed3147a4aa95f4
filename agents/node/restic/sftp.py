"""A repository on an SFTP server: what sftp(1) is told, and what it says."""

from __future__ import annotations

import posixpath
import re
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from agents.node.protocol import AgentError
from agents.node.restic import argv
from agents.node.restic.backend import KINDS, Backend, Say, digest_of, no_place
from agents.node.restic.outcome import scrub
from agents.node.restic.repository import Repository

_FETCHED = 8
"""Packs that lie on the node at a time, where they cannot be read in their place."""
_MISSING = "not found"
_NO_SUCH = re.compile("not found|no such file", re.IGNORECASE)
_REFUSED = re.compile("can.t |couldn.t |remote |failed", re.IGNORECASE)
"""How a line begins in which sftp(1) says that it could not do what it was told."""


class Sftp(Backend):
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
