"""Which uid each account has, or had (port AccountUids). Rows are never removed: a uid is given once in the life of the store."""

from __future__ import annotations

from collections.abc import Iterable

import sqlalchemy as sa

from orchestrator.domain.accounts import FIRST_UID, LAST_UID
from orchestrator.domain.errors import NoCapacity, WrongState
from orchestrator.ports.clock import Clock
from orchestrator.store.account_tables import account_uids
from orchestrator.store.database import Connection, Database

# Between two copies of the store nobody sells more accounts: who tells of a uid that is further off would use all of them up.
_LEAP = 1_000_000


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
            base = max(last or 0, FIRST_UID - 1)
            if above > base + _LEAP:
                raise WrongState(
                    f"its node tells of an account of uid {above}, and the last that was given is {base}",
                    hint="see what `orchestrator node residue` says of the node: the user has to go from there",
                )
            uid = max(base, above) + 1
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
