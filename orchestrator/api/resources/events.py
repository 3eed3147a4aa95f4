"""/v1/events: what billing said and what became of it; ``outcome=dead`` is the dead-letter list."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel
from starlette.responses import JSONResponse

from orchestrator.api.callers import Operator, Reader
from orchestrator.api.context import Context
from orchestrator.api.control import Accepted
from orchestrator.api.once import Keep, OnceOnly
from orchestrator.api.paging import MAX_INTEGER, After, Limit, Page, Word, number_after
from orchestrator.api.schemas import Answer
from orchestrator.domain.errors import NotFound
from orchestrator.observe.logs import redact_text
from orchestrator.store import events
from orchestrator.store.events import EventRecord

router = APIRouter(prefix="/v1/events", tags=["events"])

Seq = Annotated[int, Path(ge=1, le=MAX_INTEGER, description="The event's number in the store.")]


class EventOutcome(StrEnum):
    ACCEPTED = "accepted"
    DUPLICATE_COMMAND = "duplicate-command"
    STALE = "stale"
    NOTHING = "nothing"
    REFUSED = "refused"
    DEAD = "dead"


class EventOut(BaseModel):
    """An authentic webhook. ``problem`` says why it was refused or cannot be processed, ``detail`` the sentence that came with
    the outcome."""

    seq: int
    source: str
    id: str
    type: str
    service_id: str
    version: int | None
    sent_at: datetime
    received_at: datetime
    outcome: str
    problem: str
    detail: str
    job_id: str
    replays: int

    @classmethod
    def of(cls, record: EventRecord) -> EventOut:
        return EventOut(**{name: getattr(record, name) for name in EventOut.model_fields})


class EventDetail(EventOut):
    """With the body as it was signed, without what is secret in it."""

    body: str

    @classmethod
    def with_body(cls, record: EventRecord) -> EventDetail:
        return cls(**EventOut.of(record).model_dump(), body=redact_text(record.body))


@router.get("")
def list_events(
    _caller: Reader,
    context: Context,
    limit: Limit = 100,
    after: After = "",
    outcome: Annotated[EventOutcome | None, Query(description="Only events with this outcome.")] = None,
    service_id: Word = "",
) -> Page[EventOut]:
    """Events, the newest first."""
    with context.db.read() as conn:
        found, following = events.list_page(
            conn,
            limit=limit,
            after=number_after(after),
            outcome=None if outcome is None else str(outcome),
            service_id=service_id or None,
        )
    return Page(items=[EventOut.of(record) for record in found], next=None if following is None else str(following))


@router.get("/{seq}")
def get_event(_caller: Reader, context: Context, seq: Seq) -> EventDetail:
    """One event with its body."""
    with context.db.read() as conn:
        record = events.by_seq(conn, seq)
    if record is None:
        raise NotFound(f"there is no event {seq}")
    return EventDetail.with_body(record)


@router.post("/{seq}/replay", response_model=Answer, responses={202: {"model": Answer}})
def replay_event(caller: Operator, context: Context, once: OnceOnly, seq: Seq) -> JSONResponse:
    """Have a dead or refused event processed once more, after its cause was mended."""

    def act(keep: Keep) -> None:
        context.engine.replay(seq, caller.name, beside=lambda conn, accepted: keep(conn, _answer(accepted)))

    return once.run(act)


def _answer(accepted: Accepted) -> Answer:
    return Answer(outcome=accepted.outcome, job_id=accepted.job_id, detail=accepted.detail)
