"""The lease of this controller: a row that says until when it may go on, and the end of its process before that.

On PostgreSQL several controllers work on one database. Each renews its lease by a thread of its own. Where it cannot, because
the database is out of reach or the process stood still, the process ends itself before another may take its jobs over: it
counts from before the last renewal was asked for, by a clock that goes on while the machine sleeps, and never by the wall
clock. Should it wake up after that nevertheless, each write begins with a look at the lease, and new sessions are refused.

On SQLite the lock on the state directory keeps a second controller away; the row only shows who is there.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
import sys
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import IO, Any, NoReturn

from orchestrator.domain.errors import ConfigError, StoreUnavailable
from orchestrator.engine.settings import EngineSettings
from orchestrator.store import controllers
from orchestrator.store.database import Connection, Database

_log = logging.getLogger(__name__)
# sysexits(3): the service is unavailable; a supervisor starts it again.
EXIT_LOST = 69
# Of the lease: how often it is renewed, how long before its end the process is gone, how often that is looked at.
_BEATS, _MARGIN, _LOOKS = 6, 6, 60
# How long what still runs in a process that stops may go on before its jobs are taken over.
_LEAVING = timedelta(seconds=5)
_JOIN_SECONDS = 5.0
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def end_process(why: str) -> NoReturn:
    """At once: nothing that this process still does may reach the world."""
    _log.critical("this controller ends itself: %s; its jobs go on with another, or when it is started again", why)
    sys.stderr.flush()
    os._exit(EXIT_LOST)


class Lease:
    """``on_loss`` is told why, by a thread of its own; it is to end the process."""

    def __init__(self, db: Database, settings: EngineSettings, *, on_loss: Callable[[str], object] = end_process) -> None:
        self._db = db
        self._settings = settings
        self._length = timedelta(seconds=settings.lease_seconds)
        self._on_loss = on_loss
        self._own: Database | None = None
        self._ended = threading.Event()
        self._renew_now = threading.Event()
        self._threads: list[threading.Thread] = []
        self._until = 0.0
        self._leads = False
        self._place = ""
        self.id = ""

    # -- what others ask ----------------------------------------

    @property
    def leads(self) -> bool:
        """Whether this controller does what only one of them is to do."""
        return self._leads and self.sure

    @property
    def sure(self) -> bool:
        """Whether nobody can have taken over what this process does, as far as it can tell by itself."""
        return self._db.is_sqlite or not self._threads or _clock() < self._until

    # -- its life ----------------------------------------

    def begin(self, lock: IO[str]) -> None:
        """Take a lease; ``lock`` is the lock on the state directory. Raises ConfigError beside a controller with other keys."""
        self.id = _new_id()
        self._own = self._db.beside()
        began = _clock()
        with self._db.write() as conn:
            self._place = _place(lock)
            self._require_same_keys(conn)
            self._join(conn)
            self._leads = self._db.is_sqlite or controllers.leads(conn) == self.id
        self._until = began + self._length.total_seconds()
        if not self._db.is_sqlite:
            self._db.as_controller(self.id, self._require)
        self._ended.clear()
        watching = [self._renewing] if self._db.is_sqlite else [self._renewing, self._watching]
        self._threads = [threading.Thread(target=each, name=f"lease{each.__name__}", daemon=True) for each in watching]
        for thread in self._threads:
            thread.start()

    def end(self, *, drained: bool) -> None:
        """Give it back. Where steps still run they have a moment left: the process is to end in it."""
        if self._own is None:
            return
        self._leads = False
        self._ended.set()
        self._renew_now.set()
        for thread in self._threads:
            thread.join(timeout=_JOIN_SECONDS)
        self._threads = []
        try:
            with self._own.brief() as conn:
                controllers.leave(conn, self.id, within=timedelta(0) if drained else _LEAVING)
        except StoreUnavailable as exc:
            _log.warning("the lease could not be given back, it runs out by itself: %s", exc.message)
        self._own.close()
        self._own = None
        if drained and not self._db.is_sqlite:
            self._db.as_nobody()

    def _join(self, conn: Connection) -> None:
        controllers.join(
            conn,
            self.id,
            hostname=socket.gethostname(),
            pid=os.getpid(),
            version=self._settings.version,
            place=self._place,
            keys=self._settings.keys,
            lease=self._length,
        )

    def _require_same_keys(self, conn: Connection) -> None:
        """What one controller wraps the others have to open, and what one signs is to be known by one key."""
        for other in controllers.others(conn):
            if other.place != self._place and other.keys != self._settings.keys:
                raise ConfigError(
                    f"this controller's keys are not those of the one on {other.hostname}, which works on the same database",
                    hint="copy keys/ from that one's state directory into this one's",
                )

    # -- its threads ----------------------------------------

    def _renewing(self) -> None:
        every = self._length.total_seconds() / _BEATS
        while not self._renew_now.wait(every) and not self._ended.is_set():
            try:
                self._renew()
            except StoreUnavailable as exc:
                _log.warning("the lease could not be renewed: %s", exc.message)

    def _renew(self) -> None:
        assert self._own is not None
        began = _clock()
        with self._own.brief() as conn:
            held = controllers.renew(conn, self.id, lease=self._length)
            if self._db.is_sqlite and not held:  # the database was brought back from a copy under its feet
                self._join(conn)
                held = True
            leads = held and (self._db.is_sqlite or controllers.leads(conn) == self.id)
        if held:
            self._until = began + self._length.total_seconds()
            if leads and not self._leads:
                _log.info("this controller leads now")
            self._leads = leads
        elif not self._ended.is_set():
            self._lose("its lease was ended, another controller takes its jobs over")

    def _watching(self) -> None:
        length = self._length.total_seconds()
        while not self._ended.wait(length / _LOOKS):
            if _clock() > self._until - length / _MARGIN:
                self._lose("its lease could not be renewed in time")
                return

    def _lose(self, why: str) -> None:
        self._leads = False
        self._until = 0.0
        self._on_loss(why)

    # -- what a controller without a lease may not do any more ----------------------------------------

    def _require(self, connection: Any) -> None:
        if not controllers.holds(connection, self.id):
            raise StoreUnavailable("this controller has lost its lease", hint="it ends itself; another goes on")


def _clock() -> float:
    """Seconds; goes on while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _place(lock: IO[str]) -> str:
    """The locked file as no other machine has it: two processes with one place cannot both hold its lock."""
    found = os.fstat(lock.fileno())
    return f"{_BOOT_ID.read_text(encoding='ascii').strip()}/{found.st_dev}/{found.st_ino}"


def _new_id() -> str:
    return f"c{secrets.token_hex(6)}"
