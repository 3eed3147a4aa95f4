"""Serial consoles of guests that operators have open: one at a time for a guest, so many at once, each in the audit trail.

A console shows a customer's data. The trail has who opened it, when, for how long and how much went each way, and never a word of
what was said. Nothing is handed over before the row of its opening is written.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from datetime import timedelta

from orchestrator.domain.errors import NotFound, OrchestratorError, Refused, WrongState
from orchestrator.domain.intents import JobState
from orchestrator.domain.plans import PlanKind, guest_name
from orchestrator.engine.settings import Catalog
from orchestrator.ports.clock import Clock
from orchestrator.ports.guest_console import HELD, GuestConsole, GuestConsoles
from orchestrator.store import audit, jobs, services
from orchestrator.store.database import Database

OPENED, CLOSED = "console opened", "console closed"
OPEN_SECONDS = 15.0
WRITE_SECONDS = 10.0
CLOSE_SECONDS = 5.0
READ_SECONDS = 0.5
# Of what a guest wrote, and its reader did not take yet; what comes beyond that is left out, as on a serial line.
MOST_WAITING = 256 * 1024
# Rows of a service's trail that are looked through for the last one about its console.
_LOOK_BACK = 200
_AT_WORK = (JobState.RUNNING, JobState.UNDOING)
_NO_GUEST = {
    PlanKind.HOSTING: (
        "is a hosting account: it has no console",
        "its customer logs in by SFTP; what is on its node is seen there, by SSH",
    ),
    PlanKind.DEDICATED: (
        "is a dedicated machine: its console is that of its BMC",
        "`orchestrator machine show MACHINE` has the BMC's address; `orchestrator service rescue` boots a small system by SSH",
    ),
}

log = logging.getLogger("orchestrator.consoles")


class Session:
    """One that is open. ``start`` and ``close`` are each called once, ``take`` and ``write`` by different threads."""

    def __init__(
        self, console: GuestConsole, *, clock: Clock, idle: timedelta, over: Callable[[], str], closed: Callable[[Session], None]
    ) -> None:
        """``over`` says why a console has ended from the node's side, ``closed`` is told the end."""
        self._console = console
        self._clock = clock
        self._idle = idle
        self._over = over
        self._closed = closed
        self._lock = threading.Lock()
        self._waiting = bytearray()
        self._left_out = 0
        self._wake: Callable[[], None] = lambda: None
        self._pump = threading.Thread(target=self._read, name="console", daemon=True)
        self._typed_at = self._began = clock.monotonic()
        self.why = ""
        self.typed = 0
        self.shown = 0

    @property
    def seconds(self) -> int:
        return round(self._clock.monotonic() - self._began)

    def start(self, wake: Callable[[], None]) -> None:
        """``wake`` is called, in another thread, when there is something to ``take``."""
        self._wake = wake
        self._pump.start()

    def take(self) -> tuple[bytes, bool]:
        """What the guest wrote since, and whether that is the end."""
        with self._lock:
            text = bytes(self._waiting)
            self._waiting.clear()
            if self._left_out:
                text += f"\r\n[{self._left_out} bytes were left out: they came faster than they were taken]\r\n".encode()
                self._left_out = 0
            self.shown += len(text)
            return text, bool(self.why)

    def write(self, data: bytes) -> None:
        """Type it; what cannot be typed ends the session."""
        self._typed_at = self._clock.monotonic()
        if self.why:
            return
        try:
            self._console.write(data, deadline=WRITE_SECONDS)
        except OrchestratorError as exc:
            self.end(self._over() if isinstance(exc, WrongState) else exc.message)
        else:
            self.typed += len(data)

    def end(self, why: str) -> None:
        """It is over; the first reason stays."""
        with self._lock:
            self.why = self.why or why
        self._wake()

    def close(self, why: str) -> None:
        """Let the guest's console go, and write down that it was."""
        self.end(why)
        self._console.close(deadline=CLOSE_SECONDS)
        if self._pump.ident is not None:
            self._pump.join(CLOSE_SECONDS)
        self._closed(self)

    def _read(self) -> None:
        while not self.why:
            try:
                got = self._console.read(wait=READ_SECONDS)
                if got is None:
                    self.end(self._over())
                    return
            except Exception as exc:
                log.error("a console cannot be read any more", exc_info=exc)
                self.end(exc.message if isinstance(exc, OrchestratorError) else "something unexpected happened: see the log")
                return
            if got:
                self._keep(got)
            if self._clock.monotonic() - self._typed_at > self._idle.total_seconds():
                self.end(f"nothing was typed for {_words(self._idle)}")

    def _keep(self, text: bytes) -> None:
        with self._lock:
            room = max(0, MOST_WAITING - len(self._waiting))
            self._waiting += text[:room]
            self._left_out += len(text[room:])
        self._wake()


