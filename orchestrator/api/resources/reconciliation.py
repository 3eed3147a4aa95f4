"""/v1/reconciliation: billing's own list of services, compared with ours; payments that were lost are counted."""

from __future__ import annotations

import hashlib
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field
from starlette.responses import JSONResponse

from orchestrator.api import billing_list
from orchestrator.api.callers import Operator
from orchestrator.api.context import Context
from orchestrator.api.once import Keep, OnceOnly, RawBody
from orchestrator.api.vocabulary import CONTROLS
from orchestrator.domain.reconciliation import BillingList, BillingState, Difference, Kind, Mended, Reconciled
from orchestrator.domain.services import SERVICE_ID

PATH = "/v1/reconciliation"
router = APIRouter(prefix=PATH, tags=["reconciliation"])

# Differences that are told one by one; the rest is counted. A list of another provider's services differs in every row.
TOLD = 1000
_LIST_SCHEMA = {
    "type": "array",
    "minItems": 1,
    "items": {
        "type": "object",
        "additionalProperties": False,
        "required": list(billing_list.FIELDS),
        "properties": {
            "service": {"type": "string", "pattern": f"^{SERVICE_ID.pattern}$"},
            "paid_until": {"type": ["string", "null"], "format": "date-time"},
            "state": {"type": "string", "enum": list(BillingState)},
        },
    },
}


class DifferenceOut(BaseModel):
    """``ours`` and ``theirs`` are times for paid-further and paid-less, else states. ``outcome``: of the payment that is counted,
    as an event's; empty where nothing is mended.
    """

    kind: Kind
    service_id: str
    ours: str
    theirs: str
    outcome: str = ""
    job_id: str = ""
    detail: str = ""

    @classmethod
    def of(cls, difference: Difference, mended: Mended | None) -> DifferenceOut:
        told = cls(kind=difference.kind, service_id=difference.service_id, ours=difference.ours, theirs=difference.theirs)
        if mended is not None:
            told.outcome, told.job_id, told.detail = mended.outcome, mended.job_id, mended.detail
        return told


class ReconciliationOut(BaseModel):
    """``counts`` has every kind; of the differences themselves 1000 at most are told, what is mended first, and ``left_out`` says
    how many are not. ``terminations`` is empty where none waited, and ``releases`` says whether they go on. ``dead``: payments
    that count, of what could not be made.
    """

    source: str
    sha256: str = Field(description="Of the list as it was sent.")
    dry_run: bool
    services: int
    counts: dict[Kind, int]
    differences: list[DifferenceOut]
    left_out: int
    dead: int
    terminations: str
    releases: bool


@router.post(
    "",
    response_model=ReconciliationOut,
    openapi_extra={"requestBody": {"required": True, "content": {"application/json": {"schema": _LIST_SCHEMA}}}},
)
def reconcile(
    caller: Operator,
    context: Context,
    once: OnceOnly,
    body: RawBody,
    source: Annotated[
        str, Query(max_length=255, pattern=f"^[^{CONTROLS}]*$", description="Where the list came from; goes into the audit.")
    ] = "",
    dry_run: Annotated[bool, Query(description="Only compare; change nothing.")] = False,
    keep_waiting: Annotated[
        bool, Query(description="Terminations that wait since a downtime go on waiting, though the list has every service.")
    ] = False,
) -> JSONResponse:
    """Compare billing's own list (a JSON array, JSON lines or CSV) with our services, and count the payments that were lost."""
    given = BillingList(name=source, sha256=hashlib.sha256(body).hexdigest(), entries=billing_list.parse(body))
    if dry_run:
        return once.look(
            lambda: _answer(given, context.engine.reconciliation.look(given, keep_waiting=keep_waiting), dry_run=True)
        )

    def act(keep: Keep) -> None:
        context.engine.reconciliation.mend(
            given,
            caller.name,
            keep_waiting=keep_waiting,
            beside=lambda conn, done: keep(conn, _answer(given, done, dry_run=False)),
        )

    return once.run(act)


def _answer(given: BillingList, done: Reconciled, *, dry_run: bool) -> ReconciliationOut:
    return ReconciliationOut(
        source=given.name,
        sha256=given.sha256,
        dry_run=dry_run,
        services=done.compared,
        counts={kind: sum(one.kind == kind for one, _ in done.found) for kind in Kind},
        differences=[DifferenceOut.of(one, mended) for one, mended in done.found[:TOLD]],
        left_out=max(0, len(done.found) - TOLD),
        dead=sum(mended is not None and mended.outcome == "dead" for _, mended in done.found),
        terminations=done.terminations,
        releases=done.releases,
    )
