"""What a test does with restic and its repositories past the agent: a run that is killed, a byte that is not what it was."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from orchestrator.domain.errors import TransientDriverError
from orchestrator.drivers.restic import ResticRepositories
from orchestrator.ports.repositories import BackupSpec, DirectorySource, RepositoryAccess, RunLimits
from tests.lab.daemons import wait_until
from tests.local_agent import LocalAgent

SLOW = RunLimits(upload_kib=50)
SLOW_BYTES = 4 << 20
"""With the limit above so much takes longer than any test waits."""


def flip(path: Path, at: int = 40) -> None:
    """Change one byte of a file, whatever its mode."""
    path.chmod(0o600)
    with path.open("r+b") as file:
        file.seek(at)
        was = file.read(1)
        file.seek(at)
        file.write(bytes([was[0] ^ 0xFF]))


def locks_in(repository: Path) -> set[str]:
    """The locks in a repository on this machine; a file that is still being written has another name."""
    return {path.name for path in (repository / "locks").iterdir() if len(path.name) == 64}


def slow_source(scratch: Path) -> Path:
    source = scratch / "slow source"
    shutil.rmtree(source, ignore_errors=True)
    source.mkdir()
    (source / "much").write_bytes(os.urandom(SLOW_BYTES))
    return source


def running(agent: LocalAgent) -> list[int]:
    """The process ids of the runs of restic that the agent has on record and that go on."""
    runs = agent.place.state / "restic" / "runs"
    found = [int(path.name.rpartition(".")[2]) for path in runs.glob("*")] if runs.is_dir() else []
    return sorted(pid for pid in found if Path(f"/proc/{pid}").exists())


def in_background(work: Callable[[], object]) -> threading.Thread:
    """The work goes on beside the test, and its being broken off is no failure."""

    def run() -> None:
        with suppress(TransientDriverError):
            work()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def leave_lock(agent: LocalAgent | None, access: RepositoryAccess, repository: Path, scratch: Path) -> None:
    """Kill a backup that holds a lock: one of the agent's, or (None) somebody else's, who goes to the directory itself."""
    source, before = slow_source(scratch), locks_in(repository)
    if agent is None:
        words = ["restic", "--repo", str(repository), "backup", "--limit-upload", "50", str(source)]
        environment = {**os.environ, "RESTIC_PASSWORD": access.password, "RESTIC_CACHE_DIR": str(scratch / "cache of somebody")}
        process = subprocess.Popen(words, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until("a lock", lambda: locks_in(repository) > before)
        process.kill()
        process.wait()
        return
    spec = BackupSpec(service_id="s1", job_id="killed", source=DirectorySource(str(source)), limits=SLOW)
    work = in_background(lambda: ResticRepositories(agent).backup(access, spec, deadline=180.0))
    wait_until("a lock", lambda: locks_in(repository) > before)
    (pid,) = running(agent)
    os.kill(pid, signal.SIGKILL)
    work.join()
