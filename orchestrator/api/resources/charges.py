"""/v1/charges: what customers owe for operations, beside their invoices."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse

from orchestrator.api.callers import Operator, Reader
from orchestrator.api.context import Context
from orchestrator.api.once import Keep, OnceOnly
from orchestrator.api.paging import After, Limit, Page, Word, text_after
from orchestrator.api.vocabulary import CONTROLS
from orchestrator.domain.charges import ChargeKind
from orchestrator.store import charges
from orchestrator.store.charges import ChargeRecord

router = APIRouter(prefix="/v1/charges", tags=["charges"])

ChargeId = Annotated[str, Path(pattern=r"^[A-Za-z0-9._:-]{1,200}$", description="The charge's id.")]


class ChargeOut(BaseModel):
    """A charge. ``amount``: whole rupiah for all of ``quantity`` (GB or hours). ``open``: it stands, and was not taken back.
    ``times``: how often it was made, having been taken back between. ``job_id``: the operation it is for, where that is a job."""

    id: str
    service_id: str
    kind: ChargeKind
    amount: int
    quantity: int
    reason: str
    policy: str
    clause: str
    job_id: str
    made_at: datetime
    open: bool
    taken_back_at: datetime | None
    why_taken_back: str
    times: int

    @classmethod
    def of(cls, charge: ChargeRecord) -> ChargeOut:
        return cls(**{name: getattr(charge, name) for name in cls.model_fields})


class TakeBack(BaseModel):
    """``why`` goes into the audit, and to billing."""

    model_config = ConfigDict(extra="forbid")

    why: str = Field(min_length=1, max_length=255, pattern=f"^[^{CONTROLS}]*$")


@router.get("")
def list_charges(
    _caller: Reader,
    context: Context,
    limit: Limit = 100,
    after: After = "",
    service_id: Word = "",
    kind: Annotated[ChargeKind | None, Query(description="Only charges of this kind.")] = None,
    since: Annotated[AwareDatetime | None, Query(description="Only charges made then or later; a time with a zone.")] = None,
    open: Annotated[bool | None, Query(description="Only charges that stand, or only those taken back.")] = None,  # noqa: A002 - the filter's name
) -> Page[ChargeOut]:
    """Charges by id."""
    with context.db.read() as conn:
        found, following = charges.list_page(
            conn,
            limit=limit,
            after=text_after(after),
            service_id=service_id or None,
            kind=None if kind is None else kind.value,
            since=since,
            standing=open,
        )
    return Page(items=[ChargeOut.of(charge) for charge in found], next=following)


@router.get("/{charge_id}")
def get_charge(_caller: Reader, context: Context, charge_id: ChargeId) -> ChargeOut:
    """One charge."""
    with context.db.read() as conn:
        return ChargeOut.of(charges.get(conn, charge_id))


@router.post("/{charge_id}/take-back", response_model=ChargeOut)
def post_take_back(caller: Operator, context: Context, once: OnceOnly, charge_id: ChargeId, request: TakeBack) -> JSONResponse:
    """It is not owed any more, for good; billing is told."""

    def act(keep: Keep) -> None:
        context.engine.money.take_back(
            charge_id,
            who=caller.name,
            why=request.why,
            beside=lambda conn, charge: keep(conn, ChargeOut.of(charge)),
        )

    return once.run(act)
