"""A small file beside the store that counts the turns with it: a store that knows of fewer came back from a copy.

Of several controllers each has one; those that do not lead write down what the store says.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path

_log = logging.getLogger(__name__)
MARK_FILE = "deadline-turns"
_MODE = 0o600


class Mark:
    """Written after the store has the number, so that it is never ahead of the store that it belongs to."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / MARK_FILE

    def read(self) -> int | None:
        """The number; None where there is no file, or none that holds one."""
        try:
            return int(self._path.read_text(encoding="ascii"))
        except (OSError, ValueError):
            return None

    def write(self, turns: int) -> None:
        """Whole or not at all. What cannot be written is logged: then a restored store shows by its age only."""
        fresh = self._path.with_suffix(".new")
        try:
            with open(fresh, "w", encoding="ascii", opener=_private) as file:
                file.write(str(turns))
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(self._path)
        except OSError as exc:
            _log.warning("%s cannot be written: %s", self._path, exc.strerror)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, _MODE)
