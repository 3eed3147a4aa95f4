"""How simulated repositories are kept in the simulated world."""

from __future__ import annotations

from orchestrator.domain.errors import NotFound, PermanentDriverError, Refused, TransientDriverError
from orchestrator.drivers.fake.directories import directory_of
from orchestrator.drivers.fake.disks import disk_files
from orchestrator.drivers.fake.world import State
from orchestrator.ports.repositories import DiskSource, RepositoryAccess, Source

APPEND_ONLY = "append-only"


def name_of(location: str) -> str:
    """What a repository is known by, whichever endpoint leads to it."""
    return location.rstrip("/").rpartition("/")[2]


def kept_in(state: State) -> dict[str, State]:
    kept: dict[str, State] = state.setdefault("repositories", {})
    return kept


def source_files(node: State, source: Source) -> dict[str, State]:
    """What the source holds now. Raises NotFound."""
    return disk_files(node, source) if isinstance(source, DiskSource) else directory_of(node, source.path)


def reads_all(source: Source) -> bool:
    """A disk of which is not known what changed in it."""
    return isinstance(source, DiskSource) and not source.bitmap


def opened_of(state: State, access: RepositoryAccess) -> State:
    there = kept_in(state).get(name_of(access.location))
    if there is None:
        raise NotFound(f"there is no repository at {access.location}", reason="no-repository")
    if there["password"] != access.password:
        raise PermanentDriverError(f"{access.location}: the repository does not open with this key", reason="wrong-password")
    return there


def unlocked_of(state: State, access: RepositoryAccess) -> State:
    there = opened_of(state, access)
    for lock in there["locks"]:
        holder = f"process 4711 of root on {lock['node'] or 'elsewhere'}"
        raise TransientDriverError(f"{access.location}: the repository is locked by {holder}", reason="locked")
    return there


def must_delete(access: RepositoryAccess) -> None:
    if APPEND_ONLY in access.location:
        raise Refused(f"{access.location}: an append-only endpoint does not delete", reason="append-only")


def row_of(kept: State, snapshot: str, access: RepositoryAccess) -> State:
    row: State | None = kept["snapshots"].get(snapshot)
    if row is None:
        raise NotFound(f"there is no snapshot {snapshot[:8]} in {access.location}", reason="no-snapshot")
    return row
