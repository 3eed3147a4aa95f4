"""Copies the controller's own state when it is time, beside all jobs, by the very steps that back up a service's directory.

So the same holds of it: a new copy is verified before an older one goes, what is broken off anywhere is taken up again, and a
damaged repository is followed by a new one.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

from orchestrator.domain.backups.promised import SHARES
from orchestrator.domain.backups.state import FOLDER, SUBJECT, StateBackups, due, refuses_to_give_up, sound
from orchestrator.domain.backups.words import Backup, BackupState, Generation, GenerationState
from orchestrator.domain.errors import Frozen, NotFound, OrchestratorError, PermanentDriverError, Refused
from orchestrator.engine.durable import Halted
from orchestrator.engine.ids import JobIds
from orchestrator.ports.repositories import SnapshotFacts
from orchestrator.ports.state_files import StateFiles
from orchestrator.steps.backup_make import BackupMake, MakeArgs
from orchestrator.steps.backup_prepare import BackupPrepare, PrepareArgs
from orchestrator.steps.backup_settle import BackupSettle, SettleArgs
from orchestrator.steps.base import Ports, StepContext
from orchestrator.steps.common import POOL_SECONDS
from orchestrator.steps.repository import UNSEEN
from orchestrator.store import audit, settings, state_copies
from orchestrator.store.database import Database

_log = logging.getLogger(__name__)
# The steps name a node in messages; this is the one that the controller runs on.
HERE = "the controller"
BY = "orchestrator"
ANEW = "the repository is damaged: the next run begins a new one (orchestrator state backup); then export the keys anew"
Say = Callable[[float, str], None]


def _unheard(_fraction: float, _sentence: str) -> None:
    """Nobody watches."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StateCopying:
    """``ports``: those of a job, with the book and the repositories of the controller's own state in them."""

    db: Database
    ports: Ports
    files: StateFiles
    rule: StateBackups
    halting: threading.Event
    ids: JobIds

    def once(self) -> Backup | None:
        """Make a copy where one is due. May be called at any time and repeated."""
        self.files.clear()
        with self.db.read() as conn:
            known, stand = state_copies.all_copies(conn), sound(state_copies.generations(conn))
        if not due(known, self.rule.every, self.ports.clock.now(), sound=stand):
            return None
        try:
            return self.make(BY)
        except Halted:
            return None

    def make(self, who: str, *, say: Say = _unheard) -> Backup:
        """Make one now, verified. Raises what a step raises, and what ``StateFiles.staged`` does; then the older ones stand."""
        job_id = self.ids.new(self.ports.clock.now())

        def progress(fraction: float, sentence: str) -> None:
            if self.halting.is_set():
                raise Halted
            say(fraction, sentence)

        try:
            made = self._make(job_id, progress)
        except OrchestratorError as exc:  # who called says it, once
            if self._damaged():
                exc.hint = ANEW
            self._tell(who, "state backup failed", job_id, {"problem": exc.message})
            raise
        self._tell(who, "state backup made", job_id, {"copy": made.id, "snapshot": made.snapshot_id, "bytes": made.size_bytes})
        return made

    def _damaged(self) -> bool:
        newest = max(self.ports.book.generations(SUBJECT), key=lambda each: each.number, default=None)
        return newest is not None and newest.state == GenerationState.DAMAGED

    def _make(self, job_id: str, progress: Say) -> Backup:
        def context(deadline: float) -> StepContext:
            return StepContext(
                job_id=job_id,
                service_id=SUBJECT,
                ports=self.ports,
                deadline=deadline,
                progress=progress,
                stopping=self.halting.is_set,
                asked_by=BY,
            )

        keep = self.rule.keep
        with self.files.staged() as directory:  # alone from here on: another process' copy is neither adopted nor given up
            self._adopt()
            there = BackupPrepare().apply(context(BackupPrepare.deadline_seconds), PrepareArgs(node=HERE, keep=keep))
            if begun := there.get("begun"):
                _log.warning("%s. What is in the safe names the old one: orchestrator backup export-keys", begun)
            making = context(BackupMake.deadline_seconds)
            args = MakeArgs(node=HERE, generation=int(there["generation"]), directory=str(directory))
            try:
                backup_id = str(BackupMake().apply(making, args)["backup"])
                settle = SettleArgs(node=HERE, backup=backup_id, directory=str(directory), keep=keep, shares=SHARES)
                BackupSettle().apply(context(BackupSettle.deadline_seconds), settle)
            except BaseException:
                BackupMake().undo(making, args, {})
                raise
        for each in self.ports.book.backups(SUBJECT):
            if each.id == backup_id:
                return each
        raise NotFound(f"the copy {backup_id} is not written down")

    def give_up(self, number: int, *, who: str, why: str, last: bool) -> Generation:
        """Look no more for a repository that is not there, or not to be had, any more. What may be left of it still opens: its
        key is that of the others. Raises NotFound; Refused; Frozen; WrongState while a copy is made."""
        now = self.ports.clock.now()
        with self.files.alone(), self.db.write() as conn:
            freeze = settings.freeze(conn)
            if freeze is not None:
                raise Frozen(f"nothing is given up: frozen by {freeze.by} ({freeze.why})", hint="orchestrator freeze off")
            known = {each.number: each for each in state_copies.generations(conn)}
            if number not in known:
                raise NotFound(f"there is no repository {FOLDER}.{number}", hint="orchestrator state list")
            refusal = refuses_to_give_up(number, known.values(), state_copies.all_copies(conn), last=last)
            if refusal is not None:
                raise Refused(f"{refusal.reason} [{refusal.rule}]", rule=refusal.rule)
            given_up = state_copies.give_up(conn, number, why=f"given up by {who}: {why}", now=now)
            facts = {"generation": number, "target": given_up.target, "why": why, "last": last}
            audit.append(conn, at=now, who=who, what="state backups given up", facts=facts)
        return given_up

    def _adopt(self) -> None:
        """Write down the copies that the store does not know of: a controller that was lost had made them, or a run that was
        killed. restic writes a snapshot when all of it is there, and what it holds is proven by its manifest when it is used."""
        book = self.ports.book
        known = book.backups(SUBJECT)
        ids, begun = {each.snapshot_id for each in known}, {each.job_id: each for each in known if not each.snapshot_id}
        for generation in (each for each in book.generations(SUBJECT) if each.state == GenerationState.MADE):
            try:
                access = book.access(generation)
                found = self.ports.repositories(HERE).snapshots(access, service_id=SUBJECT, deadline=POOL_SECONDS)
            except (NotFound, PermanentDriverError):  # the steps will say what that means
                continue
            for each in found:
                if each.id not in ids:
                    book.write(_adopted(each, generation.number, begun.get(each.job_id)))
        for left in book.backups(SUBJECT):
            if left.state == BackupState.BEGUN:
                book.write(replace(left, state=BackupState.FAILED, problem=UNSEEN))

    def _tell(self, who: str, what: str, job_id: str, facts: dict[str, object]) -> None:
        now = self.ports.clock.now()
        with self.db.write() as conn:
            audit.append(conn, at=now, who=who, what=what, facts={"run": job_id, **facts})


def _adopted(held: SnapshotFacts, generation: int, row: Backup | None) -> Backup:
    """``row``: of the run that made it, where that is known."""
    if row is None:
        row = Backup(
            id=f"{held.job_id or 'unknown'}-{held.id[:12]}",
            service_id=SUBJECT,
            job_id=held.job_id,
            generation=generation,
            begun_at=held.taken_at,
        )
    return replace(
        row,
        state=BackupState.MADE,
        problem="",
        snapshot_id=held.id,
        made_at=held.taken_at,
        size_bytes=held.bytes,
        inodes=held.files,
    )
