"""What is kept beside a service's disk or home for a while: a volume that a restore replaced, or what one wrote beside it. Pure.

They are known by the service's record from the end of the job that left them until the end of the one that wipes them. Nobody
runs on them, and they go with the service at the latest.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class KeptKind(StrEnum):
    """``SAFETY_COPY``: the disk as it was when a restore took its place. ``BESIDE``: what was restored beside disk or home."""

    SAFETY_COPY = "safety-copy"
    BESIDE = "beside"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptVolume:
    """``name`` in the node's pool, or of a directory beside the home; ``path`` on the node; ``job_id``: the restore that left
    it."""

    name: str
    kind: KeptKind
    node: str
    path: str
    job_id: str
    kept_at: datetime
    until: datetime
