"""/v1/certificates: proofs of wiping, as they were signed."""

from __future__ import annotations

import base64
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path
from pydantic import BaseModel

from orchestrator.api.callers import Reader
from orchestrator.api.context import Context
from orchestrator.api.paging import After, Limit, Page, Word, text_after
from orchestrator.domain.errors import NotFound
from orchestrator.store import certificates
from orchestrator.store.certificates import CertificateRecord

router = APIRouter(prefix="/v1/certificates", tags=["certificates"])


class CertificateSummary(BaseModel):
    id: str
    service_id: str
    job_id: str
    created_at: datetime


class CertificateOut(CertificateSummary):
    """``certificate`` is the signed object, byte for byte what `certificate verify` checks."""

    certificate: dict[str, Any]


class PublicKey(BaseModel):
    """The raw Ed25519 public key (RFC 8032) that verifies certificates, base64."""

    algorithm: str
    public_key: str


@router.get("")
def list_certificates(
    _caller: Reader, context: Context, limit: Limit = 100, after: After = "", service_id: Word = ""
) -> Page[CertificateSummary]:
    """Certificates by id."""
    with context.db.read() as conn:
        found, following = certificates.list_page(conn, limit=limit, after=text_after(after), service_id=service_id or None)
    return Page(items=[_summary(record) for record in found], next=following)


@router.get("/public-key")
def get_public_key(_caller: Reader, context: Context) -> PublicKey:
    """The key to keep beside the certificates."""
    return PublicKey(algorithm="ed25519", public_key=base64.b64encode(context.secrets.public_key()).decode())


@router.get("/{certificate_id}")
def get_certificate(
    _caller: Reader, context: Context, certificate_id: Annotated[str, Path(pattern=r"^[A-Za-z0-9._:-]{1,128}$")]
) -> CertificateOut:
    """One certificate, by its own id or by its service's."""
    with context.db.read() as conn:
        record = certificates.get(conn, certificate_id) or certificates.of_service(conn, certificate_id)
    if record is None:
        raise NotFound(f"there is no certificate {certificate_id}, and none of a service of that name")
    return CertificateOut(**_summary(record).model_dump(), certificate=record.certificate)


def _summary(record: CertificateRecord) -> CertificateSummary:
    return CertificateSummary(id=record.id, service_id=record.service_id, job_id=record.job_id, created_at=record.created_at)
