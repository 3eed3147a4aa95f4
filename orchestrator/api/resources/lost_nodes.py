"""Nodes that never come back: /v1/nodes/{name}/lost, /statements, /restore and /found, and /v1/services/{service_id}/recover."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse

from orchestrator.api.callers import Operator, Reader
from orchestrator.api.context import Context
from orchestrator.api.once import Keep, OnceOnly, kept_answer
from orchestrator.api.resources.moves import EvacuateRequest, Evacuation, MoveRequest
from orchestrator.api.resources.nodes import Name, declared
from orchestrator.api.resources.services import ServiceId
from orchestrator.api.resources.systems import DryRun, ReasonRequest, have_done, reason_of
from orchestrator.api.schemas import Answer
from orchestrator.api.vocabulary import CONTROLS, Text
from orchestrator.domain import kept, workflow
from orchestrator.domain.intents import IntentKind
from orchestrator.observe.logs import redact

router = APIRouter(prefix="/v1", tags=["nodes"])


class WhyNode(BaseModel):
    model_config = ConfigDict(extra="forbid")

    why: str = Field(min_length=1, max_length=255, pattern=f"^[^{CONTROLS}]*$")


class LostRequest(WhyNode):
    """``statement``: what you state of the machine: who saw that it is off, how it was switched off, what of its disks."""

    statement: str = Field(min_length=10, max_length=2000, pattern=f"^[^{CONTROLS}]*$")


class LostOut(BaseModel):
    """``statement``: the signed document, as `certificate verify` checks it. ``under_way``: jobs that were at work on its
    services: they end by themselves, failed or for an operator."""

    name: str
    statement: dict[str, Any]
    under_way: list[str]


class StatementsOut(BaseModel):
    """The newest first."""

    items: list[dict[str, Any]]


class FoundOut(BaseModel):
    """``kept_off``: guests that are held and off there, for their services go on elsewhere. ``freed``: guests that had been held
    for that, or by a job that is over, and go on there after all."""

    name: str
    drained: bool
    kept_off: list[str]
    freed: list[str]


class RecoverRequest(MoveRequest):
    """``reason`` is needed."""

    backup: Text = Field(default="", description="Its id; left out: the newest verified one.")


class TidyLeftRequest(ReasonRequest):
    """``reason`` is needed."""

    node: Text = Field(min_length=1, description="The node on which the old copy is.")


@router.post("/nodes/{name}/lost", response_model=LostOut)
def lose_node(caller: Operator, context: Context, once: OnceOnly, name: Name, request: LostRequest) -> JSONResponse:
    """State, to be signed, that the node never comes back. Nothing is sent to it from then on. Refused while it answers."""
    declared(context, name)

    def act(keep: Keep) -> None:
        context.engine.losing.lose(
            name,
            who=caller.name,
            why=request.why,
            said=request.statement,
            beside=lambda conn, stated: keep(
                conn, LostOut(name=name, statement=stated.statement, under_way=list(stated.under_way))
            ),
        )

    return once.run(act)


@router.get("/nodes/{name}/statements")
def list_statements(_caller: Reader, context: Context, name: Name) -> StatementsOut:
    """What was ever stated of the node, as it was signed."""
    return StatementsOut(items=list(context.engine.losing.statements(name)))


@router.post("/nodes/{name}/restore", response_model=Evacuation)
def restore_node(caller: Operator, context: Context, once: OnceOnly, name: Name, request: EvacuateRequest) -> JSONResponse:
    """Bring services of a lost node up on others out of their backups, so many at a time; ask again, under another key, for the
    next ones."""
    return once.look(
        lambda: Evacuation.of(
            name, context.engine.losing.restore_all(name, who=caller.name, why=request.why, at_once=request.at_once)
        )
    )


@router.post("/nodes/{name}/found", response_model=FoundOut)
def find_node(caller: Operator, context: Context, once: OnceOnly, name: Name, request: WhyNode) -> JSONResponse:
    """The node is there again: it is used again, drained at first, and what was restored elsewhere is kept off there."""
    declared(context, name)

    def act(keep: Keep) -> None:
        context.engine.losing.found(
            name,
            who=caller.name,
            why=request.why,
            beside=lambda conn, found: keep(
                conn, FoundOut(name=name, drained=True, kept_off=list(found.kept_off), freed=list(found.freed))
            ),
        )

    return once.run(act)


@router.post("/services/{service_id}/recover", response_model=Answer, responses={202: {"model": Answer}})
def recover_service(
    caller: Operator, context: Context, once: OnceOnly, service_id: ServiceId, request: RecoverRequest, dry_run: DryRun = False
) -> JSONResponse:
    """Bring the guest of a lost node up on another one of its zone, its disk out of a backup. ``detail`` says which, and what is
    lost with it. 202 with the job."""
    why, losing = reason_of(request, "recover", dry_run=dry_run), context.engine.losing
    if dry_run:

        def would() -> Answer:
            resolved, detail = losing.would(service_id, to=request.to, backup=request.backup)
            return Answer(outcome="dry-run", detail=detail, workflow=redact(workflow.to_json(resolved)))

        return once.look(would)
    return once.run(
        lambda keep: losing.restore(
            service_id, to=request.to, backup=request.backup, who=caller.name, why=why, beside=kept_answer(keep)
        )
    )


@router.post("/services/{service_id}/tidy-left", response_model=Answer, responses={202: {"model": Answer}})
def tidy_left(
    caller: Operator, context: Context, once: OnceOnly, service_id: ServiceId, request: TidyLeftRequest, dry_run: DryRun = False
) -> JSONResponse:
    """Wipe the old copy of a guest on a node that its service is not on any more. 202 with the job."""
    given: dict[str, object] = {kept.LEFT: declared(context, request.node).name}
    why = reason_of(request, "tidy-left", dry_run=dry_run)
    return have_done(context, once, IntentKind.TIDY, service_id, given, who=caller.name, why=why, dry_run=dry_run)
