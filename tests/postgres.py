"""A PostgreSQL server of the tests' own: made when it is first asked for, gone with the process. The machine's is left alone.

It is Debian's package, run as a user who is not root, in a directory of its own, on a unix socket and a free loopback port.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa
from psycopg import sql

from orchestrator.store.database import Database

ADMIN, USER, PASSWORD = "postgres", "keeper", "a-password-of-the-tests"
_PROGRAMS = Path("/usr/lib/postgresql")
_START_SECONDS = 60.0
_FAST = ("-c", "fsync=off", "-c", "full_page_writes=off", "-c", "synchronous_commit=off")


def programs() -> Path:
    """The directory of the newest version's programs."""
    found = sorted((each for each in _PROGRAMS.glob("*/bin/postgres") if each.exists()), key=lambda each: int(each.parts[-3]))
    if not found:
        raise AssertionError("PostgreSQL is not installed: run make setup")
    return found[-1].parent


class Server:
    """One cluster. ``durable``: it keeps what was committed, also when it is killed, as one in production does."""

    def __init__(self, *, durable: bool = False) -> None:
        self._home = Path(tempfile.mkdtemp(prefix="pg.", dir=_passable()))
        self._durable = durable
        self._process: subprocess.Popen[bytes] | None = None
        self._numbers = iter(range(1_000_000))
        self.port = _free_port()
        self._home.chmod(0o755)
        (self._home / "password").write_text(PASSWORD)
        data = self._home / "data"
        data.mkdir(mode=0o700)
        if os.geteuid() == 0:
            shutil.chown(data, "postgres", "postgres")
        words = ["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync", f"--username={ADMIN}"]
        self._run("initdb", *words, f"--pwfile={self._home / 'password'}", "-D", str(data))
        self.start()
        with self.connect() as conn:
            conn.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(USER), sql.Literal(PASSWORD)))

    @property
    def data(self) -> Path:
        return self._home / "data"

    @property
    def log(self) -> str:
        return (self._home / "log").read_text(errors="replace")

    def start(self) -> None:
        """Until it takes connections."""
        own = ("-k", str(self.data), "-p", str(self.port), "-c", "listen_addresses=127.0.0.1", "-c", "max_connections=300")
        with (self._home / "log").open("ab") as log:
            self._process = subprocess.Popen(
                _as_other([str(programs() / "postgres"), "-D", str(self.data), *own, *(() if self._durable else _FAST)]),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
            )
        until = time.monotonic() + _START_SECONDS
        while True:
            try:
                self.connect().close()
                return
            except psycopg.OperationalError:
                if time.monotonic() > until or self._process.poll() is not None:
                    raise AssertionError(f"PostgreSQL did not start: {self.log[-2000:]}") from None
                time.sleep(0.05)

    def stop(self, *, how: str = "immediate") -> None:
        """``fast``: its clients are sent away; ``immediate``: as at a power cut."""
        if self._process is not None:
            self._run("pg_ctl", "stop", "-D", str(self.data), "-m", how, "-w", "-t", "60")
            self._process.wait(60)
            self._process = None

    def close(self) -> None:
        self.stop()
        shutil.rmtree(self._home)

    def connect(self, name: str = "postgres") -> psycopg.Connection:
        """As who may do anything there."""
        return psycopg.connect(
            host="127.0.0.1", port=self.port, user=ADMIN, password=PASSWORD, dbname=name, autocommit=True, connect_timeout=10
        )

    def url(self, name: str, *, password: bool = True) -> str:
        parts = sa.URL.create(
            "postgresql+psycopg", USER, PASSWORD if password else None, host="127.0.0.1", port=self.port, database=name
        )
        return parts.render_as_string(hide_password=False)

    def create(self, template: str = "template0") -> str:
        """The name of a new database that holds what the template holds. Nobody may be connected to that."""
        name = f"t{next(self._numbers)}_{os.getpid()}"
        with self.connect() as conn:
            made = sql.SQL("CREATE DATABASE {} TEMPLATE {} OWNER {}")
            conn.execute(made.format(sql.Identifier(name), sql.Identifier(template), sql.Identifier(USER)))
        return name

    def fresh(self, make: Callable[[Database], None]) -> str:
        """The name of a new database that was made by that."""
        name = self.create()
        db = Database(self.url(name))
        try:
            make(db)
        finally:
            db.close()
        return name

    def drop(self, name: str) -> None:
        with self.connect() as conn:
            conn.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def _run(self, program: str, *words: str) -> None:
        done = subprocess.run(
            _as_other([str(programs() / program), *words]), capture_output=True, text=True, timeout=120, check=False, cwd="/"
        )
        assert done.returncode == 0, f"{program}: {done.stdout[-1000:]}{done.stderr[-1000:]}"


def _as_other(words: list[str]) -> list[str]:
    """As a user who is not root, which PostgreSQL demands, and ended when this process ends."""
    other = ["--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.geteuid() == 0 else []
    return ["setpriv", *other, "--pdeathsig", "INT", *words]


def _passable() -> Path:
    """A directory for temporary files that the other user can go through."""
    mine = Path(tempfile.gettempdir())
    if os.geteuid() != 0:
        return mine
    there = [each for each in (mine, Path("/dev/shm"), Path("/var/tmp")) if each.is_dir()]
    return next(each for each in there if all(parent.stat().st_mode & 0o001 for parent in (each, *each.parents)))


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


class Databases:
    """Databases on one server, each made of a template that was migrated once."""

    def __init__(self) -> None:
        self._server: Server | None = None
        self._templates: dict[str, str] = {}

    @property
    def server(self) -> Server:
        if self._server is None:
            self._server = Server()
        return self._server

    def empty(self) -> str:
        """The URL of a new one without tables."""
        return self.server.url(self.server.create())

    def migrated(self) -> str:
        return self.server.url(self.server.create(self._template("migrated", lambda db: db.migrate())))

    def launched(self) -> str:
        """With the tables of the engine's library, too."""
        return self.server.url(self.server.create(self._template("launched", launch)))

    def copy(self, url: str) -> str:
        """A new one that holds what the other holds; nobody is connected to that."""
        return self.server.url(self.server.create(str(sa.make_url(url).database)))

    def drop(self, url: str) -> None:
        self.server.drop(str(sa.make_url(url).database))

    def close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    def _template(self, name: str, make: Callable[[Database], None]) -> str:
        if name not in self._templates:
            self._templates[name] = self.server.fresh(make)
        return self._templates[name]


def launch(db: Database) -> None:
    """Our tables, and those of the engine's library."""
    from dbos import DBOS

    db.migrate()
    DBOS.migrate(db.url.render_as_string(hide_password=False))


@cache
def databases() -> Databases:
    """Those of this process; whoever asks first starts the server, and the session's end ends it."""
    return Databases()


@pytest.fixture(scope="session", autouse=True)
def _server_ends() -> Iterator[None]:
    yield
    databases().close()


@contextmanager
def own_server(*, durable: bool = True) -> Iterator[Server]:
    """One for a test that restarts it."""
    server = Server(durable=durable)
    try:
        yield server
    finally:
        server.close()
