"""/v1/messages: what billing is told, every attempt to tell it, and what it did not take."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field
from starlette.responses import JSONResponse

from orchestrator.api.callers import Operator, Reader
from orchestrator.api.context import ApiContext, Context
from orchestrator.api.once import Keep, OnceOnly
from orchestrator.api.paging import After, Limit, Page, Word
from orchestrator.domain.errors import NotFound, RequestError
from orchestrator.observe.logs import redact_text
from orchestrator.store import outbox
from orchestrator.store.outbox import DeliveryRecord, Filters, Message, MessageState

router = APIRouter(prefix="/v1/messages", tags=["messages"])

MessageId = Annotated[str, Path(pattern=r"^[\x20-\x7e]+$", max_length=256, description="The message's id, as billing sees it.")]
NOBODY_IS_TOLD = "no billing system is told (none has a notify_url): messages are kept, and posted once one is"
_CURSOR_TIME = "%Y%m%dT%H%M%S.%fZ"


class MessageOut(BaseModel):
    """One message. ``last_status`` and ``last_problem`` are the latest attempt's: 0 = no answer, or none yet."""

    id: str
    type: str
    service_id: str
    state: MessageState
    created_at: datetime
    attempts: int
    next_attempt_at: datetime | None
    taken_at: datetime | None
    dead_at: datetime | None
    last_status: int
    last_problem: str

    @classmethod
    def of(cls, message: Message) -> MessageOut:
        return MessageOut(**{name: getattr(message, name) for name in MessageOut.model_fields})


class DeliveryOut(BaseModel):
    """One attempt. ``at``: when it began; ``status`` 0 = no answer; ``problem`` is what was said, '' where it was taken."""

    at: datetime
    status: int
    problem: str
    milliseconds: int

    @classmethod
    def of(cls, record: DeliveryRecord) -> DeliveryOut:
        return cls(at=record.at, status=record.status, problem=redact_text(record.problem), milliseconds=record.milliseconds)


class MessageDetail(MessageOut):
    """With the body as it is signed and posted, without what is secret in it, and every attempt, the first first."""

    body: str
    deliveries: list[DeliveryOut]
    note: str


class Messages(Page[MessageOut]):
    """One page. ``note`` says where nobody is told."""

    note: str


class Retried(BaseModel):
    """How many messages are posted again."""

    messages: int = Field(ge=0)


@router.get("")
def list_messages(
    _caller: Reader,
    context: Context,
    limit: Limit = 100,
    after: After = "",
    state: Annotated[
        MessageState | None, Query(description="Only messages in this state; 'dead' is the dead-letter list.")
    ] = None,
    kind: Annotated[Word, Query(alias="type", description="Only messages of this type.")] = "",
    service_id: Word = "",
) -> Messages:
    """Messages, the newest first."""
    filters = Filters(state=state, kind=kind, service_id=service_id)
    with context.db.read() as conn:
        found, following = outbox.list_page(conn, filters, limit=limit, after=_after(after), told=_told(context))
    items = [_shown(context, message) for message in found]
    return Messages(items=items, next=None if following is None else _cursor(*following), note=_note(context))


@router.get("/{message_id}")
def get_message(_caller: Reader, context: Context, message_id: MessageId) -> MessageDetail:
    """One message with its body and the record of every attempt to deliver it."""
    with context.db.read() as conn:
        message = outbox.get(conn, message_id)
        records = outbox.records(conn, message_id)
    if message is None:
        raise NotFound(f"there is no message {message_id}", hint="`orchestrator message list` shows all of them")
    return MessageDetail(
        **_shown(context, message).model_dump(),
        body=redact_text(message.body),
        deliveries=[DeliveryOut.of(record) for record in records],
        note=_note(context),
    )


@router.post("/retry", response_model=Retried)
def retry_dead_messages(
    caller: Operator,
    context: Context,
    once: OnceOnly,
    kind: Annotated[Word, Query(alias="type", description="Only messages of this type.")] = "",
    service_id: Word = "",
) -> JSONResponse:
    """Have every dead message posted again."""

    def act(keep: Keep) -> None:
        context.engine.retry_dead_messages(
            caller.name, kind=kind, service_id=service_id, beside=lambda conn, count: keep(conn, Retried(messages=count))
        )

    return once.run(act)


@router.post("/{message_id}/retry", response_model=Retried)
def retry_message(caller: Operator, context: Context, once: OnceOnly, message_id: MessageId) -> JSONResponse:
    """Have a message that billing has not taken, dead or waiting, posted again at once: the same id, the same body."""

    def act(keep: Keep) -> None:
        context.engine.retry_message(message_id, caller.name, beside=lambda conn, count: keep(conn, Retried(messages=count)))

    return once.run(act)


def _shown(context: ApiContext, message: Message) -> MessageOut:
    shown = MessageOut.of(message).model_copy(update={"last_problem": redact_text(message.last_problem)})
    if _told(context) or message.taken_at is not None:
        return shown
    return shown.model_copy(update={"state": MessageState.WAITING, "next_attempt_at": None, "dead_at": None})


def _told(context: ApiContext) -> bool:
    return context.config.settings.told is not None


def _note(context: ApiContext) -> str:
    return "" if _told(context) else NOBODY_IS_TOLD


def _cursor(made: datetime, message_id: str) -> str:
    return f"{made.astimezone(UTC).strftime(_CURSOR_TIME)}~{message_id}"


def _after(cursor: str) -> tuple[datetime, str] | None:
    """Raises RequestError where it is none of ours."""
    if not cursor:
        return None
    made, _, message_id = cursor.partition("~")
    try:
        return datetime.strptime(made, _CURSOR_TIME).replace(tzinfo=UTC), message_id
    except ValueError:
        raise RequestError("after: not a cursor of this list", hint="give the 'next' of the page before") from None
