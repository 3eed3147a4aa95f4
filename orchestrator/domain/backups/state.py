"""The copies of the controller's own state: when one is due, when one is gone, and what stands in each of what it holds.

They are made as those of services are, by the same rule (``overwrite``), in repositories of their own. Their key is not wrapped
by the master key: it stands in a file of which the operator keeps a copy elsewhere, for with the controller that key is lost.
Pure. Times are aware, UTC.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from orchestrator.domain.backups.giving_up import RULE_LAST
from orchestrator.domain.backups.targets import Kind, Target, Way, place_of
from orchestrator.domain.backups.words import Backup, BackupState, Generation, GenerationState
from orchestrator.domain.intents import RULE_LIFECYCLE, Refusal

# What snapshots are tagged with, and the name of its directory below the target: no service can be called so.
SUBJECT = "controller"
FOLDER = "_controller"
# One that failed is tried again after so long, and no later than the next one would have been due.
AGAIN = timedelta(hours=1)
LEAST_KEY = 16
FORM = "orchestrator-state-1"
MANIFEST = "MANIFEST.json"
# In a copy: the configuration's directory, what was in the state directory, and files that the configuration names elsewhere.
CONFIG, STATE, ELSEWHERE = "config", "state", "elsewhere"
_LOCAL = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True, kw_only=True)
class StateBackups:
    """``target``: the name of where they go. ``key_file`` holds the key that opens them."""

    target: str
    key_file: Path
    every: timedelta = timedelta(days=1)
    keep: int = 7
    on_own_machine: bool = False


def own_way(target: Target) -> Way:
    """By which the controller reaches the target: it may delete."""
    return target.way if target.keeper is None else target.keeper


def on_own_machine(target: Target) -> str:
    """Why the copies would lie on the controller's own machine; '' where they do not, as far as can be told."""
    place = place_of(own_way(target).location)
    if place.kind is Kind.DIRECTORY:
        return f"a directory of node '{target.on_node}'" if target.on_node else "a directory of the controller's own machine"
    return f"{place.host}, the controller's own machine" if place.host.lower() in _LOCAL else ""


def refuses_to_give_up(number: int, generations: Iterable[Generation], copies: Iterable[Backup], *, last: bool) -> Refusal | None:
    """Why nobody stops to look for the repository of this generation; None where nothing is against it. ``last``: whoever asks
    knows that no verified copy is left without it."""
    known = {each.number: each for each in generations}
    if not known[number].stands:
        return Refusal(reason=f"{FOLDER}.{number} is {known[number].state} already", rule=RULE_LIFECYCLE)
    others = sound(each for each in known.values() if each.number != number)
    if not last and not standing(copies, sound=others):
        return Refusal(
            reason=f"no other repository has a verified copy than {FOLDER}.{number} (--last gives it up)", rule=RULE_LAST
        )
    return None


def location_of(target: Target, number: int) -> str:
    """Of the repository of one generation."""
    return own_way(target).to(FOLDER, number)


def due(copies: Iterable[Backup], every: timedelta, now: datetime, *, sound: Collection[int]) -> bool:
    """Whether one is to be begun. A clock that was set back makes none due that lies in its future, and none late either.
    ``sound``: as for ``standing``."""
    known = tuple(copies)
    good = max((each.made_at for each in standing(known, sound=sound) if each.made_at is not None), default=None)
    tried = max((each.begun_at for each in known), default=None)
    rested = tried is None or not timedelta(0) <= now - tried < min(AGAIN, every)
    return rested and (good is None or not timedelta(0) <= now - good < every)


def sound(generations: Iterable[Generation]) -> frozenset[int]:
    """The repositories in which no damage was found."""
    return frozenset(each.number for each in generations if each.state == GenerationState.MADE)


def standing(copies: Iterable[Backup], *, sound: Collection[int]) -> tuple[Backup, ...]:
    """Those that one may rely on, the newest first. ``sound``: the generations in whose repository no damage was found."""
    found = (each for each in copies if _stands(each) and each.generation in sound)
    return tuple(sorted(found, key=lambda each: each.order, reverse=True))


def _stands(copy: Backup) -> bool:
    return copy.state == BackupState.VERIFIED


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldCopy:
    """A copy of the controller's state that is, or may be, still there, with all that the state held then.

    ``expires_at``: when it goes at the latest, as long as copies are made; None: none are made any more, or nobody looks for it.
    """

    id: str
    target: str
    location: str
    taken_at: datetime
    expires_at: datetime | None


def held(
    copies: Iterable[Backup],
    places: Mapping[int, tuple[str, str]],
    rule: StateBackups | None,
    *,
    now: datetime,
    given_up: Collection[int] = (),
) -> tuple[HeldCopy, ...]:
    """Every copy that is not known to be gone, whole or not, the oldest first. ``places``: target and location by generation;
    ``given_up``: the generations that nobody looks for any more, and whose copies no newer ones take away."""
    known = sorted(copies, key=lambda each: each.order)
    good = [each for each in known if _stands(each)]
    last = max((each.made_at or each.begun_at for each in good), default=now)
    found = []
    for each in known:
        if not each.snapshot_id or each.pruned_at is not None:
            continue
        later = sum(1 for other in good if other.order > each.order)
        target, location = places.get(each.generation, ("", ""))
        ends = None if rule is None or each.generation in given_up else max(now, last + max(rule.keep - later, 1) * rule.every)
        found.append(HeldCopy(id=each.id, target=target, location=location, taken_at=each.begun_at, expires_at=ends))
    return tuple(found)


# -- what a copy holds ------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What stands in a copy, and where each part of it was. ``files``: SHA-256 by path. ``database``: the file in ``STATE``;
    ``database_url`` without a password. ``audit_rows`` and ``audit_head``: the trail's length and last hash when it was made."""

    provider: str
    taken_at: datetime
    version: str
    config_dir: str
    state_dir: str
    database: str
    database_url: str
    audit_rows: int
    audit_head: str
    files: Mapping[str, str] = field(default_factory=dict)

    def text(self) -> str:
        told = {
            "form": FORM,
            "provider": self.provider,
            "taken_at": self.taken_at.isoformat(),
            "version": self.version,
            "config_dir": self.config_dir,
            "state_dir": self.state_dir,
            "database": self.database,
            "database_url": self.database_url,
            "audit_rows": self.audit_rows,
            "audit_head": self.audit_head,
            "files": dict(sorted(self.files.items())),
        }
        return json.dumps(told, indent=1) + "\n"


def manifest_of(text: str) -> Manifest:
    """Raises ValueError where it is none."""
    told = json.loads(text)
    if not isinstance(told, dict) or told.get("form") != FORM:
        raise ValueError("it is of another form than this version knows")
    try:
        words = ("provider", "version", "config_dir", "state_dir", "database", "database_url", "audit_head")
        return Manifest(
            **{word: str(told[word]) for word in words},
            taken_at=datetime.fromisoformat(told["taken_at"]),
            audit_rows=int(told["audit_rows"]),
            files={str(path): str(digest) for path, digest in told["files"].items()},
        )
    except (KeyError, TypeError, AttributeError) as exc:
        raise ValueError(f"it lacks {exc}") from exc
