"""The overwrite rule: from what a service's repositories hold and what is known of it to the next act, one at a time.

Pure. Whoever acts asks again after each act, and after a crash: what was broken off anywhere shows in what is held and known. No
act of this rule takes away the last verified snapshot:

- Only a snapshot that is whole, verified and still held counts. A partial one never does, nor one that nobody saw the end of.
- Something is forgotten only while as many newer ones are verified as are to be kept, at least one, in a repository that is not
  damaged; and only what the store knows. It is marked in the store first, then forgotten, then its room is given back.
- Where there is damage (found by a check, or a whole snapshot that is not there any more) nothing is added to that repository nor
  taken from it. A new generation is begun, and the old one destroyed when the new one has as many verified as are to be kept.
- A repository that is not there at all is not destroyed, for it may be there again tomorrow: its disk is not mounted. Its key is
  kept. Only where its destruction had begun is that carried to its end.
- What is neither known nor left by a job of ours is never touched, nor is an older repository that holds such a thing.
- What does not count is kept while nothing counts: a partial copy is better than none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from orchestrator.domain.backups.words import Backup, BackupState, Generation, GenerationState, Share
from orchestrator.domain.terms import Terms

TAG_SERVICE = "service"
TAG_JOB = "job"
NOT_FOUND = "its repository was not found"


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A snapshot that a repository holds. ``service`` and ``job``: of its tags, '' where it has none. ``whole``: what is known of
    the run that made it; None: nobody saw its end."""

    generation: int
    snapshot_id: str
    service: str = ""
    job: str = ""
    whole: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """``held``: of every generation that stands, as its repository says; it must have been asked of all of them. ``absent``: the
    generations whose repository was not there. ``backups``: all that is known. ``keep``: how many verified ones, at least 1.
    ``wanted``: the ids of those that a job is to restore from: they stay beside what is kept."""

    service_id: str
    generations: tuple[Generation, ...] = ()
    held: tuple[Held, ...] = ()
    absent: frozenset[int] = frozenset()
    backups: tuple[Backup, ...] = ()
    keep: int = 1
    wanted: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if self.keep < 1:
            raise ValueError("at least one backup is kept")

    @property
    def newest(self) -> Generation | None:
        return max(self.generations, key=lambda each: each.number, default=None)

    def holds(self, backup: Backup) -> bool:
        return any((held.generation, held.snapshot_id) == (backup.generation, backup.snapshot_id) for held in self.held)

    def verified(self) -> tuple[Backup, ...]:
        """Those that count, in whatever generation: from these a customer's data comes back."""
        return tuple(each for each in self.backups if each.state == BackupState.VERIFIED and self.holds(each))


# -- acts ------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Note:
    """A job of ours left this snapshot, and the store does not know of it: write it down, as whole only where that is known."""

    held: Held


@dataclass(frozen=True, slots=True)
class MarkDamaged:
    generation: int
    why: str


@dataclass(frozen=True, slots=True)
class Begin:
    """A new generation, with a key of its own. Once its number is written down it is the newest, also where its repository is
    still to be made."""

    generation: int


@dataclass(frozen=True, slots=True)
class MakeBackup:
    """The newest generation has nothing whole: a backup is due at once, whatever the schedule says."""

    generation: int


@dataclass(frozen=True, slots=True)
class Verify:
    """Read it and compare; then it is verified, or failed, or its repository is damaged."""

    generation: int
    backup_id: str
    snapshot_id: str


@dataclass(frozen=True, slots=True)
class Forget:
    """Mark these in the store, take them out of the repository by their ids, and see that they are gone."""

    generation: int
    snapshot_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Prune:
    generation: int


@dataclass(frozen=True, slots=True)
class Destroy:
    """An older generation that nothing is needed of any more: mark it in the store, then its repository goes, then its key."""

    generation: int


@dataclass(frozen=True, slots=True)
class Settled:
    """Nothing is to be done, and why."""

    reason: str


Act = Note | MarkDamaged | Begin | MakeBackup | Verify | Forget | Prune | Destroy | Settled


def keeps(terms: Terms) -> int:
    """How many backups the policy keeps; where it is silent the one that a restore needs."""
    rule = terms.policy.backup.kept
    return 1 if rule is None else max(rule.count, 1)


def told(terms: Terms) -> str:
    """Why older ones go when a new one is verified, for people."""
    rule, count = terms.policy.backup.kept, keeps(terms)
    kept = "1 backup is kept" if count == 1 else f"{count} backups are kept"
    return f"{kept}, the newest that is verified{'' if rule is None else f' [{terms.cite(rule)}]'}"


