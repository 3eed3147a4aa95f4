"""What the engine is told by the configuration; ``wiring`` fills it in. Seconds unless a name says otherwise."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

from orchestrator.domain.brakes import BrakeLimits
from orchestrator.domain.plans import Node, Plan, Template
from orchestrator.store.database import Connection

T = TypeVar("T")
# What a caller wants written in the very transaction of its act, given the act's result: one is not to be without the other.
Beside = Callable[[Connection, T], None]


def nothing_beside(_conn: Connection, _result: object) -> None:
    """Only the act."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalog:
    """What is sold and what it is installed from, by name, the nodes it could be on, and who sells it."""

    plans: Mapping[str, Plan]
    templates: Mapping[str, Template]
    nodes: tuple[Node, ...]
    provider: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """``workers``: jobs that run at the same time. ``heavy_slots``: heavy steps at a time by node, 1 where not named.

    ``drain_seconds``: how long ``stop`` waits for the steps under way; what then still runs is recovered at the next start.
    """

    state_dir: Path
    limits: BrakeLimits
    workers: int = 4
    poll_seconds: float = 0.2
    heavy_slots: Mapping[str, int] = field(default_factory=dict)
    slot_lease_seconds: float = 60.0
    slot_wait_seconds: float = 1800.0
    drain_seconds: float = 20.0
    sweep_seconds: float = 10.0
    outbox_seconds: float = 1.0
    outbox_batch: int = 20
    notify_deadline_seconds: float = 15.0
    keep_engine_rows: timedelta = timedelta(days=14)
    keep_events: timedelta = timedelta(days=60)
