"""A copy of the whole database as it is at one moment, while others write."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from orchestrator.domain.errors import StoreUnavailable
from orchestrator.store import audit, settings
from orchestrator.store.database import BUSY_TIMEOUT_MS, Connection, Database, sqlite_url

BY = "orchestrator"


@dataclass(frozen=True, slots=True)
class Copied:
    """The length and the last hash of the audit trail in the copy."""

    audit_rows: int
    audit_head: str


def copy_sqlite(db: Database, path: Path, *, now: datetime) -> Copied:
    """Write a copy of the SQLite file to ``path``, where nothing stands, and see that it is sound.

    By VACUUM INTO, not page by page: what was deleted from the database, the keys of wiped customers too, is not in the copy.
    The copy is frozen: whoever brings it back, by whatever means, does not terminate somebody who has paid since it was made.
    Raises StoreUnavailable.
    """
    try:
        source = sqlite3.connect(str(db.url.database), timeout=BUSY_TIMEOUT_MS / 1000, isolation_level=None)
        try:
            source.execute("VACUUM INTO ?", (str(path),))
        finally:
            source.close()
    except sqlite3.Error as exc:
        raise StoreUnavailable(
            f"the database could not be copied: {exc}", hint="is there room for a second one in the state directory?"
        ) from exc
    path.chmod(0o600)
    copy = Database(sqlite_url(path))
    try:
        with copy.write() as conn:
            why = f"this database was brought back from a copy of {now.isoformat(timespec='seconds')}"
            settings.set_freeze(conn, by=BY, why=why, now=now)
            found = conn.exec_driver_sql("PRAGMA quick_check").scalar()
            copied = ends(conn)
    finally:
        copy.close()
    if found != "ok":
        raise StoreUnavailable(f"the copy of the database is not sound: {found}", hint="look at the disk that it lies on")
    return copied


def ends(conn: Connection) -> Copied:
    """Of the trail in this database."""
    (last, _) = audit.list_page(conn, limit=1)
    return Copied(last[0].seq, last[0].hash) if last else Copied(0, "")
