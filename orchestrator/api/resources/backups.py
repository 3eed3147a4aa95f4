"""/v1/backups: what was made of services' backups, what stands, and why something does not."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel

from orchestrator.api.callers import Reader
from orchestrator.api.context import Context
from orchestrator.api.paging import After, Limit, Page, Word, text_after
from orchestrator.domain.backups.words import Backup, BackupState
from orchestrator.store import backups

router = APIRouter(prefix="/v1/backups", tags=["backups"])

BackupId = Annotated[str, Path(pattern=r"^[A-Za-z0-9._-]{1,200}$", description="The backup's id.")]


class BackupOut(BaseModel):
    """One attempt at a backup. Only one in state ``verified`` counts. ``slot``: of the schedule, null = it was asked for.

    ``size_bytes`` and ``inodes``: of the source; ``stored_bytes``: what it added to the repository. ``consistency``: frozen,
    crash, stopped or files. ``share``: which part of the repository was read when it was verified.
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


@router.get("")
def list_backups(
    _caller: Reader,
    context: Context,
    limit: Limit = 100,
    after: After = "",
    service_id: Word = "",
    state: Annotated[BackupState | None, Query(description="Only backups in this state.")] = None,
) -> Page[BackupOut]:
    """Backups by id, the newest first; those that are forgotten, too."""
    with context.db.read() as conn:
        found, following = backups.list_page(
            conn,
            limit=limit,
            after=text_after(after),
            service_id=service_id or None,
            state=None if state is None else state.value,
        )
    return Page(items=[BackupOut.of(backup) for backup in found], next=following)


@router.get("/{backup_id}")
def get_backup(_caller: Reader, context: Context, backup_id: BackupId) -> BackupOut:
    """One backup."""
    with context.db.read() as conn:
        return BackupOut.of(backups.get(conn, backup_id))
