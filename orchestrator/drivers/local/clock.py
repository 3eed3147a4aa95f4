"""The machine's clock (port Clock): the only place that reads one."""

from __future__ import annotations

import time
from datetime import UTC, datetime


class SystemClock:
    """The operating system's clock."""

    def now(self) -> datetime:
        """See the port."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """See the port."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """See the port."""
        time.sleep(seconds)
