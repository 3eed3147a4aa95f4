"""Whether a backup, or a restore, would be granted now: by the very decisions that the commands are made by. Nothing is done."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from orchestrator.domain.backups import allowance, asking, restoring
from orchestrator.domain.backups.allowance import Granted
from orchestrator.domain.backups.restoring import Asked
from orchestrator.domain.backups.words import Backup, Generation, Restore
from orchestrator.domain.intents import Refusal
from orchestrator.domain.services import Service
from orchestrator.domain.terms import Terms

# Nobody's request: no restore has this id.
_ASKED = Asked(request_id="?")


def backup(service: Service, terms: Terms, *, now: datetime) -> Refusal | None:
    """Why a backup that is asked for now is refused; None where it would be made."""
    decision = asking.requested(service, who="", why="", terms=terms, now=now).decision
    return decision if isinstance(decision, Refusal) else None


def restore(
    service: Service,
    known: Iterable[Backup],
    generations: Iterable[Generation],
    restores: Iterable[Restore],
    *,
    terms: Terms,
    now: datetime,
) -> Refusal | Granted:
    """How a restore of the newest backup that stands would count, where nobody agrees to pay; or why it is refused."""
    found = restoring.pick(known, generations, "")
    decision = restoring.decide(service, _ASKED, found, who="", terms=terms).decision
    if isinstance(decision, Refusal):
        return decision
    assert isinstance(found, Backup)  # else it was refused
    return allowance.ask(service, restoring.request_of(_ASKED, found, who=""), restores, terms=terms, now=now)
