"""Testing a machine's memory and disks: what is asked for, and what is in the way. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from orchestrator.domain.errors import RequestError

LEAST, MOST = 30, 7 * 24 * 3600
"""Seconds."""
USUAL = 600


@dataclass(frozen=True, slots=True, kw_only=True)
class HardwareTest:
    """``seconds``: for all of it; shared equally by the memory and each disk."""

    memory: bool = True
    disks: bool = True
    seconds: int = USUAL

    @classmethod
    def of(cls, given: Mapping[str, object]) -> Self:
        """Both where neither is named. Raises RequestError."""
        memory, disks, seconds = bool(given.get("memory")), bool(given.get("disks")), given.get("seconds", USUAL)
        if not isinstance(seconds, int) or not LEAST <= seconds <= MOST:
            raise RequestError(f"a test takes {LEAST} to {MOST} seconds", hint="an hour is 3600, a day 86400")
        return cls(memory=memory or not disks, disks=disks or not memory, seconds=seconds)

    def arguments(self) -> dict[str, Any]:
        return {"memory": self.memory, "disks": self.disks, "seconds": self.seconds}

    def task(self, serials: tuple[str, ...]) -> dict[str, object]:
        """What the image is told; ``serials`` of the machine's disks."""
        return {"memory": self.memory, "disks": list(serials) if self.disks else [], "seconds": self.seconds}

    @property
    def words(self) -> str:
        parts = [*(["memory"] if self.memory else []), *(["disks"] if self.disks else [])]
        return f"{' and '.join(parts)}, {self.seconds} s"
