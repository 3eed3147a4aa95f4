"""Where copies of services' data are kept, apart from the pools of the nodes, as it is reached from one node."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveSpec:
    """An archive to be kept, of these volumes (names in the node's pool). ``until``: so long at least; None = nobody said.

    ``id`` carries service and job; both are kept with the archive too.
    """

    id: str
    service_id: str
    job_id: str
    volumes: tuple[str, ...]
    until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchivedVolume:
    """One volume in an archive: its name where it came from, its capacity, and the SHA-256 of all that it holds."""

    name: str
    capacity_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveFacts:
    """An archive as the store reports it. ``whole``: kept and read back in full; else it is what is left of one whose keeping or
    destruction was broken off. ``bytes`` it occupies; ``kept_at`` UTC."""

    id: str
    service_id: str
    job_id: str
    whole: bool
    volumes: tuple[ArchivedVolume, ...]
    bytes: int
    kept_at: datetime
    until: datetime | None = None


class BackupStore(Protocol):
    def keep(self, spec: ArchiveSpec, *, deadline: float) -> ArchiveFacts:
        """Keep a copy of the volumes of a stopped guest whole and read back, or not at all. One of that id is success where it is
        whole, and replaced where it is not.

        Refused: there is no store for this node. NotFound: a volume is missing, so that nothing is kept. NoCapacity: the store is
        full. TransientDriverError: a volume is in use. PermanentDriverError: what was read back is not what was written.
        """
        ...

    def archives(self, service_id: str, *, deadline: float) -> tuple[ArchiveFacts, ...]:
        """Every archive of the service, and whatever is left of one, by id."""
        ...

    def restore(self, archive_id: str, *, source: str, volume: str, deadline: float) -> None:
        """Write what the archive holds of the volume ``source`` over the volume ``volume`` of the node's pool, and read it back.

        NotFound: no whole archive of that id, nothing of that source in it, or no such volume in the pool. TransientDriverError:
        the volume is in use. PermanentDriverError: it is smaller, or what was read back is not what is kept.
        """
        ...

    def restored(self, volume: str, *, deadline: float) -> str:
        """The id of the archive that was restored whole into the volume, whatever was written to it since; '' where none was."""
        ...

    def destroy(self, archive_id: str, *, deadline: float) -> None:
        """Remove the archive and all that is left of it; absent = success. Broken off, it is not whole any more."""
        ...

    def close(self) -> None: ...
