"""/v1/services/{service_id}/cancel, /keep, /forget: how a service is left."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse

from orchestrator.api.callers import ALLOWED, Actor, Caller, Operator, Permission
from orchestrator.api.context import ApiContext, Context
from orchestrator.api.control import Submitted
from orchestrator.api.once import Keep, OnceOnly
from orchestrator.api.resources.services import ServiceId
from orchestrator.api.vocabulary import CONTROLS
from orchestrator.domain import leaving
from orchestrator.domain.errors import Forbidden, RequestError
from orchestrator.domain.leaving import Leave
from orchestrator.domain.services import CancellationKind
from orchestrator.store import services
from orchestrator.store.database import Connection

router = APIRouter(prefix="/v1/services/{service_id}", tags=["services"])


class WhyRequest(BaseModel):
    """``why`` is a sentence for the audit, which keeps it: no place for personal data."""

    model_config = ConfigDict(extra="forbid")

    why: str = Field(default="", max_length=255, pattern=f"^[^{CONTROLS}]*$")


class CancelRequest(WhyRequest):
    """``on`` and ``by_provider`` take an operator."""

    confirmed: bool = Field(default=False, description="The customer has confirmed it.")
    on: date | None = Field(default=None, description="It ends with this day of the provider's zone, whatever the policy says.")
    money_back: bool = Field(default=False, description="At once, and the money is given back, where the policy promises that.")
    without_cause: bool = Field(default=False, description="By the policy's clause on ending the contract without cause.")
    by_provider: bool = Field(default=False, description="The provider ends it: without cause.")

    @property
    def kind(self) -> CancellationKind:
        if self.money_back:
            return CancellationKind.MONEY_BACK
        return CancellationKind.WITHOUT_CAUSE if self.without_cause or self.by_provider else CancellationKind.CUSTOMER


class LeavingOut(BaseModel):
    """What became of it. ``effective_at`` null: nothing ends by itself; ``needs``: 'confirmation', 'date' or ''."""

    outcome: str
    detail: str
    effective_at: datetime | None
    needs: str
    why: str
    clause: str

    @classmethod
    def of(cls, outcome: str, detail: str, leave: Leave | None) -> LeavingOut:
        if leave is None:
            return cls(outcome=outcome, detail=detail, effective_at=None, needs="", why="", clause="")
        return cls(outcome=outcome, detail=detail, effective_at=leave.at, needs=leave.needs, why=leave.why, clause=leave.clause)


@router.post("/cancel", response_model=LeavingOut)
def cancel_service(
    caller: Actor,
    context: Context,
    once: OnceOnly,
    service_id: ServiceId,
    request: CancelRequest | None = None,
    dry_run: Annotated[bool, Query(description="Answer with the day and the clause, and change nothing.")] = False,
) -> JSONResponse:
    """Note that the service is to end, by its policy or on a day. It runs until then."""
    asked = request or CancelRequest()
    _may(caller, asked)
    if asked.money_back and (asked.without_cause or asked.by_provider):
        raise RequestError("money back is the customer's: it goes neither with 'without_cause' nor with 'by_provider'")
    on = None if asked.on is None else _end_of(asked.on, context)
    if dry_run:
        return once.look(lambda: _would(context, service_id, asked, on))
    why = _needed(asked.why)

    def act(keep: Keep) -> None:
        context.engine.leaving.cancel(
            service_id,
            who=caller.name,
            why=why,
            kind=asked.kind,
            confirmed=asked.confirmed,
            on=on,
            beside=_answer(context, service_id, keep),
        )

    return once.run(act)


@router.post("/keep", response_model=LeavingOut)
def keep_service(
    caller: Actor, context: Context, once: OnceOnly, service_id: ServiceId, request: WhyRequest | None = None
) -> JSONResponse:
    """Take the cancellation back, as long as nothing was destroyed."""
    why = (request or WhyRequest()).why

    def act(keep: Keep) -> None:
        context.engine.leaving.keep(service_id, who=caller.name, why=why, beside=_answer(context, service_id, keep))

    return once.run(act)


@router.post("/forget", response_model=LeavingOut)
def forget_service(
    caller: Operator, context: Context, once: OnceOnly, service_id: ServiceId, request: WhyRequest | None = None
) -> JSONResponse:
    """Delete the personal data of a service that has ended, because its customer asks for it."""
    why = _needed((request or WhyRequest()).why)

    def act(keep: Keep) -> None:
        context.engine.leaving.forget(service_id, who=caller.name, why=why, beside=_answer(context, service_id, keep))

    return once.run(act)


def _may(caller: Caller, asked: CancelRequest) -> None:
    if (asked.on is not None or asked.by_provider) and Permission.OPERATE not in ALLOWED[caller.role]:
        raise Forbidden(f"the role {caller.role} may not give a day, or end it for the provider", hint="an operator may")


def _needed(why: str) -> str:
    if not why:
        raise RequestError("it needs a reason", hint='send {"why": "…"}')
    return why


def _end_of(day: date, context: ApiContext) -> datetime:
    if not date(1970, 1, 1) <= day <= date(9000, 1, 1):
        raise RequestError("a day between the years 1970 and 9000 is expected")
    return context.catalog.calendar.start(day + timedelta(days=1))


def _would(context: ApiContext, service_id: str, asked: CancelRequest, on: datetime | None) -> LeavingOut:
    found = context.engine.leaving.would_end(service_id, kind=asked.kind, confirmed=asked.confirmed, on=on)
    return LeavingOut.of("dry-run", found.why, found)


def _answer(context: ApiContext, service_id: str, keep: Keep) -> Callable[[Connection, Submitted], None]:
    def answer(conn: Connection, submitted: Submitted) -> None:
        service = services.get(conn, service_id)
        found = None if service is None else leaving.leave(service, context.catalog.terms_of(service))
        keep(conn, LeavingOut.of("noted", submitted.detail, found))

    return answer
