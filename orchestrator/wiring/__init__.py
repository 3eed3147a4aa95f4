"""The composition root: the one place that names concrete classes and puts them together.

The local commands of the CLI come in here: ``load_config``, ``check``, ``init``, ``opened``, ``build`` and
``verify_certificate``. Each imports what it needs when it is called: an operator who checks a file does not wait for the engine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.domain.errors import ConfigError, WrongState

if TYPE_CHECKING:
    from orchestrator.config.model import Config, Settings
    from orchestrator.domain.backups.state import Manifest
    from orchestrator.domain.backups.words import Backup, Generation
    from orchestrator.domain.calendar import Calendar
    from orchestrator.domain.certificates import Verdict
    from orchestrator.domain.playbooks import Playbook
    from orchestrator.drivers.deployimage import Description as DeployImage
    from orchestrator.engine.state_copy import StateCopying
    from orchestrator.ports.clock import Clock
    from orchestrator.ports.enrolment import Requirement
    from orchestrator.ports.repositories import RepositoryAccess
    from orchestrator.store.database import Database
    from orchestrator.store.moving import Moved
    from orchestrator.wiring.controller import Controller
    from orchestrator.wiring.state import HeldRepository

# Of these years public holidays are known: what fell due long ago is still counted right, and what falls due in the far future.
YEARS_BACK, YEARS_AHEAD = 5, 15


def load_config(config_dir: Path) -> Config:
    """The configuration of a directory. Raises ConfigError with every problem of every file."""
    from orchestrator.config.load import load

    return load(config_dir)


def calendar_of(config: Config) -> Calendar:
    """In which the provider's days are counted. Raises ConfigError where nobody knows the country's holidays."""
    from zoneinfo import ZoneInfo

    from orchestrator.domain.calendar import Calendar
    from orchestrator.drivers.local.clock import SystemClock
    from orchestrator.drivers.local.holidays import public_holidays

    country, extra = config.settings.country, frozenset(day.day for day in config.holidays)
    this_year = SystemClock().now().year
    years = range(this_year - YEARS_BACK, this_year + YEARS_AHEAD)
    return Calendar(ZoneInfo(config.settings.timezone), public_holidays(country, years, extra) if country else extra)


@cache
def load_all_playbooks() -> Mapping[str, Playbook]:
    """The playbooks, checked against the registry of steps; they come with the program, and are read once.

    Raises ConfigError with every problem.
    """
    from orchestrator.config.playbooks import load_playbooks
    from orchestrator.shipped import PLAYBOOKS
    from orchestrator.steps.arguments import describe
    from orchestrator.steps.registry import STEPS

    known = {name: describe(step.args, destructive=step.destructive) for name, step in STEPS.items()}
    return load_playbooks(PLAYBOOKS, steps=known)


def check(config_dir: Path) -> list[Mapping[str, Any]]:
    """Every problem of the configuration and of the playbooks, as {file, line, path, sentence}; empty = it can be used."""
    problems: list[Mapping[str, Any]] = []
    for read in (lambda: calendar_of(load_config(config_dir)), load_all_playbooks):
        try:
            read()
        except ConfigError as exc:
            whole = {"file": "", "line": 0, "path": "", "sentence": f"{exc.message}: {exc.hint}"}
            problems.extend(exc.details.get("problems", [whole]))
    return problems


def database_of(settings: Settings) -> Database:
    """The store, not connected yet. Raises ConfigError where the password of its user cannot be read."""
    from orchestrator.drivers.local.files import read_secret
    from orchestrator.store.database import Database

    path = settings.database_password_file
    if path is None:
        return Database(settings.database_url)
    password = read_secret(path, what="password of the database").decode("utf-8", "replace").strip("\r\n")
    if not password or not password.isprintable():
        raise ConfigError(f"password of the database: {path} holds no line of printable letters")
    return Database(settings.database_url, password=password)


def require_moved(settings: Settings) -> None:
    """Raises ConfigError where the database of before lies in the state directory, and another one is configured: a controller on
    an empty one would know nothing of the services, and could not be given them any more."""
    from orchestrator.config.model import SQLITE_FILE

    before = settings.state_dir / SQLITE_FILE
    if not settings.database_url.startswith("sqlite:") and before.is_file():
        hint = f"stop the controller and run: orchestrator migrate --from-sqlite {before}. If it is not wanted, put it elsewhere"
        raise ConfigError(f"{before} was not moved into the database that database_url names", hint=hint)


def init(config: Config) -> None:
    """Make the state directory, the controller's keys and the database. Repeatable; what is there stays."""
    from orchestrator.drivers.local.desk_identity import init_desk
    from orchestrator.drivers.local.files import make_private_directory, require_owner
    from orchestrator.drivers.local.keys import init_keys
    from orchestrator.drivers.ssh import ensure_identity
    from orchestrator.wiring.identity import identity_of

    settings = config.settings
    require_moved(settings)
    db = database_of(settings)
    require_owner(settings.state_dir)
    make_private_directory(settings.state_dir)
    init_keys(settings.state_dir)
    init_desk(settings.state_dir)
    ensure_identity(identity_of(settings))
    try:
        db.migrate()
    finally:
        db.close()


