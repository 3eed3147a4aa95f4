"""/v1/freeze: nothing suspends or destroys while it is in force."""

from __future__ import annotations

from datetime import datetime

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from orchestrator.api.callers import Operator, Reader
from orchestrator.api.context import ApiContext, Context
from orchestrator.api.vocabulary import CONTROLS
from orchestrator.domain.intents import IntentKind
from orchestrator.store import settings

router = APIRouter(prefix="/v1/freeze", tags=["freeze"])


class ReleasedOut(BaseModel):
    id: str
    intent: IntentKind
    service_id: str


class FreezeOut(BaseModel):
    """``released``: of a freeze that was lifted just now, the jobs that waited for it and go on."""

    frozen: bool
    by: str = ""
    why: str = ""
    since: datetime | None = None
    released: list[ReleasedOut] = []


class FreezeRequest(BaseModel):
    model_config = ConfigDict(extra="forbid")

    why: str = Field(min_length=1, max_length=255, pattern=f"^[^{CONTROLS}]*$")


@router.get("")
def get_freeze(_caller: Reader, context: Context) -> FreezeOut:
    """Whether a freeze is in force."""
    return _state(context)


@router.put("")
def put_freeze(caller: Operator, context: Context, request: FreezeRequest) -> FreezeOut:
    """Freeze. One already in force stays as it is, with its first reason."""
    context.engine.freeze(caller.name, request.why)
    return _state(context)


@router.delete("")
def delete_freeze(caller: Operator, context: Context) -> FreezeOut:
    """Lift the freeze; the jobs that waited for it go on."""
    released = context.engine.unfreeze(caller.name)
    told = [ReleasedOut(id=job.id, intent=job.intent, service_id=job.service_id) for job in released]
    return _state(context).model_copy(update={"released": told})


def _state(context: ApiContext) -> FreezeOut:
    with context.db.read() as conn:
        found = settings.freeze(conn)
    if found is None:
        return FreezeOut(frozen=False)
    return FreezeOut(frozen=True, by=found.by, why=found.why, since=found.since)
