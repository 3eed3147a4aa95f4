"""A controller process that can be made to stand still, or to kill itself, at named points: ``python -m tests.fault.crashing``.

It serves exactly as ``orchestrator serve`` does. What is to happen where is read from a board, a directory that the test and
the process share: ``BOARD --config DIR serve`` are its arguments. An order strikes once, also across restarts.

The board also tells what the controller's wall clock shows: so many seconds more, or less, than the machine's; and how much
longer than by the machine's something was waited for, where that is longer than a test can wait.

``kill``: the jobs that reached their points stand still; when the last one did, the process ends itself by SIGKILL, so that one
process dies at many points at once. ``wait``: the job goes on when the test says so.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from orchestrator import wiring
from orchestrator.api import server
from orchestrator.api.app import create_app
from orchestrator.cli.local.desk import beside_desk
from orchestrator.drivers.local.clock import SystemClock
from orchestrator.engine import current_job
from orchestrator.observe import logs
from orchestrator.store import jobs
from orchestrator.wiring.controller import Controller

KILL = "kill"
WAIT = "wait"
_POLL_SECONDS = 0.03


@dataclass(frozen=True)
class Order:
    """What happens to a service's job at a point."""

    point: str
    then: str


@dataclass(frozen=True)
class Board:
    """Files that say what is to happen, and what has: written by one side, read by the other."""

    directory: Path

    def prepare(self) -> None:
        for name in ("armed", "struck", "go", "passed"):
            (self.directory / name).mkdir(parents=True, exist_ok=True)

    # -- the test's side ---------------------------------------------

    def arm(self, service: str, *orders: Order) -> None:
        """Replace the service's orders by these, of which none has struck."""
        self.disarm(service)
        _write(self.directory / "armed" / service, json.dumps([[order.point, order.then] for order in orders]))

    def disarm(self, service: str) -> None:
        (self.directory / "armed" / service).unlink(missing_ok=True)
        for kind in ("struck", "go"):
            for file in (self.directory / kind).glob(f"{service}.*"):
                file.unlink()

    def clear(self) -> None:
        """No orders any more, and nobody waits."""
        for file in (self.directory / "struck").iterdir():
            _write(self.directory / "go" / file.name, "")
        for file in (self.directory / "armed").iterdir():
            file.unlink()

    def set_clock(self, seconds: float) -> None:
        """From now on the controller's wall clock is so far ahead of the machine's, or behind it."""
        _write(self.directory / "clock", str(seconds))

    def hurry(self, seconds: float) -> None:
        """Whatever waits has waited so much longer; the wall clock shows what it showed."""
        _write(self.directory / "passed-by", str(self.hurried() + seconds))

    def reached(self, service: str, number: int = 0) -> bool:
        return (self.directory / "struck" / f"{service}.{number}").exists()

    def let_go(self, service: str, number: int = 0) -> None:
        _write(self.directory / "go" / f"{service}.{number}", "")

    def passed(self, service: str) -> list[str]:
        """The points that the service's jobs passed since this was last forgotten."""
        file = self.directory / "passed" / service
        return file.read_text().split() if file.exists() else []

    def forget(self, service: str) -> None:
        (self.directory / "passed" / service).unlink(missing_ok=True)

    # -- the process's side ---------------------------------------------

    def orders(self, service: str) -> list[Order]:
        file = self.directory / "armed" / service
        return [Order(point, then) for point, then in json.loads(file.read_text())] if file.exists() else []

    def clock(self) -> timedelta:
        file = self.directory / "clock"
        return timedelta(seconds=float(file.read_text()) if file.exists() else 0.0)

    def hurried(self) -> float:
        file = self.directory / "passed-by"
        return float(file.read_text()) if file.exists() else 0.0

    def note(self, service: str, point: str) -> None:
        with (self.directory / "passed" / service).open("a") as file:
            file.write(f"{point}\n")

    def strike(self, service: str, number: int) -> None:
        _write(self.directory / "struck" / f"{service}.{number}", "")

    def may_go(self, service: str, number: int) -> bool:
        return (self.directory / "go" / f"{service}.{number}").exists()

    def all_struck(self) -> bool:
        """Whether every job that is to be killed stands at its point."""
        armed = [file.name for file in (self.directory / "armed").iterdir()]
        return all(
            self.reached(service, number)
            for service in armed
            for number, order in enumerate(self.orders(service))
            if order.then == KILL
        )


def _write(file: Path, text: str) -> None:
    new = file.with_name(f".{file.name}.new")
    new.write_text(text)
    new.rename(file)


class Set(SystemClock):
    """The machine's clock, set by the board; the monotonic one goes on as it does, but for what the board adds."""

    def __init__(self, board: Board) -> None:
        self._board = board

    def now(self) -> datetime:
        return super().now() + self._board.clock()

    def monotonic(self) -> float:
        return super().monotonic() + self._board.hurried()


class Points:
    """Told of every point by the engine."""

    def __init__(self, board: Board) -> None:
        self.controller: Controller | None = None
        self._board = board
        self._services: dict[str, str] = {}
        self._guard = threading.Lock()

    def __call__(self, point: str) -> None:
        job_id = current_job.get()
        if not job_id or self.controller is None:
            return
        service = self._service(self.controller, job_id)
        with self._guard:
            self._board.note(service, point)
            struck = [
                (number, order)
                for number, order in enumerate(self._board.orders(service))
                if order.point == point and not self._board.reached(service, number)
            ]
            for number, _ in struck[:1]:
                self._board.strike(service, number)
        for number, order in struck[:1]:
            while not self._board.may_go(service, number):
                if order.then == KILL and self._board.all_struck():
                    os.kill(os.getpid(), signal.SIGKILL)
                time.sleep(_POLL_SECONDS)

    def _service(self, controller: Controller, job_id: str) -> str:
        if job_id not in self._services:
            with controller.db.read() as conn:
                self._services[job_id] = jobs.get(conn, job_id).service_id
        return self._services[job_id]


def main(arguments: list[str]) -> None:
    """Serve until SIGTERM, or until a point ends it."""
    board, _, config_dir, _ = arguments
    points, clock = Points(Board(Path(board))), Set(Board(Path(board)))
    config = wiring.load_config(Path(config_dir))
    logs.setup(level="info")
    controller = wiring.build(config, at=points, clock=clock)
    points.controller = controller
    sockets = server.bind(unix_socket=config.settings.socket, listen=config.settings.listen)
    controller.start()
    try:
        with beside_desk(controller):
            server.serve(create_app(controller.api_context()), sockets, ready=lambda: print("serving", flush=True))
    finally:
        controller.stop()
        os._exit(0)  # a job that stands at a point would keep the process


if __name__ == "__main__":
    main(sys.argv[1:])
