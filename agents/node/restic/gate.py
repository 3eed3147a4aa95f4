"""How large a directory may be that is backed up: measured by one walk before, and watched while it is read.

restic counts what it has read by names, and files only. So its counters say when to look, and a walk says what is there. They do
not tell of what grows where it was read already: of a run that takes long the directory is measured from time to time, too.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from agents.node.restic import view
from agents.node.restic.check import SAMPLE_LIMIT
from agents.node.restic.measure import Measured, Sample, Say, Walk

SAMPLES_KEPT = 64
"""Files of the source that are noted before a backup, to compare the snapshot by."""

LOOK_SECONDS = 120.0
"""Between two walks of a directory that is being read; a walk of a quarter of a million inodes takes about a second."""

PATIENCE = 10.0
"""Seconds until the counters are heeded again after a walk that found less than they said."""

NO_CAP = 1 << 62
GREW = "it grew past its cap while it was read"


@dataclass(frozen=True, slots=True, kw_only=True)
class Most:
    """At most so many."""

    bytes: int = NO_CAP
    inodes: int = NO_CAP

    def exceeded(self, size: int, inodes: int) -> bool:
        return size > self.bytes or inodes > self.inodes


class Gate:
    """``over``: the last walk found more than there may be; ``report`` is what it found. ``end``: of time.monotonic."""

    def __init__(
        self, path: str, most: Most, *, say: Say, end: float, without: Collection[str] = (), look_seconds: float = LOOK_SECONDS
    ) -> None:
        self._without = without
        self._path, self._most, self._say, self._end = path, most, say, end
        self._look_seconds = look_seconds
        self._looked, self._patient_until = 0.0, 0.0
        self.over = False
        self.found = Measured()
        self.report: dict[str, Any] = {}
        self.samples: list[Sample] = []

    def measure(self, *, samples: int = 0) -> bool:
        """Whether there is too much now. Raises AgentError: not-found, refused, driver-transient (the time is up)."""
        began = time.time_ns()
        with view.opened(self._path) as fd:
            walk = Walk(
                fd,
                self._path,
                say=self._say,
                end=self._end,
                without=self._without,
                samples=samples,
                older_than_ns=began,
                sample_limit=SAMPLE_LIMIT,
            )
            self.found = walk.run()
            self.report = walk.report()
        self.samples = self.found.samples or self.samples
        self.over = self._most.exceeded(self.found.bytes, self.found.inodes)
        self._looked = time.monotonic()
        return self.over

    def watch(self, files: int, size: int) -> str:
        """Why restic is to be ended, which has read so many files and bytes, by names; '' = it is not."""
        now = time.monotonic()
        due = now - self._looked >= self._look_seconds or (now >= self._patient_until and self._seems_over(files, size))
        if self._most == Most() or not due:
            return ""
        self._patient_until = now + PATIENCE
        return GREW if self.measure() else ""

    def read(self, files: int, size: int, *, more_directories: int) -> bool:
        """restic has read all of it: whether there is too much. ``more_directories``: than were measured."""
        if not self.over and self._seems_over(files + max(0, more_directories), size):
            self.measure()
        return self.over

    def _seems_over(self, files: int, size: int) -> bool:
        """Names of one file are taken off as they were measured, and what restic does not count is added."""
        found = self.found
        return self._most.exceeded(size - found.file_bytes + found.bytes, files - found.files + found.inodes)
