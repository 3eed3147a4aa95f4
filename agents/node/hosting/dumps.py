"""Dumps of single databases: made by root, loaded with the rights of the account whose the database is."""

from __future__ import annotations

import os
import selectors
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from agents.node.hosting import databases, sql
from agents.node.hosting.attended import Look, as_account, attend
from agents.node.hosting.dumptext import Dump
from agents.node.hosting.layout import Home
from agents.node.hosting.run import ENVIRONMENT, Done
from agents.node.kernel import die_with_parent
from agents.node.protocol import AgentError

MOST = "1G"
"""Of a row: MariaDB's own limit."""

_DUMP = ["mariadb-dump", "--no-defaults", "--protocol=socket", "--user=root", "--default-character-set=utf8mb4"]
# All of a database, as it was at one moment; without the date, so that a database that did not change is the same file.
_DUMP += ["--single-transaction", "--quick", "--routines", "--triggers", "--events", "--dump-history", "--skip-dump-date"]
_DUMP += ["--no-tablespaces", f"--max-allowed-packet={MOST}"]
# In binary mode the client knows no commands of its own but DELIMITER; where it can it is told so twice. No file is read for
# LOAD DATA LOCAL, and what the server answers goes nowhere.
_LOAD = ["mariadb", "--no-defaults", "--protocol=socket", "--batch", "--binary-mode", "--loose-sandbox", "--local-infile=0"]
_LOAD += ["--default-character-set=utf8mb4", "--connect-timeout=10", f"--max-allowed-packet={MOST}"]
_END = b"-- Dump completed\n"
_WAIT = 60
"""Seconds that a table which knows no transactions is waited for."""
_STILL = 600.0
"""Seconds in which a dump that goes on must have grown."""
_IDLE = 7 * 24 * 3600
"""Seconds for which whoever keeps it still may say nothing."""


def dump(database: str, into: Path, *, look: Look) -> int:
    """Write the whole database into a new file; its bytes. What fails leaves what it wrote to whoever called.

    Raises AgentError: driver-permanent (it names the database and MariaDB's own words), driver-transient, no-capacity.
    """
    fd = os.open(into, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as stream, _held(database):
        stream.write(_head(database))
        stream.flush()
        done = attend([*_DUMP, database], look=growing(fd, look, database=database), into=stream)
        if done.status != 0:
            raise _failure(database, done)
        os.fsync(fd)
    with into.open("rb") as stream:
        size = stream.seek(0, os.SEEK_END)
        stream.seek(max(0, size - len(_END)))
        if stream.read() != _END:
            raise AgentError("driver-permanent", f"the database {database} was not dumped to its end")
    return size


def growing(fd: int, look: Look, *, database: str, seconds: float = _STILL) -> Look:
    """``look``, which ends a dump that does not grow any more: its customer can lock a table for as long as he likes, and nothing
    else could be done with his account meanwhile, not even suspending it."""
    size, since = -1, time.monotonic()

    def both() -> None:
        nonlocal size, since
        look()
        now, found = time.monotonic(), os.fstat(fd).st_size
        if found != size:
            size, since = found, now
        elif now > since + seconds:
            raise AgentError(
                "driver-transient", f"the dump of {database} has not grown for {seconds:g} s: a table of it is locked"
            )

    return both


def _head(database: str) -> bytes:
    """What a dump of a single database does not say: in which alphabet its new tables are."""
    rows = databases.ask(sql.alphabet(database), doing=f"looking at {database}")
    if not rows:
        raise AgentError("not-found", f"there is no database {database}")
    return sql.set_alphabet(*rows[0]).encode()


def _failure(database: str, done: Done) -> AgentError:
    lines = [line.strip() for line in done.err.splitlines() if line.strip()]
    said = lines[-1] if lines else f"mariadb-dump ended with {done.status}"
    if "errno 28" in said.lower() or "no space left" in said.lower():
        return AgentError("no-capacity", f"there is no room for the dump of {database}: {said}")
    if databases.is_away(done):
        return AgentError("driver-transient", f"the database {database} cannot be dumped now: {said}")
    return AgentError("driver-permanent", f"the database {database} cannot be dumped: {said[-500:]}")


@contextmanager
def _held(database: str) -> Iterator[None]:
    """Nobody writes in those tables that know no transactions, from before the first is read until this ends."""
    rows = databases.ask(sql.without_transactions(database), doing=f"looking at the tables of {database}")
    if not rows:
        yield
        return
    names = [bytes.fromhex(row[0]).decode() for row in rows]
    try:
        locking = sql.lock_tables(database, names)
    except ValueError as exc:
        raise AgentError("driver-permanent", f"the tables of {database} cannot be kept still: {exc}") from None
    script = f"SET lock_wait_timeout = {_WAIT}, wait_timeout = {_IDLE};\n{locking}SELECT 'held';\n"
    process = subprocess.Popen(
        [*databases.CLIENT, "--unbuffered", "--default-character-set=utf8mb4", "--user=root"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=ENVIRONMENT,
        cwd="/",
        preexec_fn=die_with_parent,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        with suppress(BrokenPipeError):
            process.stdin.write((sql.FIRST + script).encode())
            process.stdin.flush()
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            held = bool(selector.select(_WAIT + 10)) and bool(process.stdout.readline())
        if not held:
            process.kill()
            said = process.stderr.read().decode(errors="replace").strip() or "no answer"
            raise AgentError("driver-transient", f"the tables of {database} could not be kept still: {said[-300:]}")
        yield
    finally:
        process.kill()  # its locks go with it
        process.communicate()


def load(home: Home, database: str, path: Path, *, look: Look) -> int:
    """Carry out a dump in a database of the account: as its own user, in its slice, with its rights. The dump's bytes.

    The database should be empty, and the account's login must be let in (see ``loading.lent``). Raises AgentError:
    driver-permanent (the line of the dump and what MariaDB says of it), refused (a dump of several databases), driver-transient.
    """
    words = as_account(home, [*_LOAD, f"--user={home.user}", f"--database={database}"])
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as stream:
        size = os.fstat(stream.fileno()).st_size
        done = attend(words, look=look, given=Dump(stream).pieces())
    if done.status == 0:
        return size
    lines = [line.strip() for line in done.err.splitlines() if line.strip()]
    said = lines[-1] if lines else f"the client ended with {done.status}"
    code = "driver-transient" if databases.is_away(done) else "driver-permanent"
    raise AgentError(code, f"the dump of {database} cannot be loaded: {said[-500:]}")
