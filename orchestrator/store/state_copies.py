"""The copies of the controller's own state, as they are written down, and the book in which the steps of a backup read of them.

A handful of rows a week: they are read whole. A row outlives its snapshot, and says what was made, verified and forgotten.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from orchestrator.domain.backups.state import SUBJECT, StateBackups, location_of, own_way, sound, standing
from orchestrator.domain.backups.state import HeldCopy as HeldCopy
from orchestrator.domain.backups.state import held as held_of
from orchestrator.domain.backups.targets import Target
from orchestrator.domain.backups.words import Backup, BackupState, Generation, GenerationState, Share
from orchestrator.domain.errors import NotFound, Refused, WrongState
from orchestrator.ports.backup_book import Traces
from orchestrator.ports.clock import Clock
from orchestrator.ports.repositories import RepositoryAccess
from orchestrator.store.backup_book import Places
from orchestrator.store.database import Connection, Database
from orchestrator.store.tables import state_copies as copies
from orchestrator.store.tables import state_repositories as repositories


def all_copies(conn: Connection) -> tuple[Backup, ...]:
    """All that were ever begun, the first first."""
    return tuple(_copy(row) for row in conn.execute(sa.select(copies).order_by(copies.c.number)))


def generations(conn: Connection) -> tuple[Generation, ...]:
    """The repositories, the first first."""
    return tuple(_generation(row) for row in conn.execute(sa.select(repositories).order_by(repositories.c.number)))


def damaged(conn: Connection) -> int:
    """How many repositories stand in which damage was found."""
    return sum(1 for each in generations(conn) if each.state == GenerationState.DAMAGED)


def relied_on(conn: Connection) -> tuple[Backup, ...]:
    """The verified copies in repositories in which no damage was found, the newest first."""
    return standing(all_copies(conn), sound=sound(generations(conn)))


def give_up(conn: Connection, number: int, *, why: str, now: datetime) -> Generation:
    """Nobody looks for this repository any more. Its copies do not count, and are not called gone: the key that opens them is
    that of the others. Raises NotFound."""
    given_up = replace(_generation_of(conn, number), state=GenerationState.GIVEN_UP, why=why, destroyed_at=now)
    put_generation(conn, given_up)
    for each in _within(conn, number):
        if each.forgotten_at is None:
            put(conn, replace(each, state=each.state.forgotten, forgotten_at=now))
    return given_up


def put(conn: Connection, copy: Backup) -> None:
    """Write the whole row, whether it is new or not. A new one is numbered after all that are there."""
    values = {column.name: getattr(copy, column.name) for column in copies.columns} | {
        "state": copy.state.value,
        "share": "" if copy.share is None else str(copy.share),
        "left_out": list(copy.left_out),
    }
    del values["number"]  # it stays what it was when the row was new
    if conn.execute(sa.update(copies).where(copies.c.id == copy.id).values(**values)).rowcount == 0:
        last = conn.execute(sa.select(sa.func.coalesce(sa.func.max(copies.c.number), 0))).scalar_one()
        conn.execute(sa.insert(copies).values(**values, number=last + 1))


def put_generation(conn: Connection, generation: Generation) -> None:
    values = {column.name: getattr(generation, column.name) for column in repositories.columns}
    values |= {"state": generation.state.value}
    mine = repositories.c.number == generation.number
    if conn.execute(sa.update(repositories).where(mine).values(**values)).rowcount == 0:
        conn.execute(sa.insert(repositories).values(**values))


def state_copies(
    conn: Connection, targets: Mapping[str, Target], rule: StateBackups | None, *, now: datetime
) -> tuple[HeldCopy, ...]:
    """Every copy of the controller's state that is not known to be gone, with where it is and when it goes, the oldest first.

    ``targets`` and ``rule`` are those of the configuration (``backups.targets``, ``backups.state``).
    """
    known = generations(conn)
    places = {each.number: (each.target, _location(targets.get(each.target), each.number)) for each in known}
    given_up = frozenset(each.number for each in known if each.state == GenerationState.GIVEN_UP)
    return held_of(all_copies(conn), places, rule, now=now, given_up=given_up)


def _location(target: Target | None, number: int) -> str:
    return "" if target is None else location_of(target, number)


class StateBook:
    """The port BackupBook for the one subject that the controller itself is. ``key``: the key of all its repositories."""

    def __init__(self, db: Database, *, rule: StateBackups, places: Places, key: Callable[[], str], clock: Clock) -> None:
        self._db = db
        self._rule = rule
        self._places = places
        self._key = key
        self._clock = clock

    def generations(self, service_id: str) -> tuple[Generation, ...]:
        """See the port."""
        _ours(service_id)
        with self._db.read() as conn:
            return generations(conn)

    def begin(self, service_id: str, *, node: str) -> Generation:
        """See the port. The target is the one of the configuration."""
        _ours(service_id)
        target = self._places.target(self._rule.target)
        with self._db.write() as conn:
            number = max((each.number for each in generations(conn)), default=0) + 1
            made = Generation(service_id=SUBJECT, number=number, target=target.name, wrapped_key=b"", made_at=self._clock.now())
            put_generation(conn, made)
        return made

    def access(self, generation: Generation, *, keeper: bool = False) -> RepositoryAccess:
        """See the port. The controller has one way, by which it may delete."""
        with self._db.read() as conn:
            known = _generation_of(conn, generation.number)
        if not known.stands:
            raise WrongState(f"generation {known.number} of the copies of the controller's state was destroyed")
        target = self._places.target(known.target)
        return self._places.access(own_way(target), location_of(target, known.number), self._key())

    def backups(self, service_id: str) -> tuple[Backup, ...]:
        """See the port."""
        _ours(service_id)
        with self._db.read() as conn:
            return all_copies(conn)

    def wanted(self, service_id: str) -> frozenset[str]:
        """See the port. No job restores them."""
        _ours(service_id)
        return frozenset()

    def write(self, backup: Backup) -> None:
        """See the port."""
        _ours(backup.service_id)
        with self._db.write() as conn:
            put(conn, backup)

    def mark_forgotten(
        self, service_id: str, number: int, snapshot_ids: Collection[str], *, ends: bool = False
    ) -> tuple[str, ...]:
        """See the port."""
        _ours(service_id)
        with self._db.write() as conn:
            known = [each for each in _within(conn, number) if each.snapshot_id in snapshot_ids]
            for each in known:
                if each.forgotten_at is None:
                    put(conn, replace(each, state=each.state.forgotten, forgotten_at=self._clock.now()))
        return tuple(sorted(each.snapshot_id for each in known))

    def mark_pruned(self, service_id: str, number: int) -> None:
        """See the port."""
        _ours(service_id)
        with self._db.write() as conn:
            for each in _within(conn, number):
                if each.forgotten_at is not None and each.pruned_at is None:
                    put(conn, replace(each, pruned_at=self._clock.now()))

    def mark(self, service_id: str, number: int, state: GenerationState, *, why: str) -> None:
        """See the port."""
        _ours(service_id)
        now = self._clock.now()
        with self._db.write() as conn:
            known = _generation_of(conn, number)
            if state == GenerationState.DAMAGED and known.state == GenerationState.MADE:
                put_generation(conn, replace(known, state=state, why=why, damaged_at=now))
            elif state == GenerationState.DOOMED and known.stands:
                put_generation(conn, replace(known, state=state, why=why))
            elif state == GenerationState.DESTROYED and known.stands:
                put_generation(conn, replace(known, state=state, why=why, destroyed_at=now))
                for each in _within(conn, number):
                    if each.pruned_at is None:
                        gone = each.forgotten_at or now
                        put(conn, replace(each, state=each.state.forgotten, forgotten_at=gone, pruned_at=now))

    def traces(self, service_id: str) -> Traces:
        """See the port. No other copies are known of the copies themselves."""
        _ours(service_id)
        return Traces()


def _ours(service_id: str) -> None:
    """No service's backup is ever written among these."""
    if service_id != SUBJECT:
        raise Refused(f"this book is of the controller's own state, not of {service_id}", rule="copies of the controller's state")


def _within(conn: Connection, number: int) -> tuple[Backup, ...]:
    """What left a snapshot in the generation. Raises NotFound."""
    _generation_of(conn, number)
    return tuple(each for each in all_copies(conn) if each.generation == number and each.snapshot_id)


def _generation_of(conn: Connection, number: int) -> Generation:
    for each in generations(conn):
        if each.number == number:
            return each
    raise NotFound(f"there is no generation {number} of the copies of the controller's state")


def _generation(row: sa.Row[Any]) -> Generation:
    values = dict(row._mapping) | {"state": GenerationState(row.state)}
    return Generation(service_id=SUBJECT, wrapped_key=b"", **values)


def _copy(row: sa.Row[Any]) -> Backup:
    number, _, of = row.share.partition("/")
    read = {
        "state": BackupState(row.state),
        "share": Share(number=int(number), of=int(of)) if row.share else None,
        "left_out": tuple(row.left_out),
    }
    return Backup(service_id=SUBJECT, consistency="files", **dict(row._mapping) | read)
