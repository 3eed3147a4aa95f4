"""What went through the network of a node's guests."""

from __future__ import annotations

from typing import Protocol

from orchestrator.domain.traffic import Reading


class GuestMeter(Protocol):
    """The counters of one node."""

    def read(self, *, deadline: float) -> tuple[Reading, ...]:
        """Of every guest that runs, whosever it is. A guest that ends meanwhile may be missing."""
        ...
