"""/v1/terminations: whether deadlines terminate. They wait after the controller or its store has been away."""

from __future__ import annotations

from datetime import datetime

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse

from orchestrator.api.callers import Operator, Reader
from orchestrator.api.context import ApiContext, Context
from orchestrator.api.once import OnceOnly
from orchestrator.api.vocabulary import CONTROLS
from orchestrator.store import settings

router = APIRouter(prefix="/v1/terminations", tags=["terminations"])


class TerminationsOut(BaseModel):
    """``wait``: no deadline terminates anything until it is released. What people and billing ask for is not held up."""

    wait: bool
    why: str = ""
    since: datetime | None = None


class ReleaseRequest(BaseModel):
    model_config = ConfigDict(extra="forbid")

    why: str = Field(min_length=1, max_length=255, pattern=f"^[^{CONTROLS}]*$")


@router.get("")
def get_terminations(_caller: Reader, context: Context) -> TerminationsOut:
    """Whether deadlines wait before they terminate, and why."""
    return _state(context)


@router.post("/release", response_model=TerminationsOut)
def post_release(caller: Operator, context: Context, once: OnceOnly, request: ReleaseRequest) -> JSONResponse:
    """Let deadlines terminate again: somebody made sure of what was paid meanwhile. Where none waits nothing is done."""

    def release() -> TerminationsOut:
        context.engine.release(caller.name, request.why)
        return _state(context)

    return once.look(release)


def _state(context: ApiContext) -> TerminationsOut:
    with context.db.read() as conn:
        found = settings.terminations_wait(conn)
    return TerminationsOut(wait=False) if found is None else TerminationsOut(wait=True, why=found.why, since=found.since)
