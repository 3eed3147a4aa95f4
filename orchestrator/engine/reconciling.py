"""Billing's own list against the store: payments that were lost are counted, everything else is told.

Each service that is mended is one transaction, with the event as it would have come, its job, and a row of audit that names the
list. Whatever ends it in the middle, the list may be given again: what was mended is no difference any more.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime

from orchestrator.domain.events import Event
from orchestrator.domain.guards import said
from orchestrator.domain.reconciliation import (
    BillingList,
    Difference,
    Entry,
    Kind,
    Mended,
    Reconciled,
    compare,
    paid_further,
    payment,
    uncovered,
)
from orchestrator.domain.services import Service
from orchestrator.engine.acts import Works
from orchestrator.engine.guard import settle_payments
from orchestrator.engine.intake import Acceptance, Intake
from orchestrator.engine.settings import Beside, nothing_beside
from orchestrator.store import audit, events, services, settings
from orchestrator.store.database import Connection

# As no billing system's name can be: what comes from there came out of a list.
SOURCE = "own list"
_PAGE = 500
_Found = Sequence[tuple[Difference, Mended | None]]


class Reconciliation:
    """Compares, and mends what is to be mended."""

    def __init__(self, works: Works, *, intake: Intake, wake: Callable[[], None]) -> None:
        self._works = works
        self._intake = intake
        self._wake = wake

    def look(self, given: BillingList, *, keep_waiting: bool) -> Reconciled:
        """What ``mend`` would find, and whether it would release; changes nothing."""
        found = tuple((one, None) for one in compare(self._services(), given.entries))
        with self._works.db.read() as conn:
            return self._result(conn, given, found, keep_waiting=keep_waiting, would=True)

    def mend(
        self, given: BillingList, who: str, *, keep_waiting: bool, beside: Beside[Reconciled] = nothing_beside
    ) -> Reconciled:
        """Count the payments that were lost; then let deadlines terminate again, unless something keeps them.

        Raises StoreUnavailable; what was mended until then stays mended.
        """
        entries = {entry.service_id: entry for entry in given.entries}
        differing = compare(self._services(), given.entries)
        found = tuple((one, self._mend(given, entries[one.service_id], who) if one.mends else None) for one in differing)
        with self._works.db.write() as conn:
            result = self._conclude(conn, given, found, who, keep_waiting=keep_waiting)
            beside(conn, result)
        self._wake()
        return result

    def _services(self) -> Iterator[Service]:
        after: str | None = None
        while True:
            with self._works.db.read() as conn:
                page, after = services.list_page(conn, limit=_PAGE, after=after)
            yield from page
            if after is None:
                return

    def _mend(self, given: BillingList, entry: Entry, who: str) -> Mended:
        now = self._works.clock.now()
        with self._works.db.write() as conn:
            return self._count(conn, given, entry, who, now)

    def _count(self, conn: Connection, given: BillingList, entry: Entry, who: str, now: datetime) -> Mended:
        """Look again, in the transaction that counts: the payment itself, or a refund, may have come meanwhile."""
        service = services.get(conn, entry.service_id)
        if service is None or not paid_further(service, entry):
            return Mended(outcome="nothing", job_id="", detail="the payment came meanwhile")
        event = payment(service, entry, source=SOURCE, event_id=f"{given.sha256[:16]}.{service.id}", now=now)
        if events.get(conn, event.source, event.id) is not None:
            return Mended(
                outcome="duplicate", job_id="", detail="this very list was counted before, and the payment given back since"
            )
        body = _body(event)
        taken = self._intake.take(conn, event, body=body, body_sha256=hashlib.sha256(body).hexdigest(), now=now)
        audit.append(
            conn,
            at=now,
            who=who,
            what="reconciled",
            service_id=service.id,
            job_id=taken.job_id,
            facts={
                **_origin(given),
                "difference": Kind.PAID_FURTHER.value,
                "paid_until": {"was": _text(service.paid_until), "billing": _text(entry.paid_until)},
                "outcome": taken.outcome,
                "detail": taken.detail,
            },
        )
        return _mended(taken)

    def _conclude(
        self,
        conn: Connection,
        given: BillingList,
        found: _Found,
        who: str,
        *,
        keep_waiting: bool,
    ) -> Reconciled:
        now = self._works.clock.now()
        result = self._result(conn, given, found, keep_waiting=keep_waiting, would=False)
        counts = {kind.value: sum(one.kind == kind for one, _ in found) for kind in Kind}
        facts = {**_origin(given), "services": result.compared, "differences": counts}
        audit.append(conn, at=now, who=who, what="reconciliation", facts=facts | {"terminations": result.terminations})
        if not _kept_by(found, keep_waiting):
            settle_payments(conn, who, f"reconciled with {given.name or 'a list'} (sha256 {given.sha256})", now=now)
        return result

    def _result(self, conn: Connection, given: BillingList, found: _Found, *, keep_waiting: bool, would: bool) -> Reconciled:
        result = Reconciled(compared=len(given.entries), found=tuple(found))
        waits = settings.waits(conn).values()
        if not waits:
            return result
        kept = _kept_by(found, keep_waiting)
        others = [wait for wait in waits if not wait.reason.payments]
        if others and not kept:  # whatever was paid: no list says that a clock is right, or agrees to a policy
            return replace(result, terminations=_told(said(others), "billing's list does not settle it", would=would))
        return replace(result, terminations=_told(said(waits), kept, would=would), releases=not kept)


def _kept_by(found: _Found, keep_waiting: bool) -> str:
    """Why terminations go on waiting; '' = they do not."""
    if keep_waiting:
        return "as was asked"
    missing = uncovered(one for one, _ in found)
    if missing:
        return f"the list lacks {missing} of our services, and says nothing of their payments"
    return ""


def _told(why: str, kept: str, *, would: bool) -> str:
    if kept:
        return f"terminations {'would go on' if would else 'go on'} waiting: {kept} ({why})"
    return f"terminations {'would be' if would else 'are'} released ({why})"


def _mended(taken: Acceptance) -> Mended:
    return Mended(outcome=taken.outcome, job_id=taken.job_id, detail=taken.detail)


def _origin(given: BillingList) -> dict[str, str]:
    return {"list": given.name, "sha256": given.sha256}


def _body(event: Event) -> bytes:
    """As billing would have sent it, so that it can be read and processed once more as any other."""
    data = {"service_id": event.service_id, "paid_until": _text(event.paid_until), "reason": event.reason}
    return json.dumps({"type": event.type.value, "data": data}, sort_keys=True).encode("ascii")


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
