"""Repositories, backups and restores of services. Every function runs inside the caller's transaction.

What is counted is counted from rows. A backup's row outlives its snapshot: it says what was made, verified and forgotten, and
for good what failed.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from orchestrator.domain.backups import allowance
from orchestrator.domain.backups.overwrite import Held, Standing
from orchestrator.domain.backups.words import (
    CAME_TO_NOTHING,
    ENDED,
    Backup,
    BackupState,
    Generation,
    GenerationState,
    Restore,
    RestoreState,
    Share,
)
from orchestrator.domain.charges import Charge
from orchestrator.domain.errors import AlreadyExists, NotFound, WrongState
from orchestrator.store import charges
from orchestrator.store.database import Connection
from orchestrator.store.paging import page
from orchestrator.store.tables import backups, repositories, restores

# BackupState.forgotten, for many rows at once.
_FORGOTTEN = sa.case(
    (backups.c.state.in_([state.value for state in CAME_TO_NOTHING]), backups.c.state), else_=BackupState.FORGOTTEN.value
)

# -- repositories ------------------------------------------------------------


def begin_generation(conn: Connection, generation: Generation) -> None:
    """Write a new generation down, before its repository is made. Raises AlreadyExists where its number is taken."""
    if any(each.number == generation.number for each in generations(conn, generation.service_id)):
        raise AlreadyExists(f"service {generation.service_id} has a generation {generation.number} of its backups already")
    conn.execute(sa.insert(repositories).values(**asdict(generation) | {"state": generation.state.value}))


def generations(conn: Connection, service_id: str) -> tuple[Generation, ...]:
    """All that the service ever had, the first first."""
    query = sa.select(repositories).where(repositories.c.service_id == service_id).order_by(repositories.c.number)
    return tuple(_generation(row) for row in conn.execute(query))


def generation(conn: Connection, service_id: str, number: int) -> Generation:
    """Raises NotFound."""
    found = next((each for each in generations(conn, service_id) if each.number == number), None)
    if found is None:
        raise NotFound(f"service {service_id} has no generation {number} of its backups")
    return found


def mark_damaged(conn: Connection, service_id: str, number: int, *, why: str, now: datetime) -> Generation:
    """Since when and why it cannot be relied on; the first of several reasons is kept. One that is gone stays gone."""
    known = generation(conn, service_id, number)
    if known.state == GenerationState.MADE:
        _change(conn, replace(known, state=GenerationState.DAMAGED, why=why, damaged_at=now))
    return generation(conn, service_id, number)


def mark_doomed(conn: Connection, service_id: str, number: int, *, why: str) -> Generation:
    """It is to be destroyed: the mark that comes before the act."""
    known = generation(conn, service_id, number)
    if known.stands and known.state != GenerationState.DOOMED:
        _change(conn, replace(known, state=GenerationState.DOOMED, why=why))
    return generation(conn, service_id, number)


def mark_destroyed(
    conn: Connection,
    service_id: str,
    number: int,
    *,
    why: str,
    now: datetime,
    state: GenerationState = GenerationState.DESTROYED,
) -> Generation:
    """It is gone, or given up, and its key with it: what is left of the repository opens to nobody. What it held is forgotten."""
    known = generation(conn, service_id, number)
    if known.stands:
        gone = replace(known, state=state, wrapped_key=b"", why=why, destroyed_at=now)
        _change(conn, gone)
        mine = (backups.c.service_id == service_id, backups.c.generation == number, backups.c.snapshot_id != "")
        left_at = sa.func.coalesce(backups.c.forgotten_at, now)
        gone_with_it = sa.update(backups).where(*mine, backups.c.pruned_at.is_(None))
        conn.execute(gone_with_it.values(state=_FORGOTTEN, forgotten_at=left_at, pruned_at=now))
    return generation(conn, service_id, number)


def wrapped_keys(conn: Connection) -> tuple[Generation, ...]:
    """Every generation whose key is kept, by service and number: what escrow and a new master key have to go through."""
    query = sa.select(repositories).where(repositories.c.state.not_in([state.value for state in ENDED]))
    return tuple(_generation(row) for row in conn.execute(query.order_by(repositories.c.service_id, repositories.c.number)))


def rewrap(conn: Connection, service_id: str, number: int, wrapped_key: bytes) -> None:
    """The same key under another master key. Raises NotFound, and WrongState where it was destroyed."""
    known = generation(conn, service_id, number)
    if not known.stands:
        raise WrongState(f"the key of generation {number} of service {service_id} was destroyed")
    _change(conn, replace(known, wrapped_key=wrapped_key))


def _change(conn: Connection, changed: Generation) -> None:
    mine = (repositories.c.service_id == changed.service_id, repositories.c.number == changed.number)
    conn.execute(sa.update(repositories).where(*mine).values(**asdict(changed) | {"state": changed.state.value}))


# -- backups ------------------------------------------------------------


def put(conn: Connection, backup: Backup) -> None:
    """Write the whole row, whether it is new or not. A new one is numbered after all that the service has."""
    values = asdict(backup) | {
        "state": backup.state.value,
        "share": "" if backup.share is None else str(backup.share),
        "left_out": list(backup.left_out),
    }
    del values["number"]  # it stays what it was when the row was new
    if conn.execute(sa.update(backups).where(backups.c.id == backup.id).values(**values)).rowcount == 0:
        last = sa.select(sa.func.coalesce(sa.func.max(backups.c.number), 0)).where(backups.c.service_id == backup.service_id)
        conn.execute(sa.insert(backups).values(**values, number=conn.execute(last).scalar_one() + 1))


def get(conn: Connection, backup_id: str) -> Backup:
    """Raises NotFound."""
    row = conn.execute(sa.select(backups).where(backups.c.id == backup_id)).one_or_none()
    if row is None:
        raise NotFound(f"there is no backup {backup_id}")
    return _backup(row)


def of_service(conn: Connection, service_id: str) -> tuple[Backup, ...]:
    """All that are known, the first first."""
    query = sa.select(backups).where(backups.c.service_id == service_id).order_by(backups.c.number, backups.c.id)
    return tuple(_backup(row) for row in conn.execute(query))


def of_job(conn: Connection, job_id: str) -> tuple[Backup, ...]:
    """What a job has begun, its first attempt first."""
    query = sa.select(backups).where(backups.c.job_id == job_id).order_by(backups.c.number, backups.c.id)
    return tuple(_backup(row) for row in conn.execute(query))


def list_page(
    conn: Connection, *, limit: int = 100, after: str | None = None, service_id: str | None = None, state: str | None = None
) -> tuple[tuple[Backup, ...], str | None]:
    """Backups by id, the newest first."""
    query = sa.select(backups)
    if service_id is not None:
        query = query.where(backups.c.service_id == service_id)
    if state is not None:
        query = query.where(backups.c.state == state)
    return page(conn, query, key=backups.c.id, limit=limit, after=after, newest_first=True, make=_backup)


def standing(conn: Connection, service_id: str, *, held: Sequence[Held], keep: int) -> Standing:
    """What the overwrite rule decides on. ``held``: what the repositories of all generations that stand say."""
    return Standing(
        service_id=service_id,
        generations=generations(conn, service_id),
        held=tuple(held),
        backups=of_service(conn, service_id),
        keep=keep,
    )


def mark_forgotten(
    conn: Connection, service_id: str, number: int, snapshot_ids: Collection[str], *, now: datetime
) -> tuple[str, ...]:
    """These snapshots are to go: the mark that comes before the act. Returns those of them that are known, and no others may be
    forgotten."""
    mine = (backups.c.service_id == service_id, backups.c.generation == number, backups.c.snapshot_id.in_(snapshot_ids))
    known = tuple(conn.scalars(sa.select(backups.c.snapshot_id).where(*mine, backups.c.snapshot_id != "")))
    still = (*mine, backups.c.snapshot_id != "", backups.c.forgotten_at.is_(None))
    conn.execute(sa.update(backups).where(*still).values(state=_FORGOTTEN, forgotten_at=now))
    return tuple(sorted(known))


def mark_pruned(conn: Connection, service_id: str, number: int, *, now: datetime) -> None:
    """The room of all that was forgotten in the generation was given back."""
    mine = (backups.c.service_id == service_id, backups.c.generation == number)
    forgotten = (*mine, backups.c.forgotten_at.is_not(None), backups.c.pruned_at.is_(None))
    conn.execute(sa.update(backups).where(*forgotten).values(pruned_at=now))


def last_good(conn: Connection, service_ids: Sequence[str] | None = None) -> dict[str, Backup]:
    """The newest verified backup that was not forgotten, by service."""
    query = sa.select(backups).where(backups.c.state == BackupState.VERIFIED.value)
    if service_ids is not None:
        query = query.where(backups.c.service_id.in_(service_ids))
    rows = conn.execute(query.order_by(backups.c.number))
    return {row.service_id: _backup(row) for row in rows}


def counts(conn: Connection) -> dict[BackupState, int]:
    """How many there are in each state. Of the attempts that came to nothing there are never fewer than there were."""
    rows = conn.execute(sa.select(backups.c.state, sa.func.count()).group_by(backups.c.state))
    found = {str(state): int(count) for state, count in rows}
    return {state: found.get(state.value, 0) for state in BackupState}


def damaged(conn: Connection) -> int:
    """How many repositories stand in which damage was found."""
    query = sa.select(sa.func.count()).where(repositories.c.state == GenerationState.DAMAGED.value)
    return conn.execute(query).scalar_one()


def refused(conn: Connection) -> dict[str, str]:
    """The services whose last attempt was refused for their size, and what was said."""
    last = sa.select(backups.c.service_id, sa.func.max(backups.c.number).label("last")).group_by(backups.c.service_id).subquery()
    mine = sa.and_(backups.c.service_id == last.c.service_id, backups.c.number == last.c.last)
    query = sa.select(backups.c.service_id, backups.c.problem).join(last, mine)
    return {row.service_id: row.problem for row in conn.execute(query.where(backups.c.state == BackupState.REFUSED.value))}


# -- restores ------------------------------------------------------------


def restores_of(conn: Connection, service_id: str) -> tuple[Restore, ...]:
    """All that were ever asked for, the first first."""
    query = sa.select(restores).where(restores.c.service_id == service_id).order_by(restores.c.counted_at, restores.c.id)
    return tuple(_restore(row) for row in conn.execute(query))


def restores_by_service(conn: Connection, service_ids: Sequence[str]) -> dict[str, list[Restore]]:
    """Those of these services, for who looks at many; services without any are left out."""
    found: dict[str, list[Restore]] = {}
    for row in conn.execute(sa.select(restores).where(restores.c.service_id.in_(service_ids))):
        found.setdefault(row.service_id, []).append(_restore(row))
    return found


def restore_counts(conn: Connection) -> dict[RestoreState, int]:
    """How many there are in each state."""
    rows = conn.execute(sa.select(restores.c.state, sa.func.count()).group_by(restores.c.state))
    found = {str(state): int(count) for state, count in rows}
    return {state: found.get(state.value, 0) for state in RestoreState}


def count_restore(conn: Connection, restore: Restore, charge: Charge | None, *, job_id: str, now: datetime) -> None:
    """Count what ``allowance.ask`` has granted, and charge what it costs, for the job that does it; the same again changes
    nothing but the job."""
    _write(conn, replace(restore, job_id=job_id))
    if charge is not None:
        charges.make(conn, charge, job_id=job_id, now=now)


def restore_failed(conn: Connection, job_id: str, *, why: str, now: datetime) -> None:
    """What the job was to restore does not count any more. Its charge is the job's, and taken back with that."""
    for each in _of_job(conn, job_id):
        _write(conn, allowance.given_back(each, why=why, now=now))


