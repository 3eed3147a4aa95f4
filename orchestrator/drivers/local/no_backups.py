"""The store of archives of a node for which none is configured: it holds nothing, and keeps nothing."""

from __future__ import annotations

from orchestrator.domain.errors import NotFound, Refused
from orchestrator.ports.backup_store import ArchiveFacts, ArchiveSpec


class NoBackups:
    """Says so before anything is destroyed that somebody promised to keep."""

    def __init__(self, node: str) -> None:
        self._node = node

    def keep(self, spec: ArchiveSpec, *, deadline: float) -> ArchiveFacts:
        raise Refused(
            f"the policy promises an archive of {spec.service_id}, and no backup store is configured for node {self._node}",
            hint="nothing was destroyed; a policy without `archive` for this kind of service promises none",
            rule="archive",
        )

    def archives(self, service_id: str, *, deadline: float) -> tuple[ArchiveFacts, ...]:
        return ()

    def restore(self, archive_id: str, *, source: str, volume: str, deadline: float) -> None:
        raise NotFound(f"no backup store is configured for node {self._node}: it does not reach the archive {archive_id}")

    def restored(self, volume: str, *, deadline: float) -> str:
        return ""

    def destroy(self, archive_id: str, *, deadline: float) -> None:
        """There is none: success."""

    def close(self) -> None:
        """Nothing is kept open."""
