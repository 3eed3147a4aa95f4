"""Makes restore drills: those of the week, and what a person asks for."""

from __future__ import annotations

import logging
from datetime import date

from orchestrator.domain.backups import drills as domain
from orchestrator.domain.backups import restoring
from orchestrator.domain.backups.drills import SCHEDULE, Drill
from orchestrator.domain.backups.schedule import open_at
from orchestrator.domain.errors import Frozen, NotFound, OrchestratorError, Refused
from orchestrator.domain.intents import IntentKind, Refusal
from orchestrator.domain.plans import Node
from orchestrator.domain.received import Received
from orchestrator.domain.services import Service
from orchestrator.domain.terms import Terms
from orchestrator.engine.acts import Works
from orchestrator.engine.clerk import Clerk, Submitted
from orchestrator.engine.settings import Beside, Catalog, nothing_beside
from orchestrator.store import backups, nodes, services, settings
from orchestrator.store import drills as store
from orchestrator.store import jobs as job_store
from orchestrator.store.database import Connection

_log = logging.getLogger(__name__)
_WHY = "the drill of the week"


class Drilling:
    """``once`` may be called at any time; of each node one drill is under way at a time."""

    def __init__(self, works: Works, *, clerk: Clerk, catalog: Catalog) -> None:
        self._works = works
        self._clerk = clerk
        self._catalog = catalog

    def once(self) -> int:
        """Begin what is due now; how many were begun. A node whose drill cannot be begun does not keep the others from theirs."""
        return sum(self._of(node) for node in self._catalog.nodes if not self._works.halting.is_set())

    def now(self, service_id: str, *, who: str, why: str, beside: Beside[Submitted] = nothing_beside) -> Submitted:
        """One that is asked for; it takes no place in the week. Raises NotFound, Refused, StoreUnavailable."""
        return self._begin(service_id, who=who, why=why or "asked for", week=None, beside=beside)

    def _of(self, node: Node) -> int:
        offered, number = self._catalog.backups.get(node.name), self._catalog.drills
        now, calendar = self._works.clock.now(), self._catalog.calendar
        week = domain.week_of(calendar, now)
        if offered is None or offered.shut or not number or now < domain.begins(node.name, week, calendar):
            return 0
        if not open_at(offered.hours, calendar, now):
            return 0
        with self._works.db.read() as conn:
            if settings.freeze(conn) is not None:  # what it writes could not be thrown away
                return 0
            if job_store.at_work(conn, IntentKind.DRILL).get(node.name) or nodes.is_lost(conn, node.name):
                return 0
            made = [each.service_id for each in store.of_week(conn, node.name, week)]
            chosen = domain.choose(store.candidates(conn, node.name), week, drilled=made, number=number)
        if not chosen:
            return 0
        try:
            self._begin(chosen[0], who=SCHEDULE, why=_WHY, week=week)
        except OrchestratorError as exc:
            _log.warning("the restore drill of %s could not be begun: %s", chosen[0], exc)
            return 0
        return 1

    def _begin(
        self, service_id: str, *, who: str, why: str, week: date | None, beside: Beside[Submitted] = nothing_beside
    ) -> Submitted:
        with self._works.db.read() as conn:
            service, freeze = services.get(conn, service_id), settings.freeze(conn)
            if service is None:
                raise NotFound(f"there is no service {service_id}", service_id=service_id)
            if freeze is not None:
                raise Frozen(f"no drill is begun: frozen by {freeze.by} ({freeze.why})", hint="orchestrator freeze off")
            known = backups.of_service(conn, service_id)
            backup = restoring.pick(known, backups.generations(conn, service_id), "", what="drill")
        if isinstance(backup, Refusal):
            raise Refused(f"{backup.reason} [{backup.rule}]", rule=backup.rule)

        def decide(service: Service, _terms: Terms, _now: object) -> Received:
            return domain.decide(service, backup, who=who, why=why)

        def write(conn: Connection, submitted: Submitted) -> None:
            drill = Drill(
                id=submitted.job_id,
                service_id=service_id,
                node=service.node,
                backup_id=backup.id,
                asked_by=who,
                begun_at=self._works.clock.now(),
                week=week,
            )
            store.add(conn, drill)
            beside(conn, submitted)

        facts = {"backup": backup.id, "why": why}
        return self._clerk.act(service_id, decide, who=who, what="restore drill", facts=facts, beside=write)
