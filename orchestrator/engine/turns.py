"""Which backups may be begun now: inside the hours of their node, and no more at a time than it works on. Of a lost one, none.

Whoever has to wait is looked at again as soon as another one of the node has ended, and else as all that waits.
"""

from __future__ import annotations

from datetime import datetime

from orchestrator.domain.backups.schedule import open_now
from orchestrator.domain.intents import IntentKind
from orchestrator.domain.services import Service
from orchestrator.domain.terms import Terms
from orchestrator.store import jobs as job_store
from orchestrator.store import nodes
from orchestrator.store.database import Connection


class Turns:
    """One look at what is at work on the nodes, for as many services as are looked at in a transaction."""

    def __init__(self, conn: Connection) -> None:
        self._conn = conn
        self._at_work: dict[str, int] | None = None
        self._lost: frozenset[str] = frozenset()

    def comes(self, service: Service, terms: Terms, *, now: datetime) -> bool:
        """Whether it is the service's turn; then it takes one of its node's places."""
        node = terms.backups.node
        if node is None or not open_now(terms, now):
            return False
        if self._at_work is None:
            self._at_work = job_store.at_work(self._conn, IntentKind.BACKUP)
            self._lost = nodes.lost(self._conn)
        there = self._at_work.get(service.node, 0)
        if there >= node.at_once or service.node in self._lost:
            return False
        self._at_work[service.node] = there + 1
        return True
