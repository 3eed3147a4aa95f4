"""Calls to the agent on a node: a command, a JSON request, JSON lines of progress back, then one result."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

Progress = Callable[[float, str], None]
"""Called with a fraction 0..1 and a sentence; must not raise."""


class NodeTransport(Protocol):
    def call(
        self, command: str, request: Mapping[str, Any], *, deadline: float, progress: Progress | None = None
    ) -> dict[str, Any]:
        """Run one agent command and return its result.

        An error the agent reports arrives as the error of the same code; a lost connection or a passed deadline as
        TransientDriverError; a changed host key, an unknown command or output beyond the bound as PermanentDriverError.
        The command may have taken effect although an error was raised: callers check before they act again.
        """
        ...

    def close(self) -> None: ...
