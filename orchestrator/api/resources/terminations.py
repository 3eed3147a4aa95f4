"""/v1/terminations: whether deadlines terminate. They wait while nobody can be sure of payments, the clock or the policies."""

from __future__ import annotations

from datetime import datetime

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse

from orchestrator.api.callers import Operator, Reader
from orchestrator.api.context import ApiContext, Context
from orchestrator.api.once import OnceOnly
from orchestrator.api.vocabulary import CONTROLS
from orchestrator.domain.guards import Wait
from orchestrator.store import settings

router = APIRouter(prefix="/v1/terminations", tags=["terminations"])


class WaitOut(BaseModel):
    """One reason: ``downtime``, ``pause`` (a short one), ``clock``, ``restored`` or ``policy``. It ends by itself at ``until``.

    ``count``: so many services would be terminated by a change of policies; ``services``: the first of them. ``mend``: what to
    do about it.
    """

    reason: str
    why: str
    since: datetime
    until: datetime | None
    count: int | None
    services: list[str]
    mend: str


class TerminationsOut(BaseModel):
    """``wait``: no deadline terminates anything while one of ``waits`` stands; ``why`` is all of them, ``since`` the first.

    What people and billing ask for is not held up.
    """

    wait: bool
    why: str = ""
    since: datetime | None = None
    waits: list[WaitOut] = []


class ReleaseRequest(BaseModel):
    model_config = ConfigDict(extra="forbid")

    why: str = Field(min_length=1, max_length=255, pattern=f"^[^{CONTROLS}]*$")
    yes_terminate: int | None = Field(
        default=None,
        ge=0,
        le=1_000_000_000,
        description="So many services may be terminated by the change of policies that waits.",
    )


@router.get("")
def get_terminations(_caller: Reader, context: Context) -> TerminationsOut:
    """Whether deadlines wait before they terminate, and why."""
    return _state(context)


@router.post("/release", response_model=TerminationsOut)
def post_release(caller: Operator, context: Context, once: OnceOnly, request: ReleaseRequest) -> JSONResponse:
    """Let deadlines terminate again: somebody made sure of what they waited for. Where none waits nothing is done.

    A change of policies needs ``yes_terminate``, and exactly the number of services that it terminates.
    """

    def release() -> TerminationsOut:
        context.engine.release(caller.name, request.why, terminates=request.yes_terminate)
        return _state(context)

    return once.look(release)


def _state(context: ApiContext) -> TerminationsOut:
    with context.db.read() as conn:
        found = settings.terminations_wait(conn)
        waits = settings.waits(conn).values()
    if found is None:
        return TerminationsOut(wait=False)
    return TerminationsOut(wait=True, why=found.why, since=found.since, waits=[_shown(wait) for wait in waits])


def _shown(wait: Wait) -> WaitOut:
    return WaitOut(
        reason=wait.reason.value,
        why=wait.why,
        since=wait.since,
        until=wait.until,
        count=wait.count,
        services=list(wait.services),
        mend=wait.mend,
    )
