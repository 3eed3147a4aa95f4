"""Which uid each account has, or had (port AccountUids). Rows are never removed: a uid is given once in the life of the store."""

from __future__ import annotations

from collections.abc import Iterable

import sqlalchemy as sa

from orchestrator.domain.accounts import FIRST_UID, LAST_UID
from orchestrator.domain.errors import NoCapacity
from orchestrator.ports.clock import Clock
from orchestrator.store.account_tables import account_uids
from orchestrator.store.database import Connection, Database


class StoreAccountUids:
    """One write transaction looks and takes; the unique column is the guard behind that."""

    def __init__(self, db: Database, clock: Clock) -> None:
        self._db = db
        self._clock = clock

    def give(self, service_id: str, *, above: int = 0) -> int:
        """See the port."""
        with self._db.write() as conn:
            known = _known(conn, service_id)
            if known is not None:
                return known
            last: int | None = conn.execute(sa.select(sa.func.max(account_uids.c.uid))).scalar_one()
            uid = max(last or 0, above, FIRST_UID - 1) + 1
            if uid > LAST_UID:
                raise NoCapacity("every uid that an account may have was given", hint="an operator has to look")
            conn.execute(sa.insert(account_uids).values(service_id=service_id, uid=uid, given_at=self._clock.now()))
            return uid

    def known(self, service_id: str) -> int | None:
        """See the port."""
        with self._db.read() as conn:
            return _known(conn, service_id)


def services_of(conn: Connection, uids: Iterable[int]) -> dict[int, str]:
    """The service that each of the uids was given to; one that nobody was given is left out."""
    rows = conn.execute(sa.select(account_uids.c.uid, account_uids.c.service_id).where(account_uids.c.uid.in_(list(uids))))
    return {row.uid: row.service_id for row in rows}


def _known(conn: Connection, service_id: str) -> int | None:
    uid: int | None = conn.execute(
        sa.select(account_uids.c.uid).where(account_uids.c.service_id == service_id)
    ).scalar_one_or_none()
    return uid
