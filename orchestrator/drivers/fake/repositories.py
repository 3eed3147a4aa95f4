"""The simulated repositories: apart from the simulated nodes, and reached from each.

A repository is known by the last part of its location, so that an append-only endpoint and its keeper's lead to the same one; a
location with ``append-only`` in it does not delete. Besides the world's faults, a test may leave a lock, or damage a snapshot.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from orchestrator.domain.errors import AlreadyExists
from orchestrator.drivers.fake.directories import (
    directories_of,
    is_below,
    measured_of,
    next_revision,
    revision_of,
    size_of,
)
from orchestrator.drivers.fake.disks import system_bytes, write_disk
from orchestrator.drivers.fake.repository_state import (
    kept_in,
    must_delete,
    name_of,
    opened_of,
    reads_all,
    row_of,
    source_files,
    unlocked_of,
)
from orchestrator.drivers.fake.world import FakeWorld, State
from orchestrator.ports.clock import Clock
from orchestrator.ports.repositories import (
    BackupFacts,
    BackupSpec,
    DirectoryFacts,
    DiskSource,
    FailedItem,
    LockFacts,
    Progress,
    RepositoryAccess,
    RestoreFacts,
    RestoreSpec,
    SnapshotFacts,
    VerifyFacts,
    VerifySpec,
)

Stage = Callable[[State, State], Any]


class FakeRepositories:
    """The repositories as one simulated node reaches them. ``clock`` dates snapshots; without one they carry the epoch."""

    def __init__(self, world: FakeWorld, node: str, *, clock: Clock | None = None) -> None:
        self._world = world
        self._node = node
        self._clock = clock

    def create(self, access: RepositoryAccess, *, deadline: float) -> str:
        def stage(state: State, _node: State) -> str:
            kept = kept_in(state)
            there = kept.get(name_of(access.location))
            if there is not None and there["password"] != access.password:
                raise AlreadyExists(f"making the repository {access.location}: there is one, and this key does not open it")
            if there is None:
                made = hashlib.sha256(f"{access.location} {len(kept)}".encode()).hexdigest()
                kept[name_of(access.location)] = {"id": made, "password": access.password, "snapshots": {}, "locks": []}
            return str(kept[name_of(access.location)]["id"])

        return str(self._act("create", access, deadline, [stage]))

    def snapshots(
        self, access: RepositoryAccess, *, service_id: str = "", job_id: str = "", deadline: float
    ) -> tuple[SnapshotFacts, ...]:
        def stage(state: State, _node: State) -> tuple[SnapshotFacts, ...]:
            rows = opened_of(state, access)["snapshots"].values()
            wanted = [
                row for row in rows if service_id in ("", row["service_id"]) and job_id in ("", row["job_id"])
            ]  # in the order in which they were made
            return tuple(_snapshot(row) for row in wanted)

        found: tuple[SnapshotFacts, ...] = self._act("snapshots", access, deadline, [stage])
        return found

    def backup(
        self, access: RepositoryAccess, spec: BackupSpec, *, deadline: float, progress: Progress | None = None
    ) -> BackupFacts:
        """Two stages: what is read is stored, and then the snapshot appears; what is broken off in between leaves none."""
        now = self._clock.now() if self._clock else datetime.fromtimestamp(0, UTC)

        def store(state: State, node: State) -> None:
            unlocked_of(state, access)
            source_files(node, spec.source)

        def appear(state: State, node: State) -> BackupFacts:
            kept, files = unlocked_of(state, access), source_files(node, spec.source)
            measured = None if isinstance(spec.source, DiskSource) else measured_of(node, spec.source.path)
            if measured is not None and _over(measured, spec):
                return replace(_nothing(now), over=True, measured=measured)
            before = [row for row in kept["snapshots"].values() if row["service_id"] == spec.service_id]
            known = before[-1]["files"] if before and not spec.full and not reads_all(spec.source) else {}
            held = {path: dict(file) for path, file in files.items() if not file["unreadable"]}
            failed = tuple(FailedItem(item=f"/{path}", message="permission denied") for path in files if path not in held)
            changed = [path for path in held if known.get(path) != held[path]]
            system = system_bytes(node, spec.source) if isinstance(spec.source, DiskSource) else 0
            anew = system if not known else 0  # of the system nothing changes between two backups
            state["snapshots made"] = made = int(state.get("snapshots made", 0)) + 1
            row = {
                "id": hashlib.sha256(f"snapshot {made}".encode()).hexdigest(),
                "taken_at": now.isoformat(),
                "revision": revision_of(state),
                "service_id": spec.service_id,
                "job_id": spec.job_id,
                "files": held,
                "damaged": False,
                "read": False,
            }
            kept["snapshots"][row["id"]] = row
            node["caches"] = sorted({*node.get("caches", []), access.location})
            return BackupFacts(
                snapshot=str(row["id"]),
                whole=not failed,
                files=len(held),
                bytes=size_of(held) + system,
                files_changed=len(changed),
                bytes_stored=sum(len(held[path]["text"]) for path in changed) + (anew if not before else 0),
                bytes_read=sum(len(held[path]["text"]) for path in changed) + anew,
                started_at=now,
                ended_at=now,
                failed=failed,
                failed_count=len(failed),
                measured=measured,
            )

        found: BackupFacts = self._act("backup", access, deadline, [store, appear], progress)
        return found

    def verify(
        self, access: RepositoryAccess, spec: VerifySpec, *, deadline: float, progress: Progress | None = None
    ) -> VerifyFacts:
        def stage(state: State, node: State) -> VerifyFacts:
            kept = unlocked_of(state, access)
            row = row_of(kept, spec.snapshot, access)
            # Snapshots share packs: damage to one is found whichever is looked at, in the part of the packs where it lies, or in
            # what is read because nobody has read it yet.
            every = kept["snapshots"].values()
            damaged = [each["id"] for each in every if each["damaged"] and (spec.part or not each["read"])]
            stored = sum(size_of(each["files"]) for each in kept["snapshots"].values())
            if damaged:
                return VerifyFacts(sound=False, errors=len(damaged), broken_packs=tuple(damaged), messages=("ciphertext",))
            for each in every:
                each["read"] = True
            differing: list[str] = []
            alone: dict[str, State] = {}
            if spec.source is not None:
                files = source_files(node, spec.source)
                alone = {path: file for path, file in files.items() if file["revision"] <= row["revision"]}
                sampled = sorted(alone)[: spec.samples]
                differing = [path for path in sampled if row["files"].get(path, {}).get("text") != alone[path]["text"]]
            return VerifyFacts(
                sound=not differing,
                compared=min(len(alone), spec.samples),
                differing=tuple(differing),
                stored_bytes=stored,
            )

        found: VerifyFacts = self._act("verify", access, deadline, [stage], progress)
        return found

    def forget(
        self,
        access: RepositoryAccess,
        snapshots: tuple[str, ...],
        *,
        prune: bool,
        deadline: float,
        progress: Progress | None = None,
    ) -> tuple[str, ...]:
        """Two stages: the snapshots go, then what nothing refers to."""

        def go(state: State, _node: State) -> None:
            kept = unlocked_of(state, access)
            if any(each in kept["snapshots"] for each in snapshots):
                must_delete(access)
            for each in snapshots:
                kept["snapshots"].pop(each, None)

        def left(state: State, _node: State) -> tuple[str, ...]:
            return tuple(unlocked_of(state, access)["snapshots"])

        found: tuple[str, ...] = self._act("forget", access, deadline, [go, left], progress)
        return found

    def restore(
        self, access: RepositoryAccess, spec: RestoreSpec, *, deadline: float, progress: Progress | None = None
    ) -> RestoreFacts:
        """Two stages, so that what is broken off in between leaves a directory that is half written."""

        def wanted(state: State) -> dict[str, State]:
            files = row_of(unlocked_of(state, access), spec.snapshot, access)["files"]
            below = tuple(path.strip("/") for path in spec.only)
            return {path: file for path, file in files.items() if not below or is_below(path, below)}

        def write(state: State, node: State, part: Mapping[str, State]) -> int:
            target, written = directories_of(node).setdefault(spec.directory, {}), 0
            for path, file in part.items():
                if target.get(path, {}).get("text") != file["text"]:
                    target[path] = {"text": file["text"], "unreadable": False, "revision": next_revision(state)}
                    written += 1
            return written

        done = [0]

        def begin(state: State, node: State) -> None:
            files = wanted(state)
            done[0] = write(state, node, dict(list(files.items())[: len(files) // 2]))

        def end(state: State, node: State) -> RestoreFacts:
            files = wanted(state)
            written = done[0] + write(state, node, files)
            target, doomed = directories_of(node)[spec.directory], []
            if spec.delete:
                below = tuple(path.strip("/") for path in spec.only)
                doomed = [path for path in target if path not in files and (not below or is_below(path, below))]
            for path in doomed:
                del target[path]
            sizes = sum(len(file["text"]) for file in files.values())
            return RestoreFacts(
                whole=True, files=written, bytes=sizes, files_skipped=len(files) - written, files_deleted=len(doomed)
            )

        stages: list[Stage] = [begin, end] if spec.disk is None else _disk_stages(access, spec.snapshot, spec.disk)
        found: RestoreFacts = self._act("restore", access, deadline, stages, progress)
        return found

    def lacks(self, access: RepositoryAccess, snapshot: str, paths: tuple[str, ...], *, deadline: float) -> tuple[str, ...]:
        def stage(state: State, _node: State) -> tuple[str, ...]:
            files = row_of(opened_of(state, access), snapshot, access)["files"]
            return tuple(path for path in paths if not any(is_below(file, (path.strip("/"),)) for file in files))

        found: tuple[str, ...] = self._act("lacks", access, deadline, [stage])
        return found

    def unlock(self, access: RepositoryAccess, *, deadline: float) -> tuple[LockFacts, ...]:
        def stage(state: State, node: State) -> tuple[LockFacts, ...]:
            kept = opened_of(state, access)
            found = tuple(_lock(lock, node["name"]) for lock in kept["locks"])
            gone = {lock.id for lock in found if lock.removed}
            kept["locks"] = [lock for lock in kept["locks"] if lock["id"] not in gone]
            return found

        found: tuple[LockFacts, ...] = self._act("unlock", access, deadline, [stage])
        return found

    def destroy(self, access: RepositoryAccess, *, only_cache: bool = False, deadline: float) -> None:
        """Three stages, as the real one: the keys go, and with them whatever it held; the rest; then this node's cache of it."""

        def keys(state: State, _node: State) -> None:
            there = kept_in(state).get(name_of(access.location))
            if there is not None:
                must_delete(access)
                there["password"] = None

        def rest(state: State, _node: State) -> None:
            kept_in(state).pop(name_of(access.location), None)

        def cache(_state: State, node: State) -> None:
            node["caches"] = [where for where in node.get("caches", []) if where != access.location]

        self._act("destroy", access, deadline, [cache] if only_cache else [keys, rest, cache])

    def close(self) -> None:
        """Nothing is kept open."""

    def _act(
        self, method: str, access: RepositoryAccess, deadline: float, stages: list[Stage], progress: Progress | None = None
    ) -> Any:
        if progress is not None:
            progress(0.0, f"{method} begins")
        result = self._world.act_from(
            f"repositories.{method}", node=self._node, subject=name_of(access.location), deadline=deadline, stages=stages
        )
        if progress is not None:
            progress(1.0, f"{method} done")
        return result


