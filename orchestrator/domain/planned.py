"""What is planned for a service, as its record has it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedRestart:
    """A restart of the guest on ``node`` in the window from ``at`` to ``until``. ``why``: what waits for it, a sentence."""

    node: str
    at: datetime
    until: datetime
    planned_at: datetime
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Announced:
    """Maintenance of ``node`` from ``at`` to ``until``, as ``who`` announced it. ``why``: a sentence that customers hear."""

    node: str
    at: datetime
    until: datetime
    announced_at: datetime
    who: str
    why: str
