"""The wipe certificate: signed, kept, and given out by the API."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

from orchestrator.domain import certificates
from orchestrator.domain.plans import guest_name
from orchestrator.steps.base import Done, Facts, Needed, StepContext
from orchestrator.steps.common import BaseStep


@dataclass(frozen=True, slots=True, kw_only=True)
class IssueArgs:
    """``wiped`` and ``keys_destroyed`` as volume.wipe gave them, ``checks`` as residue.prove did."""

    client_id: str
    provider: str
    asked_by: str
    reason: str
    approved_by: str
    wiped: list[dict[str, Any]]
    keys_destroyed: list[str]
    checks: list[dict[str, Any]]


class CertificateIssue(BaseStep[IssueArgs]):
    """Sign what was destroyed, how and for whom, and keep it."""

    name: ClassVar[str] = "certificate.issue"
    args = IssueArgs

    def check(self, ctx: StepContext, args: IssueArgs) -> Done | Needed:
        kept = ctx.ports.ledger.certificate(ctx.service_id)
        if kept is None or kept["job"] != ctx.job_id:
            return Needed("no certificate of this job is kept")
        return Done({"certificate": kept["id"]}, made_by=ctx.job_id)

    def apply(self, ctx: StepContext, args: IssueArgs) -> Facts:
        wipe = certificates.Wipe(
            certificate_id=certificates.certificate_id(ctx.job_id),
            provider=args.provider,
            service_id=ctx.service_id,
            client_id=args.client_id,
            guest=guest_name(ctx.service_id),
            job_id=ctx.job_id,
            asked_by=args.asked_by,
            reason=args.reason,
            approved_by=args.approved_by,
            volumes=[certificates.WipedVolume.from_report(w["report"], name=w["name"], node=w["node"]) for w in args.wiped],
            residue=[
                certificates.ResidueCheck(
                    node=c["node"],
                    checked_at=datetime.fromisoformat(c["checked_at"]),
                    found=tuple(c["found"]),
                    removed=tuple(c["removed"]),
                )
                for c in args.checks
            ],
            issued_at=ctx.ports.clock.now(),
            keys_destroyed=args.keys_destroyed,
        )
        unsigned = certificates.build(wipe, public_key=ctx.ports.secrets.public_key())
        signature = ctx.ports.secrets.sign(certificates.payload(unsigned))
        signed = certificates.signed(unsigned, key_id=signature.key_id, value=signature.value)
        ctx.ports.ledger.keep_certificate(service_id=ctx.service_id, job_id=ctx.job_id, certificate=signed)
        return {"certificate": signed["id"]}
