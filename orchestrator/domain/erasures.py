"""The certificate of an erasure: that what was kept of a service that had ended, its archive, is gone too.

A JSON object, signed and checked as the wipe certificate is (``domain.certificates``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from orchestrator.domain.backups.copies import KnownCopy
from orchestrator.domain.certificate_shapes import ERASURE, VERSION
from orchestrator.domain.certificates import EndedBackups, ResidueCheck, embedded, ended, other_copy, residue, utc_text

LIMITS = (
    "The archive was removed with its repository, and the key that opened it is destroyed; the medium of its target was not "
    "overwritten.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Erasure:
    """Everything a certificate of an erasure says. ``volumes``: each {name, capacity_bytes, snapshot} that the archive held;
    ``kept_from``: the node from which it was kept. ``backups``: every repository that there was. ``copies``: every other copy
    that is known, of keys. Times UTC."""

    certificate_id: str
    provider: str
    service_id: str
    client_id: str
    job_id: str
    asked_by: str
    reason: str
    approved_by: str
    archive_id: str
    kept_from: str
    volumes: Sequence[Mapping[str, Any]]
    bytes: int
    kept_at: datetime
    destroyed_at: datetime
    residue: Sequence[ResidueCheck]
    issued_at: datetime
    backups: Sequence[EndedBackups] = ()
    copies: Sequence[KnownCopy] = ()


def certificate_id(job_id: str) -> str:
    """The id of the one certificate that a job can give."""
    return f"erasure-{job_id}"


def build(erasure: Erasure, *, public_key: bytes) -> dict[str, Any]:
    """The certificate, not yet signed, for the key it will be signed with (raw, 32 bytes)."""
    return {
        "format": ERASURE,
        "version": VERSION,
        "id": erasure.certificate_id,
        "provider": erasure.provider,
        "service": erasure.service_id,
        "client": erasure.client_id,
        "nodes": sorted({check.node for check in erasure.residue} | {erasure.kept_from}),
        "archive": {
            "id": erasure.archive_id,
            "kept_from": erasure.kept_from,
            "volumes": [dict(volume) for volume in erasure.volumes],
            "bytes": erasure.bytes,
            "kept_at": utc_text(erasure.kept_at),
            "destroyed_at": utc_text(erasure.destroyed_at),
            "limits": list(LIMITS),
        },
        "backups": [ended(each) for each in erasure.backups],
        "copies": [other_copy(copy) for copy in erasure.copies],
        "residue": residue(erasure.residue),
        "asked_by": erasure.asked_by,
        "reason": erasure.reason,
        "approved_by": erasure.approved_by,
        "job": erasure.job_id,
        "issued_at": utc_text(erasure.issued_at),
        "key": embedded(public_key),
    }
