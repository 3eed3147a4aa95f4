"""Everything of the controller itself that cannot be made anew, put together in one directory for as long as it is copied."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol


class StateFiles(Protocol):
    def staged(self) -> AbstractContextManager[Path]:
        """The directory, for the controller's user alone, emptied at the end. WrongState: another process has it just now.

        Raises ConfigError and StoreUnavailable where something of it cannot be read, PermanentDriverError where the database
        cannot be copied.
        """
        ...

    def alone(self) -> AbstractContextManager[None]:
        """Nobody copies meanwhile. WrongState: another process does just now."""
        ...

    def clear(self) -> None:
        """Empty what a process that was killed has left; in use = left alone."""
        ...
