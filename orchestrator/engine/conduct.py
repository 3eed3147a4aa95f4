"""What operators do with holds, complaints and evidence: each act decided and written in one transaction, with its file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from orchestrator.domain import conduct, holding
from orchestrator.domain.complaints import ComplaintKind
from orchestrator.domain.conduct import Answer, Report
from orchestrator.domain.evidence import Evidence
from orchestrator.domain.permissions import no_throttle
from orchestrator.domain.policies import Effect
from orchestrator.domain.received import Received, refused
from orchestrator.domain.services import Hold, HoldEffect, HoldReason, Service
from orchestrator.domain.terms import Terms
from orchestrator.engine.acts import Works
from orchestrator.engine.clerk import Clerk, Submitted
from orchestrator.engine.settings import Beside, Catalog, nothing_beside
from orchestrator.store import evidence as evidence_store
from orchestrator.store.database import Connection

Decide = Callable[[Service, Terms, datetime], Received]


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldAsked:
    """A hold that an operator sets."""

    reason: HoldReason
    effect: HoldEffect
    why: str
    until: datetime | None = None
    evidence: Evidence | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ComplaintSaid:
    """A complaint as an operator passes it on. ``received_at`` None: just now."""

    kind: ComplaintKind
    why: str
    what: str = ""
    effect: Effect | None = None
    received_at: datetime | None = None
    evidence: Evidence | None = None


class Conduct:
    """Each call raises NotFound, Refused, StoreUnavailable, and has written nothing then."""

    def __init__(self, works: Works, *, clerk: Clerk, catalog: Catalog) -> None:
        self._works = works
        self._clerk = clerk
        self._catalog = catalog

    def hold(self, service_id: str, asked: HoldAsked, who: str, *, beside: Beside[Submitted] = nothing_beside) -> Submitted:
        """Set a hold."""

        def decide(service: Service, terms: Terms, now: datetime) -> Received:
            apart = no_throttle(terms.kind) if asked.effect == HoldEffect.LIMIT else None
            if apart is not None:
                return refused(service, apart.reason, apart.rule)
            hold = Hold(
                reason=asked.reason,
                effect=asked.effect,
                by=who,
                why=asked.why,
                since=now,
                until=asked.until,
                evidence=_sha256(asked.evidence),
            )
            return holding.set_hold(service, hold)

        facts = {"hold": asked.reason.value, "effect": asked.effect.value, "why": asked.why, "until": _iso(asked.until)}
        return self._act(service_id, decide, who, "hold set", facts, file=asked.evidence, beside=beside)

    def lift(
        self, service_id: str, reason: HoldReason, who: str, why: str, *, beside: Beside[Submitted] = nothing_beside
    ) -> Submitted:
        """Lift a hold, whatever its effect."""

        def decide(service: Service, _terms: Terms, _now: datetime) -> Received:
            hindered = conduct.standing_domain(service, reason)
            return hindered or holding.lift_hold(service, reason, who=who, why=why)

        facts = {"hold": reason.value, "why": why}
        return self._act(service_id, decide, who, "hold lifted", facts, file=None, beside=beside)

    def report(self, service_id: str, said: ComplaintSaid, who: str, *, beside: Beside[Submitted] = nothing_beside) -> Submitted:
        """Take a complaint."""

        def decide(service: Service, terms: Terms, now: datetime) -> Received:
            plan = self._catalog.plans.get(service.plan)
            reported = Report(
                kind=said.kind,
                by=who,
                why=said.why,
                received_at=said.received_at or now,
                what=said.what,
                effect=said.effect,
                evidence=said.evidence,
                forbids=() if plan is None else plan.forbids,
            )
            return conduct.report(service, reported, terms, now=now)

        facts = {"kind": said.kind.value, "what": said.what, "why": said.why, "effect": said.effect and said.effect.value}
        facts["received_at"] = _iso(said.received_at)
        return self._act(service_id, decide, who, "complaint reported", facts, file=said.evidence, beside=beside)

    def answer(
        self, service_id: str, complaint_id: str, given: Answer, *, beside: Beside[Submitted] = nothing_beside
    ) -> Submitted:
        """End a complaint."""

        def decide(service: Service, terms: Terms, now: datetime) -> Received:
            return conduct.answer(service, complaint_id, given, terms, now=now)

        facts = {"complaint": complaint_id, "closed": given.how.value, "why": given.why}
        return self._act(service_id, decide, given.by, "complaint answered", facts, file=given.evidence, beside=beside)

    def _act(
        self,
        service_id: str,
        decide: Decide,
        who: str,
        what: str,
        facts: Mapping[str, object],
        *,
        file: Evidence | None,
        beside: Beside[Submitted],
    ) -> Submitted:
        def with_file(conn: Connection, submitted: Submitted) -> None:
            if file is not None:
                evidence_store.add(conn, service_id, file, by=who, now=self._works.clock.now())
            beside(conn, submitted)

        known = {**facts, "evidence": _sha256(file)}
        return self._clerk.act(service_id, decide, who=who, what=what, facts=known, beside=with_file, keeps=True)


def _sha256(file: Evidence | None) -> str:
    return "" if file is None else file.sha256


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
