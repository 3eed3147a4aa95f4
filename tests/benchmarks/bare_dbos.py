"""The engine's library alone: ``python -m tests.benchmarks.bare_dbos URL WORLD WORKERS EXECUTOR`` takes workflows of three steps
from a queue, each of which makes the same thing as those of tests/fault/torture.py."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from dbos import DBOS, DBOSClient

from tests.fault.torture import STEPS, World

NAME, QUEUE, VERSION = "bare", "bare", "1"


def enqueue(url: str, services: list[str]) -> None:
    """Each as a workflow of its own."""
    client = DBOSClient(system_database_url=url)
    for service in services:
        options = {"workflow_name": "make", "queue_name": QUEUE, "workflow_id": f"j-{service}", "app_version": VERSION}
        client.enqueue(options, service)  # type: ignore[arg-type]
    client.destroy()


def main() -> None:
    url, world, workers, executor = sys.argv[1], World(Path(sys.argv[2])), int(sys.argv[3]), sys.argv[4]

    def make(service: str) -> None:
        for name in STEPS:
            DBOS.run_step(
                {"name": name}, lambda thing: world.made_by(thing) or world.make(thing, f"j-{service}"), f"{service}.{name}"
            )

    config = {"name": NAME, "system_database_url": url, "application_version": VERSION, "executor_id": executor}
    DBOS(config={**config, "max_executor_threads": workers + 4, "enable_otlp": False, "log_level": "WARNING"})  # type: ignore[typeddict-item]
    DBOS.workflow(name="make")(make)
    DBOS.launch()
    DBOS.register_queue(QUEUE, worker_concurrency=workers, polling_interval_sec=0.05)
    print("ready", flush=True)
    signal.sigwait({signal.SIGTERM})


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    main()