def build_deploy_image(output: Path) -> DeployImage:
    """See ``drivers.deployimage.build``."""
    from orchestrator.drivers import deployimage

    return deployimage.build(output.absolute())


def move_database(config: Config, source: Path, *, who: str) -> tuple[Moved, Path]:
    """Move what the SQLite file holds into the configured database; what was moved, and where the file is kept.

    Raises ConfigError, and WrongState where a controller runs on the file or something stands in the database.
    """
    from contextlib import ExitStack, closing

    from orchestrator.drivers.local.clock import SystemClock
    from orchestrator.drivers.local.files import check_private_directory, require_owner
    from orchestrator.store import moving
    from orchestrator.store.database import Database, sqlite_url
    from orchestrator.store.state_lock import LOCK_FILE, take

    source, state_dir = source.absolute(), config.settings.state_dir
    kept = source.with_name(f"{source.name}.moved")
    if not source.is_file():
        raise ConfigError(f"there is no database {source}", hint="name the SQLite file that the controller worked on")
    if kept.exists():
        raise ConfigError(f"{kept} is there already", hint="a database was moved from here before: put that file elsewhere")
    check_private_directory(state_dir)
    require_owner(state_dir)
    with ExitStack() as held:
        for directory in {state_dir, source.parent}:
            if directory == state_dir or (directory / LOCK_FILE).exists():
                held.enter_context(take(directory))
        target = held.enter_context(closing(database_of(config.settings)))
        if target.is_sqlite:
            raise ConfigError("database_url names no PostgreSQL", hint="write there where the database is to be moved to")
        old = held.enter_context(closing(Database(sqlite_url(source))))
        if not old.migrated():
            hint = "run `orchestrator migrate` with database_url as it was, then this again"
            raise ConfigError(f"{source} is not at this version's tables", hint=hint)
        target.migrate()
        moved = moving.move(old, target, who=who, now=SystemClock().now())
        old.close()
        source.rename(kept)
    return moved, kept


@contextmanager
def opened(config: Config) -> Iterator[tuple[Database, Clock]]:
    """The store alone, without a controller over it. Raises ConfigError as ``build`` does."""
    from orchestrator.drivers.local.clock import SystemClock
    from orchestrator.drivers.local.files import check_private_directory, require_owner

    check_private_directory(config.settings.state_dir)
    require_owner(config.settings.state_dir)
    db = database_of(config.settings)
    try:
        yield db, SystemClock()
    finally:
        db.close()


def build(config: Config, *, at: Callable[[str], None] | None = None, clock: Clock | None = None) -> Controller:
    """A controller over ``config``, not started. Tests only: ``at`` is told each crash point, ``clock`` is gone by in place of
    the machine's.

    Raises ConfigError, among others where the state directory is missing, another user's or open to others.
    """
    from orchestrator.drivers.local.files import check_private_directory, require_owner
    from orchestrator.wiring.controller import Controller

    check_private_directory(config.settings.state_dir)
    require_owner(config.settings.state_dir)
    require_moved(config.settings)
    return Controller(config, load_all_playbooks(), at=at, clock=clock)


def verify_certificate(path: Path, public_key: Path | None) -> Verdict:
    """Check a wipe certificate offline; with ``public_key`` (PEM) it must be signed with that very key.

    Raises ConfigError where a file cannot be read.
    """
    from orchestrator.drivers.local import certificates as offline

    try:
        data = offline.read_bounded(path)
    except OSError as exc:
        raise ConfigError(f"cannot read {path}: {exc.strerror}") from exc
    return offline.verify_certificate(data, None if public_key is None else offline.read_public_key(public_key))


def export_keys(config: Config, path: Path, *, passphrase: str | None, who: str) -> int:
    """Write the key of every repository to a new file, sealed with the passphrase, or in clear where that is None. How many.

    Raises ConfigError, among others where the file is there.
    """
    import os

    from orchestrator.domain.backups.escrow import text
    from orchestrator.drivers.local import escrow
    from orchestrator.drivers.local.keys import LocalSecrets
    from orchestrator.store import audit
    from orchestrator.store.backup_book import EXPORTED, StoreBackupBook
    from orchestrator.wiring.backups import places
    from orchestrator.wiring.state import state_escrow

    secrets = LocalSecrets(config.settings.state_dir, {})
    with opened(config) as (db, clock):
        book = StoreBackupBook(db, secrets=secrets, places=places(config), clock=clock, random=os.urandom)
        entries, now = (*state_escrow(config, db), *book.escrow()), clock.now()
        plain = text(entries, provider=config.settings.provider, now=now)
        escrow.write(path, plain if passphrase is None else escrow.seal(plain, passphrase))
        with db.write() as conn:
            facts = {"file": str(path), "repositories": len(entries), "sealed": passphrase is not None}
            audit.append(conn, at=now, who=who, what=EXPORTED, facts=facts)
    return len(entries)


