"""/v1/drift: what differs between the records and what the nodes show now, and mending what is safe."""

from __future__ import annotations

from datetime import datetime

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse

from orchestrator.api.callers import Operator
from orchestrator.api.context import Context
from orchestrator.api.once import OnceOnly
from orchestrator.api.vocabulary import CONTROLS
from orchestrator.domain.drift import DriftKind, Repair, counts
from orchestrator.engine.drifting import DriftReport, Mended

router = APIRouter(prefix="/v1/drift", tags=["drift"])


class FindingOut(BaseModel):
    """``name``: of the guest, volume or account on its node. ``repair``: what mends it, null = nothing that is safe, and ``todo``
    says what a person does. ``job_id`` and ``detail``: what became of its repair."""

    kind: DriftKind
    node: str
    name: str
    service_id: str
    says: str
    repair: Repair | None
    todo: str
    job_id: str = ""
    detail: str = ""


class UnseenOut(BaseModel):
    """A node that did not answer: nothing is known of what is there."""

    node: str
    problem: str


class DriftOut(BaseModel):
    """``counts`` has every kind; those of kind foreign are no drift. ``nodes``: those that were looked at."""

    at: datetime
    nodes: list[str]
    unseen: list[UnseenOut]
    counts: dict[DriftKind, int]
    findings: list[FindingOut]

    @classmethod
    def of(cls, report: DriftReport) -> DriftOut:
        done = {id(each.finding): each for each in report.mended}
        rows = []
        for found in report.findings:
            became = done.get(id(found), Mended(finding=found))
            rows.append(
                FindingOut(
                    kind=found.kind,
                    node=found.node,
                    name=found.name,
                    service_id=found.service_id,
                    says=found.says,
                    repair=found.repair,
                    todo=found.todo,
                    job_id=became.job_id,
                    detail=became.detail,
                )
            )
        return cls(
            at=report.at,
            nodes=list(report.nodes),
            unseen=[UnseenOut(node=node, problem=problem) for node, problem in report.unseen],
            counts=counts(report.findings),
            findings=rows,
        )


class DriftRequest(BaseModel):
    """``node``: only this one, '' = all that are enrolled. ``repair``: mend what is safe; ``dry_run``: only say what.
    ``why`` goes into the audit and the jobs."""

    model_config = ConfigDict(extra="forbid")

    node: str = Field(default="", max_length=255)
    repair: bool = False
    dry_run: bool = False
    why: str = Field(default="", max_length=500, pattern=f"^[^{CONTROLS}]*$")


@router.post("", response_model=DriftOut)
def look_for_drift(caller: Operator, context: Context, once: OnceOnly, request: DriftRequest) -> JSONResponse:
    """Look at the nodes now, and compare. Asked to, mend what is safe: one job for each service; nothing is deleted."""
    drifting = context.engine.drifting

    def look() -> DriftOut:
        if not request.repair:
            return DriftOut.of(drifting.look(request.node))
        return DriftOut.of(drifting.repair(request.node, who=caller.name, why=request.why, dry=request.dry_run))

    return once.look(look)
