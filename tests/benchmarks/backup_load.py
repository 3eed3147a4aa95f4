"""A controller in a process of its own with many backups under way; what it takes meanwhile, as JSON on standard output.

``python -m tests.benchmarks.backup_load DIRECTORY``. Everything is real but what lies behind the ports: the simulated node's
repositories take their time, and speak of their progress in the agent's own lines, twice a second as restic does.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from orchestrator import wiring
from orchestrator.domain.backups.offer import NodeBackups
from orchestrator.domain.intents import IntentKind, JobState
from orchestrator.domain.plans import Node
from orchestrator.drivers.agent_answers import LineReader
from orchestrator.ports.repositories import Progress
from orchestrator.steps.base import Ports
from orchestrator.steps.registry import STEPS
from tests.fault.house import House, Options, prepared
from tests.store_files import engine_database

BACKUPS = 50
SECONDS = 20.0
BEATS_PER_SECOND = 2


class Slowly:
    """Repositories whose backups go on until they are let end."""

    def __init__(self, inner: Any, ending: threading.Event, begun: Callable[[], None]) -> None:
        self._inner, self._ending, self._begun = inner, ending, begun

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def backup(self, access: Any, spec: Any, *, deadline: float, progress: Progress | None = None) -> Any:
        reader, beat = LineReader(progress), 0
        self._begun()
        while not self._ending.wait(1 / BEATS_PER_SECOND):
            beat += 1
            said = f"backing up the disk of {spec.service_id}: {beat} files, {beat << 22} bytes"
            line = {"progress": {"fraction": min(1.0, beat / 1000), "message": said}}
            reader.feed(json.dumps(line).encode() + b"\n")
        return self._inner.backup(access, spec, deadline=deadline, progress=progress)


class Loaded(House):
    """One node that works on many backups at a time."""

    def __init__(self, directory: Path) -> None:
        self.ending = threading.Event()
        self.begun = threading.Semaphore(0)
        options = Options(
            workers=BACKUPS + 10,
            heavy_slots={"n1": BACKUPS},
            backups={"n1": NodeBackups(target="main", at_once=BACKUPS)},
            poll_seconds=0.2,
            due_seconds=60.0,
            sweep_seconds=10.0,
        )
        nodes = (Node(name="n1", zone="z1", address="192.0.2.11", driver="fake", heavy_slots=BACKUPS),)
        books = wiring.load_all_playbooks()
        super().__init__(directory, steps=STEPS, playbooks=books, options=options, declared=nodes)

    def _ports(self, directory: Path) -> Ports:
        made = super()._ports(directory)
        return replace(made, repositories=lambda node: Slowly(made.repositories(node), self.ending, self.begun.release))


def resident() -> int:
    """Bytes of this process in memory."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) * 1024


def share() -> float:
    """Of one core, that this process takes for a while."""
    wall, used = time.monotonic(), time.process_time()
    time.sleep(SECONDS)
    return (time.process_time() - used) / (time.monotonic() - wall)


def main(directory: Path) -> None:
    house = Loaded(prepared(directory, engine_database))
    house.engine.start()
    services = [f"s{number:02}" for number in range(BACKUPS)]
    for job in [house.order(service).job_id for service in services]:
        assert house.wait(job, seconds=300).state == JobState.DONE
    time.sleep(2)
    idle = share()
    asked = [house.engine.command(IntentKind.BACKUP, each, who="anna", why="", arguments={}).job_id for each in services]
    for _ in services:
        assert house.begun.acquire(timeout=300)
    time.sleep(2)
    running = sum(house.job(job).state == JobState.RUNNING for job in asked)
    busy, memory = share(), resident()
    house.ending.set()
    done = sum(house.wait(job, seconds=300).state == JobState.DONE for job in asked)
    house.close()
    print(json.dumps({"running": running, "done": done, "idle": idle, "busy": busy, "memory": memory}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
