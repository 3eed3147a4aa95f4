"""Maintenance of nodes that operators announce: the customers of what is on a node hear of it, and of its being called off."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime

from orchestrator.domain import announcing
from orchestrator.domain.deadlines import Action
from orchestrator.domain.errors import NotFound, WrongState
from orchestrator.domain.planned import Announced
from orchestrator.engine.acts import Works
from orchestrator.engine.settings import Beside, Catalog
from orchestrator.engine.telling import tell
from orchestrator.store import audit, deadlines, services
from orchestrator.store import nodes as store
from orchestrator.store.database import Connection
from orchestrator.store.nodes import NodeRecord


class Announcing:
    """Each act is one transaction with its line in the audit. Raises NotFound for a node that is not declared."""

    def __init__(self, works: Works, catalog: Catalog, *, wake: Callable[[], None]) -> None:
        self._works = works
        self._catalog = catalog
        self._wake = wake
        self._turn = threading.Lock()

    def look(self) -> None:
        """Know what is announced; what is over is forgotten."""
        now = self._works.clock.now()
        with self._turn:
            with self._works.db.read() as conn:
                known = {each.name: each.announced for each in store.list_all(conn) if each.announced is not None}
            over = [name for name, each in known.items() if each.until <= now]
            if over:
                with self._works.db.write() as conn:
                    self._forget(conn, over, now=now)
            self._catalog.announced.known = {name: each for name, each in known.items() if name not in over}

    def announce(self, wanted: Announced, *, beside: Beside[NodeRecord]) -> None:
        """Have the customers told, ``maintenance.notice`` before it begins or at once. Raises RequestError, WrongState."""
        self._require(wanted.node)
        with self._works.db.write() as conn:
            record = store.get(conn, wanted.node) or NodeRecord(name=wanted.node)
            announcing.require(wanted, record.announced, now=wanted.announced_at)
            store.set_announced(conn, wanted.node, wanted)
            deadlines.look_at_node(conn, wanted.node, now=wanted.announced_at)
            told = {"node": wanted.node, "at": wanted.at.isoformat(), "until": wanted.until.isoformat(), "why": wanted.why}
            audit.append(conn, at=wanted.announced_at, who=wanted.who, what="maintenance announced", facts=told)
            beside(conn, store.get(conn, wanted.node) or record)
        self.look()
        self._wake()

    def call_off(self, name: str, *, who: str, why: str, beside: Beside[NodeRecord]) -> None:
        """Nothing is done then; whoever was told hears of that. Raises WrongState where nothing is announced."""
        self._require(name)
        now = self._works.clock.now()
        with self._works.db.write() as conn:
            record = store.get(conn, name) or NodeRecord(name=name)
            found = record.announced
            if found is None or found.until <= now:
                raise WrongState(f"no maintenance of {name} is announced", hint="`orchestrator node list` shows what is")
            whom = deadlines.told_of(conn, Action.NOTICE_MAINTENANCE, announcing.occurrence(found))
            for service in services.several(conn, whom):
                tell(conn, service, [announcing.called_off(found, why)], now=now)
            store.set_announced(conn, name, None)
            facts = {"node": name, "at": found.at.isoformat(), "why": why, "told": len(whom)}
            audit.append(conn, at=now, who=who, what="maintenance called off", facts=facts)
            beside(conn, store.get(conn, name) or record)
        self.look()
        self._wake()

    def _forget(self, conn: Connection, names: list[str], *, now: datetime) -> None:
        for name in names:
            record = store.get(conn, name)
            if record is not None and record.announced is not None and record.announced.until <= now:
                store.set_announced(conn, name, None)

    def _require(self, name: str) -> None:
        if all(node.name != name for node in self._catalog.nodes):
            raise NotFound("there is no node of that name in nodes.yaml", hint="`orchestrator node list` shows all of them")
