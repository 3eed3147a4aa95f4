"""/v1/backups/drills: restore drills, those of the week and those that were asked for."""

from __future__ import annotations

from datetime import date, datetime

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse

from orchestrator.api.callers import Operator, Reader
from orchestrator.api.context import Context
from orchestrator.api.once import Keep, OnceOnly, kept_answer
from orchestrator.api.paging import After, Limit, Page, Word, text_after
from orchestrator.api.schemas import Answer
from orchestrator.api.service_schemas import fields
from orchestrator.api.vocabulary import CONTROLS
from orchestrator.domain.backups.drills import Drill, DrillState
from orchestrator.domain.services import SERVICE_ID
from orchestrator.store import drills

router = APIRouter(prefix="/v1/backups", tags=["backups"])


class DrillOut(BaseModel):
    """A restore drill. ``id``: of its job. ``week``: its Monday; null = it was asked for. ``why``: of one that failed.

    ``signature``: the partition table or file system that the restored disk begins with; '' = none that is known.
    """

    id: str
    service_id: str
    node: str
    backup_id: str
    week: date | None
    asked_by: str
    state: DrillState
    begun_at: datetime
    ended_at: datetime | None
    why: str
    signature: str

    @classmethod
    def of(cls, drill: Drill) -> DrillOut:
        return cls(**fields(drill, cls.model_fields))


class DrillRequest(BaseModel):
    """``reason`` goes into the audit."""

    model_config = ConfigDict(extra="forbid")

    service_id: str = Field(pattern=f"^{SERVICE_ID.pattern}$")
    reason: str = Field(default="", max_length=255, pattern=f"^[^{CONTROLS}]*$")


@router.get("/drills")
def list_drills(
    _caller: Reader, context: Context, limit: Limit = 100, after: After = "", service_id: Word = ""
) -> Page[DrillOut]:
    """Drills by id, the newest first."""
    with context.db.read() as conn:
        found, following = drills.list_page(conn, limit=limit, after=text_after(after), service_id=service_id or None)
    return Page(items=[DrillOut.of(drill) for drill in found], next=following)


@router.post("/drills", response_model=Answer, responses={202: {"model": Answer}})
def begin_drill(caller: Operator, context: Context, once: OnceOnly, request: DrillRequest) -> JSONResponse:
    """Restore the service's newest verified backup aside, read it back, and throw it away."""

    def act(keep: Keep) -> None:
        context.engine.drilling.now(request.service_id, who=caller.name, why=request.reason, beside=kept_answer(keep))

    return once.run(act)
