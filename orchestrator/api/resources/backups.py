"""/v1/backups: what was made of services' backups, what stands, and why something does not."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse

from orchestrator.api.callers import Operator, Reader
from orchestrator.api.context import ApiContext, Context
from orchestrator.api.known import known
from orchestrator.api.once import Keep, OnceOnly
from orchestrator.api.paging import After, Limit, Page, Word, text_after
from orchestrator.api.service_schemas import fields
from orchestrator.api.vocabulary import CONTROLS
from orchestrator.domain.backups.outlook import Outlook, outlook, unplanned
from orchestrator.domain.backups.schedule import plan_week
from orchestrator.domain.backups.words import Backup, BackupState, Generation, GenerationState
from orchestrator.domain.services import SERVICE_ID, Service
from orchestrator.store import backups, services
from orchestrator.store.database import Connection

_PAGE = 500

router = APIRouter(prefix="/v1/backups", tags=["backups"])

ServiceId = Annotated[str, Path(pattern=f"^{SERVICE_ID.pattern}$", description="The service's id, as billing gave it.")]
Number = Annotated[int, Path(ge=1, le=100_000, description="The generation's number.")]
BackupId = Annotated[str, Path(pattern=r"^[A-Za-z0-9._-]{1,200}$", description="The backup's id.")]


class BackupOut(BaseModel):
    """One attempt at a backup. Only one in state ``verified`` counts. ``slot``: of the schedule, null = it was asked for.

    ``size_bytes`` and ``inodes``: of the source; ``read_bytes``: what was read of it; ``stored_bytes``: what that added to the
    repository. ``consistency``: frozen, crash, stopped or files. ``share``: which part of the repository was read when it was
    verified.
    """

    id: str
    service_id: str
    job_id: str
    generation: int
    state: BackupState
    snapshot_id: str
    slot: datetime | None
    begun_at: datetime
    made_at: datetime | None
    verified_at: datetime | None
    forgotten_at: datetime | None
    pruned_at: datetime | None
    size_bytes: int
    inodes: int
    read_bytes: int
    stored_bytes: int
    consistency: str
    share: str
    problem: str
    left_out: list[str]

    @classmethod
    def of(cls, backup: Backup) -> BackupOut:
        plain = {name: getattr(backup, name) for name in cls.model_fields if name not in ("share", "left_out")}
        share = "" if backup.share is None else str(backup.share)
        return cls(**plain, share=share, left_out=list(backup.left_out))


class Backups(Page[BackupOut]):
    """One page. ``note``: of a service of which nothing is known, why none is made unasked."""

    note: str = ""


@router.get("")
def list_backups(
    _caller: Reader,
    context: Context,
    limit: Limit = 100,
    after: After = "",
    service_id: Word = "",
    state: Annotated[BackupState | None, Query(description="Only backups in this state.")] = None,
) -> Backups:
    """Backups by id, the newest first; those that are forgotten, too."""
    with context.db.read() as conn:
        service = known(conn, service_id) if service_id else None
        found, following = backups.list_page(
            conn,
            limit=limit,
            after=text_after(after),
            service_id=service_id or None,
            state=None if state is None else state.value,
        )
        nothing = service is not None and not backups.of_service(conn, service_id)
    note = unplanned(service, context.catalog.terms_of(service), ()) if service is not None and nothing else ""
    return Backups(items=[BackupOut.of(backup) for backup in found], next=following, note=note)


class PlannedOut(BaseModel):
    """A backup to come. ``slot``: the service's own, by which it falls due; ``at``: when its node comes to it."""

    service_id: str
    node: str
    slot: datetime
    at: datetime


class LeftOutOut(BaseModel):
    """A service of which no backup is made unasked, and why."""

    service_id: str
    reason: str


class CrowdedOut(BaseModel):
    """A node that cannot do in a week what falls due in it, and how many are put off beyond it."""

    node: str
    beyond: int


class WeekOut(BaseModel):
    """The week from ``start`` on, by time. Services without a schedule stand nowhere in it, but for one that was asked for alone;
    of that ``next_slot`` is told, too, however late, null where it is left out. ``timezone``: the provider's, in which days and
    hours of backups are counted."""

    start: datetime
    timezone: str
    planned: list[PlannedOut]
    left_out: list[LeftOutOut]
    crowded: list[CrowdedOut]
    next_slot: datetime | None


@router.get("/plan")
def plan(_caller: Reader, context: Context, service_id: Word = "", node: Word = "") -> WeekOut:
    """The backups of the coming week that the schedule brings, and which services are left out and why."""
    catalog, start = context.catalog, context.clock.now()
    with context.db.read() as conn:
        alone = _alone(conn, context, known(conn, service_id)) if service_id else None
        over = backups.refused(conn)
        week = plan_week(_all(conn), catalog.terms_of, calendar=catalog.calendar, start=start, refused=over)
    wanted = [each for each in week.planned if service_id in ("", each.service_id) and node in ("", each.node)]
    return WeekOut(
        start=week.start,
        planned=[PlannedOut(service_id=each.service_id, node=each.node, slot=each.slot, at=each.at) for each in wanted],
        timezone=str(catalog.calendar.zone),
        left_out=[LeftOutOut(service_id=each.service_id, reason=each.reason) for each in week.left_out]
        if alone is None
        else [LeftOutOut(service_id=service_id, reason=alone.left_out)] * bool(alone.left_out),
        crowded=[CrowdedOut(node=name, beyond=count) for name, count in week.crowded.items() if node in ("", name)],
        next_slot=None if alone is None else alone.next_slot,
    )


def _alone(conn: Connection, context: ApiContext, service: Service) -> Outlook:
    of, now = (conn, service.id), context.clock.now()
    rows = backups.of_service(*of), backups.generations(*of), backups.restores_of(*of)
    return outlook(service, context.catalog.terms_of(service), *rows, now=now)


def _all(conn: Connection) -> Iterator[Service]:
    after: str | None = None
    while True:
        found, after = services.list_page(conn, limit=_PAGE, after=after)
        yield from found
        if after is None:
            return


class GenerationOut(BaseModel):
    """One repository of a service's backups. ``why``: what its damage was, or why it is no more; ``destroyed_at``: when its
    key was destroyed."""

    service_id: str
    number: int
    target: str
    state: GenerationState
    why: str
    made_at: datetime
    destroyed_at: datetime | None

    @classmethod
    def of(cls, generation: Generation) -> GenerationOut:
        return cls(**fields(generation, cls.model_fields))


class GiveUp(BaseModel):
    """``reason`` goes into the audit, and into the service's certificate. ``last``: no verified backup is left without it."""

    model_config = ConfigDict(extra="forbid")

    reason: str = Field(min_length=1, max_length=255, pattern=f"^[^{CONTROLS}]*$")
    last: bool = False


@router.post("/generations/{service_id}/{number}/give-up", response_model=GenerationOut)
def post_give_up(
    caller: Operator, context: Context, once: OnceOnly, service_id: ServiceId, number: Number, request: GiveUp
) -> JSONResponse:
    """Give up a repository that is not there any more: its key is destroyed, and what may be left of it opens to nobody."""

    def act(keep: Keep) -> None:
        context.engine.repositories.give_up(
            service_id,
            number,
            who=caller.name,
            why=request.reason,
            last=request.last,
            beside=lambda conn, given_up: keep(conn, GenerationOut.of(given_up)),
        )

    return once.run(act)


@router.get("/{backup_id}")
def get_backup(_caller: Reader, context: Context, backup_id: BackupId) -> BackupOut:
    """One backup."""
    with context.db.read() as conn:
        return BackupOut.of(backups.get(conn, backup_id))
