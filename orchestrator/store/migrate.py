"""Bringing the tables from one revision to the next (Alembic), on a connection that already holds the write lock."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from orchestrator.domain.errors import ConfigError
from orchestrator.store.database import Connection

MIGRATIONS = Path(__file__).parent / "migrations"


def upgrade(conn: Connection, revision: str = "head") -> None:
    """Go forward to ``revision`` inside the caller's transaction.

    Raises ConfigError where the tables are at a revision that this version of the software does not know.
    """
    standing = current(conn)
    if revision == "head" and standing is not None and standing == newest():
        return
    _require_known(standing)
    command.upgrade(_config(conn), revision)


def downgrade(conn: Connection, revision: str) -> None:
    """Go back to ``revision`` (``base`` = no tables of ours) inside the caller's transaction."""
    command.downgrade(_config(conn), revision)


def current(conn: Connection) -> str | None:
    """The revision the tables are at; None = none."""
    return MigrationContext.configure(conn).get_current_revision()


@cache  # it reads all revisions
def newest() -> str | None:
    """The newest revision this version of the software has."""
    return ScriptDirectory(str(MIGRATIONS)).get_current_head()


def require_newest(conn: Connection) -> None:
    """Raises ConfigError, with what to do, where the tables are not those that this version of the software needs."""
    standing = current(conn)
    if standing is None:
        raise ConfigError(
            "the database is empty: it has no tables of ours",
            hint="make them: orchestrator init; or move a SQLite file there: orchestrator migrate --from-sqlite FILE",
        )
    _require_known(standing)
    if standing != newest():
        raise ConfigError(
            f"the database has the tables of an older version: at revision {standing}, and {newest()} is needed",
            hint="orchestrator migrate",
        )


def _require_known(standing: str | None) -> None:
    known = {script.revision for script in ScriptDirectory(str(MIGRATIONS)).walk_revisions()}
    if standing is not None and standing not in known:
        raise ConfigError(
            f"the database is at revision {standing}, which this version of the software does not know",
            hint="a newer version migrated it: run that one, or bring the database back from a backup",
        )


def _config(conn: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = conn
    return config