# -- what a test does behind the port's back -----------------------------------------------------------------------------------


def leave_lock(world: FakeWorld, location: str, *, node: str = "", alive: bool = False) -> None:
    """A lock in the repository, of a run of ``node`` ('' = of somebody else's), which is dead or goes on."""
    with world.change() as state:
        locks = kept_in(state)[name_of(location)]["locks"]
        locks.append({"id": hashlib.sha256(f"lock {len(locks)}".encode()).hexdigest(), "node": node, "alive": alive})


def damage(world: FakeWorld, location: str, snapshot: str) -> None:
    """A byte of a pack of this snapshot is not what it was: found by whoever reads that pack."""
    with world.change() as state:
        kept_in(state)[name_of(location)]["snapshots"][snapshot]["damaged"] = True


def falsify(world: FakeWorld, location: str, snapshot: str, path: str) -> None:
    """The snapshot holds something else than the file had: found by comparing only."""
    with world.change() as state:
        kept_in(state)[name_of(location)]["snapshots"][snapshot]["files"][path]["text"] += "?"


def _over(measured: DirectoryFacts, spec: BackupSpec) -> bool:
    pairs = ((measured.bytes, spec.most_bytes), (measured.inodes, spec.most_inodes))
    return any(most is not None and there > most for there, most in pairs)


