"""Which way leads to a repository: by the kind of place that it lies in."""

from __future__ import annotations

from pathlib import Path

from agents.node.restic import argv
from agents.node.restic.backend import Backend
from agents.node.restic.local import Local
from agents.node.restic.repository import LOCAL, REST, Repository
from agents.node.restic.sftp import Sftp


def backend(repository: Repository, files: argv.Files, *, end: float) -> Backend:
    """The way in for the repository's kind of place. ``end``: of time.monotonic."""
    if repository.kind == LOCAL:
        return Local(Path(repository.path))
    if repository.kind == REST:
        from agents.node.restic.rest import Rest  # HTTP and TLS take longer to import than all the rest

        return Rest(repository, end)
    return Sftp(repository, files, end)
