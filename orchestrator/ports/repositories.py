"""Repositories of backups, one for each service and generation, as they are reached from one node.

The work is done where the data is: on the node. Times are UTC; bytes are bytes. ``progress`` is called with a fraction 0..1 and a
sentence. Every method may be repeated; a call that is broken off at any moment leaves each snapshot whole or absent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol, TypeAlias

Progress: TypeAlias = Callable[[float, str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class RepositoryAccess:
    """Where a repository is and what opens it. ``location``, without a secret, in restic's words: a path, ``sftp:…``, ``rest:…``.

    ``user`` and ``secret`` are a rest-server's; ``ssh_key`` and ``ssh_known_hosts`` hold the text of such files.
    """

    location: str
    password: str = field(repr=False)
    user: str = ""
    secret: str = field(default="", repr=False)
    ssh_key: str = field(default="", repr=False)
    ssh_known_hosts: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class DirectorySource:
    """A directory of the node, absolute; what other file systems hold that are mounted in it does not belong to it. Nor does what
    was restored beside the home of an account whose directory it is."""

    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskSource:
    """The disk of a guest. ``path``: its volume on the node, of a guest that is off; else ``socket`` and ``export`` lead to it.

    ``secret_uuid`` opens an encrypted volume. ``bitmap``: what the export calls the note of what changed since ``parent``, the
    whole id of a snapshot of this disk; both '' = everything is read.
    """

    path: str = ""
    secret_uuid: str = ""
    socket: str = ""
    export: str = ""
    bitmap: str = ""
    parent: str = ""


Source: TypeAlias = DirectorySource | DiskSource


@dataclass(frozen=True, slots=True, kw_only=True)
class RunLimits:
    """How much a run may take of its node; 0 = no limit, or the driver's own default. ``*_kib`` are KiB a second.

    ``niceness`` 0..19; ``io_priority`` 0..7, 7 the least, -1 = only what nobody else wants.
    """

    upload_kib: int = 0
    download_kib: int = 0
    niceness: int = 10
    io_priority: int = 7
    read_concurrency: int = 0
    pack_size_mib: int = 0
    compression: str = "auto"


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupSpec:
    """A snapshot to be made. ``job_id`` is kept in it, so that a job that crashed finds what it made.

    ``full``: read every file, whatever its metadata says. ``scan``: let restic count first, too. ``most_bytes`` and
    ``most_inodes``: what a directory may hold at most, as DirectoryFacts counts; None = there is no cap.
    """

    service_id: str
    job_id: str
    source: Source
    limits: RunLimits = RunLimits()
    full: bool = False
    scan: bool = False
    most_bytes: int | None = None
    most_inodes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotFacts:
    """A snapshot as the repository lists it. It may be partial: only ``BackupFacts`` tells that."""

    id: str
    taken_at: datetime
    service_id: str = ""
    job_id: str = ""
    files: int = 0
    bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedItem:
    """Something of the source, or of the target, that could not be dealt with."""

    item: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectoryShare:
    """A directory below the measured one with all that it holds."""

    path: str
    bytes: int
    inodes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectoryFacts:
    """What the agent's ``directory-measure`` found (docs/node-agent.md). ``bytes`` and ``inodes`` count hard links once."""

    bytes: int
    inodes: int
    files: int
    file_bytes: int
    directories: int
    links: int
    sockets: int
    others: int
    unreadable: int
    largest: tuple[DirectoryShare, ...] = ()
    fullest: tuple[DirectoryShare, ...] = ()

    @classmethod
    def from_report(cls, report: Mapping[str, Any]) -> DirectoryFacts:
        """Raises KeyError, TypeError or ValueError where the report is none."""
        numbers = ("bytes", "inodes", "files", "file_bytes", "directories", "links", "sockets", "others", "unreadable")
        return cls(
            **{name: int(report[name]) for name in numbers},
            largest=tuple(_share(row) for row in report["largest"]),
            fullest=tuple(_share(row) for row in report["fullest"]),
        )


