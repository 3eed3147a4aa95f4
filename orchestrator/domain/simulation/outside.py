"""Whom the simulated controller has to do with."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from orchestrator.domain.services import Service


class Outside(Protocol):
    """Who the controller has to do with: billing, its books, and the people who look into them."""

    def asked(self, service_id: str, job_id: str, now: datetime) -> None:
        """Billing takes the question whether a service may be destroyed; its answer comes as an event, if it comes."""

    def look_up(self, service: Service, job_id: str, now: datetime) -> bool:
        """Somebody looks into billing's books: whether it may be destroyed. A payment that got lost is made known."""

    def wiped(self, service: Service, job_id: str, now: datetime) -> None:
        """In this moment the data of the service is destroyed."""

    def cancelled(self, service: Service) -> None:
        """An order is cancelled because nobody paid it."""
