"""The port Repositories over one node's agent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from orchestrator.drivers.restic import answers
from orchestrator.ports.node_transport import NodeTransport
from orchestrator.ports.repositories import (
    BackupFacts,
    BackupSpec,
    DirectorySource,
    DiskSource,
    LockFacts,
    Progress,
    RepositoryAccess,
    RestoreFacts,
    RestoreSpec,
    RunLimits,
    SnapshotFacts,
    VerifyFacts,
    VerifySpec,
)

CLEANING_SECONDS = 15.0
"""What a call has left of its deadline when the agent ends restic, which then takes its lock out of the repository."""


class ResticRepositories:
    """``agent`` is the node's, and not closed here. ``limits``: what a run may take where nothing else is asked for."""

    def __init__(self, agent: NodeTransport, *, limits: RunLimits = RunLimits()) -> None:  # noqa: B008 -- a frozen value
        self._agent = agent
        self._limits = limits

    def create(self, access: RepositoryAccess, *, deadline: float) -> str:
        return answers.text(self._call("repository-create", access, {}, deadline), "id")

    def snapshots(
        self, access: RepositoryAccess, *, service_id: str = "", job_id: str = "", deadline: float
    ) -> tuple[SnapshotFacts, ...]:
        found = self._call("repository-snapshots", access, {"tags": _tags(service_id, job_id)}, deadline)
        return answers.snapshots(found)

    def backup(
        self, access: RepositoryAccess, spec: BackupSpec, *, deadline: float, progress: Progress | None = None
    ) -> BackupFacts:
        asked: dict[str, Any] = {
            "host": spec.service_id,
            "tags": _tags(spec.service_id, spec.job_id),
            "limits": self._asked(spec.limits),
        }
        if isinstance(spec.source, DiskSource):
            asked |= _disk(spec.source, whole=spec.full)
            return answers.disk_backup(self._call("disk-backup", access, asked, deadline, progress))
        asked |= {"path": spec.source.path, "full": spec.full, "scan": spec.scan}
        caps = {"most_bytes": spec.most_bytes, "most_inodes": spec.most_inodes}
        asked |= {name: most for name, most in caps.items() if most is not None}
        return answers.directory_backup(self._call("directory-backup", access, asked, deadline, progress))

    def verify(
        self, access: RepositoryAccess, spec: VerifySpec, *, deadline: float, progress: Progress | None = None
    ) -> VerifyFacts:
        asked: dict[str, Any] = {"snapshot": spec.snapshot, "part": spec.part, "of": spec.of, "samples": spec.samples}
        asked["limits"] = self._asked(RunLimits())
        if isinstance(
            spec.source, DirectorySource
        ):  # a disk was compared when it was backed up: it is frozen no longer than that
            asked["path"] = spec.source.path
        return answers.verified(self._call("repository-check", access, asked, deadline, progress))

    def forget(
        self,
        access: RepositoryAccess,
        snapshots: tuple[str, ...],
        *,
        prune: bool,
        deadline: float,
        progress: Progress | None = None,
    ) -> tuple[str, ...]:
        asked = {"snapshots": list(snapshots), "prune": prune, "limits": self._asked(RunLimits())}
        return answers.texts(self._call("repository-forget", access, asked, deadline, progress), "left")

    def restore(
        self, access: RepositoryAccess, spec: RestoreSpec, *, deadline: float, progress: Progress | None = None
    ) -> RestoreFacts:
        if spec.disk is not None:
            onto = {"snapshot": spec.snapshot, "limits": self._asked(spec.limits), **_volume(spec.disk)}
            return answers.disk_restored(self._call("disk-restore", access, onto, deadline, progress))
        asked = {
            "path": spec.directory,
            "snapshot": spec.snapshot,
            "only": list(spec.only),
            "delete": spec.delete,
            "verify": spec.verify,
            "limits": self._asked(spec.limits),
        }
        return answers.restored(self._call("directory-restore", access, asked, deadline, progress))

    def lacks(self, access: RepositoryAccess, snapshot: str, paths: tuple[str, ...], *, deadline: float) -> tuple[str, ...]:
        asked = {"snapshot": snapshot, "paths": list(paths)}
        return answers.texts(self._call("repository-lacks", access, asked, deadline), "missing")

    def unlock(self, access: RepositoryAccess, *, deadline: float) -> tuple[LockFacts, ...]:
        return answers.locks(self._call("repository-unlock", access, {}, deadline))

    def destroy(self, access: RepositoryAccess, *, only_cache: bool = False, deadline: float) -> None:
        self._call("repository-destroy", access, {"only_cache": only_cache}, deadline)

    def close(self) -> None:
        """Nothing of its own is open."""

    def _asked(self, limits: RunLimits) -> dict[str, Any]:
        return asdict(self._limits if limits == RunLimits() else limits)

    def _call(
        self,
        command: str,
        access: RepositoryAccess,
        asked: Mapping[str, Any],
        deadline: float,
        progress: Progress | None = None,
    ) -> dict[str, Any]:
        seconds = max(1, int(max(deadline - CLEANING_SECONDS, deadline / 2)))
        request = {"repository": asdict(access), "seconds": seconds, **asked}
        return self._agent.call(command, request, deadline=deadline, progress=progress)


def _tags(service_id: str, job_id: str) -> list[str]:
    return [f"{name}={value}" for name, value in (("service", service_id), ("job", job_id)) if value]


def _volume(disk: DiskSource) -> dict[str, str]:
    return {"path": disk.path, **({"secret_uuid": disk.secret_uuid} if disk.secret_uuid else {})}


def _disk(disk: DiskSource, *, whole: bool) -> dict[str, str]:
    """``whole``: read all of it, whatever is known of what changed."""
    if not disk.socket:
        return _volume(disk)
    changes = {} if whole or not disk.bitmap else {"bitmap": disk.bitmap, "parent": disk.parent}
    return {"socket": disk.socket, "export": disk.export, **{name: value for name, value in changes.items() if value}}