def restore_done(conn: Connection, job_id: str, *, now: datetime) -> None:
    """What the job was to restore is done, also where it had failed before: it counts, and costs what it cost."""
    for each in _of_job(conn, job_id):
        _write(conn, allowance.done(each, now=now))
        if each.charge_id:
            charges.owed_again(conn, each.charge_id, job_id=job_id, now=now)


def _of_job(conn: Connection, job_id: str) -> tuple[Restore, ...]:
    return tuple(_restore(row) for row in conn.execute(sa.select(restores).where(restores.c.job_id == job_id)).all())


def _write(conn: Connection, restore: Restore) -> None:
    values = asdict(restore) | {"state": restore.state.value}
    mine = (restores.c.service_id == restore.service_id, restores.c.id == restore.id)
    if conn.execute(sa.update(restores).where(*mine).values(**values)).rowcount == 0:
        conn.execute(sa.insert(restores).values(**values))


# -- rows ------------------------------------------------------------


def _generation(row: sa.Row[Any]) -> Generation:
    values = dict(row._mapping)
    return Generation(**values | {"state": GenerationState(values["state"])})


def _share(text: str) -> Share | None:
    number, _, of = text.partition("/")
    return Share(number=int(number), of=int(of)) if text else None


def _backup(row: sa.Row[Any]) -> Backup:
    values = dict(row._mapping)
    read = {"state": BackupState(values["state"]), "share": _share(values["share"]), "left_out": tuple(values["left_out"])}
    return Backup(**values | read)


def _restore(row: sa.Row[Any]) -> Restore:
    values = dict(row._mapping)
    return Restore(**values | {"state": RestoreState(values["state"])})
