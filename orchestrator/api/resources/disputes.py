"""/v1/services/{service_id}/dispute and settle: a dispute that an operator notes, where billing does not tell of it."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse

from orchestrator.api.callers import Operator
from orchestrator.api.context import Context
from orchestrator.api.once import OnceOnly, kept_answer
from orchestrator.api.resources.services import ServiceId
from orchestrator.api.schemas import Answer
from orchestrator.api.vocabulary import CONTROLS, Moment

router = APIRouter(prefix="/v1/services", tags=["services"])

_PLAIN = f"^[^{CONTROLS}]*$"


class DisputeRequest(BaseModel):
    """``part``: only a part is disputed, and the rest stays due. ``issued_at``: of the invoice, where a day counts from that."""

    model_config = ConfigDict(extra="forbid")

    invoice_id: str = Field(min_length=1, max_length=255, pattern=_PLAIN)
    why: str = Field(min_length=1, max_length=255, pattern=_PLAIN)
    part: bool = False
    issued_at: Moment | None = None


class VerdictRequest(BaseModel):
    """``upheld``: for the customer, and the invoice is not due; else it is."""

    model_config = ConfigDict(extra="forbid")

    invoice_id: str = Field(min_length=1, max_length=255, pattern=_PLAIN)
    upheld: bool
    why: str = Field(default="", max_length=255, pattern=_PLAIN)


@router.post("/{service_id}/dispute", response_model=Answer)
def post_dispute(
    caller: Operator, context: Context, once: OnceOnly, service_id: ServiceId, request: DisputeRequest
) -> JSONResponse:
    """Note that an invoice is disputed; the clock of nonpayment stands until it is settled."""

    return once.run(
        lambda keep: context.engine.money.dispute(
            service_id,
            request.invoice_id,
            who=caller.name,
            why=request.why,
            part=request.part,
            issued_at=request.issued_at,
            beside=kept_answer(keep),
        )
    )


@router.post("/{service_id}/settle", response_model=Answer, responses={202: {"model": Answer}})
def post_settle(
    caller: Operator, context: Context, once: OnceOnly, service_id: ServiceId, request: VerdictRequest
) -> JSONResponse:
    """Note the verdict of a dispute: 202 with the job that brings the service back, where it was stopped for what is not due."""

    return once.run(
        lambda keep: context.engine.money.settle(
            service_id, request.invoice_id, who=caller.name, why=request.why, upheld=request.upheld, beside=kept_answer(keep)
        )
    )
