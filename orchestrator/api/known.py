"""The service that a route is about."""

from __future__ import annotations

from orchestrator.domain.errors import NotFound
from orchestrator.domain.services import Service
from orchestrator.store import services
from orchestrator.store.database import Connection


def known(conn: Connection, service_id: str) -> Service:
    """Raises NotFound."""
    service = services.get(conn, service_id)
    if service is None:
        raise NotFound(f"there is no service {service_id}", hint="`orchestrator service list` shows all of them")
    return service
