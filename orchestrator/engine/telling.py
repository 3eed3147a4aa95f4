"""What billing is told of a service, put into the outbox in the transaction of what it tells of."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from orchestrator.domain.backups.words import BackupState
from orchestrator.domain.decisions import Tell
from orchestrator.domain.services import Service
from orchestrator.engine.ids import JobIds
from orchestrator.store import backups, outbox
from orchestrator.store.database import Connection

CHANGED = "service.changed"
BACKUP_REFUSED = "backup.refused"
_ids = JobIds()


def tell(conn: Connection, service: Service, tells: Iterable[Tell], *, now: datetime) -> None:
    """Each message once: one of the same kind and key of the service is there already, or goes in."""
    for each in tells:
        data = {"service_id": service.id, "client_id": service.client_id, **each.data}
        message_id = f"{service.id}.{each.kind}.{each.key}"
        outbox.add(conn, message_id=message_id, kind=each.kind, service_id=service.id, data=data, now=now)


def tell_changed(conn: Connection, before: Service | None, after: Service, *, now: datetime) -> None:
    """Tell what has become of the service, where that is another than before. Of a new record there is nothing to tell."""
    if before is None:
        return
    was, is_ = standing(before), standing(after)
    if was != is_:
        tell(conn, after, [Tell(kind=CHANGED, key=_ids.new(now), data={"was": was, "is": is_})], now=now)


def tell_refused(conn: Connection, service: Service, job_id: str, *, now: datetime) -> None:
    """That a job has made no backup because there was too much: its customer makes room, or buys more."""
    made = backups.of_job(conn, job_id)
    if not made or made[-1].state != BackupState.REFUSED:
        return
    last = made[-1]
    data = {
        "job_id": job_id,
        "slot": None if last.slot is None else last.slot.isoformat(),
        "size_bytes": last.size_bytes,
        "inodes": last.inodes,
        "reason": last.problem,
    }
    tell(conn, service, [Tell(kind=BACKUP_REFUSED, key=last.id, data=data)], now=now)


def standing(service: Service) -> dict[str, Any]:
    """A service as billing sees it. ``suspended`` and ``limited``: by a hold, and proven to be in force."""
    return {
        "state": service.state.value,
        "suspended": service.stopped and service.suspension_proven_at is not None,
        "limited": service.limited and service.limited_proven_at is not None,
        "holds": sorted(hold.reason.value for hold in service.holds),
        "databases_full": service.databases_full,
    }
