"""What falls due of a planned restart: its customer is told at once, and it is done in its window."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime

from orchestrator.domain.deadlines.words import Action, Deadline, Told
from orchestrator.domain.services import Lifecycle, Service
from orchestrator.domain.terms import Terms

CLAUSE = "nodes[].windows of nodes.yaml"


def of_restart(service: Service, terms: Terms, told: Told) -> Iterator[Deadline]:
    """It waits until billing has taken the notice, where there is a billing system that is told things."""
    found = service.restart
    if found is None or service.state != Lifecycle.ACTIVE or found.node != service.node:
        return
    occurrence = found.at.isoformat()

    def text(moment: datetime) -> str:
        return moment.astimezone(terms.calendar.zone).isoformat(timespec="minutes")

    restart = Deadline(
        action=Action.RESTART,
        at=found.at,
        reason=f"its guest is restarted between {text(found.at)} and {text(found.until)}: {found.why}",
        clause=CLAUSE,
        occurrence=occurrence,
    )
    if not terms.windows.tells:
        yield restart
        return
    taken = (Action.NOTICE_RESTART, occurrence) in told
    yield restart if taken else replace(restart, waits="no notice of it has been taken by billing")
    yield replace(restart, action=Action.NOTICE_RESTART, at=found.planned_at)
