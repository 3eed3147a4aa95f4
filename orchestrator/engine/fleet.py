"""What operators decide about nodes: taking one out of placement and putting it back."""

from __future__ import annotations

from orchestrator.domain.errors import NotFound
from orchestrator.engine.acts import Works
from orchestrator.engine.settings import Beside, Catalog
from orchestrator.store import audit
from orchestrator.store import nodes as store
from orchestrator.store.database import Connection
from orchestrator.store.nodes import NodeRecord


class Fleet:
    """Each act is one transaction with its line in the audit. Raises NotFound for a node that is not declared."""

    def __init__(self, works: Works, *, catalog: Catalog) -> None:
        self._works = works
        self._declared = {node.name: node for node in catalog.nodes}

    def drain(self, name: str, *, who: str, why: str, beside: Beside[NodeRecord]) -> NodeRecord:
        """Nothing new is placed there from now on; what is there stays. One that is drained already keeps its first reason."""
        self._require(name)
        with self._works.db.write() as conn:
            record = store.get(conn, name) or NodeRecord(name=name)
            if record.drained_at is None:
                now = self._works.clock.now()
                store.set_drained(conn, name, who=who, why=why, now=now)
                audit.append(conn, at=now, who=who, what="node drained", facts={"node": name, "why": why})
            return self._told(conn, name, beside)

    def undrain(self, name: str, *, who: str, why: str, beside: Beside[NodeRecord]) -> NodeRecord:
        """It takes services again. One that is not drained stays as it is."""
        self._require(name)
        with self._works.db.write() as conn:
            record = store.get(conn, name)
            if record is not None and record.drained_at is not None:
                store.set_undrained(conn, name)
                facts = {"node": name, "why": why, "was": record.drained_why}
                audit.append(conn, at=self._works.clock.now(), who=who, what="node takes services again", facts=facts)
            return self._told(conn, name, beside)

    def _told(self, conn: Connection, name: str, beside: Beside[NodeRecord]) -> NodeRecord:
        record = store.get(conn, name) or NodeRecord(name=name)
        beside(conn, record)
        return record

    def _require(self, name: str) -> None:
        if name not in self._declared:
            raise NotFound("there is no node of that name in nodes.yaml", hint="`orchestrator node list` shows all of them")
