"""What falls due of backups: the next slot of the service's schedule that is not seen to."""

from __future__ import annotations

from collections.abc import Iterator

from orchestrator.domain.backups.schedule import interval, left_out, next_slot
from orchestrator.domain.deadlines.words import Action, Deadline
from orchestrator.domain.services import Service
from orchestrator.domain.terms import Terms


def of_backups(service: Service, terms: Terms) -> Iterator[Deadline]:
    """One at a time: that slot's backup, when it was made, sees to all that have passed by then. A service that is left out has
    no deadline; what it missed is caught up when nothing is in the way any more."""
    rule, days = terms.policy.backup.schedule, interval(terms)
    if rule is None or days is None or left_out(service, terms):
        return
    slot = next_slot(service, terms)
    if slot is not None:
        every = "day" if days == 1 else f"{days} days"
        yield Deadline(
            action=Action.BACKUP,
            at=slot,
            reason=f"a backup is made every {every}",
            clause=rule.clause,
            occurrence=slot.isoformat(),
        )
