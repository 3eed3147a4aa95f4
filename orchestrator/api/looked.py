"""Who looked at customers' data stands in the audit trail: a row for each caller, service and kind of data, at most one an hour.

More often would drown the trail, as panels look every few seconds. ``DATA`` names every route that answers with what belongs to a
customer; a test names those that do not, and fails for one that is in neither list.
"""

from __future__ import annotations

import threading
from datetime import datetime, timedelta

from fastapi import Request

from orchestrator.api.context import ApiContext
from orchestrator.store import audit

EVERY = timedelta(hours=1)
WHAT = "customer data read"
MOST = 10_000

_SERVICE = "/v1/services/{service_id}"
DATA: dict[str, str] = {
    "/v1/services": "services",
    _SERVICE: "service",
    f"{_SERVICE}/usage": "usage",
    f"{_SERVICE}/account": "account",
    f"{_SERVICE}/restores": "restores",
    f"{_SERVICE}/complaints": "complaints",
    f"{_SERVICE}/evidence": "evidence",
    f"{_SERVICE}/evidence/{{sha256}}": "evidence",
    "/v1/jobs/{job_id}": "job",
    "/v1/events/{seq}": "event",
    "/v1/messages/{message_id}": "message",
    "/v1/backups": "backups",
    "/v1/backups/{backup_id}": "backups",
    "/v1/charges": "charges",
    "/v1/charges/{charge_id}": "charges",
    "/v1/certificates/{certificate_id}": "certificate",
    "/v1/ips/leases": "addresses",
    "/v1/ips/leases/{service_id}": "addresses",
}


class Looks:
    """What was written down lately, in the memory of this process. Safe for many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last: dict[tuple[str, str, str], datetime] = {}

    def new(self, key: tuple[str, str, str], now: datetime) -> bool:
        """Whether it is to be written down (again); it then counts as written."""
        with self._lock:
            last = self._last.get(key)
            if last is not None and now - last < EVERY:
                return False
            self._last.pop(key, None)
            self._last[key] = now
            if len(self._last) > MOST:  # the longest known is forgotten, and written down once more when it comes again
                del self._last[next(iter(self._last))]
            return True


def write_down(request: Request, context: ApiContext, who: str) -> None:
    """Of one who may look, before the answer: where it cannot be written down there is none."""
    route = request.scope.get("route")
    kind = DATA.get(getattr(route, "path", "")) if request.method == "GET" else None
    if kind is None:
        return
    subject = next((str(value) for value in request.path_params.values()), "") or request.query_params.get("service_id", "")
    service_id = subject if "service_id" in request.path_params else request.query_params.get("service_id", "")
    now = context.clock.now()
    if request.app.state.looks.new((who, kind, subject), now):
        with context.db.write() as conn:
            audit.append(conn, at=now, who=who, what=WHAT, service_id=service_id, facts={"data": kind, "of": subject})
