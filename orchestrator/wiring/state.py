"""The copies of the controller's own state: what makes them, and what brings one back."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

from agents.build import bundle
from orchestrator.config.model import SQLITE_FILE, Config
from orchestrator.domain.backups.escrow import EscrowEntry
from orchestrator.domain.backups.state import FOLDER, LEAST_KEY, SUBJECT, Manifest, StateBackups, location_of
from orchestrator.domain.backups.targets import Way
from orchestrator.domain.errors import ConfigError, NotFound, PermanentDriverError, TransientDriverError
from orchestrator.drivers.local import postgres, state_files
from orchestrator.drivers.local.agent import LocalTransport
from orchestrator.drivers.local.files import make_private_directory, read_secret, read_trusted
from orchestrator.drivers.restic import ResticRepositories
from orchestrator.engine.ids import JobIds
from orchestrator.engine.state_copy import StateCopying
from orchestrator.ports.clock import Clock
from orchestrator.ports.repositories import Repositories, RepositoryAccess, RestoreSpec, SnapshotFacts
from orchestrator.steps.base import Ports
from orchestrator.steps.repository import NO_TARGET
from orchestrator.store.copying import copy_sqlite, ends
from orchestrator.store.database import Database
from orchestrator.store.state_copies import StateBook, generations
from orchestrator.wiring.backups import places, ways

SQLITE, DUMP = SQLITE_FILE, "database.dump"
RESTORE_SECONDS = 6 * 3600.0
LIST_SECONDS = 300.0
TRIED = 5
WHAT = "key of the controller's backups"


def state_key(path: Path) -> str:
    """The key that stands in the file. Raises ConfigError, without it."""
    key = read_secret(path, what=WHAT).decode("utf-8", "replace").strip("\r\n")
    if len(key) < LEAST_KEY or not key.isprintable():
        raise ConfigError(
            f"{WHAT}: {path} holds no line of at least {LEAST_KEY} characters", hint="openssl rand -hex 32 makes a good one"
        )
    return key


def state_book(config: Config, db: Database, clock: Clock, rule: StateBackups) -> StateBook:
    """Raises ConfigError where the key cannot be read."""
    state_key(rule.key_file)
    return StateBook(db, rule=rule, places=places(config), key=lambda: state_key(rule.key_file), clock=clock)


def state_escrow(config: Config, db: Database) -> tuple[EscrowEntry, ...]:
    """The repositories of the copies of the controller itself; the one to be, where none was made yet. Raises ConfigError."""
    rule = config.settings.backups.state
    if rule is None:
        return ()
    key, targets = state_key(rule.key_file), config.settings.backups.targets
    with db.read() as conn:
        known = [each for each in generations(conn) if each.stands]
    found = [(each.number, each.target, each.state.value) for each in known] or [(1, rule.target, "not made yet")]
    return tuple(
        EscrowEntry(
            service_id=FOLDER,
            number=number,
            target=name,
            location=location_of(targets[name], number) if name in targets else "",
            state=state,
            key=key,
        )
        for number, name, state in found
    )


def state_copying(
    config: Config, db: Database, *, ports: Ports, repositories: Repositories, halting: threading.Event
) -> StateCopying | None:
    """What copies the state; None where the configuration wants none. ``repositories``: as this very machine reaches them."""
    rule = config.settings.backups.state
    if rule is None:
        return None
    book = state_book(config, db, ports.clock, rule)
    own = replace(ports, book=book, repositories=lambda _here: repositories, keeper=repositories)
    files = state_files.LocalStateFiles(
        config_dir=config.directory,
        state_dir=config.settings.state_dir,
        elsewhere=tuple(_secret_files(config)),
        copy_database=lambda directory, about: _copy_database(db, directory, about),
        about=lambda: _about(config, db, ports.clock),
    )
    return StateCopying(db=db, ports=own, files=files, rule=rule, halting=halting, ids=JobIds())


def _secret_files(config: Config) -> Iterator[Path]:
    """Every file outside of the state directory that the configuration names."""
    settings = config.settings
    for billing in settings.billing:
        yield from billing.secret_files
        if billing.notify_secret_file is not None:
            yield billing.notify_secret_file
    for way in ways(config):
        yield from (path for path in (way.secret_file, way.ssh_key_file, way.ssh_known_hosts_file) if path is not None)
    yield from (machine.bmc_secret_file for machine in config.machines if machine.bmc_secret_file is not None)
    if settings.database_password_file is not None:
        yield settings.database_password_file
    if settings.tls is not None:
        yield from (settings.tls.certificate_file, settings.tls.key_file)
    if settings.backups.state is not None:
        yield settings.backups.state.key_file


def _about(config: Config, db: Database, clock: Clock) -> Manifest:
    return Manifest(
        provider=config.settings.provider,
        taken_at=clock.now(),
        version=version("orchestrator"),
        config_dir=str(config.directory),
        state_dir=str(config.settings.state_dir),
        database=SQLITE if db.is_sqlite else DUMP,
        database_url=db.url.render_as_string(hide_password=True) if db.is_sqlite else db.plain_url(),
        audit_rows=0,
        audit_head="",
    )


def _copy_database(db: Database, directory: Path, about: Manifest) -> Manifest:
    make_private_directory(directory)
    if db.is_sqlite:
        copied = copy_sqlite(db, directory / about.database, now=about.taken_at)
    else:
        with db.read() as conn:
            copied = ends(conn)
        postgres.dump(db.plain_url(), directory / about.database, password=db.url.password or "")
    return replace(about, audit_rows=copied.audit_rows, audit_head=copied.audit_head)


# -- back, with nothing but the repository and its key ------------------------------------------------------------


def state_access(
    location: str,
    *,
    key_file: Path,
    user: str = "",
    secret_file: Path | None = None,
    ssh_key_file: Path | None = None,
    ssh_known_hosts_file: Path | None = None,
) -> RepositoryAccess:
    """A repository by its location and the files that lead to it. Raises ConfigError."""

    def content(path: Path | None) -> str:
        return "" if path is None else read_secret(path, what="backups").decode("utf-8", "replace")

    return RepositoryAccess(
        location=location,
        password=state_key(key_file),
        user=user,
        secret=content(secret_file).strip("\r\n"),
        ssh_key=content(ssh_key_file),
        ssh_known_hosts=(
            "" if ssh_known_hosts_file is None else read_trusted(ssh_known_hosts_file, what="backups").decode("utf-8", "replace")
        ),
    )


@contextmanager
def _here() -> Iterator[Repositories]:
    """Repositories as this machine reaches them, with nothing of a controller's."""
    with tempfile.TemporaryDirectory(prefix="orchestrator-") as root:
        agent = LocalTransport(zipapp=bundle().zipapp, root=Path(root))
        try:
            yield ResticRepositories(agent)
        finally:
            agent.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldRepository:
    """``copies``: the newest first. ``problem``: why they cannot be told."""

    access: RepositoryAccess
    copies: tuple[SnapshotFacts, ...] = ()
    problem: str = ""