class Consoles:
    """Safe for many threads. ``consoles``: those of a node."""

    def __init__(
        self,
        db: Database,
        catalog: Catalog,
        consoles: Callable[[str], GuestConsoles],
        clock: Clock,
        *,
        at_once: int,
        idle: timedelta,
    ) -> None:
        self._db = db
        self._catalog = catalog
        self._consoles = consoles
        self._clock = clock
        self._at_once = at_once
        self._idle = idle
        self._lock = threading.Lock()
        # Who has which service's console, or just opens it (then there is no session yet).
        self._open: dict[str, tuple[str, Session | None]] = {}

    def open(self, service_id: str, *, who: str, force: bool) -> Session:
        """Open it, for this one alone. ``force`` takes it from whoever has it.

        Raises NotFound, WrongState (no guest, one that does not run, a console that somebody has), Refused (too many are
        open), and what the driver raises.
        """
        node = self._node_of(service_id)
        before = self._reserve(service_id, who, force=force)
        try:
            if before is not None:
                before.end(f"{who} took the console over")
            console = self._opened(service_id, node, force=force or before is not None)
            session = self._session(service_id, node, who, console)
            try:
                self._note(OPENED, service_id, who, {"node": node, "forced": force})
            except BaseException:
                console.close(deadline=CLOSE_SECONDS)
                raise
        except BaseException:
            with self._lock:
                del self._open[service_id]
            raise
        with self._lock:
            self._open[service_id] = (who, session)
        return session

    def close(self) -> None:
        """End all of them: the controller stops."""
        with self._lock:
            sessions = [session for _who, session in self._open.values() if session is not None]
        for session in sessions:
            session.end("the controller stops")

    def _session(self, service_id: str, node: str, who: str, console: GuestConsole) -> Session:
        def closed(session: Session) -> None:
            with self._lock:
                if self._open.get(service_id, ("", None))[1] is session:
                    del self._open[service_id]
            counted = {"seconds": session.seconds, "typed_bytes": session.typed, "shown_bytes": session.shown}
            self._note(CLOSED, service_id, who, {"node": node, "why": session.why, **counted})

        return Session(console, clock=self._clock, idle=self._idle, over=lambda: self._why_over(service_id, node), closed=closed)

    def _node_of(self, service_id: str) -> str:
        with self._db.read() as conn:
            service = services.get(conn, service_id)
            if service is None:
                raise NotFound(f"there is no service {service_id}", hint="`orchestrator service list` shows all of them")
            node = services.facts(conn, service_id).node
        says, hint = _NO_GUEST.get(self._catalog.kind_of(service), ("", ""))
        if says:
            raise WrongState(f"{service_id} {says}", hint=hint)
        if not node:
            raise WrongState(f"{service_id} has no guest: it is {service.state}", hint=f"orchestrator service show {service_id}")
        return node

    def _reserve(self, service_id: str, who: str, *, force: bool) -> Session | None:
        """From now on it is this one's to open; the session that he takes it from. One that has ended is nobody's."""
        with self._lock:
            holder, before = self._open.get(service_id, ("", None))
            if holder and (before is None or not (force or before.why)):
                raise _taken(service_id, holder)
            if not holder and len(self._open) >= self._at_once:
                raise Refused(
                    f"console refused: {len(self._open)} of {self._at_once} are open on this controller [consoles.at_once]",
                    hint="close one, or raise consoles.at_once in orchestrator.yaml",
                    rule="consoles.at_once",
                )
            self._open[service_id] = (who, None)
            return before

    def _opened(self, service_id: str, node: str, *, force: bool) -> GuestConsole:
        try:
            return self._consoles(node).open(guest_name(service_id), force=force, deadline=OPEN_SECONDS)
        except WrongState as exc:
            if exc.details.get(HELD):
                raise _taken(service_id, self._last_opened_by(service_id)) from exc
            exc.hint = exc.hint or f"`orchestrator service show {service_id}` says why; `orchestrator service start` starts it"
            raise

    def _last_opened_by(self, service_id: str) -> str:
        """Of another controller; or somebody has it by the node's own tools."""
        with self._db.read() as conn:
            trail, _more = audit.list_page(conn, limit=_LOOK_BACK, service_id=service_id)
        ended: list[str] = []
        for entry in trail:
            if entry.what == CLOSED:
                ended.append(entry.who)
            elif entry.what == OPENED and entry.who not in ended:
                return entry.who
            elif entry.what == OPENED:
                ended.remove(entry.who)
        return "somebody on the node (virsh console)"

    def _why_over(self, service_id: str, node: str) -> str:
        with self._db.read() as conn:
            service, at = services.get(conn, service_id), services.facts(conn, service_id).node
            at_work = next((job for job in jobs.unfinished(conn, service_id) if job.state in _AT_WORK), None)
        if at_work is not None:
            return f"job {at_work.id} ({at_work.intent}) has ended it"
        if at != node:
            return f"{service_id} is not on {node} any more"
        if service is not None and service.stopped:
            return f"{service_id} is suspended"
        return "the guest is off, or its console was taken over on the node"

    def _note(self, what: str, service_id: str, who: str, facts: dict[str, object]) -> None:
        now = self._clock.now()
        with self._db.write() as conn:
            audit.append(conn, at=now, who=who, what=what, service_id=service_id, facts=facts)


def _taken(service_id: str, holder: str) -> WrongState:
    return WrongState(f"{holder} has the console of {service_id}", hint="`--force` takes it over, and ends theirs", holder=holder)


def _words(length: timedelta) -> str:
    minutes, seconds = divmod(round(length.total_seconds()), 60)
    return f"{minutes} minutes" if not seconds else f"{minutes * 60 + seconds} seconds"
