"""The repositories of the job's service as they are reached from its node, and from where things are deleted.

What is decided is in ``domain.backups.overwrite``; here it is looked at, and one act carried out. The marks in the book come
before the acts. A key goes last: what is left of a repository opens to nobody without it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from orchestrator.domain.backups.overwrite import Act, Destroy, Forget, Held, MarkDamaged, Note, Prune, Standing
from orchestrator.domain.backups.words import Backup, BackupState, Generation, GenerationState
from orchestrator.domain.errors import (
    NotFound,
    OrchestratorError,
    PermanentDriverError,
    Refused,
    TransientDriverError,
    WrongState,
)
from orchestrator.ports.repositories import DirectorySource, DiskSource, LockFacts, Repositories, RepositoryAccess, Source
from orchestrator.steps.base import StepContext
from orchestrator.steps.common import POOL_SECONDS, Timer

UNSEEN = "nobody saw how its run ended"
DAMAGED = "damaged"
"""The reason of an error where the repository itself is not what was written to it."""
NO_TARGET = "no-target"
"""The reason where not even the directory is there that repositories lie in: nobody can say what became of them."""


def source_of(disk: DiskSource | None, directory: str) -> Source:
    """Raises PermanentDriverError where neither is given."""
    if disk is not None:
        return disk
    if not directory:
        raise PermanentDriverError("the backup has neither a disk nor a directory", hint="mend the playbook")
    return DirectorySource(directory)


def restorable(ctx: StepContext, backup_id: str) -> Backup:
    """The backup that is to be restored. Raises NotFound, WrongState where it does not count any more."""
    found = next((each for each in ctx.ports.book.backups(ctx.service_id) if each.id == backup_id), None)
    if found is None:
        raise NotFound(f"no backup {backup_id} of {ctx.service_id} is known")
    if found.state != BackupState.VERIFIED:
        raise WrongState(f"the backup {found.id} is {found.state}: it cannot be restored from", hint="restore a newer one")
    return found


class Shelf:
    """Everything that is held for the service, one look or one act at a time."""

    def __init__(self, ctx: StepContext, node: str, *, keep: int = 1, ends: bool = False) -> None:
        """``ends``: the service does, and nothing stays for who would restore from it."""
        self._ctx = ctx
        self._node = node
        self._keep = keep
        self._ends = ends
        self._timer = Timer(ctx)

    def look(self) -> Standing:
        """What every generation that stands holds, and what the book knows. One that is damaged may not even tell, and its target
        may be gone; while that of one in use is not there TransientDriverError is raised."""
        generations = self._ctx.ports.book.generations(self._ctx.service_id)
        held: list[Held] = []
        absent = set()
        for generation in (each for each in generations if each.stands):
            found = self._held(generation)
            held += found or ()
            if found is None:
                absent.add(generation.number)
        return Standing(
            service_id=self._ctx.service_id,
            generations=self._ctx.ports.book.generations(self._ctx.service_id),  # one may have been found to be damaged
            held=tuple(held),
            absent=frozenset(absent),
            backups=self._ctx.ports.book.backups(self._ctx.service_id),
            keep=self._keep,
            wanted=frozenset() if self._ends else self._ctx.ports.book.wanted(self._ctx.service_id),
        )

    def _held(self, generation: Generation) -> tuple[Held, ...] | None:
        there, access = self.on_node(generation)
        try:
            found = there.snapshots(access, deadline=self._timer.left(POOL_SECONDS))
        except NotFound:
            return None
        except TransientDriverError as exc:
            if generation.state == GenerationState.MADE or exc.details.get("reason") != NO_TARGET:
                raise
            return None
        except PermanentDriverError as exc:
            if generation.state == GenerationState.MADE and not self._found(generation.number, exc):
                raise
            return ()
        return tuple(
            Held(generation=generation.number, snapshot_id=each.id, service=each.service_id, job=each.job_id) for each in found
        )

    def generation(self, number: int) -> Generation:
        """Raises NotFound."""
        for each in self._ctx.ports.book.generations(self._ctx.service_id):
            if each.number == number:
                return each
        raise NotFound(f"service {self._ctx.service_id} has no generation {number} of its backups")

    def on_node(self, generation: Generation) -> tuple[Repositories, RepositoryAccess]:
        """By which snapshots are made and read."""
        return self._ctx.ports.repositories(self._node), self._ctx.ports.book.access(generation)

    def by_keeper(self, generation: Generation) -> tuple[Repositories, RepositoryAccess]:
        """By which things are deleted: the controller's own way to the target, or the node's where it has no other."""
        there, access = self.on_node(generation)
        keepers = self._ctx.ports.book.access(generation, keeper=True)
        return (there, access) if keepers == access else (self._ctx.ports.keeper, keepers)

    def unlock(self, generation: Generation) -> None:
        """Take away the locks of runs of ours that are proven dead.

        Those of others stay, whatever they are: raises TransientDriverError, before anything is added that could not be verified.
        """
        found: list[LockFacts] = []
        for there, access in _both(self.on_node(generation), self.by_keeper(generation)):
            found += there.unlock(access, deadline=self._timer.left(POOL_SECONDS))
        ours = {lock.id for lock in found if lock.ours}  # the node's are the keeper's strangers, and the other way round
        for lock in found:
            if lock.id not in ours:
                raise TransientDriverError(
                    f"the repository is locked by process {lock.pid} on {lock.host} since {lock.since:%Y-%m-%d %H:%M} UTC",
                    hint="it is none of ours and stays: see whose it is, and remove it by 'restic unlock' if nobody's",
                )

    @contextmanager
    def minding(self, generation: int) -> Iterator[None]:
        """Damage that a run meets with is written down, and its error goes on: nothing is added to such a repository any more."""
        try:
            yield
        except (PermanentDriverError, Refused) as exc:
            self._found(generation, exc)
            raise

    def _found(self, generation: int, problem: OrchestratorError) -> bool:
        """Whether it was damage."""
        if problem.details.get("reason") != DAMAGED:
            return False
        self._mark(generation, GenerationState.DAMAGED, problem.message)
        return True

    # -- acts ------------------------------------------------------------

    def carry(self, act: Act, *, why: str) -> bool:
        """Carry the act out, and say whether it was one that needs no more than that. ``why``: what replaces a generation."""
        match act:
            case Note():
                self._note(act)
            case MarkDamaged():
                self._mark(act.generation, GenerationState.DAMAGED, act.why)
            case Forget():
                self._forget(act)
            case Prune():
                self._prune(act)
            case Destroy():
                self._destroy(act, why=why)
            case _:
                return False
        return True

    def _note(self, act: Note) -> None:
        """Write down what a run left that did not come to its end. It is never whole."""
        held, now = act.held, self._ctx.ports.clock.now()
        self._ctx.ports.book.write(
            Backup(
                id=f"{held.job}-{held.snapshot_id[:12]}",
                service_id=self._ctx.service_id,
                job_id=held.job,
                generation=held.generation,
                begun_at=now,
                state=BackupState.PARTIAL,
                snapshot_id=held.snapshot_id,
                problem=UNSEEN,
            )
        )

    def _forget(self, act: Forget) -> None:
        """Their room is given back by the same call. Raises PermanentDriverError where one of them is still there afterwards."""
        known = self._ctx.ports.book.mark_forgotten(self._ctx.service_id, act.generation, act.snapshot_ids, ends=self._ends)
        there, access = self.by_keeper(self.generation(act.generation))
        with self.minding(act.generation):
            left = there.forget(access, known, prune=True, deadline=self._timer.left(), progress=self._ctx.progress)
        still = sorted(set(known) & set(left))
        if still:
            raise PermanentDriverError(f"{len(still)} forgotten snapshots are still held: {', '.join(still)}")
        self._ctx.ports.book.mark_pruned(self._ctx.service_id, act.generation)

    def _prune(self, act: Prune) -> None:
        there, access = self.by_keeper(self.generation(act.generation))
        with self.minding(act.generation):
            there.forget(access, (), prune=True, deadline=self._timer.left(), progress=self._ctx.progress)
        self._ctx.ports.book.mark_pruned(self._ctx.service_id, act.generation)

    def _destroy(self, act: Destroy, *, why: str, state: GenerationState = GenerationState.DESTROYED) -> None:
        """The repository, this node's cache of it, and then its key, which opens nothing there any more."""
        generation = self.generation(act.generation)
        if state == GenerationState.DESTROYED:
            self._mark(generation.number, GenerationState.DOOMED, why)
        there, access = self.by_keeper(generation)
        there.destroy(access, deadline=self._timer.left())
        self._prove_shut(generation)
        self.drop_cache(generation)
        self._mark(generation.number, state, why)

    def end(self, generation: Generation, *, why: str) -> None:
        """Destroy it though nothing replaces it. One that is not there, and not by our hand, is given up: its key is destroyed.

        Raises what the driver does where the place itself is not there, or not reached: then nobody can say that it is gone.
        """
        absent = generation.state != GenerationState.DOOMED and self._absent(generation)
        state = GenerationState.GIVEN_UP if absent else GenerationState.DESTROYED
        self._destroy(Destroy(generation.number), why=why, state=state)

    def drop_cache(self, generation: Generation) -> None:
        """What this node keeps of the repository, so that it is read faster."""
        node, opened = self.on_node(generation)
        node.destroy(opened, only_cache=True, deadline=self._timer.left(POOL_SECONDS))

    def _absent(self, generation: Generation) -> bool:
        try:
            return self._held(generation) is None
        except PermanentDriverError:  # whatever is wrong with it, something is there
            return False

    def _prove_shut(self, generation: Generation) -> None:
        """See that its key opens nothing any more. Raises PermanentDriverError where it does."""
        for there, access in _both(self.on_node(generation), self.by_keeper(generation)):
            try:
                there.snapshots(access, deadline=self._timer.left(POOL_SECONDS))
            except NotFound:
                continue
            raise PermanentDriverError(
                f"generation {generation.number} of the backups of {self._ctx.service_id} was destroyed, and still opens",
                hint="an operator has to look",
            )

    def _mark(self, generation: int, state: GenerationState, why: str) -> None:
        self._ctx.ports.book.mark(self._ctx.service_id, generation, state, why=why)


Way = tuple[Repositories, RepositoryAccess]


def _both(one: Way, other: Way) -> tuple[Way, ...]:
    """Each, and once where they are the same."""
    return (one,) if one[1] == other[1] else (one, other)
