"""Several controllers on one PostgreSQL, each behind a proxy of its own, and what can happen to them."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.domain.errors import StoreUnavailable
from orchestrator.domain.intents import JobState
from orchestrator.domain.jobs import Job
from orchestrator.engine.lease import EXIT_LOST
from orchestrator.store import audit, controllers, jobs
from orchestrator.store.controllers import ControllerRecord
from orchestrator.store.database import Database
from tests.fault.house import House, prepared
from tests.fault.proxy import Proxy
from tests.fault.torture import LEASE_SECONDS, World, house_of
from tests.fault.wire import Wire
from tests.postgres import Server, launch, own_server
from tests.store_files import NOTE

ROOT = Path(__file__).parents[2]
PATIENCE = 60.0
Way = Callable[[int], Proxy | Wire]


@dataclass
class Member:
    """One machine: a state directory, a way to the database, and the process that is started there again and again."""

    directory: Path
    proxy: Proxy | Wire
    words: str
    process: subprocess.Popen[bytes] | None = None
    ends: list[int] = field(default_factory=list)

    def start(self) -> None:
        said = (self.directory / "said").open("ab")
        self.process = subprocess.Popen(
            [*self.proxy.entering, sys.executable, "-m", "tests.fault.torture", str(self.directory), self.words],
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            cwd=ROOT,
        )
        said.close()

    def ended(self) -> bool:
        """Whether its process is gone; how is noted once."""
        if self.process is None:
            return True
        if self.process.poll() is None:
            return False
        self.ends.append(self.process.returncode)
        self.process = None
        return True

    def signal(self, number: int) -> None:
        if self.process is not None:
            self.process.send_signal(number)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(PATIENCE)
            self.ended()

    def expect(self, code: int, *, seconds: float = PATIENCE) -> None:
        """Its process ends by itself, in that way."""
        assert self.process is not None
        try:
            found = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it did not end: {self.said}") from None
        self.ended()
        assert found == code, self.said

    @property
    def said(self) -> str:
        return (self.directory / "said").read_text(errors="replace")[-3000:]


class Fleet:
    """``house`` is the test's own way in: it takes orders and runs nothing. ``way``: to the database, of each member."""

    def __init__(self, home: Path, server: Server, *, size: int, workers: int, seconds: float, way: Way = Proxy) -> None:
        self.server = server
        self.world = World(home / "world")
        self.world.prepare()
        database = server.fresh(launch)
        own = prepared(home / "own", lambda directory, _name: _noted(directory, server.url(database)))
        self.house: House = house_of(own, self.world, workers=workers, seconds=seconds)
        told = json.dumps({"world": str(self.world.directory), "workers": workers, "seconds": seconds})
        self.members = [Member(self._place(own, n), way(server.port), told) for n in range(size)]
        for member in self.members:
            by = f"@{member.proxy.host}:{member.proxy.port}/"
            (member.directory / NOTE).write_text(server.url(database).replace(f"@127.0.0.1:{server.port}/", by))

    def _place(self, own: Path, number: int) -> Path:
        return Path(shutil.copytree(own, own.with_name(f"m{number}")))

    # -- what is asked of it ---------------------------------------

    def order(self, services: list[str], *, pause: float = 0.0) -> dict[str, str]:
        """Each once, as billing does it: again and again until it is taken. The job of each."""
        found = {}
        for service in services:
            found[service] = self._taken(service)
            time.sleep(pause)
        return found

    def _taken(self, service: str) -> str:
        until = time.monotonic() + PATIENCE
        while True:
            try:
                return self.house.order(service).job_id
            except StoreUnavailable:
                if time.monotonic() > until:
                    raise
                time.sleep(0.2)

    def keep_up(self) -> None:
        """A supervisor: whatever has ended is started again."""
        for member in self.members:
            if member.ended():
                member.start()

    def there(self) -> tuple[ControllerRecord, ...]:
        with self.house.db.read() as conn:
            return controllers.others(conn)

    def wait_for(self, number: int) -> tuple[ControllerRecord, ...]:
        """Until so many work; what has ended meanwhile is started again."""
        until = time.monotonic() + PATIENCE
        while len(found := self.there()) != number:
            self.keep_up()
            assert time.monotonic() < until, [member.said for member in self.members]
            time.sleep(0.1)
        return found

    def settled(self, count: int, *, seconds: float) -> list[Job]:
        """All jobs, once they rest; what has ended meanwhile is started again."""
        until = time.monotonic() + seconds
        while True:
            self.keep_up()
            with self.house.db.read() as conn:
                states = jobs.counts(conn)
            resting = sum(n for (_, state), n in states.items() if state not in ("queued", "running", "undoing"))
            if resting >= count:
                break
            assert time.monotonic() < until, f"{states}: {[member.said for member in self.members]}"
            time.sleep(0.3)
        return self._all()

    def _all(self) -> list[Job]:
        found: list[Job] = []
        after: str | None = ""
        with self.house.db.read() as conn:
            while after is not None:
                page, after = jobs.list_page(conn, limit=500, after=after)
                found += page
        return found

    def check(self, ordered: dict[str, str]) -> None:
        """Nothing is lost, and nothing is there twice: of each service one job, and of each of its steps one thing."""
        found = self._all()
        assert {job.service_id: job.id for job in found} == ordered
        assert [job for job in found if job.state != JobState.DONE] == []
        wanted = {f"{service}.{name}": job for service, job in ordered.items() for name in ("a", "b", "c")}
        assert self.world.things() == wanted
        with self.house.db.read() as conn:
            assert audit.verify_chain(conn).ok
            for job in found[:50]:
                assert [step.state.value for step in jobs.steps(conn, job.id)] == ["done"] * 3

    # -- what happens to them ---------------------------------------

    def strike_dead(self, member: Member) -> None:
        member.kill()

    def stop_for_long(self, member: Member) -> None:
        """Beyond its lease: when it goes on, it ends itself."""
        member.signal(signal.SIGSTOP)
        time.sleep(LEASE_SECONDS * 2)
        member.signal(signal.SIGCONT)
        member.expect(EXIT_LOST)

    def stop_briefly(self, member: Member) -> None:
        member.signal(signal.SIGSTOP)
        time.sleep(LEASE_SECONDS / 5)
        member.signal(signal.SIGCONT)

    def cut_off(self, member: Member) -> None:
        """It ends itself before its lease is over, while nothing comes through."""
        member.proxy.cut()
        began = time.monotonic()
        member.expect(EXIT_LOST)
        assert time.monotonic() - began < LEASE_SECONDS
        member.proxy.mend()

    def restart_database(self) -> None:
        self.server.stop(how="immediate")
        self.server.start()

    def close(self) -> None:
        for member in self.members:
            member.signal(signal.SIGCONT)
            member.kill()
            member.proxy.close()
        self.house.close()


@contextmanager
def fleet(home: Path, *, size: int, workers: int = 4, seconds: float = 0.02, way: Way = Proxy) -> Iterator[Fleet]:
    with own_server() as server:
        made = Fleet(home, server, size=size, workers=workers, seconds=seconds, way=way)
        try:
            yield made
        finally:
            made.close()


class Ordering(threading.Thread):
    """Orders come in while things happen."""

    def __init__(self, fleet: Fleet, services: list[str], *, pause: float) -> None:
        super().__init__(daemon=True)
        self._fleet, self._services, self._pause = fleet, services, pause
        self.found: dict[str, str] = {}
        self.problem: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            self.found = self._fleet.order(self._services, pause=self._pause)
        except BaseException as exc:  # noqa: BLE001 - told by who waits for it
            self.problem = exc

    def ended(self) -> dict[str, str]:
        self.join(600)
        assert self.problem is None, self.problem
        assert not self.is_alive()
        return self.found


def services(count: int) -> list[str]:
    return [f"s{number:04}" for number in range(count)]


def _noted(directory: Path, url: str) -> Database:
    (directory / NOTE).write_text(url)
    return Database(url)
