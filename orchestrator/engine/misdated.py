"""Backups that the record says were made at a time still to come: the clock was ahead then, and has been put right since.

Until that moment the schedule would ask for none. Services are looked at anew when a clock has jumped, and at a start; it is seen
then.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from orchestrator.domain.backups.schedule import misdated
from orchestrator.domain.deadlines import Action
from orchestrator.domain.services import Service
from orchestrator.engine.settings import Catalog
from orchestrator.store import audit, deadlines, services
from orchestrator.store.database import Connection, after_commit

_log = logging.getLogger(__name__)


def put_right(conn: Connection, catalog: Catalog, found: Mapping[str, Service], *, now: datetime) -> dict[str, Service]:
    """The services whose schedule goes by the calendar again from now on, as their records are then."""
    mended = {}
    for service_id, service in found.items():
        said = service.backups_seen_to
        if said is None or not misdated(service, catalog.terms_of(service), now=now):
            continue
        mended[service_id] = replace(service, backups_seen_to=now)
        services.put(conn, mended[service_id], now=now, before=service)
        deadlines.not_come(conn, service_id, Action.BACKUP, now=now)
        facts = {"said": said.isoformat(timespec="seconds"), "counted_from": now.isoformat(timespec="seconds")}
        audit.append(conn, at=now, who="orchestrator", what="backups misdated", service_id=service_id, facts=facts)
        _warn_later(conn, service_id, said)
    return mended


def _warn_later(conn: Connection, service_id: str, said: datetime) -> None:
    words = "the last scheduled backup of %s is dated %s, still to come: when it was made is unknown, the calendar counts"
    shown, more = said.isoformat(timespec="seconds"), {"service_id": service_id}
    after_commit(conn, lambda: _log.warning(words, service_id, shown, extra=more))
