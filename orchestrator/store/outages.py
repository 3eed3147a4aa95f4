"""What a database says when it cannot be used, in our own words: whose sentence it is, and what is to be done about it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DatabaseError, DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from orchestrator.domain.errors import StoreUnavailable

# PostgreSQL's codes (https://www.postgresql.org/docs/current/errcodes-appendix.html) of what is no bug of ours.
_READ_ONLY, _LOCKED, _NO_TABLE, _NO_COLUMN = "25006", "55P03", "42P01", "42703"
_UNAVAILABLE = frozenset({_READ_ONLY, _LOCKED, _NO_TABLE, _NO_COLUMN, "25P03", "25P04"})
_AGAIN = "try again in a moment"
_MIGRATE = "run: orchestrator migrate"
# Words of SQLite, of PostgreSQL's server and of its client library, the first that is found; and what helps.
_HELP = (
    ("no such table", _MIGRATE),
    ("no such column", _MIGRATE),
    ("unable to open", "check that the state directory exists and is writable"),
    ("authentication failed", "check the user in database_url and the password in database_password_file"),
    ("no password supplied", "name the file that holds the password: database_password_file"),
    ("no pg_hba.conf entry", "let this machine and user in: pg_hba.conf on the database's server"),
    ("role", "make the user: createuser --pwprompt NAME"),
    ("database", "make the database: createdb --owner=USER --encoding=UTF8 --locale=C.UTF-8 --template=template0 NAME"),
    ("translate host name", "check the host in database_url"),
    ("could not be resolved", "check the host in database_url"),
    ("connection refused", "is PostgreSQL running there, and does it listen on that port?"),
    ("no such file", "is PostgreSQL running, and is its socket in the directory that database_url names?"),
    ("too many", "raise max_connections of the database's server: each controller uses up to 60"),
    ("permission denied", "give the user of database_url the database: ALTER DATABASE NAME OWNER TO USER"),
)
# Words that help only together: of who or what does not exist.
_MISSING = ("role", "database")


@contextmanager
def translated() -> Iterator[None]:
    """What the database says in the block, in our own words: raises StoreUnavailable."""
    try:
        yield
    except PoolTimeout as exc:
        raise StoreUnavailable("every connection to the database is in use", hint="try again in a moment") from exc
    except DBAPIError as exc:
        found = outage(exc)
        if found is None:
            raise
        raise found from exc


def outage(error: DBAPIError) -> StoreUnavailable | None:
    """The error as an outage of the store; None where it is a bug of ours, or a rule of the tables that was broken."""
    code = getattr(error.orig, "sqlstate", None) or ""
    cause = _first(str(error.orig))
    if code == _LOCKED:
        return _unusable("it is locked by another writer", _AGAIN)
    if code == _READ_ONLY:
        return _unusable("a readonly transaction cannot write", _AGAIN)
    if code in (_NO_TABLE, _NO_COLUMN):
        return _unusable(cause, _MIGRATE)
    if isinstance(error, (OperationalError, InterfaceError)) or code in _UNAVAILABLE or error.connection_invalidated:
        return _unusable(cause, _help(cause))
    # SQLite's own words for a file that is broken or no database; the subclasses (a broken rule, bad SQL) are bugs of ours.
    if type(error) is DatabaseError:
        return _unusable(cause, "bring the database back from a backup")
    return None


def _unusable(cause: str, hint: str) -> StoreUnavailable:
    return StoreUnavailable(f"the database cannot be used: {cause}", hint=hint)


def _first(cause: str) -> str:
    """The sentence that says why. PostgreSQL's client writes one of each address it tried, each line behind the address."""
    lines = [line.strip() for line in cause.strip().splitlines() if line.strip()]
    told = [line for line in lines if "failed: " in line or "FATAL: " in line]
    first = (told or lines or ["no reason given"])[0]
    return first.removeprefix("- ").removeprefix("connection failed: ")


def _help(cause: str) -> str:
    words = cause.lower()
    for word, hint in _HELP:
        if word in words and (word not in _MISSING or (f'{word} "' in words and "does not exist" in words)):
            return hint
    return _AGAIN
