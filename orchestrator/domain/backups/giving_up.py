"""Giving up a repository that is not there any more: a person's word, by which its key is destroyed. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.domain.backups.words import Backup, BackupState, Generation
from orchestrator.domain.intents import RULE_HOLDS, RULE_LIFECYCLE, IntentKind, Refusal
from orchestrator.domain.services import Service

RULE_LAST = "the last verified backup is never given up by the way"
WORKS_ON_BACKUPS = frozenset(
    {IntentKind.BACKUP, IntentKind.RESTORE, IntentKind.DRILL, IntentKind.TERMINATE, IntentKind.ERASE, IntentKind.REACTIVATE}
)


def refuses(
    service: Service, generation: Generation, *, others: Sequence[Generation], backups: Sequence[Backup], last: bool
) -> Refusal | None:
    """Why the generation is not given up; None where nothing is against it. ``others``: the service's other generations.
    ``last``: whoever asks knows that no verified backup is left without it."""
    if not generation.stands:
        return Refusal(reason=f"generation {generation.number} is {generation.state} already", rule=RULE_LIFECYCLE)
    if not service.erasable:
        return Refusal(reason="a hold forbids to destroy the service's data", rule=RULE_HOLDS)
    standing = {each.number for each in others if each.stands}
    verified = {each.generation for each in backups if each.state == BackupState.VERIFIED}
    if generation.number in verified and not verified & standing and not last:
        only = f"generation {generation.number} has the only verified backup of the service"
        return Refusal(reason=f"{only} (--last gives it up all the same)", rule=RULE_LAST)
    return None
