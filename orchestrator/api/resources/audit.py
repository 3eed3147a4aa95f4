"""/v1/audit: who did what, append-only and chained by hashes."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel

from orchestrator.api import looked
from orchestrator.api.callers import Reader
from orchestrator.api.context import Context
from orchestrator.api.paging import After, Limit, Page, Word, number_after
from orchestrator.observe.logs import redact
from orchestrator.store import audit

router = APIRouter(prefix="/v1/audit", tags=["audit"])


class AuditOut(BaseModel):
    """``who`` is ``token:NAME``, ``unix:USER``, ``event SOURCE/ID`` or a part of the controller."""

    seq: int
    at: datetime
    who: str
    what: str
    service_id: str
    job_id: str
    facts: dict[str, Any]
    previous_hash: str
    hash: str


class ChainOut(BaseModel):
    """``problem`` is '' where every row follows from the one before; ``head`` is the last hash: note it elsewhere."""

    ok: bool
    entries: int
    head: str
    problem: str
    at_seq: int | None


@router.get("")
def list_audit(
    _caller: Reader,
    context: Context,
    limit: Limit = 100,
    after: After = "",
    service_id: Word = "",
    acts: Annotated[bool, Query(description="Only what was done, not what callers read of customers' data.")] = False,
) -> Page[AuditOut]:
    """The trail, the newest first."""
    without = looked.WHAT if acts else ""
    with context.db.read() as conn:
        found, following = audit.list_page(
            conn, limit=limit, after=number_after(after), service_id=service_id or None, without=without
        )
    items = [
        AuditOut(
            seq=entry.seq,
            at=entry.at,
            who=entry.who,
            what=entry.what,
            service_id=entry.service_id,
            job_id=entry.job_id,
            facts=redact(entry.facts),
            previous_hash=entry.previous_hash,
            hash=entry.hash,
        )
        for entry in found
    ]
    return Page(items=items, next=None if following is None else str(following))


@router.get("/verify")
def verify_audit(
    _caller: Reader,
    context: Context,
    head: Annotated[str, Query(pattern="^([0-9a-f]{64})?$", description="A hash noted earlier that must be in the trail.")] = "",
) -> ChainOut:
    """Read the whole trail and say whether it holds."""
    with context.db.read() as conn:
        found = audit.verify_chain(conn, head=head)
    return ChainOut(ok=found.ok, entries=found.entries, head=found.head, problem=found.problem, at_seq=found.at_seq)
