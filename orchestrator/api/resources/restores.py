"""/v1/services/{service_id}/restore: bringing back what a backup holds, and what was counted of it this month."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse

from orchestrator.api.callers import Actor, Reader
from orchestrator.api.context import Context
from orchestrator.api.known import known
from orchestrator.api.once import Keep, OnceOnly
from orchestrator.api.resources.services import ServiceId
from orchestrator.api.schemas import Answer
from orchestrator.api.service_schemas import fields
from orchestrator.api.vocabulary import CONTROLS
from orchestrator.domain import workflow
from orchestrator.domain.backups import allowance
from orchestrator.domain.backups.parts import MOST_PATHS, Parts
from orchestrator.domain.backups.restoring import Asked
from orchestrator.domain.backups.words import Restore, RestoreState
from orchestrator.observe.logs import redact
from orchestrator.store import backups, jobs

if TYPE_CHECKING:
    from orchestrator.engine.restoring import Restored
    from orchestrator.store.database import Connection

router = APIRouter(prefix="/v1/services", tags=["backups"])


RestorePath = Annotated[str, Field(min_length=1, max_length=4096, pattern=f"^[^{CONTROLS}]*$")]
DatabaseName = Annotated[str, Field(pattern=r"^[a-z0-9_]{1,16}$")]


class RestoreRequest(BaseModel):
    """``backup``: its id; '' = the newest verified one. ``beside``: onto a new volume beside the disk, or into a directory beside
    the home, which stays as it is. ``pay``: what it costs beyond the month's allowance may be charged. ``reason`` is a sentence
    for the audit.

    Of an account: ``paths`` inside its home, ``databases`` by name; where neither is given all is restored, where one is only
    that. ``files_only``: no databases. ``delete``: what is there and not in the backup goes.
    """

    model_config = ConfigDict(extra="forbid")

    backup: str = Field(default="", max_length=200, pattern=r"^[A-Za-z0-9._-]*$")
    beside: bool = False
    paths: list[RestorePath] = Field(default_factory=list, max_length=MOST_PATHS)
    databases: list[DatabaseName] = Field(default_factory=list, max_length=MOST_PATHS)
    files_only: bool = False
    delete: bool = False
    pay: bool = False
    reason: str = Field(default="", max_length=255, pattern=f"^[^{CONTROLS}]*$")


class RestoreAnswer(Answer):
    """What becomes of a restore. ``kind``: of the service. ``counts``: how it counts, in a sentence; ``amount``: whole rupiah,
    0 = it costs nothing. ``room``: of a dry run, whether the node has room for what is written aside, in a sentence."""

    backup_id: str
    made_at: datetime | None
    size_bytes: int
    beside: bool
    kind: str
    counts: str
    amount: int
    room: str = ""

    @classmethod
    def told(cls, found: Restored, *, beside: bool) -> RestoreAnswer:
        plain = Answer.of(found.submitted).model_dump()
        if found.workflow is not None:
            plain |= {"outcome": "dry-run", "workflow": redact(workflow.to_json(found.workflow))}
        return cls(
            **plain,
            backup_id=found.backup.id,
            made_at=found.backup.made_at,
            size_bytes=found.backup.size_bytes,
            beside=beside,
            kind=found.kind,
            counts=found.granted.why,
            room=found.room,
            amount=0 if found.granted.charge is None else found.granted.charge.amount,
        )


class RestoreOut(BaseModel):
    """A restore that was asked for. ``id``: of the request. ``given-back``: it failed, and does not count. ``done_at`` null: not
    done yet. ``charge_id`` '' = it was included. ``reason``: as it was asked for; ``why``: it was given back."""

    id: str
    snapshot_id: str
    size_bytes: int
    asked_by: str
    counted_at: datetime
    state: RestoreState
    job_id: str
    charge_id: str
    given_back_at: datetime | None
    why: str
    reason: str
    done_at: datetime | None

    @classmethod
    def of(cls, restore: Restore, reason: str) -> RestoreOut:
        names = cls.model_fields.keys() - {"reason"}
        return cls(**fields(restore, dict.fromkeys(names)), reason=reason)


class AllowanceOut(BaseModel):
    """The service's restores, the newest first, and its allowance of this calendar month in the provider's zone. ``per_month``
    and ``left`` null: the policy counts none. ``over_per_gb``: whole rupiah for each started GB of more; null = there is none."""

    used: int
    per_month: int | None
    left: int | None
    over_per_gb: int | None
    items: list[RestoreOut]


@router.post("/{service_id}/restore", response_model=RestoreAnswer, responses={202: {"model": RestoreAnswer}})
def restore_service(
    caller: Actor,
    context: Context,
    once: OnceOnly,
    service_id: ServiceId,
    request: RestoreRequest | None = None,
    dry_run: Annotated[bool, Query(description="Answer with what would run and what it would cost, and change nothing.")] = False,
) -> JSONResponse:
    """Bring back what a backup of the service holds: 202 with the job that does it."""
    given = request or RestoreRequest()
    asked = Asked(
        request_id=once.request_id(service_id),
        backup_id=given.backup,
        beside=given.beside,
        parts=Parts(paths=tuple(given.paths), databases=tuple(given.databases), load=not given.files_only, delete=given.delete),
        pay=given.pay,
        why=given.reason,
    )
    if dry_run:
        return once.look(
            lambda: RestoreAnswer.told(context.engine.restoring.would(service_id, asked, who=caller.name), beside=given.beside)
        )

    def act(keep: Keep) -> None:
        def answer(conn: Connection, found: Restored) -> None:
            keep(conn, RestoreAnswer.told(found, beside=given.beside))

        context.engine.restoring.restore(service_id, asked, who=caller.name, beside=answer)

    return once.run(act)


@router.get("/{service_id}/restores")
def list_restores(_caller: Reader, context: Context, service_id: ServiceId) -> AllowanceOut:
    """What was restored of the service, and what of this month's allowance is left."""
    now = context.clock.now()
    with context.db.read() as conn:
        terms = context.catalog.terms_of(known(conn, service_id))
        found = backups.restores_of(conn, service_id)
        items = [RestoreOut.of(each, jobs.get(conn, each.job_id).reason) for each in reversed(found)]
    rule = terms.policy.restore
    return AllowanceOut(
        used=allowance.used(found, terms.calendar, now),
        per_month=None if rule is None else rule.per_month,
        left=allowance.left(found, terms, now),
        over_per_gb=None if rule is None else rule.over_per_gb,
        items=items,
    )
