"""Evidence: files as they came, by their SHA-256. What a hold or a complaint names is never deleted; nothing here deletes any."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from orchestrator.domain.errors import NotFound, OrchestratorError
from orchestrator.domain.evidence import Evidence
from orchestrator.store.database import Connection
from orchestrator.store.tables import evidence


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceRecord:
    """A file that is kept, without its content."""

    sha256: str
    name: str
    size: int
    added_at: datetime
    by: str


_KNOWN = (evidence.c.sha256, evidence.c.name, evidence.c.size, evidence.c.added_at, evidence.c.by)


def add(conn: Connection, service_id: str, file: Evidence, *, by: str, now: datetime) -> None:
    """Keep it; the same content again is kept once, under its first name."""
    key = (evidence.c.service_id == service_id, evidence.c.sha256 == file.sha256)
    if conn.execute(sa.select(evidence.c.sha256).where(*key)).one_or_none() is not None:
        return
    values = {"name": file.name, "size": len(file.content), "content": file.content, "added_at": now, "by": by}
    conn.execute(sa.insert(evidence).values(service_id=service_id, sha256=file.sha256, **values))


def of_service(conn: Connection, service_id: str) -> tuple[EvidenceRecord, ...]:
    """All of the service, the oldest first."""
    query = sa.select(*_KNOWN).where(evidence.c.service_id == service_id)
    return tuple(_record(row) for row in conn.execute(query.order_by(evidence.c.added_at, evidence.c.sha256)))


def get(conn: Connection, service_id: str, sha256: str) -> tuple[EvidenceRecord, Evidence]:
    """One file. Raises NotFound, and OrchestratorError where what is read is not what was kept."""
    key = (evidence.c.service_id == service_id, evidence.c.sha256 == sha256)
    row = conn.execute(sa.select(*_KNOWN, evidence.c.content).where(*key)).one_or_none()
    if row is None:
        raise NotFound(f"there is no evidence {sha256} of service {service_id}", hint="`orchestrator service evidence` lists it")
    file = Evidence(sha256=row.sha256, name=row.name, content=bytes(row.content))
    if not file.intact:
        raise OrchestratorError(f"evidence {sha256} of service {service_id} is not what was kept: its hash is another")
    return _record(row), file


def _record(row: Any) -> EvidenceRecord:
    return EvidenceRecord(sha256=row.sha256, name=row.name, size=row.size, added_at=row.added_at, by=row.by)
