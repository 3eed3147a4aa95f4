"""/v1/services/{service_id}/reinstall: the operating system of a guest or a machine, from outside of it."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse

from orchestrator.api.callers import Actor
from orchestrator.api.context import ApiContext, Context
from orchestrator.api.once import Keep, OnceOnly, kept_answer
from orchestrator.api.resources.services import ServiceId
from orchestrator.api.schemas import Answer
from orchestrator.api.vocabulary import CONTROLS, Text
from orchestrator.domain import own_systems, workflow
from orchestrator.domain.errors import RequestError
from orchestrator.domain.intents import IntentKind
from orchestrator.observe.logs import redact

router = APIRouter(prefix="/v1/services/{service_id}", tags=["services"])
DryRun = Annotated[bool, Query(description="Answer with what would run, and change nothing.")]


class ReasonRequest(BaseModel):
    """``reason`` is a sentence for the audit."""

    model_config = ConfigDict(extra="forbid")

    reason: str = Field(default="", max_length=255, pattern=f"^[^{CONTROLS}]*$")


class ReinstallRequest(ReasonRequest):
    """``reason`` is needed."""

    template: Text = Field(default="", description="The template to install; left out: the one it has.")
    all_disks: bool = Field(default=False, description="Of a machine: erase every disk first, not only write over the system's.")


@router.post("/reinstall", response_model=Answer, responses={202: {"model": Answer}})
def reinstall_service(
    caller: Actor,
    context: Context,
    once: OnceOnly,
    service_id: ServiceId,
    request: ReinstallRequest | None = None,
    dry_run: DryRun = False,
) -> JSONResponse:
    """Install its system anew, with the same addresses and keys: what is on its disk is lost. 202 with the job that does it."""
    asked = request or ReinstallRequest()
    if not dry_run and not asked.reason:
        raise RequestError("reinstall needs a reason", hint='send {"reason": "…"}')
    given: dict[str, object] = {own_systems.TEMPLATE: asked.template, own_systems.ALL_DISKS: asked.all_disks}
    return _asked(context, once, IntentKind.REINSTALL, service_id, given, who=caller.name, why=asked.reason, dry_run=dry_run)


def _asked(
    context: ApiContext,
    once: OnceOnly,
    kind: IntentKind,
    service_id: str,
    given: dict[str, object],
    *,
    who: str,
    why: str,
    dry_run: bool,
) -> JSONResponse:
    if dry_run:
        return once.look(lambda: _would(context, kind, service_id, given))

    def act(keep: Keep) -> None:
        context.engine.command(kind, service_id, who=who, why=why, arguments=given, beside=kept_answer(keep))

    return once.run(act)


def _would(context: ApiContext, kind: IntentKind, service_id: str, given: dict[str, object]) -> Answer:
    resolved = context.engine.dry_run(kind, service_id, given)
    return Answer(outcome="dry-run", workflow=redact(workflow.to_json(resolved)))
