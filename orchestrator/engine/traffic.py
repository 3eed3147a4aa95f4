"""Counts what goes through the network of guests, tells billing of it, and charges or throttles what is beyond the allowance."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from datetime import datetime

from orchestrator.domain import traffic, usage
from orchestrator.domain.errors import OrchestratorError
from orchestrator.domain.plans import Node, NodeKind, guest_name
from orchestrator.domain.services import Service
from orchestrator.domain.traffic import GuestTraffic, Reading
from orchestrator.engine.acts import Works
from orchestrator.engine.clerk import Clerk
from orchestrator.engine.metering import enrolled, note_traffic, pieces
from orchestrator.engine.settings import Catalog
from orchestrator.engine.telling import tell
from orchestrator.store import guest_traffic, services
from orchestrator.store.database import Connection

_log = logging.getLogger(__name__)
_DEADLINE_SECONDS = 20.0
_PREFIX = guest_name("")


class Counting:
    """``once`` may be called at any time, and nothing is counted twice: the counters themselves say how far that came."""

    def __init__(self, works: Works, catalog: Catalog, *, clerk: Clerk) -> None:
        self._works = works
        self._clerk = clerk
        self._catalog = catalog
        # Readings of a node come in their order.
        self._turn = threading.Lock()

    def once(self) -> int:
        """Read every hypervisor that is enrolled; how many guests were counted. A node that does not answer is left out."""
        with self._turn:
            nodes = enrolled(self._works, self._catalog, NodeKind.HYPERVISOR)
            counted = sum(self._read(node) for node in nodes if not self._works.halting.is_set())
            with self._works.db.write() as conn:
                guest_traffic.drop_erased(conn)
            return counted

    def _read(self, node: Node) -> int:
        try:
            found = self._works.ports.meter(node.name).read(deadline=_DEADLINE_SECONDS)
        except OrchestratorError as exc:
            _log.warning("the traffic of the guests on %s is not known: %s", node.name, exc.message)
            return 0
        now = self._works.clock.now()
        own = [reading for reading in found if reading.name.startswith(_PREFIX)]
        return sum(self._keep(node, piece, now) for piece in pieces(own))

    def _keep(self, node: Node, found: Sequence[Reading], now: datetime) -> int:
        kept = 0
        with self._works.db.write() as conn:
            for reading in found:
                service = services.get(conn, reading.name.removeprefix(_PREFIX))
                if service is not None and service.node == node.name:
                    self._note(conn, service, reading, now)
                    kept += 1
        return kept

    def _note(self, conn: Connection, service: Service, reading: Reading, now: datetime) -> None:
        calendar, before = self._catalog.calendar, guest_traffic.get(conn, service.id)
        counted = traffic.added(before, reading, service_id=service.id, node=service.node, calendar=calendar, now=now)
        plan = self._catalog.plans.get(service.plan)
        if plan is not None:
            month = usage.month_of(now, calendar)
            counted, tells = traffic.notices(counted, traffic.share(counted, plan, month), month)
            tell(conn, service, tells, now=now)
            note_traffic(conn, service, counted.traffic, catalog=self._catalog, now=now)
            counted = self._throttle(conn, service, counted, now)
        guest_traffic.put(conn, counted)

    def _throttle(self, conn: Connection, service: Service, counted: GuestTraffic, now: datetime) -> GuestTraffic:
        """Where it cannot be done now, the next reading decides it anew."""
        kept = services.get(conn, service.id) or service
        plan = self._catalog.plans[kept.plan]
        decided, received = traffic.throttled(kept, counted, plan, calendar=self._catalog.calendar, now=now)
        try:
            if received is not None:
                self._clerk.carry(conn, kept, received, now=now)
        except OrchestratorError as exc:
            _log.warning("the traffic of %s is not seen to: %s", service.id, exc.message)
            return counted
        return decided
