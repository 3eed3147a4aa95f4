"""/v1/nodes/{name}/drain and /maintenance: taking a node out of placement, and announcing its maintenance."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, timedelta

from fastapi import APIRouter
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse

from orchestrator.api.callers import Operator
from orchestrator.api.context import ApiContext, Context
from orchestrator.api.once import Keep, OnceOnly
from orchestrator.api.resources.nodes import Name, NodeOut, declared
from orchestrator.api.vocabulary import CONTROLS
from orchestrator.domain.announcing import LONGEST
from orchestrator.domain.errors import RequestError
from orchestrator.domain.planned import Announced
from orchestrator.store import nodes
from orchestrator.store.database import Connection
from orchestrator.store.nodes import NodeRecord

router = APIRouter(prefix="/v1/nodes", tags=["nodes"])


class DrainRequest(BaseModel):
    """``on`` false: it takes services again."""

    model_config = ConfigDict(extra="forbid")

    why: str = Field(min_length=1, max_length=255, pattern=f"^[^{CONTROLS}]*$")
    on: bool = True


@router.post("/{name}/drain", response_model=NodeOut)
def drain_node(caller: Operator, context: Context, once: OnceOnly, name: Name, request: DrainRequest) -> JSONResponse:
    """Place nothing new on the node, or again; what is there stays."""
    act = context.engine.fleet.drain if request.on else context.engine.fleet.undrain
    return once.run(lambda keep: act(name, who=caller.name, why=request.why, beside=_kept(context, name, keep)))


class MaintenanceRequest(BaseModel):
    """From ``at``, for so many ``minutes``. ``why`` is what customers hear, too. ``cancel``: what is announced is called off."""

    model_config = ConfigDict(extra="forbid")

    why: str = Field(min_length=1, max_length=255, pattern=f"^[^{CONTROLS}]*$")
    at: AwareDatetime | None = None
    minutes: int | None = Field(default=None, ge=1, le=LONGEST // timedelta(minutes=1))
    cancel: bool = False


@router.post("/{name}/maintenance", response_model=NodeOut)
def announce_maintenance(
    caller: Operator, context: Context, once: OnceOnly, name: Name, request: MaintenanceRequest
) -> JSONResponse:
    """Announce maintenance of the node: the customers of what is on it are told through billing. Or call it off again."""
    announcing = context.engine.announcing
    if request.cancel:
        if request.at is not None or request.minutes is not None:
            raise RequestError("what is called off takes no time", hint="leave out at and minutes")
        return once.run(
            lambda keep: announcing.call_off(name, who=caller.name, why=request.why, beside=_kept(context, name, keep))
        )
    if request.at is None or request.minutes is None:
        raise RequestError("it is not said when and for how long", hint="send at and minutes")
    now = context.clock.now()
    wanted = Announced(
        node=name,
        at=request.at.astimezone(UTC),
        until=request.at.astimezone(UTC) + timedelta(minutes=request.minutes),
        announced_at=now,
        who=caller.name,
        why=request.why,
    )
    return once.run(lambda keep: announcing.announce(wanted, beside=_kept(context, name, keep)))


def _kept(context: ApiContext, name: str, keep: Keep) -> Callable[[Connection, NodeRecord], None]:
    def told(conn: Connection, record: NodeRecord) -> None:
        (state,) = nodes.states(conn, (declared(context, name),))
        keep(conn, NodeOut.of(state, record))

    return told
