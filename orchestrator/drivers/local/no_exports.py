"""Real nodes do not export disks yet: a running guest there is refused a backup, with the sentence that says why."""

from __future__ import annotations

from orchestrator.domain.errors import PermanentDriverError
from orchestrator.ports.disk_exports import Export


class NoExports:
    """The DiskExports of a real node."""

    def __init__(self, node: str) -> None:
        self._node = node

    def begin(self, guest: str, *, checkpoint: str, since: str, deadline: float) -> Export:
        raise PermanentDriverError(
            f"the disk of {guest} cannot be exported on {self._node} while it runs", hint="stop the guest for its backup"
        )

    def end(self, guest: str, *, deadline: float) -> None:
        """There is none."""

    def checkpoints(self, guest: str, *, deadline: float) -> tuple[str, ...]:
        return ()

    def drop(self, guest: str, checkpoint: str, *, deadline: float) -> None:
        """There is none."""

    def close(self) -> None:
        """Nothing is open."""
