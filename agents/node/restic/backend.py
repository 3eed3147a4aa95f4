"""A repository's own files, past restic: to take away exactly one lock, and to destroy all of it.

restic has no word for either. Its layout is fixed (restic's design document, "Repository Layout"): ``config`` and the directories
of ``KINDS``, with the packs of ``data`` in directories of two digits. The ways to the places are in ``places``.
"""

from __future__ import annotations

import hashlib
import shlex
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from agents.node.protocol import AgentError

# In the order of their destruction: without its keys a repository is noise.
KINDS = ("keys", "snapshots", "index", "locks", "data")
NO_TARGET = "no-target"
"""The reason where the directory that repositories lie in is not there."""

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
