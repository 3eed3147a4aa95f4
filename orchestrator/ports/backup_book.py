"""What is written down of services' repositories and backups, and the keys that open them.

The marks come before the acts: what is to be forgotten is marked before it is taken out of a repository, so that after a crash
nobody takes for a backup what may be gone.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol

from orchestrator.domain.backups.copies import KnownCopy
from orchestrator.domain.backups.words import Backup, Generation, GenerationState
from orchestrator.ports.repositories import RepositoryAccess


@dataclass(frozen=True, slots=True, kw_only=True)
class Traces:
    """``locations`` of every repository that the service ever had, by whatever way, as far as its target is still declared: by
    these caches are known. ``copies``: what is known of other copies of its data, and of its keys."""

    locations: tuple[str, ...] = ()
    copies: tuple[KnownCopy, ...] = ()


class BackupBook(Protocol):
    """Every method may be repeated. NotFound: there is no such service, generation or backup."""

    def generations(self, service_id: str) -> tuple[Generation, ...]:
        """All that the service ever had, the first first."""
        ...

    def begin(self, service_id: str, *, node: str) -> Generation:
        """Write the next generation down, with a new random key, at the target of the node. Its repository is still to be made.

        Refused: the node has no backup target, or one that lies on the node itself and nobody has agreed to that.
        """
        ...

    def access(self, generation: Generation, *, keeper: bool = False) -> RepositoryAccess:
        """How it is reached and opened: by a node, or (``keeper``) by who may delete there. WrongState: its key was destroyed.

        With ``keeper`` it is the same as without where no keeper is declared: then the node itself deletes. What differs is
        for the controller alone, and never leaves its machine (``Ports.keeper``).

        The key is unwrapped for this, and stands in memory only as long as the answer does.
        """
        ...

    def backups(self, service_id: str) -> tuple[Backup, ...]:
        """All that are known of the service, the first first."""
        ...

    def wanted(self, service_id: str) -> frozenset[str]:
        """The ids of the backups that a job which is not over is to restore from."""
        ...

    def write(self, backup: Backup) -> None:
        """The whole row, new or not."""
        ...

    def mark_forgotten(
        self, service_id: str, number: int, snapshot_ids: Collection[str], *, ends: bool = False
    ) -> tuple[str, ...]:
        """These are to go. Returns those of them that are known, and that no job is to restore from (unless the service
        ``ends``): no others may be forgotten."""
        ...

    def mark_pruned(self, service_id: str, number: int) -> None:
        """The room of what was forgotten was given back."""
        ...

    def mark(self, service_id: str, number: int, state: GenerationState, *, why: str) -> None:
        """What has become of the generation: ``DAMAGED``; ``DOOMED``, before its repository is destroyed; ``DESTROYED``
        or ``GIVEN_UP``, and with that its key is wiped from the store."""
        ...

    def traces(self, service_id: str) -> Traces:
        """What else is to be looked at, and told, when the service ends."""
        ...
