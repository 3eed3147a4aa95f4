"""What falls due of a planned restart, of which its customer is told at once, and of maintenance that is announced."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime

from orchestrator.domain.announcing import occurrence
from orchestrator.domain.deadlines.words import Action, Deadline, Told
from orchestrator.domain.services import Lifecycle, Service
from orchestrator.domain.terms import Terms

CLAUSE = "nodes[].windows of nodes.yaml"
ANNOUNCED = "orchestrator node maintenance"


def of_restart(service: Service, terms: Terms, told: Told) -> Iterator[Deadline]:
    """It waits until billing has taken the notice, where there is a billing system that is told things."""
    found = service.restart
    if found is None or service.state != Lifecycle.ACTIVE or found.node != service.node:
        return
    restart = Deadline(
        action=Action.RESTART,
        at=found.at,
        reason=f"its guest is restarted between {_text(found.at, terms)} and {_text(found.until, terms)}: {found.why}",
        clause=CLAUSE,
        occurrence=found.at.isoformat(),
    )
    if not terms.windows.tells:
        yield restart
        return
    taken = (Action.NOTICE_RESTART, restart.occurrence) in told
    yield restart if taken else replace(restart, waits="no notice of it has been taken by billing")
    yield replace(restart, action=Action.NOTICE_RESTART, at=found.planned_at)


def of_announced(service: Service, terms: Terms) -> Iterator[Deadline]:
    """That the customer of what is on the node hears of it."""
    found = terms.announced
    if found is None or service.state != Lifecycle.ACTIVE or found.node != service.node:
        return
    yield Deadline(
        action=Action.NOTICE_MAINTENANCE,
        at=max(found.announced_at, found.at - terms.windows.notice),
        reason=f"maintenance from {_text(found.at, terms)} to {_text(found.until, terms)}: {found.why}",
        clause=ANNOUNCED,
        occurrence=occurrence(found),
    )


def _text(moment: datetime, terms: Terms) -> str:
    return moment.astimezone(terms.calendar.zone).isoformat(timespec="minutes")