def held_copies(access: RepositoryAccess) -> tuple[HeldRepository, ...]:
    """What the repository holds of a controller's state; where none is at the location, what those below it hold: after damage
    another was begun, and whoever lost the controller may not know of it. The newest repository first.

    Raises NotFound where there is none at all, TransientDriverError where it cannot be told.
    """
    with _here() as there:
        try:
            return (HeldRepository(access=access, copies=_copies(there, access)),)
        except NotFound:
            found = tuple(_below(there, access))
        if not found:
            raise NotFound(
                f"there is no repository at {access.location}, and no {FOLDER}.1 or other below it",
                hint="name the repository, or the directory of the target that it lies in",
            )
    return tuple(reversed(found))


def _copies(there: Repositories, access: RepositoryAccess) -> tuple[SnapshotFacts, ...]:
    found = there.snapshots(access, service_id=SUBJECT, deadline=LIST_SECONDS)
    return tuple(sorted(found, key=lambda each: each.taken_at, reverse=True))


def _below(there: Repositories, access: RepositoryAccess) -> Iterator[HeldRepository]:
    """Those of a target, the first first. What a server has is not listed but tried, until so many in turn are not there."""
    target, missed, number = Way(location=access.location), 0, 0
    while missed < TRIED:
        number += 1
        each = replace(access, location=target.to(FOLDER, number))
        try:
            yield HeldRepository(access=each, copies=_copies(there, each))
            missed = 0
        except NotFound:
            missed += 1
        except TransientDriverError as exc:
            if exc.details.get("reason") != NO_TARGET:
                raise
            return  # not even the location is there
        except PermanentDriverError as exc:
            yield HeldRepository(access=each, problem=exc.message)
            missed = 0


def restore_state(access: RepositoryAccess, target: Path, *, snapshot: str = "") -> Manifest:
    """Write a copy into a directory that is not there yet, or empty: the newest, or the one whose id begins so.

    Raises ConfigError where something stands there, or the copy is not whole: then nothing is left.
    """
    target = target.absolute()
    state_files.require_free(target)
    chosen, access = _chosen(held_copies(access), snapshot, access.location)
    with state_files.beside(target) as directory, _here() as there:
        spec = RestoreSpec(snapshot=chosen.id, directory=str(directory.resolve()))
        restored = there.restore(access, spec, deadline=RESTORE_SECONDS)
        if not restored.whole:
            raise ConfigError(f"the copy {chosen.id[:8]} could not be read whole", hint="take an earlier one: --snapshot")
        state_files.close(directory)
        return state_files.checked(directory)


def _chosen(found: tuple[HeldRepository, ...], begins: str, where: str) -> tuple[SnapshotFacts, RepositoryAccess]:
    """The newest, in the newest repository that has one."""
    matching = [(each, held.access) for held in found for each in held.copies if each.id.startswith(begins)]
    if not matching:
        what = f"no copy {begins}" if begins else "no copy of a controller's state"
        problems = "; ".join(each.problem for each in found if each.problem)
        raise NotFound(
            f"{where} holds {what}{': ' if problems else ''}{problems}",
            hint="orchestrator state list --repository LOCATION --key-file FILE",
        )
    if begins and len(matching) > 1:
        raise ConfigError(f"{len(matching)} copies begin with {begins}", hint="give more of the id")
    return matching[0]
