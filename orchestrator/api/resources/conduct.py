"""/v1/services/…: holds by operators, complaints, evidence, and what a customer may ask for."""

from __future__ import annotations

import base64
import binascii
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse

from orchestrator.api.callers import Operator, Reader
from orchestrator.api.context import Context
from orchestrator.api.control import Submitted
from orchestrator.api.known import known
from orchestrator.api.once import Keep, OnceOnly, kept_answer
from orchestrator.api.schemas import Answer as AnswerOut
from orchestrator.api.service_schemas import ComplaintOut
from orchestrator.api.vocabulary import CONTROLS, Moment
from orchestrator.domain import permissions
from orchestrator.domain.backups import allowed
from orchestrator.domain.complaints import Closed, ComplaintKind
from orchestrator.domain.conduct import Answer
from orchestrator.domain.errors import RequestError
from orchestrator.domain.evidence import MOST_BYTES, Evidence
from orchestrator.domain.intents import Refusal
from orchestrator.domain.permissions import Ask
from orchestrator.domain.plans import Use
from orchestrator.domain.policies import Effect
from orchestrator.domain.services import SERVICE_ID, HoldEffect, HoldReason, Service
from orchestrator.domain.terms import Terms
from orchestrator.engine.conduct import ComplaintSaid, HoldAsked
from orchestrator.store import backups, evidence
from orchestrator.store.database import Connection

router = APIRouter(prefix="/v1/services", tags=["conduct"])

# Base64 is a third longer than what it carries; beside it there is little.
EVIDENCE_LIMIT = MOST_BYTES * 4 // 3 + (16 << 10)
PATHS = r"/v1/services/[^/]+/(holds|complaints|complaints/[^/]+/answer)"

ServiceId = Annotated[str, Path(pattern=f"^{SERVICE_ID.pattern}$", description="The service's id, as billing gave it.")]
ComplaintId = Annotated[str, Path(pattern="^c[1-9][0-9]{0,8}$", description="As the service's complaints name it.")]
Sha256 = Annotated[str, Path(pattern="^[0-9a-f]{64}$", description="Of the file, in hexadecimal.")]
Why = Annotated[str, Field(min_length=1, max_length=255, pattern=f"^[^{CONTROLS}]*$", description="A sentence for the audit.")]


