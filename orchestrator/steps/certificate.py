"""The certificates, of a wipe and of an erasure: signed, kept, and given out by the API."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

from orchestrator.domain import certificates, erasures
from orchestrator.domain.backups.copies import KnownCopy
from orchestrator.steps.archive import KeptArchive
from orchestrator.steps.base import Done, Facts, Needed, StepContext
from orchestrator.steps.common import BaseStep


@dataclass(frozen=True, slots=True, kw_only=True)
class IssueArgs:
    """``subject``: what it is about, '' = its guest. ``wiped`` and ``keys_destroyed`` as volume.wipe gave them, ``checks`` as
    residue.prove did, ``backups`` and ``copies`` as backup.destroy gave them (``destroyed`` there)."""

    client_id: str
    provider: str
    asked_by: str
    reason: str
    approved_by: str
    wiped: list[dict[str, Any]]
    keys_destroyed: list[str]
    checks: list[dict[str, Any]]
    backups: tuple[certificates.EndedBackups, ...] = ()
    copies: tuple[KnownCopy, ...] = ()
    subject: str = ""


class CertificateIssue(BaseStep[IssueArgs]):
    """Sign what was destroyed, how and for whom, and which copies are still kept, and keep that."""

    name: ClassVar[str] = "certificate.issue"
    args = IssueArgs

    def check(self, ctx: StepContext, args: IssueArgs) -> Done | Needed:
        return _issued(ctx)

    def apply(self, ctx: StepContext, args: IssueArgs) -> Facts:
        wipe = certificates.Wipe(
            certificate_id=certificates.certificate_id(ctx.job_id),
            provider=args.provider,
            service_id=ctx.service_id,
            client_id=args.client_id,
            guest=args.subject or ctx.guest,
            job_id=ctx.job_id,
            asked_by=args.asked_by,
            reason=args.reason,
            approved_by=args.approved_by,
            volumes=[certificates.WipedVolume.from_report(w["report"], name=w["name"], node=w["node"]) for w in args.wiped],
            residue=_checks(args.checks),
            issued_at=ctx.ports.clock.now(),
            keys_destroyed=args.keys_destroyed,
            backups=args.backups,
            copies=args.copies,
        )
        return _keep(ctx, certificates.build(wipe, public_key=ctx.ports.secrets.public_key()))


@dataclass(frozen=True, slots=True, kw_only=True)
class ErasureArgs:
    """``archive`` as archive.keep gave it; ``backups``, ``destroyed_at`` and ``copies`` as backup.destroy did (``destroyed``
    there), ``checks`` as residue.prove did."""

    client_id: str
    provider: str
    asked_by: str
    reason: str
    approved_by: str
    archive: KeptArchive
    destroyed_at: str
    checks: list[dict[str, Any]]
    backups: tuple[certificates.EndedBackups, ...] = ()
    copies: tuple[KnownCopy, ...] = ()


class CertificateErasure(BaseStep[ErasureArgs]):
    """Sign that what was kept of the service is gone too, and keep that."""

    name: ClassVar[str] = "certificate.erasure"
    args = ErasureArgs

    def check(self, ctx: StepContext, args: ErasureArgs) -> Done | Needed:
        return _issued(ctx)

    def apply(self, ctx: StepContext, args: ErasureArgs) -> Facts:
        archive = args.archive
        erasure = erasures.Erasure(
            certificate_id=erasures.certificate_id(ctx.job_id),
            provider=args.provider,
            service_id=ctx.service_id,
            client_id=args.client_id,
            job_id=ctx.job_id,
            asked_by=args.asked_by,
            reason=args.reason,
            approved_by=args.approved_by,
            archive_id=archive.id,
            kept_from=archive.node,
            volumes=[{"name": archive.disk, "capacity_bytes": archive.bytes, "snapshot": archive.snapshot}],
            bytes=archive.bytes,
            kept_at=archive.kept_at,
            destroyed_at=datetime.fromisoformat(args.destroyed_at),
            residue=_checks(args.checks),
            issued_at=ctx.ports.clock.now(),
            backups=args.backups,
            copies=args.copies,
        )
        return _keep(ctx, erasures.build(erasure, public_key=ctx.ports.secrets.public_key()))


def _issued(ctx: StepContext) -> Done | Needed:
    kept = ctx.ports.ledger.certificate(ctx.service_id)
    if kept is None or kept["job"] != ctx.job_id:
        return Needed("no certificate of this job is kept")
    return Done({"certificate": kept["id"]}, made_by=ctx.job_id)


def _keep(ctx: StepContext, unsigned: Mapping[str, Any]) -> Facts:
    signature = ctx.ports.secrets.sign(certificates.payload(unsigned))
    signed = certificates.signed(unsigned, key_id=signature.key_id, value=signature.value)
    ctx.ports.ledger.keep_certificate(service_id=ctx.service_id, job_id=ctx.job_id, certificate=signed)
    return {"certificate": signed["id"]}


def _checks(given: list[dict[str, Any]]) -> list[certificates.ResidueCheck]:
    return [
        certificates.ResidueCheck(
            node=c["node"],
            checked_at=datetime.fromisoformat(c["checked_at"]),
            found=tuple(c["found"]),
            removed=tuple(c["removed"]),
            unreached=str(c.get("unreached", "")),
        )
        for c in given
    ]
