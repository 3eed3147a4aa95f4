"""One shared connection to a node's libvirtd, on which every call ends by its deadline.

libvirt's calls block in C and know no deadline; a libvirtd that hangs would hang the caller. So each call runs in a thread of its
own: when the deadline passes the caller gets TransientDriverError and the connection is given up (the next call opens a new
one), while the thread ends by itself as soon as the keepalive finds the other side dead. Work that was given up asks nothing more
of the connection: ``Session.conn`` refuses it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import libvirt

from orchestrator.domain.errors import OrchestratorError, TransientDriverError, Unreachable
from orchestrator.drivers.calls import logged
from orchestrator.drivers.libvirt.errors import translate
from orchestrator.ports.clock import Clock

T = TypeVar("T")

KEEPALIVE_SECONDS = 5
KEEPALIVE_COUNT = 3
MAX_CALLS = 64  # under way on one node, hung ones included

_event_loop_lock = threading.Lock()
_event_loop_started = False


class Budget:
    """What is left of a call's deadline."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        self._clock = clock
        self._ends = clock.monotonic() + seconds

    @property
    def remaining(self) -> float:
        """Seconds, never negative."""
        return max(0.0, self._ends - self._clock.monotonic())

    @property
    def passed(self) -> bool:
        return self.remaining == 0.0

    def sleep(self, seconds: float) -> None:
        """Sleep, but not beyond the deadline."""
        self._clock.sleep(min(seconds, self.remaining))


class Session:
    """The connection as one call sees it; it closes to the call once nobody waits for it any more."""

    def __init__(self, conn: Any) -> None:
        self._conn = conn
        self._given_up = threading.Event()

    @property
    def conn(self) -> Any:
        """The ``virConnect``; raises TransientDriverError once the caller has gone."""
        if self._given_up.is_set():
            raise TransientDriverError("the call was given up at its deadline")
        return self._conn

    def give_up(self) -> None:
        self._given_up.set()


class _Call(Generic[T]):
    """One call in its thread, and what came of it."""

    def __init__(self, connection: Connection, doing: str, work: Callable[[Session], T]) -> None:
        self._connection = connection
        self._doing = doing
        self._work = work
        self._lock = threading.Lock()
        self._given_up = False
        self._session: Session | None = None
        self.done = threading.Event()
        self.result: list[T] = []
        self.error: OrchestratorError | None = None
        self.crash: BaseException | None = None

    def run(self) -> None:
        try:
            conn = self._connection.acquire()
            with self._lock:
                self._session = Session(conn)
                if self._given_up:
                    self._session.give_up()
            self.result.append(self._work(self._session))
        except libvirt.libvirtError as error:
            self.error = translate(error, self._doing)
            self.error.__cause__ = error
        except OrchestratorError as error:
            self.error = error
        except BaseException as error:  # noqa: BLE001 - handed to the waiting caller, who raises it: nothing is swallowed
            self.crash = error
        finally:
            self.done.set()
            self._connection.finished()

    @property
    def connected(self) -> bool:
        """Whether libvirtd was reached: then it is the work that takes so long."""
        with self._lock:
            return self._session is not None

    def give_up(self) -> None:
        with self._lock:
            self._given_up = True
            if self._session is not None:
                self._session.give_up()


class Connection:
    """The libvirt connection of one node, opened when first needed and again after it broke. Safe for many threads."""

    def __init__(self, uri: str, *, node: str, clock: Clock) -> None:
        self.node = node
        self.clock = clock
        self._uri = uri
        self._lock = threading.Lock()  # guards _conn; never held during a libvirt call that may block
        self._opening = threading.Lock()
        self._conn: Any = None
        self._slots = threading.BoundedSemaphore(MAX_CALLS)

    def run(self, doing: str, work: Callable[[Session], T], *, deadline: float) -> T:
        """Do ``work`` in a thread and return what it returns, or raise our errors; TransientDriverError at the deadline.

        ``doing`` begins the error's sentence. The work may still take effect after the deadline: check before acting again.
        """
        with logged(doing, by="libvirt", node=self.node):
            return self._in_a_thread(f"{doing} on {self.node}", work, deadline=deadline)

    def _in_a_thread(self, sentence: str, work: Callable[[Session], T], *, deadline: float) -> T:
        if not self._slots.acquire(timeout=deadline):
            raise TransientDriverError(f"{sentence}: too many calls hang on this node")
        call = _Call(self, sentence, work)
        threading.Thread(target=call.run, name=f"libvirt-{self.node}", daemon=True).start()
        if not call.done.wait(deadline):
            call.give_up()
            self._forget()
            kind = TransientDriverError if call.connected else Unreachable
            raise kind(f"{sentence}: libvirt did not answer within {deadline:g} s")
        if call.error is not None:
            raise call.error
        if call.crash is not None:
            raise call.crash
        return call.result[0]

    def acquire(self) -> Any:
        """The open connection, opening it where there is none. Called in the threads of calls only."""
        conn = self._current()
        if conn is not None:
            return conn
        with self._opening:
            conn = self._current()  # somebody else may have opened it while this call waited
            if conn is not None:
                return conn
            _start_event_loop()
            conn = libvirt.open(self._uri)
            conn.setKeepAlive(KEEPALIVE_SECONDS, KEEPALIVE_COUNT)
            with self._lock:
                self._conn = conn
            return conn

    def _current(self) -> Any:
        """The connection, or None where there is none or it has died since (libvirtd was restarted)."""
        with self._lock:
            conn = self._conn
        return conn if conn is not None and _is_alive(conn) else None

    def finished(self) -> None:
        self._slots.release()

    def budget(self, deadline: float) -> Budget:
        return Budget(self.clock, deadline)

    def close(self) -> None:
        """Let the connection go; calls under way keep theirs. It is opened again when it is needed again."""
        self._forget()

    def _forget(self) -> None:
        # Not closed here: other calls may be using it, and closing a hung connection hangs. The last reference closes it.
        with self._lock:
            self._conn = None
            # An opening that hangs keeps its lock for ever: those who come later try for themselves.
            self._opening = threading.Lock()


def _is_alive(conn: Any) -> bool:
    try:
        return bool(conn.isAlive() == 1)
    except libvirt.libvirtError:
        return False


def _start_event_loop() -> None:
    """Start libvirt's own event loop once in this process: keepalive and events need it, before a connection is opened."""
    global _event_loop_started
    with _event_loop_lock:
        if _event_loop_started:
            return
        # Without a handler libvirt prints every error on stderr, also those that are expected and handled.
        libvirt.registerErrorHandler(_ignore, None)
        libvirt.virEventRegisterDefaultImpl()
        threading.Thread(target=_event_loop, name="libvirt-events", daemon=True).start()
        _event_loop_started = True


def _event_loop() -> None:
    while True:
        libvirt.virEventRunDefaultImpl()


def _ignore(_context: object, _error: object) -> None:
    """Errors reach us as exceptions."""
