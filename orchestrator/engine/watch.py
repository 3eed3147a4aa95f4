"""Looks at every enrolled node again and again, so that placement and metrics know which are up and what they have."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from orchestrator.domain.errors import OrchestratorError
from orchestrator.domain.plans import Node
from orchestrator.ports.clock import Clock
from orchestrator.ports.hypervisor import NodeFacts
from orchestrator.store import absences
from orchestrator.store import nodes as node_store
from orchestrator.store.database import Database

_log = logging.getLogger(__name__)
_LOOKS = 8  # at a time
_DEADLINE_SECONDS = 15.0


class NodeWatch:
    """``ask`` has a node tell what it has, whatever its kind: (its name, a deadline in seconds)."""

    def __init__(self, db: Database, nodes: Sequence[Node], ask: Callable[[str, float], NodeFacts], clock: Clock) -> None:
        self._db = db
        self._nodes = tuple(nodes)
        self._ask = ask
        self._clock = clock

    def once(self) -> None:
        """Look at every enrolled node. A node that does not answer is down; the others are looked at all the same."""
        with self._db.read() as conn:
            enrolled = {record.name for record in node_store.list_all(conn) if record.enrolled_at is not None}
        names = [node.name for node in self._nodes if node.name in enrolled]
        if not names:
            return
        with ThreadPoolExecutor(max_workers=min(_LOOKS, len(names)), thread_name_prefix="node-watch") as pool:
            list(pool.map(self.look, names))

    def look(self, name: str) -> None:
        """Look at one node now and write down what was seen."""
        try:
            facts = self._ask(name, _DEADLINE_SECONDS)
        except OrchestratorError as exc:
            _log.warning("the node %s does not answer: %s", name, exc.message)
            with self._db.write() as conn:
                node_store.set_unreachable(conn, name, exc.message)
            return
        with self._db.write() as conn:
            before, now = node_store.get(conn, name), self._clock.now()
            node_store.set_seen(conn, name, facts, now=now)
            if before is not None and not before.up:
                absences.is_back(conn, name, now=now)
