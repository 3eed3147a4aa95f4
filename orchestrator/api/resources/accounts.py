"""/v1/services/{service_id}/account and /certificate: what of a hosting account is set beyond its order."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse

from orchestrator.api.account_schemas import AccountData, AccountOut
from orchestrator.api.callers import Actor, Operator, Reader
from orchestrator.api.context import ApiContext, Context
from orchestrator.api.known import known
from orchestrator.api.once import Keep, OnceOnly, kept_answer
from orchestrator.api.resources.services import ServiceId
from orchestrator.api.schemas import Answer
from orchestrator.api.vocabulary import CONTROLS
from orchestrator.domain import workflow
from orchestrator.domain.account_settings import AccountChange
from orchestrator.domain.charges import Charge
from orchestrator.domain.errors import RequestError
from orchestrator.engine.hosting import Given, Moved, Moving
from orchestrator.observe.logs import redact
from orchestrator.ports.site_certificates import Pair

router = APIRouter(prefix="/v1/services", tags=["services"])

PEM_LENGTH = 32_768


class AccountRequest(AccountData):
    """``reason`` is a sentence for the audit."""

    reason: str = Field(default="", max_length=255, pattern=f"^[^{CONTROLS}]*$")

    def change(self) -> AccountChange:
        """Raises RequestError where nothing is asked for, or what no account can have."""
        if self.sites is None and self.databases is None and self.cron is None:
            raise RequestError("nothing is asked for", hint="name sites, databases or cron")
        return super().change()


class CertificateRequest(BaseModel):
    """``certificate`` and ``key`` are PEM: the site's own certificate first, then those that lead to its authority. The key is
    kept, wrapped, until the job that installs it has ended, and shown by nothing."""

    model_config = ConfigDict(extra="forbid", strict=True)

    site: str = Field(min_length=1, max_length=32)
    certificate: str = Field(min_length=1, max_length=PEM_LENGTH)
    key: str = Field(min_length=1, max_length=PEM_LENGTH, repr=False)
    reason: str = Field(default="", max_length=255, pattern=f"^[^{CONTROLS}]*$")


class ImportRequest(BaseModel):
    """``file``: the name of a tarball in the directory for those on the service's node. ``pay``: what it costs beyond what is
    free may be charged."""

    model_config = ConfigDict(extra="forbid", strict=True)

    file: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")
    pay: bool = False
    reason: str = Field(default="", max_length=255, pattern=f"^[^{CONTROLS}]*$")


class ImportAnswer(Answer):
    """What becomes of it. ``bytes`` and ``inodes``: unpacked; ``counts``: how it counts, in a sentence; ``amount``: whole rupiah,
    0 = it costs nothing."""

    file: str
    sha256: str
    bytes: int
    inodes: int
    databases: list[str]
    counts: str
    amount: int

    @classmethod
    def told(cls, found: Moved) -> ImportAnswer:
        plain = Answer.of(found.submitted).model_dump()
        if found.workflow is not None:
            plain |= {"outcome": "dry-run", "workflow": redact(workflow.to_json(found.workflow))}
        tarball, granted = found.tarball, found.granted
        return cls(
            **plain,
            file=tarball.file,
            sha256=tarball.sha256,
            bytes=tarball.bytes,
            inodes=tarball.inodes,
            databases=list(tarball.databases),
            counts=granted.reason,
            amount=granted.amount if isinstance(granted, Charge) else 0,
        )


@router.post("/{service_id}/import", response_model=ImportAnswer, responses={202: {"model": ImportAnswer}})
def import_account(
    caller: Operator,
    context: Context,
    once: OnceOnly,
    service_id: ServiceId,
    request: ImportRequest,
    dry_run: Annotated[bool, Query(description="Answer with what would run and what it would cost, and change nothing.")] = False,
) -> JSONResponse:
    """Move an account in from a tarball on its node, which is looked through first: 202 with the job that does it."""
    hosting = context.engine.hosting
    asked = Moving(file=request.file, request_id=once.request_id(service_id), pay=request.pay, why=request.reason)
    if dry_run:
        return once.look(lambda: ImportAnswer.told(hosting.would_bring_in(service_id, asked)))

    def act(keep: Keep) -> None:
        hosting.bring_in(service_id, asked, who=caller.name, beside=lambda conn, found: keep(conn, ImportAnswer.told(found)))

    return once.run(act)


@router.get("/{service_id}/account")
def get_account(_caller: Reader, context: Context, service_id: ServiceId) -> AccountOut:
    """What of a hosting account is set: sites, databases, lines of cron, certificates."""
    settings = context.engine.hosting.settings(service_id)
    with context.db.read() as conn:
        full = known(conn, service_id).databases_full
    return AccountOut.of(service_id, settings, full=full)


@router.post("/{service_id}/account", response_model=Answer, responses={202: {"model": Answer}})
def set_account(
    caller: Actor,
    context: Context,
    once: OnceOnly,
    service_id: ServiceId,
    request: AccountRequest,
    dry_run: Annotated[bool, Query(description="Answer with what would run, and change nothing.")] = False,
) -> JSONResponse:
    """Set sites, databases or cron: each part that is named whole. 202 with the job that does it."""
    change = request.change()
    if dry_run:
        return once.look(lambda: _would(context, service_id, change))

    def act(keep: Keep) -> None:
        context.engine.hosting.set_account(service_id, change, who=caller.name, why=request.reason, beside=kept_answer(keep))

    return once.run(act)


def _would(context: ApiContext, service_id: str, change: AccountChange) -> Answer:
    found = context.engine.hosting.would_set(service_id, change)
    return Answer(outcome="dry-run", workflow=redact(workflow.to_json(found)))


@router.post("/{service_id}/certificate", response_model=Answer, responses={202: {"model": Answer}})
def give_certificate(
    caller: Actor, context: Context, once: OnceOnly, service_id: ServiceId, request: CertificateRequest
) -> JSONResponse:
    """Install a certificate for a site: 202 with the job that does it."""
    given = Given(site=request.site, pair=Pair(certificate=request.certificate, key=request.key))

    def act(keep: Keep) -> None:
        context.engine.hosting.certify(service_id, given, who=caller.name, why=request.reason, beside=kept_answer(keep))

    return once.run(act)
