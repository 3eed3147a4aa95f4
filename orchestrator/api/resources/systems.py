"""/v1/services/{service_id}/…: change-plan, reinstall, reset-password, set-keys, set-mail, rescue, test-hardware."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse

from orchestrator.api.callers import Actor, Operator
from orchestrator.api.context import ApiContext, Context
from orchestrator.api.once import Keep, OnceOnly, kept_answer
from orchestrator.api.resources.services import ServiceId
from orchestrator.api.schemas import Answer
from orchestrator.api.vocabulary import CONTROLS, PasswordHash, SshKey, Text
from orchestrator.domain import own_systems, plan_changes, workflow
from orchestrator.domain.errors import RequestError
from orchestrator.domain.intents import IntentKind
from orchestrator.domain.machines.testing import LEAST, MOST, USUAL
from orchestrator.domain.plan_changes import Restart
from orchestrator.observe.logs import redact

router = APIRouter(prefix="/v1/services/{service_id}", tags=["services"])
DryRun = Annotated[bool, Query(description="Answer with what would run, and change nothing.")]


class ReasonRequest(BaseModel):
    """``reason`` is a sentence for the audit."""

    model_config = ConfigDict(extra="forbid")

    reason: str = Field(default="", max_length=255, pattern=f"^[^{CONTROLS}]*$")


class PlanRequest(ReasonRequest):
    """``reason`` is needed."""

    plan: Text = Field(min_length=1, description="One of the same kind.")
    restart: Restart = Field(
        default=Restart.NEVER,
        description="Of a guest that cannot get all of it while it runs: now, or in its node's next window.",
    )


class ReinstallRequest(ReasonRequest):
    """``reason`` is needed."""

    template: Text = Field(default="", description="The template to install; left out: the one it has.")
    all_disks: bool = Field(default=False, description="Of a machine: erase every disk first, not only write over the system's.")


class PasswordRequest(ReasonRequest):
    """``reason`` is needed. A clear password is never taken."""

    password_hash: PasswordHash = Field(min_length=1, description="A crypt hash, $6$… or $y$….")


class KeysRequest(ReasonRequest):
    """``reason`` is needed."""

    ssh_keys: list[SshKey] = Field(min_length=1, max_length=32, description="These and no others.")


class MailRequest(ReasonRequest):
    """``reason`` is needed."""

    mail: own_systems.Mail = Field(description="Whether it may send to port 25 of others; plan: as its plan says.")


class RescueRequest(ReasonRequest):
    """``reason`` is needed to go into rescue."""

    on: bool
    ssh_keys: list[SshKey] = Field(default_factory=list, max_length=32, description="Left out: the service's own.")


class HardwareRequest(ReasonRequest):
    """``reason`` is needed. ``seconds``: for all of it. Neither memory nor disks named: both."""

    memory: bool = False
    disks: bool = False
    seconds: int = Field(default=USUAL, ge=LEAST, le=MOST)


@router.post("/change-plan", response_model=Answer, responses={202: {"model": Answer}})
def change_plan(
    caller: Actor,
    context: Context,
    once: OnceOnly,
    service_id: ServiceId,
    request: PlanRequest,
    dry_run: DryRun = False,
) -> JSONResponse:
    """Move it to the size and the limits of another plan of its kind. 202 with the job that does it."""
    given: dict[str, object] = {plan_changes.PLAN: request.plan, plan_changes.RESTART: request.restart.value}
    why, who = reason_of(request, "change-plan", dry_run=dry_run), caller.name
    return have_done(context, once, IntentKind.CHANGE_PLAN, service_id, given, who=who, why=why, dry_run=dry_run)


@router.post("/cancel-restart", response_model=Answer)
def cancel_restart(
    caller: Actor, context: Context, once: OnceOnly, service_id: ServiceId, request: ReasonRequest | None = None
) -> JSONResponse:
    """Call off the restart that is planned for its node's window. Its customer's next stop and start does what is left to do."""
    why = (request or ReasonRequest()).reason

    def act(keep: Keep) -> None:
        context.engine.restarting.call_off(service_id, who=caller.name, why=why, beside=kept_answer(keep))

    return once.run(act)


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
    why = reason_of(asked, "reinstall", dry_run=dry_run)
    given: dict[str, object] = {own_systems.TEMPLATE: asked.template, own_systems.ALL_DISKS: asked.all_disks}
    return have_done(context, once, IntentKind.REINSTALL, service_id, given, who=caller.name, why=why, dry_run=dry_run)


@router.post("/reset-password", response_model=Answer, responses={202: {"model": Answer}})
def reset_password(
    caller: Actor,
    context: Context,
    once: OnceOnly,
    service_id: ServiceId,
    request: PasswordRequest,
    dry_run: DryRun = False,
) -> JSONResponse:
    """Set the password of root: in a guest by the agent inside of it, on a machine's disk while it is off. 202 with the job."""
    given: dict[str, object] = {own_systems.PASSWORD: request.password_hash}
    why, who = reason_of(request, "reset-password", dry_run=dry_run), caller.name
    return have_done(context, once, IntentKind.RESET_PASSWORD, service_id, given, who=who, why=why, dry_run=dry_run)


