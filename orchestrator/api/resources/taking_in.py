"""/v1/nodes/{name}/adoption: guests that a node has and the store has not, taken in by what they carry or by what is said."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import BaseModel, ConfigDict, Field, model_validator
from starlette.responses import JSONResponse

from orchestrator.api.callers import Admin
from orchestrator.api.context import Context
from orchestrator.api.once import OnceOnly
from orchestrator.api.vocabulary import CONTROLS
from orchestrator.domain.services import SERVICE_ID
from orchestrator.engine.taking_in import Newcomer, Taken

router = APIRouter(prefix="/v1/nodes", tags=["nodes"])

Name = Annotated[str, Path(max_length=255, description="The node's name in nodes.yaml.")]
ServiceId = Annotated[str, Field(pattern=f"^{SERVICE_ID.pattern}$")]
Word = Annotated[str, Field(max_length=255, pattern=f"^[^{CONTROLS}]*$")]


class NewcomerIn(BaseModel):
    """A guest that was there before us. ``guest``: what it is called on the node; ``addresses``: those that it has, out of our
    ranges; ``template``: what it would be installed from anew, left out = its plan's own."""

    model_config = ConfigDict(extra="forbid")

    guest: Annotated[str, Field(min_length=1, max_length=255, pattern=f"^[^{CONTROLS}]+$")]
    service_id: ServiceId
    plan: Annotated[str, Field(min_length=1, max_length=255, pattern=f"^[^{CONTROLS}]+$")]
    client_id: Annotated[str, Field(min_length=1, max_length=255, pattern=f"^[^{CONTROLS}]+$")]
    addresses: list[Annotated[str, Field(max_length=64)]] = Field(default_factory=list, max_length=64)
    template: Word = ""


class TakeInRequest(BaseModel):
    """``services``: only these, of those that carry their records; none = all. Or ``newcomer``: one that carries none."""

    model_config = ConfigDict(extra="forbid")

    services: list[ServiceId] = Field(default_factory=list, max_length=1000)
    newcomer: NewcomerIn | None = None
    dry_run: bool = False

    @model_validator(mode="after")
    def _one_way(self) -> TakeInRequest:
        if self.services and self.newcomer is not None:
            raise ValueError("either services that carry their records, or a newcomer that carries none")
        return self


class TakenOut(BaseModel):
    """``done``: it is in the store now, or would be; ``says``: why not. ``remarks``: what of it is not as its plan says, and
    ``disks``: its files; nothing of either was touched."""

    guest: str
    service_id: str
    done: bool
    says: str
    remarks: list[str]
    disks: list[str]

    @classmethod
    def of(cls, taken: Taken) -> TakenOut:
        return cls(
            guest=taken.guest,
            service_id=taken.service_id,
            done=taken.done,
            says=taken.says,
            remarks=list(taken.remarks),
            disks=list(taken.disks),
        )


class TakenIn(BaseModel):
    dry_run: bool
    guests: list[TakenOut]


@router.post("/{name}/adoption", response_model=TakenIn)
def take_guests_in(caller: Admin, context: Context, once: OnceOnly, name: Name, request: TakeInRequest) -> JSONResponse:
    """Write the records of guests that the node has and the store has not. Nothing is restarted, and of a guest nothing
    is changed but our metadata."""

    def act() -> TakenIn:
        taking_in, given = context.engine.taking_in, request.newcomer
        if given is None:
            found = taking_in.rebuild(name, request.services, who=caller.name, dry=request.dry_run)
        else:
            newcomer = Newcomer(
                guest=given.guest,
                service_id=given.service_id,
                plan=given.plan,
                client_id=given.client_id,
                addresses=tuple(given.addresses),
                template=given.template,
            )
            found = (taking_in.adopt(name, newcomer, who=caller.name, dry=request.dry_run),)
        return TakenIn(dry_run=request.dry_run, guests=[TakenOut.of(each) for each in found])

    return once.look(act)