def _share(row: Mapping[str, Any]) -> DirectoryShare:
    return DirectoryShare(path=str(row["path"]), bytes=int(row["bytes"]), inodes=int(row["inodes"]))


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupFacts:
    """``whole`` is false where something could not be read: ``failed`` has the first of ``failed_count`` items.

    ``files`` and ``bytes`` are those of the snapshot, by names; ``files_changed`` were read anew; ``bytes_stored`` is what the
    run added to the repository. ``bytes_read`` of a disk; of a directory it is what was new in it, for restic does not count.
    ``measured``: what a directory holds, found by a walk before the run, or in its course.

    ``over``: that is more than it may hold. Nothing was read, or the run was ended; ``snapshot`` '' where it left none. What it
    may have left at its very end does not count.
    """

    snapshot: str
    whole: bool
    files: int
    bytes: int
    files_changed: int
    bytes_stored: int
    bytes_read: int = 0
    started_at: datetime
    ended_at: datetime
    failed: tuple[FailedItem, ...] = ()
    failed_count: int = 0
    over: bool = False
    measured: DirectoryFacts | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifySpec:
    """What is to be verified. ``part`` of ``of``: that share of all packs is read (0 = structure and index only).

    ``samples``: so many files of ``source`` that nobody touched since before the snapshot are compared with it; None = none.
    """

    snapshot: str
    source: Source | None = None
    samples: int = 8
    part: int = 0
    of: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyFacts:
    """``sound``: no error was found in the repository, and no sampled file differs.

    ``errors`` in the repository, with its own words in ``messages``; ``broken_packs``; ``compared`` files, of which ``differing``
    are not as in the source; ``changed``: sampled, but changed meanwhile, so that they say nothing. ``stored_bytes``: what the
    repository holds.
    """

    sound: bool
    errors: int = 0
    broken_packs: tuple[str, ...] = ()
    messages: tuple[str, ...] = ()
    compared: int = 0
    changed: int = 0
    differing: tuple[str, ...] = ()
    stored_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreSpec:
    """``directory`` on the node is made where it is missing (not its parent). ``only``: these paths, from the snapshot's root.

    ``delete``: what the snapshot does not have is removed there. ``verify``: what was written is read back. ``disk``: of a
    snapshot of a disk the volume (its ``path`` and ``secret_uuid``) that is written, in place of a directory; it is there, of the
    snapshot's size, and no guest runs on it.
    """

    snapshot: str
    directory: str = ""
    disk: DiskSource | None = None
    only: tuple[str, ...] = ()
    delete: bool = False
    verify: bool = True
    limits: RunLimits = RunLimits()


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreFacts:
    """``files`` (directories too) and ``bytes`` written; ``files_skipped`` were there as in the snapshot; ``files_deleted``.

    ``signature``: of a disk, the partition table or file system that it begins with, as it was read back ("gpt", "mbr", "ext" and
    others); '' = none that is known.
    """

    whole: bool
    files: int
    bytes: int
    files_skipped: int = 0
    files_deleted: int = 0
    failed: tuple[FailedItem, ...] = ()
    failed_count: int = 0
    signature: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LockFacts:
    """A lock in a repository. ``ours``: this node's agent made it, by its own record; ``removed``: its owner is dead, it went."""

    id: str
    host: str
    pid: int
    since: datetime
    exclusive: bool
    ours: bool
    removed: bool


class Repositories(Protocol):
    """Of every method: NotFound: there is no such repository. TransientDriverError: it is locked (the message says by whom), not
    reached, or the time was up. PermanentDriverError: it does not open with this key, or the driver failed for good. NoCapacity:
    no room is left where it lies.
    """

    def create(self, access: RepositoryAccess, *, deadline: float) -> str:
        """Make an empty repository and return its id; one that is there and opens with this key is success.

        AlreadyExists: there is one that opens with another key.
        """
        ...

    def snapshots(
        self, access: RepositoryAccess, *, service_id: str = "", job_id: str = "", deadline: float
    ) -> tuple[SnapshotFacts, ...]:
        """Every snapshot, or those of a service or job, oldest first. Needs no lock."""
        ...

    def backup(
        self, access: RepositoryAccess, spec: BackupSpec, *, deadline: float, progress: Progress | None = None
    ) -> BackupFacts:
        """Make a snapshot, unless the source is over its cap. NotFound also where it is missing, before anything is written."""
        ...

    def verify(
        self, access: RepositoryAccess, spec: VerifySpec, *, deadline: float, progress: Progress | None = None
    ) -> VerifyFacts:
        """Read the repository and compare the snapshot with its source. Damage is no error but ``sound`` false.

        NotFound also where there is no such snapshot.
        """
        ...

    def forget(
        self,
        access: RepositoryAccess,
        snapshots: tuple[str, ...],
        *,
        prune: bool,
        deadline: float,
        progress: Progress | None = None,
    ) -> tuple[str, ...]:
        """Forget these snapshots by their whole ids, and no other; those that are gone already are success. Then ``prune``: give
        back the room of what nothing refers to. Returns the ids that are left, as the repository lists them afterwards.
        """
        ...

    def restore(
        self, access: RepositoryAccess, spec: RestoreSpec, *, deadline: float, progress: Progress | None = None
    ) -> RestoreFacts:
        """Write what the snapshot holds. NotFound also where there is no such snapshot, before anything is written."""
        ...

    def lacks(self, access: RepositoryAccess, snapshot: str, paths: tuple[str, ...], *, deadline: float) -> tuple[str, ...]:
        """Those of the paths, from the snapshot's root, that it does not hold. NotFound where there is no such snapshot."""
        ...

    def unlock(self, access: RepositoryAccess, *, deadline: float) -> tuple[LockFacts, ...]:
        """Remove the locks that this node's agent made and whose owner is proven dead; return all that were found."""
        ...

    def destroy(self, access: RepositoryAccess, *, only_cache: bool = False, deadline: float) -> None:
        """Remove the repository, its keys first, and this node's cache of it; absent = success. It is seen to be gone.

        ``only_cache``: leave the repository to somebody who may delete there.
        """
        ...

    def close(self) -> None: ...