@router.post("/set-keys", response_model=Answer, responses={202: {"model": Answer}})
def set_keys(
    caller: Actor,
    context: Context,
    once: OnceOnly,
    service_id: ServiceId,
    request: KeysRequest,
    dry_run: DryRun = False,
) -> JSONResponse:
    """Let these SSH keys log in as root of a guest, and no others, by the agent inside of it. 202 with the job that does it."""
    given: dict[str, object] = {own_systems.KEYS: list(request.ssh_keys)}
    why, who = reason_of(request, "set-keys", dry_run=dry_run), caller.name
    return have_done(context, once, IntentKind.SET_KEYS, service_id, given, who=who, why=why, dry_run=dry_run)


@router.post("/set-mail", response_model=Answer, responses={202: {"model": Answer}})
def set_mail(
    caller: Operator,
    context: Context,
    once: OnceOnly,
    service_id: ServiceId,
    request: MailRequest,
    dry_run: DryRun = False,
) -> JSONResponse:
    """Let a guest send to port 25 of others or not, whether it runs or not. 202 with the job that does it."""
    given: dict[str, object] = {own_systems.MAIL: request.mail.value}
    why, who = reason_of(request, "set-mail", dry_run=dry_run), caller.name
    return have_done(context, once, IntentKind.SET_MAIL, service_id, given, who=who, why=why, dry_run=dry_run)


@router.post("/rescue", response_model=Answer, responses={202: {"model": Answer}})
def rescue_service(
    caller: Actor,
    context: Context,
    once: OnceOnly,
    service_id: ServiceId,
    request: RescueRequest,
    dry_run: DryRun = False,
) -> JSONResponse:
    """Boot a machine into a rescue system that the keys may log in to, or leave that. 202 with the job that does it."""
    kind = IntentKind.RESCUE if request.on else IntentKind.LEAVE_RESCUE
    if request.ssh_keys and not request.on:
        raise RequestError("to leave the rescue system takes no SSH key")
    given: dict[str, object] = {own_systems.KEYS: list(request.ssh_keys)} if request.on else {}
    why = reason_of(request, "rescue", dry_run=dry_run) if request.on else request.reason
    return have_done(context, once, kind, service_id, given, who=caller.name, why=why, dry_run=dry_run)


@router.post("/test-hardware", response_model=Answer, responses={202: {"model": Answer}})
def try_hardware(
    caller: Actor,
    context: Context,
    once: OnceOnly,
    service_id: ServiceId,
    request: HardwareRequest,
    dry_run: DryRun = False,
) -> JSONResponse:
    """Test memory and disks of a machine, which is off for its customer meanwhile. 202 with the job; what is wrong fails it."""
    given: dict[str, object] = request.model_dump(exclude={"reason"})
    why, who = reason_of(request, "test-hardware", dry_run=dry_run), caller.name
    return have_done(context, once, IntentKind.TEST_HARDWARE, service_id, given, who=who, why=why, dry_run=dry_run)


def reason_of(request: ReasonRequest, act: str, *, dry_run: bool) -> str:
    if not dry_run and not request.reason:
        raise RequestError(f"{act} needs a reason", hint='send {"reason": "…"}')
    return request.reason


def have_done(
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
