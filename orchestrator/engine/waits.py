"""A wait of all terminations begins, and ends: the setting, with its row in the audit, in the transaction of whoever calls."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from datetime import datetime

from orchestrator.domain.guards import Wait, said
from orchestrator.store import audit, settings
from orchestrator.store.database import Connection

_log = logging.getLogger(__name__)


def tell(conn: Connection, wait: Wait, *, now: datetime) -> None:
    """Say that it began, or concerns others than before; who calls has set it."""
    facts = {"why": wait.why, "reason": wait.reason.value}
    facts |= {} if wait.until is None else {"until": wait.until.isoformat()}
    audit.append(conn, at=now, who="orchestrator", what="terminations wait", facts={**facts, **_whom(wait)})
    until = "it is released" if wait.until is None else wait.until.isoformat()
    _log.warning("no deadline terminates anything until %s: %s", until, wait.why)


def let_go(
    conn: Connection, waits: Collection[Wait], who: str, why: str, *, now: datetime, facts: Mapping[str, int] | None = None
) -> None:
    """End these and no others. None of them = success."""
    if not waits:
        return
    gone = {wait.reason for wait in waits}
    settings.put_waits(conn, [wait for wait in settings.waits(conn).values() if wait.reason not in gone], now=now)
    waited = {"why": why, "waited": said(waits), **(facts or {})}
    audit.append(conn, at=now, who=who, what="terminations released", facts=waited)
    _log.warning("terminations are released by %s (%s), which waited: %s", who, why, said(waits))


def _whom(wait: Wait) -> dict[str, object]:
    return {} if wait.count is None else {"count": wait.count, "services": list(wait.services)}
