"""A node of a test's own with a home to back up and a place for repositories, on this machine, through the real agent."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator.drivers.restic import ResticRepositories
from orchestrator.ports.repositories import (
    BackupFacts,
    BackupSpec,
    DirectorySource,
    RepositoryAccess,
    RestoreFacts,
    RestoreSpec,
    RunLimits,
    VerifyFacts,
    VerifySpec,
)
from tests.lab.environment import Lab
from tests.local_agent import LocalAgent
from tests.restic_keys import plant

LONG = 180.0


@dataclass(frozen=True)
class Ground:
    """``home`` is empty; ``repository`` is where ``access`` leads to."""

    agent: LocalAgent
    access: RepositoryAccess
    repository: Path
    home: Path
    aside: Path

    @property
    def repositories(self) -> ResticRepositories:
        return ResticRepositories(self.agent)

    def make(self) -> None:
        """An empty repository, which opens more quickly than one that restic makes."""
        plant(self.repository, self.access.password)

    def backup(
        self,
        directory: Path | None = None,
        *,
        limits: RunLimits | None = None,
        deadline: float = LONG,
        most_bytes: int | None = None,
        most_inodes: int | None = None,
    ) -> BackupFacts:
        source = DirectorySource(str(directory or self.home))
        spec = BackupSpec(service_id="s1", job_id="j1", source=source, limits=limits or RunLimits())
        spec = replace(spec, most_bytes=most_bytes, most_inodes=most_inodes)
        return self.repositories.backup(self.access, spec, deadline=deadline)

    def held(self) -> list[str]:
        return [each.id for each in self.repositories.snapshots(self.access, deadline=LONG)]

    def restore(self, snapshot: str, *, only: tuple[str, ...] = (), delete: bool = False) -> RestoreFacts:
        spec = RestoreSpec(snapshot=snapshot, directory=str(self.aside), only=only, delete=delete)
        return self.repositories.restore(self.access, spec, deadline=LONG)

    def verify(self, snapshot: str, *, part: int = 1, of: int = 1, samples: int = 0) -> VerifyFacts:
        source = DirectorySource(str(self.home))
        spec = VerifySpec(snapshot=snapshot, source=source, samples=samples, part=part, of=of)
        return self.repositories.verify(self.access, spec, deadline=LONG)

    def measure(self, **fields: Any) -> dict[str, Any]:
        return self.agent.call("directory-measure", {"path": str(self.home), "seconds": 60, **fields}, deadline=LONG)

    def processes(self) -> list[int]:
        """Of restic on this repository."""
        return processes(lambda words: b"restic" in words and os.fsencode(self.access.location) in words)


def fill(directory: Path, count: int) -> None:
    """So many empty files, quickly."""
    directory.mkdir(exist_ok=True)
    fd = os.open(directory, os.O_RDONLY)
    try:
        for number in range(count):
            os.close(os.open(f"{number}", os.O_CREAT | os.O_WRONLY, 0o600, dir_fd=fd))
    finally:
        os.close(fd)


def processes(wanted: Callable[[list[bytes]], bool]) -> list[int]:
    """The live processes of this machine whose words are wanted."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if wanted(words):
                found.append(int(entry.name))
    return found


@pytest.fixture
def ground(lab: Lab, tmp_path: Path) -> Ground:
    home, kept = tmp_path / "home", tmp_path / "kept"
    home.mkdir()
    kept.mkdir()
    return Ground(
        agent=LocalAgent(tmp_path / "node", []),
        access=RepositoryAccess(location=f"{kept}/s1.1", password="the service's own key"),
        repository=kept / "s1.1",
        home=home,
        aside=tmp_path / "aside",
    )