def _nothing(now: datetime) -> BackupFacts:
    return BackupFacts(snapshot="", whole=False, files=0, bytes=0, files_changed=0, bytes_stored=0, started_at=now, ended_at=now)


def _disk_stages(access: RepositoryAccess, snapshot: str, disk: DiskSource) -> list[Stage]:
    """The first half of the disk is written, then all of it."""

    def texts(state: State) -> list[str]:
        return [file["text"] for file in row_of(unlocked_of(state, access), snapshot, access)["files"].values()]

    def begin(state: State, node: State) -> None:
        found = texts(state)
        write_disk(node, disk, found[: len(found) // 2])

    def end(state: State, node: State) -> RestoreFacts:
        found = texts(state)
        write_disk(node, disk, found)
        return RestoreFacts(whole=True, files=len(found), bytes=sum(len(text.encode()) for text in found), signature="gpt")

    return [begin, end]


def _snapshot(row: State) -> SnapshotFacts:
    return SnapshotFacts(
        id=row["id"],
        taken_at=datetime.fromisoformat(row["taken_at"]),
        service_id=row["service_id"],
        job_id=row["job_id"],
        files=len(row["files"]),
        bytes=size_of(row["files"]),
    )


def _lock(lock: State, node: str) -> LockFacts:
    ours = lock["node"] == node
    return LockFacts(
        id=lock["id"],
        host=lock["node"] or "elsewhere",
        pid=4711,
        since=datetime.fromtimestamp(0, UTC),
        exclusive=False,
        ours=ours,
        removed=ours and not lock["alive"],
    )
