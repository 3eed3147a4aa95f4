"""Planned restarts, as operators call them off."""

from __future__ import annotations

from datetime import datetime

from orchestrator.domain import restarts
from orchestrator.domain.received import Received
from orchestrator.domain.services import Service
from orchestrator.domain.terms import Terms
from orchestrator.engine.clerk import Clerk, Submitted
from orchestrator.engine.settings import Beside


class Restarting:
    """Raises what the store raises."""

    def __init__(self, clerk: Clerk) -> None:
        self._clerk = clerk

    def call_off(self, service_id: str, *, who: str, why: str, beside: Beside[Submitted]) -> Submitted:
        """Nobody restarts its guest for its plan any more; its customer's next stop and start does. Raises NotFound."""

        def decide(service: Service, _terms: Terms, _now: datetime) -> Received:
            return restarts.call_off(service, why=why)

        return self._clerk.act(service_id, decide, who=who, what="restart called off", facts={"why": why}, beside=beside)
