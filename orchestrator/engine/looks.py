"""When to look at services again, for many at a time: most have nothing to do when they are looked at.

After a start every service is looked at, in the hundreds of thousands; one transaction for each would take minutes.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta

from orchestrator.domain import outcomes
from orchestrator.domain.confirmation import hindered
from orchestrator.domain.deadlines import Action, Deadline, deadlines, next_due, pending
from orchestrator.domain.jobs import Job
from orchestrator.domain.kept import of_old_copy
from orchestrator.domain.services import Service
from orchestrator.engine.misdated import put_right
from orchestrator.engine.settings import Catalog
from orchestrator.engine.turns import Turns
from orchestrator.store import deadlines as store
from orchestrator.store import jobs as job_store
from orchestrator.store import services
from orchestrator.store.database import Connection, Database
from orchestrator.store.deadlines import Seen

_log = logging.getLogger(__name__)


def left_of(service: Service, catalog: Catalog, seen: Seen) -> tuple[Deadline, ...]:
    """The deadlines of a service that were not seen to."""
    found = deadlines(service, catalog.terms_of(service), told=seen.told)
    return pending(found, seen.settled)


def pass_over(db: Database, catalog: Catalog, service_ids: Sequence[str], *, now: datetime, again: timedelta) -> tuple[str, ...]:
    """Those of these services for which something is to be done now; the others are looked at again when it is time."""
    try:
        with db.write() as conn:
            return _pass_over(conn, catalog, service_ids, now=now, again=again)
    except Exception:  # noqa: BLE001 - one service that nobody foresaw keeps the others from nothing: each has its own turn then
        _log.exception("%d services could not be looked at together, and are one by one", len(service_ids))
        return tuple(service_ids)


def _pass_over(
    conn: Connection, catalog: Catalog, service_ids: Sequence[str], *, now: datetime, again: timedelta
) -> tuple[str, ...]:
    found = {service.id: service for service in services.several(conn, service_ids)}
    found |= put_right(conn, catalog, found, now=now)
    seen = store.seen_to(conn, list(found))
    waiting = job_store.waiting_for_approval(conn, list(found))
    stale = {job.service_id for job in waiting if _stale(job, found[job.service_id], catalog, seen[job.service_id], now=now)}
    turns = Turns(conn)
    acting: list[str] = []
    looks: dict[str, datetime | None] = {}
    for service_id in service_ids:  # in their order: the longest overdue first
        service = found.get(service_id)
        left = () if service is None else left_of(service, catalog, seen[service_id])
        due = [deadline for deadline in left if deadline.at <= now and not (deadline.waits or deadline.action.marks)]
        acts = any(deadline.action != Action.BACKUP for deadline in due)
        if due and service is not None and not acts:
            acts = turns.comes(service, catalog.terms_of(service), now=now)
        if acts or service_id in stale:
            acting.append(service_id)
        else:
            looks[service_id] = next_due(left, now=now, again=again)
    store.look_again_all(conn, looks)
    return tuple(acting)


def _stale(job: Job, service: Service, catalog: Catalog, seen: Seen, *, now: datetime) -> bool:
    """Whether a job that waits is not to be done now, or can be no more."""
    never = job.workflow is None and outcomes.never(service, job.intent, old_copy=of_old_copy(job.arguments))
    return bool(never or hindered(job, service, catalog.terms_of(service), told=seen.told, now=now))
