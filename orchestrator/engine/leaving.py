"""How operators have a service left: it is cancelled, kept after all, and forgotten once it has ended."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from orchestrator.domain import cancellations, leaving, personal
from orchestrator.domain.cancellations import Asked
from orchestrator.domain.errors import NotFound, Refused
from orchestrator.domain.intents import CANCELLATION, IntentKind, Refusal
from orchestrator.domain.leaving import Leave
from orchestrator.domain.received import Received
from orchestrator.domain.services import CancellationKind, Service
from orchestrator.domain.terms import Terms
from orchestrator.engine.acts import Works
from orchestrator.engine.clerk import Clerk, Decide, Submitted
from orchestrator.engine.endings import Endings
from orchestrator.engine.orders import Orders
from orchestrator.engine.settings import Beside
from orchestrator.store import jobs as job_store
from orchestrator.store import services
from orchestrator.store.database import Connection


class Leaving:
    """Each act raises NotFound, Refused and StoreUnavailable."""

    def __init__(self, works: Works, *, clerk: Clerk, endings: Endings, orders: Orders) -> None:
        self._works = works
        self._clerk = clerk
        self._endings = endings
        self._orders = orders

    def cancel(
        self,
        service_id: str,
        *,
        who: str,
        why: str,
        kind: CancellationKind,
        confirmed: bool,
        on: datetime | None,
        beside: Beside[Submitted],
    ) -> Submitted:
        """Note that the service is to end. Nothing is done before the day comes."""

        def decide(service: Service, terms: Terms, now: datetime) -> Received:
            asked = Asked(asked_at=now, by=who, why=why, kind=kind, confirmed=confirmed, on=on)
            return cancellations.cancel(service, asked, terms, now=now)

        facts = {"why": why, "kind": kind.value, "confirmed": confirmed, "on": None if on is None else on.isoformat()}
        return self._act(service_id, decide, who=who, what="service cancelled", facts=facts, beside=beside)

    def keep(self, service_id: str, *, who: str, why: str, beside: Beside[Submitted]) -> Submitted:
        """Take the cancellation back, and with it a termination that has destroyed nothing yet."""

        def decide(service: Service, terms: Terms, now: datetime) -> Received:
            return cancellations.keep(service, terms, now=now)

        return self._act(service_id, decide, who=who, what="service kept", facts={"why": why}, beside=beside)

    def forget(self, service_id: str, *, who: str, why: str, beside: Beside[Submitted]) -> Submitted:
        """Delete what is personal of a service that has ended, because its customer wants it."""

        def decide(service: Service, terms: Terms, now: datetime) -> Received:
            return personal.on_request(service, terms, now=now)

        facts = {"why": why}
        return self._clerk.act(service_id, decide, who=who, what="personal data deleted", facts=facts, beside=beside)

    def would_end(self, service_id: str, *, kind: CancellationKind, confirmed: bool, on: datetime | None) -> Leave:
        """When the service would end if it were cancelled so, now. Raises as ``cancel``."""
        now = self._works.clock.now()
        with self._works.db.read() as conn:
            service = services.get(conn, service_id)
            if service is None:
                raise NotFound(f"there is no service {service_id}", service_id=service_id)
            terms = self._orders.terms(service)
            asked = Asked(asked_at=now, by="dry-run", why="dry run", kind=kind, confirmed=confirmed, on=on)
            received = cancellations.cancel(service, asked, terms, now=now)
        decision = received.decision
        if isinstance(decision, Refusal):
            raise Refused(f"{decision.reason} [{decision.rule}]", rule=decision.rule)
        found = None if received.service is None else leaving.leave(received.service, terms)
        return found or Leave(at=None, why=decision.reason)

    def _act(
        self, service_id: str, decide: Decide, *, who: str, what: str, facts: Mapping[str, object], beside: Beside[Submitted]
    ) -> Submitted:
        def and_call_off(conn: Connection, submitted: Submitted) -> None:
            service = services.get(conn, service_id)
            if service is not None:
                call_off_ends(conn, self._endings, service, by=who)
            beside(conn, submitted)

        return self._clerk.act(service_id, decide, who=who, what=what, facts=facts, beside=and_call_off, keeps=True)


def call_off_ends(conn: Connection, endings: Endings, service: Service, *, by: str) -> tuple[str, ...]:
    """End the terminations that carry out a cancellation which was taken back or changed, where nothing was destroyed yet; which
    jobs these were."""
    if service.point_of_no_return is not None:
        return ()
    standing = "" if service.cancellation is None else service.cancellation.token
    ended = []
    for job in job_store.unfinished(conn, service.id):
        carried = job.arguments.get(CANCELLATION, "")
        if job.intent == IntentKind.TERMINATE and carried and carried != standing:
            endings.call_off(conn, job, by=by)
            ended.append(job.id)
    return tuple(ended)
