"""The lock on a state directory: what it holds is changed by one controller, or by one command in its place, at a time."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import IO

from orchestrator.domain.errors import ConfigError, WrongState

LOCK_FILE = "controller.lock"


def take(state_dir: Path) -> IO[str]:
    """Held until the file is closed, or the process ends. Raises WrongState where another process has it."""
    path = state_dir / LOCK_FILE
    try:
        lock = path.open("a+", encoding="ascii")
    except OSError as exc:
        raise ConfigError(f"the state directory {path.parent} cannot be written: {exc.strerror}") from exc
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as exc:
        lock.seek(0)
        other = lock.read().strip() or "unknown"
        lock.close()
        raise WrongState(
            f"another controller (process {other}) runs on {path.parent}",
            hint="stop it first, or use another state directory",
        ) from exc
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()
    return lock
