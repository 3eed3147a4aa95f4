"""/v1/nodes/{name}/drain: taking a node out of placement, and putting it back."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse

from orchestrator.api.callers import Operator
from orchestrator.api.context import ApiContext, Context
from orchestrator.api.once import Keep, OnceOnly
from orchestrator.api.resources.nodes import Name, NodeOut, declared
from orchestrator.api.vocabulary import CONTROLS
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


def _kept(context: ApiContext, name: str, keep: Keep) -> Callable[[Connection, NodeRecord], None]:
    def told(conn: Connection, record: NodeRecord) -> None:
        (state,) = nodes.states(conn, (declared(context, name),))
        keep(conn, NodeOut.of(state, record))

    return told
