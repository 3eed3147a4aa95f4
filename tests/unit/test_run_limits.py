"""What the configuration lets a run of restic take is asked of every node, unless a run is told otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator.drivers.restic import ResticRepositories
from orchestrator.ports.node_transport import Progress
from orchestrator.ports.repositories import BackupSpec, DirectorySource, RepositoryAccess, RunLimits, VerifySpec

ACCESS = RepositoryAccess(location="/srv/backup/s1.1", password="x")
LIMITS = RunLimits(upload_kib=100, download_kib=200, io_priority=-1)
ANSWER: dict[str, Any] = {
    "snapshot": "1", "whole": True, "files": 0, "bytes": 0, "files_new": 0, "files_changed": 0,
    "bytes_added": 0, "bytes_stored": 0,
    "started_at": "2026-11-27T00:00:00Z", "ended_at": "2026-11-27T00:00:00Z", "failed": [], "failed_count": 0,
    "sound": True, "errors": 0, "broken_packs": [], "messages": [], "compared": 0, "changed": 0, "differing": [],
    "stored_bytes": 0, "left": [], "over": False, "measured": {
        **dict.fromkeys(("bytes", "inodes", "files", "file_bytes", "directories", "links", "sockets", "others", "unreadable"), 0),
        "largest": [], "fullest": [],
    },
}  # fmt: skip


class Node:
    """Answers each call, and keeps what limits it was told."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []

    def call(
        self, command: str, request: Mapping[str, Any], *, deadline: float, progress: Progress | None = None
    ) -> dict[str, Any]:
        limits = request["limits"]
        self.told.append((command, limits["upload_kib"], limits["download_kib"], limits["io_priority"]))
        return ANSWER

    def close(self) -> None:
        """Nothing is open."""


def test_every_run_is_told_what_it_may_take() -> None:
    node = Node()
    repositories = ResticRepositories(node, limits=LIMITS)
    spec = BackupSpec(service_id="s1", job_id="j1", source=DirectorySource("/home/s1"))
    repositories.backup(ACCESS, spec, deadline=60.0)
    repositories.verify(ACCESS, VerifySpec(snapshot="1"), deadline=60.0)
    repositories.forget(ACCESS, ("1",), prune=True, deadline=60.0)
    assert node.told == [
        ("directory-backup", 100, 200, -1),
        ("repository-check", 100, 200, -1),
        ("repository-forget", 100, 200, -1),
    ]


def test_a_run_with_limits_of_its_own_keeps_them() -> None:
    node = Node()
    spec = BackupSpec(service_id="s1", job_id="j1", source=DirectorySource("/home/s1"), limits=RunLimits(upload_kib=5))
    ResticRepositories(node, limits=LIMITS).backup(ACCESS, spec, deadline=60.0)
    assert node.told == [("directory-backup", 5, 0, 7)]
