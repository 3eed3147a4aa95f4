"""/v1/freeze: nothing suspends or destroys while it is in force."""

from __future__ import annotations

from datetime import datetime

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from orchestrator.api.callers import Operator, Reader
from orchestrator.api.context import ApiContext, Context
from orchestrator.api.vocabulary import CONTROLS
from orchestrator.store import settings

router = APIRouter(prefix="/v1/freeze", tags=["freeze"])


class FreezeOut(BaseModel):
    frozen: bool
    by: str = ""
    why: str = ""
    since: datetime | None = None


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
    context.engine.unfreeze(caller.name)
    return _state(context)


def _state(context: ApiContext) -> FreezeOut:
    with context.db.read() as conn:
        found = settings.freeze(conn)
    if found is None:
        return FreezeOut(frozen=False)
    return FreezeOut(frozen=True, by=found.by, why=found.why, since=found.since)
