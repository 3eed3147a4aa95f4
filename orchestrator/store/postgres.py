"""Connections to PostgreSQL, and what is asked of its server.

A session says whose it is (``application_name``), so that those of a controller that lost its lease can be ended. One that
stands still inside a transaction is ended by the server: its process may be stopped, and would keep every other writer waiting.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, cast

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import DisconnectionError

from orchestrator.domain.errors import ConfigError

if TYPE_CHECKING:
    from sqlalchemy.engine.interfaces import DBAPIConnection
    from sqlalchemy.pool import ConnectionPoolEntry

OLDEST = 15
# A session that was not used for so long is asked whether its server is still there: to ask each time would cost as much as a
# statement, and one that breaks in between is told as an outage, which everybody tries again.
IDLE_SECONDS = 1.0
_BACK = "back since"
# How long a transaction may stand still, in milliseconds: well within the lease of a controller.
STANDSTILL_MS = 10_000
# Sorts text by its code points, as Python and SQLite do: what is listed page by page is compared by that order.
_COLLATIONS = ("C", "POSIX", "C.UTF-8", "C.utf8", "ucs_basic")
_CREATE = "createdb --owner=USER --encoding=UTF8 --locale=C.UTF-8 --template=template0 NAME"
_NAME = "orchestrator"
_OPTIONS = f"-c idle_in_transaction_session_timeout={STANDSTILL_MS} -c client_connection_check_interval=5s -c timezone=UTC"
_CONNECT: dict[str, Any] = {
    "connect_timeout": 10,
    # A server that cannot be reached any more is noticed within so many seconds, not within hours.
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 11_000,
}
# The advisory lock of our writers; any constant that nothing else in the database uses.
WRITER_LOCK = 0x6F726368
_TAKE_TURN = "SELECT set_config('lock_timeout', %s, true), pg_advisory_xact_lock(%s)"
# Of a connection of the driver (psycopg). It raises where whose sessions these are may not go on.
Check = Callable[[Any], None]


class Sessions:
    """What the sessions of one engine have in common: the name of their controller, and the question whether it may go on."""

    def __init__(self) -> None:
        self.name = _NAME
        self.check: Check | None = None

    def as_controller(self, controller_id: str, check: Check) -> None:
        """From the next session on."""
        self.name, self.check = session_name(controller_id), check

    def as_nobody(self) -> None:
        self.name, self.check = _NAME, None

    def take_turn(self, conn: sa.Connection, *, wait_ms: int) -> None:
        """Wait for the turn among the writers, so many milliseconds, and ask the question. Raises sqlalchemy.exc.DBAPIError.

        By the driver alone, as each write begins with it: SQLAlchemy's way around a statement costs as much as the statement.
        """
        with _by_driver(conn) as driver:
            driver.execute(_TAKE_TURN, (f"{wait_ms}ms", WRITER_LOCK), prepare=True)
            if self.check is not None:
                self.check(driver)

    def ask(self, conn: sa.Connection) -> None:
        """The question alone. Raises as ``take_turn``."""
        if self.check is not None:
            with _by_driver(conn) as driver:
                self.check(driver)


@contextmanager
def _by_driver(conn: sa.Connection) -> Iterator[Any]:
    """The driver's connection; what it raises becomes what SQLAlchemy raises."""
    driver = cast("Any", conn.connection.driver_connection)
    error = conn.dialect.loaded_dbapi.Error
    try:
        yield driver
    except error as exc:
        if driver.closed:
            with suppress(sa.exc.DBAPIError):  # SQLAlchemy is to notice: it trusts none of the other sessions any more either
                conn.exec_driver_sql("SELECT 1")
        raise sa.exc.DBAPIError.instance(None, None, exc, error, connection_invalidated=driver.closed) from exc


def session_name(controller_id: str) -> str:
    """By which the server's list of sessions names those of a controller."""
    return f"{_NAME}/{controller_id}"


def engine(url: sa.URL, sessions: Sessions, *, size: int, overflow: int) -> sa.Engine:
    """Nothing is connected yet."""
    asked = {word: value for word, value in _CONNECT.items() if word not in url.query}
    options = " ".join(filter(None, (_OPTIONS, str(url.query.get("options", "")))))
    made = sa.create_engine(
        url,
        pool_size=size,
        max_overflow=overflow,
        # The last one that came back is taken first: few sessions do all of it, and know the statements by then.
        pool_use_lifo=True,
        connect_args=asked | {"options": options},
    )

    @event.listens_for(made, "do_connect")
    def name(_dialect: object, _record: ConnectionPoolEntry, _args: list[object], words: dict[str, Any]) -> None:
        words["application_name"] = sessions.name

    @event.listens_for(made, "connect", insert=True)  # before SQLAlchemy looks at the server: it cannot read every encoding
    def admit(connection: DBAPIConnection, _record: ConnectionPoolEntry) -> None:
        found = cast("Any", connection).info
        require_new_enough(int(found.server_version))
        _require_utf8(found.parameter_status("server_encoding"))
        if sessions.check is not None:
            sessions.check(connection)
            connection.rollback()

    @event.listens_for(made, "checkin")
    def note(_connection: DBAPIConnection, record: ConnectionPoolEntry) -> None:
        record.info[_BACK] = time.monotonic()

    @event.listens_for(made, "checkout")
    def look(connection: DBAPIConnection, record: ConnectionPoolEntry, _proxy: object) -> None:
        if time.monotonic() - record.info.get(_BACK, 0.0) > IDLE_SECONDS:
            try:
                made.dialect.do_ping(connection)
            except made.dialect.loaded_dbapi.Error as exc:
                raise DisconnectionError("its server does not answer") from exc  # another one is taken, or made

    return made


def require_new_enough(version: int) -> None:
    """As the server gives it, such as 150018. Raises ConfigError."""
    if version < OLDEST * 10_000:
        raise ConfigError(
            f"the database's server is PostgreSQL {version // 10_000}, which is too old",
            hint=f"PostgreSQL {OLDEST} or newer is needed",
        )


def _require_utf8(encoding: str) -> None:
    if encoding != "UTF8":
        raise ConfigError(f"the database keeps text as {encoding}, and UTF8 is needed", hint=f"make another: {_CREATE}")


def require_order(conn: sa.Connection) -> None:
    """Raises ConfigError where the database sorts text otherwise than the store counts on."""
    asked = "SELECT datcollate, datlocprovider = 'i' FROM pg_database WHERE datname = current_database()"
    collation, by_icu = conn.execute(sa.text(asked)).one()
    if by_icu or collation not in _COLLATIONS:
        sorts = "ICU" if by_icu else f"the locale {collation}"
        raise ConfigError(
            f"the database sorts text by {sorts}, and the order of code points is needed",
            hint=f"make another: {_CREATE}",
        )