def back_up_state(config: Config, *, who: str) -> Backup:
    """A copy of the controller's own state, made now, by this process. Raises ConfigError where none are wanted."""
    with _state_of(config) as state:
        return state.make(who)


def give_up_state(config: Config, number: int, *, who: str, why: str, last: bool) -> Generation:
    """See ``StateCopying.give_up``."""
    with _state_of(config) as state:
        return state.give_up(number, who=who, why=why, last=last)


@contextmanager
def _state_of(config: Config) -> Iterator[StateCopying]:
    if config.settings.backups.state is None:
        raise ConfigError(
            "no copies of the controller's own state are made", hint="say where they go: backups.state in orchestrator.yaml"
        )
    controller = build(config)
    try:
        assert controller.state is not None
        yield controller.state
    finally:
        controller.close()


def state_copies(config: Config) -> tuple[Backup, ...]:
    """Those that the store knows of, the first first."""
    from orchestrator.store import state_copies as store

    with opened(config) as (db, _), db.read() as conn:
        return store.all_copies(conn)


def state_repositories(config: Config) -> tuple[Generation, ...]:
    """Those of the controller's own copies, the first first."""
    from orchestrator.store import state_copies as store

    with opened(config) as (db, _), db.read() as conn:
        return store.generations(conn)


def last_state_copy(config: Config) -> Backup | None:
    """The newest that one may rely on. Raises ConfigError, also where its key cannot be used."""
    from orchestrator.store import state_copies as store
    from orchestrator.wiring.state import state_key

    if config.settings.backups.state is not None:
        state_key(config.settings.backups.state.key_file)
    with opened(config) as (db, _), db.read() as conn:
        return next(iter(store.relied_on(conn)), None)


def is_late(config: Config, copy: Backup) -> bool:
    """Whether the copy is older than two intervals, as the alert has it."""
    from orchestrator.drivers.local.clock import SystemClock

    rule = config.settings.backups.state
    return rule is not None and copy.made_at is not None and SystemClock().now() - copy.made_at > 2 * rule.every


def restic_here() -> Requirement:
    """Whether this machine has restic, new enough."""
    from agents.node import backup_needs
    from orchestrator.ports.enrolment import Requirement

    return Requirement(**backup_needs.restic())


def state_access(
    location: str,
    *,
    key_file: Path,
    user: str,
    secret_file: Path | None,
    ssh_key_file: Path | None,
    ssh_known_hosts_file: Path | None,
) -> RepositoryAccess:
    """See ``wiring.state``."""
    from orchestrator.wiring import state

    return state.state_access(
        location,
        key_file=key_file,
        user=user,
        secret_file=secret_file,
        ssh_key_file=ssh_key_file,
        ssh_known_hosts_file=ssh_known_hosts_file,
    )


def held_copies(access: RepositoryAccess) -> tuple[HeldRepository, ...]:
    """See ``wiring.state``."""
    from orchestrator.wiring import state

    return state.held_copies(access)


def restore_state(access: RepositoryAccess, target: Path, *, snapshot: str) -> Manifest:
    """See ``wiring.state``."""
    from orchestrator.wiring import state

    return state.restore_state(access, target, snapshot=snapshot)


def rotate_master_key(config: Config, *, who: str) -> tuple[int, bool]:
    """A new master key: how many keys of repositories were wrapped anew, and whether an earlier rotation was finished with it.

    Raises WrongState where a controller runs on the state directory.
    """
    from orchestrator.drivers.local import keys
    from orchestrator.drivers.local.files import require_owner
    from orchestrator.drivers.local.rotation import rotate_master_key as rotate
    from orchestrator.store import audit, controllers, site_certificates
    from orchestrator.store.backup_book import rewrap_all
    from orchestrator.store.state_lock import take

    state_dir, counted = config.settings.state_dir, []
    require_owner(state_dir)
    with take(state_dir), opened(config) as (db, clock):
        with db.read() as conn:
            others = controllers.others(conn)
        if others:
            raise WrongState(
                f"a controller works on the database: process {others[0].pid} on {others[0].hostname}",
                hint="stop every controller first; then copy keys/ from this state directory into those of the others",
            )

        def rewrap(secrets: keys.LocalSecrets) -> None:
            counted.append(rewrap_all(db, secrets, keys.only_new(state_dir)))
            site_certificates.rewrap_all(db, secrets, keys.only_new(state_dir))

        resumed = rotate(state_dir, rewrap)
        with db.write() as conn:
            audit.append(conn, at=clock.now(), who=who, what="master key rotated", facts={"repositories": counted[0]})
    return counted[0], resumed
