"""Once a night: does the store look at each service no later than its record says? What differs is looked at at once.

It finds nothing, unless a record was changed past the store's own writing of it, or that writing has a fault.
"""

from __future__ import annotations

import logging
import threading

from orchestrator.domain.deadlines import next_due
from orchestrator.domain.guards import last_night, looked_at_too_late
from orchestrator.engine.acts import Works
from orchestrator.engine.due import AGAIN
from orchestrator.engine.looks import left_of
from orchestrator.engine.settings import Catalog
from orchestrator.store import audit, services, settings
from orchestrator.store import deadlines as store
from orchestrator.store.database import Connection
from orchestrator.store.settings import Compared

_log = logging.getLogger(__name__)
_PAGE = 500
# So many are named in the audit and the log.
_NAMED = 20


class Comparing:
    """``once`` may be called at any time; it does something once a night of the provider's."""

    def __init__(self, works: Works, catalog: Catalog) -> None:
        self._works = works
        self._catalog = catalog
        self._turn = threading.Lock()

    def once(self) -> None:
        """Compare, where that was not done since the last night."""
        with self._turn:
            with self._works.db.read() as conn:
                last = settings.compared(conn)
            now = self._works.clock.now()
            if last is None or last.at > now or last.at < last_night(now, self._catalog.calendar):
                self._compare()

    def compare(self) -> Compared | None:
        """All services, page by page; None where the controller is stopped meanwhile."""
        with self._turn:
            return self._compare()

    def _compare(self) -> Compared | None:
        seen, differing, after = 0, list[str](), None
        while True:
            if self._works.halting.is_set():
                return None
            with self._works.db.read() as conn:
                number, found, after = self._page(conn, after)
            seen += number
            differing += found
            if found:
                self._mend(found)
            if after is None:
                break
        return self._conclude(seen, differing)

    def _page(self, conn: Connection, after: str | None) -> tuple[int, list[str], str | None]:
        page, following = services.list_page(conn, limit=_PAGE, after=after)
        ids = [service.id for service in page]
        looks, known = store.next_looks(conn, ids), store.seen_to(conn, ids)
        now = self._works.clock.now()  # after the view was taken: no look in it is later than this
        found = []
        for service in page:
            due = next_due(left_of(service, self._catalog, known[service.id]), now=now, again=AGAIN)
            if looked_at_too_late(looks[service.id], due):
                found.append(service.id)
        return len(page), found, following

    def _mend(self, service_ids: list[str]) -> None:
        with self._works.db.write() as conn:
            for service_id in service_ids:
                store.look_again(conn, service_id, services.AT_ONCE)

    def _conclude(self, seen: int, differing: list[str]) -> Compared:
        now = self._works.clock.now()
        result = Compared(now, seen, len(differing))
        with self._works.db.write() as conn:
            settings.set_compared(conn, result)
            if differing:
                named = {"compared": seen, "differing": len(differing), "services": differing[:_NAMED]}
                audit.append(conn, at=now, who="orchestrator", what="looks differ", facts=named)
        if differing:
            some = ", ".join(differing[:_NAMED])
            _log.error("%d of %d services would have been looked at too late, and are now: %s", len(differing), seen, some)
        else:
            _log.info("%d services are looked at when their records say", seen)
        return result