class EvidenceIn(BaseModel):
    """A file, 1 MiB at most. ``name`` is for people; ``content`` is base64."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, max_length=255, pattern=f"^[^{CONTROLS}]*$")
    content: str = Field(min_length=1, pattern="^[A-Za-z0-9+/]*={0,2}$")

    def file(self) -> Evidence:
        try:
            content = base64.b64decode(self.content, validate=True)
        except (binascii.Error, ValueError):
            raise RequestError("the content of the evidence is not base64") from None
        return Evidence.of(self.name, content)


class HoldRequest(BaseModel):
    """``until``: the clock lifts the hold then."""

    model_config = ConfigDict(extra="forbid")

    reason: HoldReason
    effect: HoldEffect
    why: Why
    until: Moment | None = None
    evidence: EvidenceIn | None = None


class WhyRequest(BaseModel):
    model_config = ConfigDict(extra="forbid")

    why: Why


class ComplaintRequest(BaseModel):
    """``what``: with abuse, a use that the plan forbids. ``effect``: one that the policy names; left out, the mildest."""

    model_config = ConfigDict(extra="forbid")

    kind: ComplaintKind
    why: Why
    what: Use | None = None
    effect: Effect | None = None
    received_at: Moment | None = Field(default=None, description="When it reached the provider; left out: now.")
    evidence: EvidenceIn | None = None


class AnswerRequest(BaseModel):
    model_config = ConfigDict(extra="forbid")

    closed: Closed
    why: Why
    evidence: EvidenceIn | None = None


class ComplaintAnswer(AnswerOut):
    """As any act; ``complaint`` is the id of the one that was reported."""

    complaint: str


class ComplaintsOut(BaseModel):
    items: list[ComplaintOut]


class EvidenceOut(BaseModel):
    sha256: str
    name: str
    size: int
    added_at: datetime
    by: str


class EvidenceList(BaseModel):
    items: list[EvidenceOut]


class EvidenceFile(EvidenceOut):
    """With its ``content``, in base64; its hash was verified."""

    content: str


class MayOut(BaseModel):
    """``rule``: where a refusal comes from, policy and clause, or a rule of the controller itself. ``note``: what a customer has
    to know who is allowed it."""

    act: Ask
    allowed: bool
    reason: str = ""
    rule: str = ""
    note: str = ""
    policy: str


@router.post("/{service_id}/holds", response_model=AnswerOut, responses={202: {"model": AnswerOut}})
def set_hold(caller: Operator, context: Context, once: OnceOnly, service_id: ServiceId, request: HoldRequest) -> JSONResponse:
    """Set a hold. One that stops the service makes the job that suspends it."""
    file = _file(request.evidence)
    asked = HoldAsked(reason=request.reason, effect=request.effect, why=request.why, until=request.until, evidence=file)
    return once.run(lambda keep: context.engine.conduct.hold(service_id, asked, caller.name, beside=kept_answer(keep)))


@router.post("/{service_id}/holds/{reason}/release", response_model=AnswerOut, responses={202: {"model": AnswerOut}})
def release_hold(
    caller: Operator, context: Context, once: OnceOnly, service_id: ServiceId, reason: HoldReason, request: WhyRequest
) -> JSONResponse:
    """Lift a hold, whatever its effect. With the last one that stops it the service is as it was before."""
    return once.run(
        lambda keep: context.engine.conduct.lift(service_id, reason, caller.name, request.why, beside=kept_answer(keep))
    )


@router.get("/{service_id}/complaints")
def list_complaints(_caller: Reader, context: Context, service_id: ServiceId) -> ComplaintsOut:
    """The complaints against the service, the oldest first; of the closed ones the latest 200."""
    with context.db.read() as conn:
        service = known(conn, service_id)
    return ComplaintsOut(items=[ComplaintOut.of(complaint) for complaint in service.complaints])


@router.post("/{service_id}/complaints", response_model=ComplaintAnswer, responses={202: {"model": ComplaintAnswer}})
def report(caller: Operator, context: Context, once: OnceOnly, service_id: ServiceId, request: ComplaintRequest) -> JSONResponse:
    """Take a complaint, and do what follows from it at once by the policy."""
    said = ComplaintSaid(
        kind=request.kind,
        why=request.why,
        what=request.what.value if request.what else "",
        effect=request.effect,
        received_at=request.received_at,
        evidence=_file(request.evidence),
    )

    def act(keep: Keep) -> None:
        def beside(conn: Connection, submitted: Submitted) -> None:
            made = known(conn, service_id).complaints[-1]
            keep(conn, ComplaintAnswer(**AnswerOut.of(submitted).model_dump(), complaint=made.id))

        context.engine.conduct.report(service_id, said, caller.name, beside=beside)

    return once.run(act)


@router.post("/{service_id}/complaints/{complaint_id}/answer", response_model=AnswerOut, responses={202: {"model": AnswerOut}})
def answer_complaint(
    caller: Operator,
    context: Context,
    once: OnceOnly,
    service_id: ServiceId,
    complaint_id: ComplaintId,
    request: AnswerRequest,
) -> JSONResponse:
    """End a complaint; its hold is lifted with it, unless another complaint holds the service so."""
    given = Answer(how=request.closed, by=caller.name, why=request.why, evidence=_file(request.evidence))
    return once.run(lambda keep: context.engine.conduct.answer(service_id, complaint_id, given, beside=kept_answer(keep)))


@router.get("/{service_id}/evidence")
def list_evidence(_caller: Reader, context: Context, service_id: ServiceId) -> EvidenceList:
    """The files that were attached to acts on the service, the oldest first, without their content."""
    with context.db.read() as conn:
        known(conn, service_id)
        found = evidence.of_service(conn, service_id)
    return EvidenceList(items=[EvidenceOut(**_parts(each)) for each in found])


@router.get("/{service_id}/evidence/{sha256}")
def get_evidence(_caller: Reader, context: Context, service_id: ServiceId, sha256: Sha256) -> EvidenceFile:
    """One file, as it came: its hash was verified."""
    with context.db.read() as conn:
        record, file = evidence.get(conn, service_id, sha256)
    return EvidenceFile(**_parts(record), content=base64.b64encode(file.content).decode("ascii"))


@router.get("/{service_id}/may/{act}")
def may(_caller: Reader, context: Context, service_id: ServiceId, act: Ask) -> MayOut:
    """Whether its customer may have this done now, and if not, by which rule. Nothing is done."""
    with context.db.read() as conn:
        service = known(conn, service_id)
        terms = context.catalog.terms_of(service)
        said = _decided(conn, act, service, terms, now=context.clock.now())
    if isinstance(said, Refusal):
        return MayOut(act=act, allowed=False, reason=said.reason, rule=said.rule, policy=terms.policy.name)
    note = "; ".join(filter(None, (said, permissions.besides(act, terms))))
    return MayOut(act=act, allowed=True, note=note, policy=terms.policy.name)


def _decided(conn: Connection, act: Ask, service: Service, terms: Terms, *, now: datetime) -> Refusal | str:
    """What the command would be told now; where it is granted, how it counts. Backups and restores have their own decisions."""
    if act == Ask.BACKUP:
        return allowed.backup(service, terms, now=now) or ""
    if act == Ask.RESTORE:
        rows = backups.of_service(conn, service.id), backups.generations(conn, service.id), backups.restores_of(conn, service.id)
        found = allowed.restore(service, *rows, terms=terms, now=now)
        return found if isinstance(found, Refusal) else found.why
    return permissions.may(act, service, terms) or ""


def _file(given: EvidenceIn | None) -> Evidence | None:
    return None if given is None else given.file()


def _parts(record: evidence.EvidenceRecord) -> dict[str, Any]:
    return {name: getattr(record, name) for name in EvidenceOut.model_fields}
