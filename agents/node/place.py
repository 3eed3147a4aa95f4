"""Where things are on a node, what enrolment declared, and the locks between two calls of the agent."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from agents.node.arguments import path as checked_path
from agents.node.protocol import AgentError


@dataclass(frozen=True, slots=True)
class Place:
    """The node's directories, all under ``root``, which is ``/`` but in tests."""

    root: Path = Path("/")
    lock_wait: float = 10.0
    """Seconds that a call waits for another one on the same object."""

    @property
    def config(self) -> Path:
        """Written by enrolment, owned by root: ``{"pool_paths": […]}``."""
        return self.root / "etc/orchestrator/agent.json"

    @property
    def state(self) -> Path:
        return self.root / "var/lib/orchestrator-agent"

    @property
    def locks(self) -> Path:
        return self.root / "run/orchestrator-agent"

    def pool_paths(self) -> tuple[str, ...]:
        """The directories that enrolment declared as storage pools. Raises AgentError where the node is not enrolled."""
        try:
            declared = json.loads(self.config.read_text())["pool_paths"]
        except FileNotFoundError:
            raise AgentError("wrong-state", "this node declares no storage pool", hint="enrol the node again") from None
        except (OSError, ValueError, KeyError, TypeError) as exc:
            raise AgentError("wrong-state", f"{self.config} cannot be used: {exc}", hint="enrol the node again") from None
        if not isinstance(declared, list) or not all(_is_path(p) for p in declared):
            raise AgentError(
                "wrong-state",
                f"{self.config} cannot be used: pool_paths is no list of absolute paths below /",
                hint="enrol the node again",
            )
        return tuple(declared)

    def pool(self, path: str) -> str:
        """``path`` itself if it is a declared pool. Raises AgentError (refused) otherwise."""
        if path not in self.pool_paths():
            raise AgentError("refused", f"{path} is not a storage pool that this node declares", hint="enrol the node again")
        return path

    @contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """Holds the lock on one object of this node; held by another call for longer than ``lock_wait``: driver-transient.

        The lock goes with the process, however that ends.
        """
        import hashlib  # brings OpenSSL with it, for which a call that looks only has no use

        self.locks.mkdir(mode=0o700, parents=True, exist_ok=True)
        digest = hashlib.sha256(name.encode()).hexdigest()
        fd = os.open(self.locks / digest, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            deadline = time.monotonic() + self.lock_wait
            while True:
                try:
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise AgentError("driver-transient", f"another call still works on {name}") from None
                    time.sleep(0.1)
            yield
        finally:
            os.close(fd)


def _is_path(value: object) -> bool:
    """Whether this can be a pool: the root of all files is none."""
    try:
        return checked_path(value) != "/"
    except ValueError:
        return False
