"""What stands in an account's directory beside its home for a while: what was restored aside, and what is packed for a backup.

Pure. Each has something that explains it: the service's record, or a job that is not over. What nothing explains was left.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from orchestrator.domain.accounts import AccountFacts
from orchestrator.domain.backups.drills import DRILL
from orchestrator.domain.intents import IntentKind
from orchestrator.domain.jobs import Job

# What a check reads of its job: names below ``restored/`` that other jobs explain, and whether one explains a pack.
ASIDES, PACKING = "asides", "packing"
_PACKS = frozenset({IntentKind.BACKUP, IntentKind.RESTORE, IntentKind.TERMINATE, IntentKind.REACTIVATE})


def underway(others: Iterable[Job]) -> dict[str, object]:
    """Of the jobs that are not over, beside the one that asks."""
    names, packing = [], False
    for job in others:
        packing = packing or job.intent in _PACKS
        if job.intent == IntentKind.RESTORE:
            names.append(job.id)
        if job.intent == IntentKind.DRILL:
            names.append(f"{DRILL}-{job.id}")
    return {ASIDES: names, PACKING: packing}


def apart(facts: AccountFacts, *, kept: Sequence[str], asides: Sequence[str], packing: bool) -> tuple[str, ...]:
    """What stands there and nothing explains, and what should and does not; a sentence each. ``kept``: by the record."""
    there = set(facts.restored)
    left = [f"restored/{name} stands aside, and no record and no job says why" for name in sorted(there - {*kept, *asides})]
    gone = [f"restored/{name} is gone, and was to be kept" for name in sorted(set(kept) - there)]
    packed = []
    if facts.packed and not packing:
        which = "a pack of it stands" if facts.packed == "whole" else "half a pack of it stands"
        packed = [f"{which} in its directory, and no job that is not over needs it"]
    return (*left, *gone, *packed)
