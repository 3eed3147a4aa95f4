"""Moving guests between nodes: /v1/services/{service_id}/move, and /v1/nodes/{name}/evacuate for all of a node."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse

from orchestrator.api.callers import Operator
from orchestrator.api.context import Context
from orchestrator.api.once import OnceOnly
from orchestrator.api.resources.nodes import Name
from orchestrator.api.resources.services import ServiceId
from orchestrator.api.resources.systems import DryRun, ReasonRequest, have_done, reason_of
from orchestrator.api.schemas import Answer
from orchestrator.api.vocabulary import CONTROLS, Text
from orchestrator.domain import moving_out
from orchestrator.domain.intents import IntentKind

if TYPE_CHECKING:
    from orchestrator.engine.fleet import Emptied

router = APIRouter(prefix="/v1", tags=["nodes"])


class MoveRequest(ReasonRequest):
    """``reason`` is needed."""

    to: Text = Field(default="", description="The node that is to take it in; left out: whichever placement chooses.")


class EvacuateRequest(BaseModel):
    """``at_once``: so many of its services are on the move at a time."""

    model_config = ConfigDict(extra="forbid")

    why: str = Field(min_length=1, max_length=255, pattern=f"^[^{CONTROLS}]*$")
    at_once: int = Field(default=2, ge=1, le=64)


class MovingOut(BaseModel):
    service_id: str
    job_id: str


class StaysOut(BaseModel):
    service_id: str
    why: str


class Evacuation(BaseModel):
    """``moving``: jobs that bring its services elsewhere now, ``begun`` of them by this call; ``waiting``: services whose turn
    comes when one of those ends and this is asked again; ``staying``: those that stay, and why. None of the three: it is empty.
    """

    name: str
    moving: list[MovingOut]
    begun: int
    waiting: list[str]
    staying: list[StaysOut]

    @classmethod
    def of(cls, name: str, found: Emptied) -> Evacuation:
        return cls(
            name=name,
            moving=[MovingOut(service_id=service, job_id=job) for service, job in found.moving.items()],
            begun=found.begun,
            waiting=list(found.waiting),
            staying=[StaysOut(service_id=service, why=why) for service, why in found.staying.items()],
        )


@router.post("/services/{service_id}/move", response_model=Answer, responses={202: {"model": Answer}})
def move_service(
    caller: Operator, context: Context, once: OnceOnly, service_id: ServiceId, request: MoveRequest, dry_run: DryRun = False
) -> JSONResponse:
    """Move a guest to another node of its zone, with its addresses and its disk; it is off meanwhile. 202 with the job."""
    given: dict[str, object] = {moving_out.TO: request.to}
    why = reason_of(request, "move", dry_run=dry_run)
    return have_done(context, once, IntentKind.MOVE, service_id, given, who=caller.name, why=why, dry_run=dry_run)


@router.post("/nodes/{name}/evacuate", response_model=Evacuation)
def evacuate_node(caller: Operator, context: Context, once: OnceOnly, name: Name, request: EvacuateRequest) -> JSONResponse:
    """Move the services of a drained node away, so many at a time; ask again, under another key, for the next ones."""

    def act() -> Evacuation:
        found = context.engine.fleet.evacuate(name, who=caller.name, why=request.why, at_once=request.at_once)
        return Evacuation.of(name, found)

    return once.look(act)
