"""Wipe certificates, kept as they were signed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from orchestrator.store.database import Connection
from orchestrator.store.paging import page
from orchestrator.store.tables import certificates


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateRecord:
    """One certificate; ``certificate`` is the signed JSON object."""

    id: str
    service_id: str
    job_id: str
    certificate: dict[str, Any]
    created_at: datetime


def get(conn: Connection, certificate_id: str) -> CertificateRecord | None:
    """The certificate, or None."""
    row = conn.execute(sa.select(certificates).where(certificates.c.id == certificate_id)).one_or_none()
    return None if row is None else _record(row)


def of_job(conn: Connection, job_id: str) -> CertificateRecord | None:
    """The one certificate that the job gave, or None."""
    row = conn.execute(sa.select(certificates).where(certificates.c.job_id == job_id)).one_or_none()
    return None if row is None else _record(row)


def of_service(conn: Connection, service_id: str) -> CertificateRecord | None:
    """The newest certificate of the service, or None."""
    query = sa.select(certificates).where(certificates.c.service_id == service_id)
    row = conn.execute(query.order_by(certificates.c.created_at.desc(), certificates.c.id.desc()).limit(1)).one_or_none()
    return None if row is None else _record(row)


def add(conn: Connection, record: CertificateRecord) -> None:
    """Keep it; the same job's again replaces nothing."""
    if of_job(conn, record.job_id) is None:
        values = {name: getattr(record, name) for name in CertificateRecord.__dataclass_fields__}
        conn.execute(sa.insert(certificates).values(**values))


def list_page(
    conn: Connection, *, limit: int = 100, after: str | None = None, service_id: str | None = None
) -> tuple[tuple[CertificateRecord, ...], str | None]:
    """Certificates by id."""
    query = sa.select(certificates)
    if service_id is not None:
        query = query.where(certificates.c.service_id == service_id)
    return page(conn, query, key=certificates.c.id, limit=limit, after=after, newest_first=False, make=_record)


def _record(row: sa.Row[Any]) -> CertificateRecord:
    return CertificateRecord(**row._mapping)