def next_act(standing: Standing) -> Act:
    """What is to be done next."""
    left = next(_unknown(standing), None)
    if left is not None:
        return Note(left)
    lost = next(_lost(standing), None)
    if lost is not None:
        if lost.generation in standing.absent:
            return MarkDamaged(lost.generation, NOT_FOUND)
        return MarkDamaged(lost.generation, f"snapshot {lost.snapshot_id} is not there any more, and was not forgotten by us")
    newest = standing.newest
    if newest is None or newest.state != GenerationState.MADE:
        return Begin(1 if newest is None else newest.number + 1)
    kept = _newest_whole(standing, newest.number)[: standing.keep]
    if not kept:
        return MakeBackup(newest.number)
    unverified = next((each for each in kept if each.state != BackupState.VERIFIED), None)
    if unverified is not None:
        return Verify(newest.number, unverified.id, unverified.snapshot_id)
    return _tidy(standing, newest.number, kept)


def foreign(standing: Standing) -> tuple[Held, ...]:
    """Snapshots that neither the store knows nor a job of ours has left. They are never touched; people are told."""
    known = _known(standing)
    ours = set(_unknown(standing))
    return tuple(each for each in standing.held if (each.generation, each.snapshot_id) not in known and each not in ours)


def _tidy(standing: Standing, newest: int, kept: tuple[Backup, ...]) -> Act:
    """All that is to be kept is verified and held: what is older, or does not count, may go."""
    wanted = [each for each in standing.backups if each.id in standing.wanted and each.state == BackupState.VERIFIED]
    ids = {each.snapshot_id for each in (*kept, *(each for each in wanted if each.generation == newest))}
    known = {each.snapshot_id for each in standing.backups if each.generation == newest and each.snapshot_id}
    held = {each.snapshot_id for each in standing.held if each.generation == newest}
    surplus = sorted((known & held) - ids)
    if surplus:
        return Forget(newest, tuple(surplus))
    if any(each.generation == newest and _unpruned(each) for each in standing.backups):
        return Prune(newest)
    older = sorted((each for each in standing.generations if each.number != newest and each.stands), key=lambda each: each.number)
    if older and len(kept) < standing.keep:
        return Settled(f"generation {older[0].number} stays until {standing.keep} in generation {newest} are verified")
    strange = {each.generation for each in foreign(standing)}
    missing = {each.number for each in older if each.state != GenerationState.DOOMED} & standing.absent
    asked = {each.generation for each in wanted}
    done_with = [each.number for each in older if each.number not in strange | missing | asked]
    if done_with:
        return Destroy(done_with[0])
    if older:
        number = older[0].number
        if number in asked:
            return Settled(f"generation {number} stays until it was restored from")
        why = "is not there, and its key is kept" if number in missing else "holds what is not ours"
        return Settled(f"generation {number} {why}: a person decides")
    return Settled(f"{len(kept)} of {standing.keep} to be kept, verified")


def _unpruned(backup: Backup) -> bool:
    return backup.forgotten_at is not None and bool(backup.snapshot_id) and backup.pruned_at is None


def _newest_whole(standing: Standing, generation: int) -> tuple[Backup, ...]:
    """The whole ones of the generation, the newest first. They are held: what is not would have been found lost before."""
    found = [each for each in standing.backups if each.generation == generation and each.state.whole]
    return tuple(sorted(found, key=lambda each: each.order, reverse=True))


def _known(standing: Standing) -> set[tuple[int, str]]:
    return {(each.generation, each.snapshot_id) for each in standing.backups if each.snapshot_id}


def _unknown(standing: Standing) -> Iterator[Held]:
    """What jobs of ours have left that the store does not know of."""
    known, jobs = _known(standing), {each.job_id for each in standing.backups}
    for each in standing.held:
        ours = each.service == standing.service_id and each.job in jobs
        if ours and (each.generation, each.snapshot_id) not in known:
            yield each


def _lost(standing: Standing) -> Iterator[Backup]:
    """Whole ones that are not held any more, of generations that are not known to be damaged."""
    sound = {each.number for each in standing.generations if each.state == GenerationState.MADE}
    for each in standing.backups:
        if each.generation in sound and each.state.whole and not standing.holds(each):
            yield each


# -- what is read of a repository at each run ------------------------------------------------------------


def last_share(backups: Iterable[Backup], generation: int) -> Share | None:
    """What was last read of the generation's packs by a check that came to its end."""
    read = [each for each in backups if each.generation == generation and each.share is not None and each.verified_at is not None]
    newest = max(read, key=lambda each: each.order, default=None)
    return None if newest is None else newest.share


def next_share(last: Share | None, *, within: int) -> Share:
    """What is to be read of the packs after ``last``: in turn, so that ``within`` runs that came to their end read every pack.

    ``last``: of the last check that came to its end in this generation; one that was broken off is done again. Where the number
    of parts has changed it begins anew.
    """
    if last is None or last.of != within:
        return Share(number=1, of=within)
    return Share(number=last.number % within + 1, of=within)
