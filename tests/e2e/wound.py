"""A controller process whose clock is put forward from outside: ``python -m tests.e2e.wound DIAL --config DIR serve``.

It serves exactly as ``orchestrator serve`` does, over another clock, which ``wiring`` takes from whoever builds the controller:
no setting, environment variable or command of the product sets one. ``DIAL`` is a directory that both sides share.

Time is not skipped. The clock goes on in small turns, on the wall and the monotonic one alike; at each the controller looks at
what falls due, and what that set going (jobs, messages) comes to rest before the next. So it is never away, and nothing runs
out of its time limit. What waits for a node goes by the machine's time (``wiring.controller``).
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import sqlalchemy as sa

from orchestrator import wiring
from orchestrator.api import server
from orchestrator.api.app import create_app
from orchestrator.domain.intents import JobState
from orchestrator.drivers.local.clock import SystemClock
from orchestrator.engine.sweep import Beat
from orchestrator.observe import logs
from orchestrator.store import jobs
from orchestrator.store.tables import outbox
from orchestrator.wiring.controller import Controller

# Who looks every minute and has not looked for five was away; so long may pass from one look to the next.
TURN = timedelta(minutes=4)
_POLL_SECONDS = 0.05
_UNDER_WAY = (JobState.QUEUED, JobState.RUNNING, JobState.UNDOING)


@dataclass(frozen=True)
class Dial:
    """Files that say until when the clock is to be put, and how far it is: written by one side, read by the other."""

    directory: Path

    def prepare(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)

    # -- the test's side ---------------------------------------------

    def now(self) -> datetime:
        """What the controller's clock shows."""
        return datetime.now(UTC) + self.ahead()

    def wind(self, moment: datetime, *, seconds: float = 300.0) -> None:
        """Let time pass until ``moment``; returns when all that fell due until then has come to rest. Raises TimeoutError."""
        _write(self.directory / "until", moment.isoformat())
        until = time.monotonic() + seconds
        while self.arrived() != moment:
            if time.monotonic() > until:
                raise TimeoutError(f"the clock shows {self.now()} after {seconds:.0f} s, and not {moment}")
            time.sleep(_POLL_SECONDS)

    # -- the process's side ---------------------------------------------

    def ahead(self) -> timedelta:
        text = _read(self.directory / "ahead")
        return timedelta(seconds=float(text)) if text else timedelta(0)

    def show(self, ahead: timedelta) -> None:
        _write(self.directory / "ahead", str(ahead.total_seconds()))

    def asked(self) -> datetime | None:
        return _moment(self.directory / "until")

    def arrived(self) -> datetime | None:
        return _moment(self.directory / "arrived")

    def arrive(self, moment: datetime) -> None:
        _write(self.directory / "arrived", moment.isoformat())


class Wound(SystemClock):
    """The machine's clock, put ahead. Nobody who sleeps or waits gets less of it."""

    def __init__(self, ahead: timedelta) -> None:
        self.ahead = ahead

    def now(self) -> datetime:
        return super().now() + self.ahead

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead.total_seconds()


class Passage:
    """Time that passes for a controller as the dial says."""

    def __init__(self, dial: Dial, clock: Wound, controller: Controller) -> None:
        self._dial = dial
        self._clock = clock
        self._controller = controller
        # Where nobody is told anything, messages are kept, and no end of them is waited for.
        self._posts = any(billing.notify_url for billing in controller.config.settings.billing)

    def once(self) -> None:
        """Go on until the moment that is asked for; nothing where it has come."""
        moment = self._dial.asked()
        if moment is None or moment == self._dial.arrived():
            return
        self._rest()
        while (left := moment - self._clock.now()) > timedelta(0):
            ahead = self._clock.ahead + min(TURN, left)
            self._dial.show(ahead)
            self._clock.ahead = ahead
            self._rest()
        self._dial.arrive(moment)

    def _rest(self) -> None:
        """Until nothing falls due now, no job runs and no message is to be posted."""
        while self._controller.engine.fall_due() or self._busy():
            self._clock.sleep(_POLL_SECONDS)

    def _busy(self) -> bool:
        with self._controller.db.read() as conn:
            to_post = sa.select(outbox.c.id).where(outbox.c.next_attempt_at <= self._clock.now()).limit(1)
            posting = self._posts and conn.execute(to_post).first() is not None
            return posting or bool(jobs.in_states(conn, _UNDER_WAY))


def _write(file: Path, text: str) -> None:
    new = file.with_name(f".{file.name}.new")
    new.write_text(text)
    new.rename(file)


def _read(file: Path) -> str:
    return file.read_text() if file.exists() else ""


def _moment(file: Path) -> datetime | None:
    text = _read(file)
    return datetime.fromisoformat(text) if text else None


def main(arguments: list[str]) -> None:
    """Serve until SIGTERM."""
    directory, _, config_dir, _ = arguments
    dial = Dial(Path(directory))
    clock = Wound(dial.ahead())
    config = wiring.load_config(Path(config_dir))
    logs.setup(level="info")
    controller = wiring.build(config, clock=clock)
    sockets = server.bind(unix_socket=config.settings.socket, listen=config.settings.listen)
    controller.start()
    passing = Beat("passage", Passage(dial, clock, controller).once, seconds=_POLL_SECONDS)
    try:
        server.serve(create_app(controller.api_context()), sockets, ready=lambda: print("serving", flush=True))
    finally:
        passing.stop()
        controller.stop()


if __name__ == "__main__":
    main(sys.argv[1:])
