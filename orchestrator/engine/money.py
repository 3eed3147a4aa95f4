"""What operators do about money: a dispute noted by hand, its verdict, a charge taken back."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from orchestrator.domain import decisions
from orchestrator.domain.claims import Claim
from orchestrator.domain.decisions import Received
from orchestrator.domain.services import Service
from orchestrator.domain.terms import Terms
from orchestrator.engine.acts import Works
from orchestrator.engine.clerk import Clerk, Decide, Submitted
from orchestrator.engine.endings import Endings
from orchestrator.engine.overtaking import call_off, counts_as_paid, overtaken
from orchestrator.engine.settings import Beside
from orchestrator.store import audit, charges, services
from orchestrator.store.charges import ChargeRecord
from orchestrator.store.database import Connection


class Money:
    """Each call is one transaction, with one row of audit and what the caller wants ``beside`` it."""

    def __init__(self, works: Works, *, clerk: Clerk, endings: Endings, wake: Callable[[], None]) -> None:
        self._works = works
        self._clerk = clerk
        self._endings = endings
        self._wake = wake

    def dispute(
        self,
        service_id: str,
        invoice_id: str,
        *,
        who: str,
        why: str,
        part: bool,
        issued_at: datetime | None,
        beside: Beside[Submitted],
    ) -> Submitted:
        """Note that the invoice is disputed, from now. Raises NotFound, StoreUnavailable."""

        def decide(service: Service, terms: Terms, now: datetime) -> Received:
            claim = Claim(invoice_id=invoice_id, at=now, by=who, why=why, part=part, issued_at=issued_at)
            return decisions.dispute(service, claim, terms)

        facts = {"invoice_id": invoice_id, "why": why, "part": part, "issued_at": issued_at and issued_at.isoformat()}
        return self._act(service_id, decide, who=who, what="dispute", facts=facts, beside=beside)

    def settle(
        self, service_id: str, invoice_id: str, *, who: str, why: str, upheld: bool, beside: Beside[Submitted]
    ) -> Submitted:
        """Note the verdict, of now. Raises NotFound, StoreUnavailable."""

        def decide(service: Service, terms: Terms, now: datetime) -> Received:
            return decisions.settle(service, invoice_id, upheld, who=who, at=now, terms=terms)

        facts = {"invoice_id": invoice_id, "why": why, "upheld": upheld}
        return self._act(service_id, decide, who=who, what="dispute settled", facts=facts, beside=beside)

    def take_back(self, charge_id: str, *, who: str, why: str, beside: Beside[ChargeRecord]) -> None:
        """The charge is not owed any more, for good. Raises NotFound, WrongState where it was taken back before."""
        with self._works.db.write() as conn:
            now = self._works.clock.now()
            charge = charges.take_back(conn, charge_id, why=why, now=now)
            facts = {"charge": charge_id, "amount": charge.amount, "why": why}
            audit.append(conn, at=now, who=who, what="charge taken back", service_id=charge.service_id, facts=facts)
            beside(conn, charge)
        self._wake()

    def _act(
        self,
        service_id: str,
        decide: Decide,
        *,
        who: str,
        what: str,
        facts: dict[str, object],
        beside: Beside[Submitted],
    ) -> Submitted:
        seen: list[Service] = []

        def looked(service: Service, terms: Terms, now: datetime) -> Received:
            seen.append(service)
            return decide(service, terms, now)

        def overtake(conn: Connection, submitted: Submitted) -> None:
            after = services.get(conn, service_id)
            if overtaken(seen[0], after):
                call_off(conn, self._endings, after, by=f"{what} by {who}", paid=counts_as_paid(seen[0], after))
            beside(conn, submitted)

        return self._clerk.act(service_id, looked, who=who, what=what, facts=facts, beside=overtake, keeps=True)
