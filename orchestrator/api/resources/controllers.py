"""/v1/controllers: who works on the database, and who did."""

from __future__ import annotations

from datetime import datetime

from fastapi import APIRouter
from pydantic import BaseModel

from orchestrator.api.callers import Reader
from orchestrator.api.context import Context
from orchestrator.store import controllers
from orchestrator.store.controllers import ControllerRecord

router = APIRouter(prefix="/v1/controllers", tags=["controllers"])


class ControllerOut(BaseModel):
    """One process. ``state``: works, stopped, lost (not heard of until ``expires_at``; another took its jobs over) or replaced
    (started again in its place). ``leads``: it does what only one of them is to do. ``here``: it is the one that answers.
    """

    id: str
    hostname: str
    pid: int
    version: str
    state: str
    leads: bool
    here: bool
    started_at: datetime
    heartbeat_at: datetime
    expires_at: datetime
    ended_at: datetime | None

    @classmethod
    def of(cls, record: ControllerRecord, *, here: str) -> ControllerOut:
        return cls(
            id=record.id,
            hostname=record.hostname,
            pid=record.pid,
            version=record.version,
            state=record.ending or "works",
            leads=record.leads,
            here=record.id == here,
            started_at=record.started_at,
            heartbeat_at=record.heartbeat_at,
            expires_at=record.expires_at,
            ended_at=record.ended_at,
        )


class ControllersOut(BaseModel):
    items: list[ControllerOut]


@router.get("")
def list_controllers(_caller: Reader, context: Context) -> ControllersOut:
    """Every controller of this database, the first to have started first; those that ended as long as `jobs.keep` says."""
    with context.db.read() as conn:
        found = controllers.all_known(conn)
    return ControllersOut(items=[ControllerOut.of(each, here=context.engine.controller_id) for each in found])
