"""A restore of a guest, or of an account, as it is decided on: from which backup, and whether its service may have one now.

Pure. Whether it is included or costs something is decided in ``allowance``, on what is known of the others.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from orchestrator.domain.backups import parts
from orchestrator.domain.backups.allowance import Request
from orchestrator.domain.backups.parts import ALL, Parts
from orchestrator.domain.backups.words import Backup, BackupState, Generation, GenerationState
from orchestrator.domain.errors import NotFound
from orchestrator.domain.intents import Intent, IntentKind, Refusal
from orchestrator.domain.kept import ROLE
from orchestrator.domain.permissions import Ask, may
from orchestrator.domain.received import Received, refused
from orchestrator.domain.services import Service
from orchestrator.domain.terms import Terms

RULE_VERIFIED = "only verified backups are restored"
# The arguments of a job, beside what its volume is for: the backup that it restores, and whose request it carries out.
BACKUP = "backup"
REQUEST = "request"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A restore as somebody asks for it. ``request_id``: the same again is the same restore; ``backup_id`` '' = the newest that
    counts. ``beside``: onto a new volume beside the disk, or into a directory beside the home, instead of in its place.
    ``parts``: of an account. ``pay``: what it costs may be charged."""

    request_id: str
    backup_id: str = ""
    beside: bool = False
    parts: Parts = ALL
    pay: bool = False
    why: str = ""


def pick(
    known: Iterable[Backup], generations: Iterable[Generation], backup_id: str, *, what: str = "restore"
) -> Backup | Refusal:
    """The backup that is meant; the newest verified one where none is named, of a repository that is sound if there is one.
    ``what`` is asked for: a restore, or a drill.

    Raises NotFound where there is no such backup of the service.
    """
    known = tuple(known)
    states = {each.number: each.state for each in generations}
    standing = [each for each in known if each.state == BackupState.VERIFIED and _stands(states.get(each.generation))]
    if not backup_id:
        newest = max(standing, key=lambda each: (_sound(states[each.generation]), each.order), default=None)
        return newest or Refusal(reason=f"{what} refused: no verified backup of it stands", rule=RULE_VERIFIED)
    named = next((each for each in known if each.id == backup_id), None)
    if named is None:
        raise NotFound(f"there is no backup {backup_id} of this service", hint="orchestrator backup list --service SERVICE")
    if named in standing:
        return named
    why = named.state.value if named.state != BackupState.VERIFIED else "destroyed with its repository"
    return Refusal(reason=f"{what} refused: backup {named.id} is {why}", rule=RULE_VERIFIED)


def _stands(state: GenerationState | None) -> bool:
    return state in (GenerationState.MADE, GenerationState.DAMAGED)


def _sound(state: GenerationState) -> bool:
    return state == GenerationState.MADE


def request_of(asked: Asked, backup: Backup, *, who: str) -> Request:
    """As the allowance takes it."""
    return Request(id=asked.request_id, snapshot_id=backup.snapshot_id, size_bytes=backup.size_bytes, asked_by=who, pay=asked.pay)


def decide(service: Service, asked: Asked, backup: Backup | Refusal, *, who: str, terms: Terms) -> Received:
    """Restore it, unless the policy, a hold or the service's state is against it, or it has no such parts.

    Raises RequestError for parts that are none.
    """
    apart = parts.refuses(asked.parts, kind=terms.kind, beside=asked.beside)
    if apart is not None:
        return refused(service, apart.reason, apart.rule)
    arguments: dict[str, object] = {
        BACKUP: "" if isinstance(backup, Refusal) else backup.id,
        REQUEST: asked.request_id,
        **parts.arguments(asked.parts, kind=terms.kind, beside=asked.beside),
    }
    received = again(service, arguments, who=who, why=asked.why, terms=terms)
    if isinstance(backup, Refusal) and isinstance(received.decision, Intent):
        return refused(service, backup.reason, backup.rule)
    return received


def again(service: Service, arguments: Mapping[str, object], *, who: str, why: str, terms: Terms) -> Received:
    """The restore that these arguments of a job ask for, first or once more."""
    refusal = may(Ask.RESTORE, service, terms)
    if refusal is not None:
        return refused(service, refusal.reason, refusal.rule)
    if not {BACKUP, ROLE, REQUEST} <= arguments.keys():
        return refused(service, "restore refused: it is asked for by the command restore", RULE_VERIFIED)
    intent = Intent.on(IntentKind.RESTORE, service, reason=why or "asked for", who=who, arguments=arguments)
    return Received(service=service, decision=intent)
