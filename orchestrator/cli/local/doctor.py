"""orchestrator doctor: what keeps this controller from working, and what to do about it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.cli.failure import Failure
from orchestrator.cli.local.place import as_controllers_user, config_dir
from orchestrator.cli.output import emit_json, on_it, table
from orchestrator.cli.tables import Column, Kind
from orchestrator.domain.errors import OrchestratorError
from orchestrator.domain.sizes import size_words

if TYPE_CHECKING:
    from orchestrator.config.model import Config
    from orchestrator.store.database import Database
    from orchestrator.store.nodes import NodeRecord

_ROWS: tuple[Column, ...] = (
    Column("", lambda row: "ok" if row["ok"] else "WAITS" if row["waits"] else "PROBLEM"),
    Column("WHAT", "name", Kind.ID),
    Column("FOUND", "found", Kind.PROSE),
    Column("TO DO", "mend", Kind.PROSE),
)
_START = "systemctl start orchestrator"
LATELY = timedelta(hours=1)
# With less on the disk of the state directory a database is about to be no longer written.
ROOM_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at; ``mend`` is '' where it is in order. ``waits``: nothing is broken, but a person is waited for."""

    name: str
    ok: bool
    found: str
    mend: str = ""
    waits: bool = False


@click.command("doctor")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def doctor(context: click.Context, /, as_json: bool) -> None:
    """Look at the configuration, the state directory, the secrets, the database, the controller, the nodes, and what waits."""
    directory = config_dir(context)
    with as_controllers_user(directory):
        findings = list(examine(directory))
    rows = [asdict(finding) for finding in findings]
    if as_json:
        emit_json({"findings": rows})
    else:
        table(_ROWS, rows, empty="nothing to look at")
    bad = sum(not finding.ok for finding in findings)
    if bad:
        what = "1 thing needs attention" if bad == 1 else f"{bad} things need attention"
        raise Failure(f"{what}, of {len(findings)} looked at", exit_code=3)


def examine(directory: Path) -> Iterator[Finding]:
    """Each finding in turn; what depends on something that is missing is not looked at."""
    from orchestrator import wiring

    problems = wiring.check(directory)
    yield Finding(
        "configuration",
        not problems,
        ("1 problem" if len(problems) == 1 else f"{len(problems)} problems") if problems else str(directory),
        "orchestrator config check" if problems else "",
    )
    if problems:
        return
    config = wiring.load_config(directory)
    yield _state_dir(config.settings.state_dir)
    yield from _secrets(config)
    if config.settings.database_password_file is not None:
        name, path = "password of the database", config.settings.database_password_file
        yield _closed(name, path, "put the password of the database's user there, alone") or Finding(name, True, str(path))
    database = _database(config)
    yield database
    yield from _not_moved(config)
    yield _server(config.settings.socket)
    if config.settings.backups.targets:
        yield _restic()
    if database.ok:
        yield _controllers(config)
        yield _state_copies(config)
        yield from _nodes(config)
        yield from _machines(config)
        yield from _undeclared(config)
        yield from _waiting(config)


def _state_dir(path: Path) -> Finding:
    name = "state directory"
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except FileNotFoundError:
        return Finding(name, False, f"{path} is missing", "orchestrator init")
    except OSError as exc:
        return Finding(name, False, f"{path} cannot be looked at: {exc.strerror}", "run as the controller's user")
    if not path.is_dir():
        return Finding(name, False, f"{path} is no directory", "check state_dir: in orchestrator.yaml")
    if mode & 0o077:
        return Finding(name, False, f"{path} has mode {mode:04o}: others may look into it", f"chmod 0700 {path}")
    if not os.access(path, os.W_OK, effective_ids=True):
        return Finding(name, False, f"{path} cannot be written", "run as the controller's user")
    return room(name, path, os.statvfs(path))


def room(name: str, path: Path, disk: os.statvfs_result) -> Finding:
    """What is free where the database is written. File systems without a table of inodes tell of none."""
    free = disk.f_bavail * disk.f_frsize
    if disk.f_files and not disk.f_favail:
        said = "no inode is free"
    elif free < ROOM_BYTES:
        said = f"only {size_words(free)} are free"
    else:
        return Finding(name, True, f"{path}, {size_words(free)} free")
    return Finding(name, False, f"{path}: {said} on its disk", "make room there: what waits goes on by itself")


def _secrets(config: Config) -> Iterator[Finding]:
    mend = "put the secret that billing shows you (whsec_…) there"
    for billing in config.settings.billing:
        files = [(f"secret of {billing.source}", path) for path in billing.secret_files]
        if billing.notify_secret_file:
            files.append((f"secret that tells {billing.source}", billing.notify_secret_file))
        for name, path in files:
            yield _closed(name, path, mend) or _secret(name, path)
    for machine in config.machines:
        if machine.bmc_secret_file is not None:
            name, path = f"password of the BMC of {machine.name}", machine.bmc_secret_file
            yield _closed(name, path, "put the password of its user there, alone") or Finding(name, True, str(path))


def _closed(name: str, path: Path, mend: str) -> Finding | None:
    """Why the file cannot be used; None where it is one that only its owner may read."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return Finding(name, False, f"{path} is missing", mend)
    except OSError as exc:
        return Finding(name, False, f"{path} cannot be looked at: {exc.strerror}", "run as the controller's user")
    if not stat.S_ISREG(mode):
        return Finding(name, False, f"{path} is no plain file", mend)
    if stat.S_IMODE(mode) & 0o077:
        return Finding(name, False, f"{path} can be read by others", f"chmod 0600 {path}")
    return None


def _secret(name: str, path: Path) -> Finding:
    from orchestrator.drivers.local.keys import webhook_secret

    try:
        webhook_secret(path)
    except OrchestratorError as exc:
        return Finding(name, False, exc.message, exc.hint)
    return Finding(name, True, str(path))


@contextmanager
def _opened(config: Config) -> Iterator[Database]:
    from orchestrator import wiring

    database = wiring.database_of(config.settings)
    try:
        yield database
    finally:
        database.close()


def _database(config: Config) -> Finding:
    try:
        with _opened(config) as database:
            database.require_migrated()
    except OrchestratorError as exc:
        return Finding("database", False, exc.message, exc.hint or "orchestrator init")
    return Finding("database", True, "at this version")


def _not_moved(config: Config) -> Iterator[Finding]:
    """The database of before, where another one is configured now."""
    from orchestrator import wiring

    try:
        wiring.require_moved(config.settings)
    except OrchestratorError as exc:
        yield Finding("database of before", False, exc.message, exc.hint)


def _restic() -> Finding:
    """By it the controller deletes what no node may, and copies its own state."""
    from orchestrator import wiring

    found = wiring.restic_here()
    return Finding("restic", found.ok, found.found, found.mend)


def _state_copies(config: Config) -> Finding:
    """Whether what the controller knows would be lost with this machine."""
    from orchestrator import wiring
    from orchestrator.cli.output import when
    from orchestrator.domain.backups.state import FOLDER
    from orchestrator.domain.backups.targets import repository_name
    from orchestrator.domain.backups.words import GenerationState

    name, rule = "backups of itself", config.settings.backups.state
    if rule is None:
        return Finding(name, True, "none are made: see backups.state in orchestrator.yaml")
    try:
        made = wiring.last_state_copy(config)
    except OrchestratorError as exc:
        return Finding(name, False, exc.message, exc.hint)
    damaged = [each for each in wiring.state_repositories(config) if each.state == GenerationState.DAMAGED]
    if (made is None or made.made_at is None) and damaged:
        where, why = repository_name(FOLDER, damaged[-1].number), damaged[-1].why
        return Finding(name, False, f"all are in {where}, which is damaged: {why}", "orchestrator state backup begins a new one")
    if made is None or made.made_at is None:
        return Finding(name, False, "none yet", "orchestrator state backup")
    said = f"the last verified one is of {when(made.made_at.isoformat())}"
    late = wiring.is_late(config, made)
    return Finding(name, not late, said, "orchestrator state list; orchestrator state backup" if late else "")


def _controllers(config: Config) -> Finding:
    """Who works on the database."""
    from orchestrator.store import controllers

    try:
        with _opened(config) as database, database.read() as conn:
            there = controllers.others(conn)
            lost = controllers.lost_since(conn, controllers.now(conn) - LATELY)
    except OrchestratorError as exc:
        return Finding("controllers", False, exc.message, exc.hint)
    said = ", ".join(f"{each.hostname} (process {each.pid})" for each in there) or "none works"
    if lost:
        return Finding("controllers", False, f"{said}; {lost} lost within the last hour", "orchestrator controller list")
    return Finding("controllers", bool(there), said, "" if there else _START)


def _nodes(config: Config) -> Iterator[Finding]:
    """Every declared node, as the controller last saw it."""
    from orchestrator.store import nodes

    try:
        with _opened(config) as database, database.read() as conn:
            known = {record.name: record for record in nodes.list_all(conn)}
            there = {name: nodes.services_on(conn, name) for name in nodes.lost(conn)}
    except OrchestratorError as exc:
        yield Finding("nodes", False, exc.message, exc.hint)
        return
    for node in config.nodes:
        record = known.get(node.name)
        if record is None or record.enrolled_at is None:
            yield Finding(f"node {node.name}", False, "not enrolled", f"orchestrator node enrol {node.name}", waits=True)
        elif record.lost is not None:
            yield _lost(record, there.get(node.name, ()))
        elif node.maintenance:
            yield Finding(f"node {node.name}", True, "in maintenance")
        elif record.up:
            yield Finding(f"node {node.name}", True, "up")
        else:
            yield Finding(f"node {node.name}", False, f"down: {record.problem}", f"orchestrator node doctor {node.name}")


def _lost(record: NodeRecord, services: Sequence[str]) -> Finding:
    """A node that an operator gave up: nothing of it is mended by looking at it."""
    name = f"node {record.name}"
    if record.up:
        mend = f"switch it off, or orchestrator node found {record.name} --why TEXT"
        return Finding(name, False, record.trouble, mend)
    if services:
        mend = f"orchestrator node restore {record.name} --why TEXT --watch"
        return Finding(name, False, f"{record.trouble}; {on_it(len(services))}", mend, waits=True)
    return Finding(name, True, record.trouble)


def _machines(config: Config) -> Iterator[Finding]:
    """Every declared machine, as the controller last heard of it."""
    from orchestrator.domain.machines import MachineState
    from orchestrator.store import machines

    try:
        with _opened(config) as database, database.read() as conn:
            known = machines.standings(conn, config.machines)
    except OrchestratorError as exc:
        yield Finding("machines", False, exc.message, exc.hint)
        return
    for each in known:
        name, record = f"machine {each.machine.name}", each.record
        state = f"{record.state}: {record.reason}" if record.reason else record.state.value
        if record.enrolled and not record.up:
            mend = f"orchestrator machine doctor {each.machine.name}"
            yield Finding(name, False, f"its BMC does not answer: {record.problem}", mend)
        elif record.state == MachineState.BROKEN:
            yield Finding(name, False, state, f"orchestrator machine show {each.machine.name}", waits=True)
        elif record.state == MachineState.DECLARED:
            mend = f"orchestrator machine enrol {each.machine.name}"
            yield Finding(name, False, "not available yet", mend, waits=True)
        else:
            yield Finding(name, True, state)


def _undeclared(config: Config) -> Iterator[Finding]:
    """What is gone from nodes.yaml or machines.yaml, and still has services."""
    from orchestrator.store import overview

    declared = {*(node.name for node in config.nodes), *(machine.name for machine in config.machines)}
    try:
        with _opened(config) as database, database.read() as conn:
            found = overview.undeclared(conn, declared)
    except OrchestratorError as exc:
        yield Finding("undeclared", False, exc.message, exc.hint)
        return
    for name, service_ids in found.items():
        mend = "declare it again in nodes.yaml or machines.yaml, and restart the controller"
        yield Finding(f"undeclared {name}", False, f"it has {overview.some_of(service_ids)}, to which nothing can be done", mend)


def _waiting(config: Config) -> Iterator[Finding]:
    """What stands still until somebody acts."""
    from orchestrator.cli.output import when
    from orchestrator.store import overview, settings

    try:
        with _opened(config) as database, database.read() as conn:
            found, waits = overview.waiting(conn), settings.waits(conn).values()
    except OrchestratorError as exc:
        yield Finding("waiting for a person", False, exc.message, exc.hint)
        return
    freeze = found.freeze
    said = "none" if freeze is None else f"by {freeze.by} since {when(freeze.since.isoformat())}: {freeze.why}"
    yield Finding("freeze", freeze is None, said, "" if freeze is None else "orchestrator freeze off", waits=freeze is not None)
    stop = found.terminations
    said = "go on" if stop is None else f"wait since {when(stop.since.isoformat())}: {stop.why}"
    mend = "; ".join(dict.fromkeys(wait.mend for wait in waits))
    yield Finding("terminations", stop is None, said, mend, waits=stop is not None)
    for name, count, mend in (
        ("jobs to approve", found.approval, "orchestrator job list --state waiting_approval"),
        ("jobs in doubt", found.operator, "orchestrator job list --state needs_operator"),
        ("dead letters", found.dead_letters, "orchestrator event list --dead"),
        ("dead messages", found.dead_messages if config.settings.told else 0, "orchestrator message list --state dead"),
    ):
        yield Finding(name, count == 0, str(count or "none"), mend if count else "", waits=count > 0)


def _server(socket: Path) -> Finding:
    from orchestrator.cli.remote.client import Client, Target

    try:
        client = Client(Target(socket=str(socket)))
        try:
            ready = client.ready()
        finally:
            client.close()
    except Failure as exc:
        return Finding("controller", False, exc.message, exc.hint or _START)
    if not ready:
        return Finding("controller", False, "it runs, but takes no work", "see its log; is there room on the disk of state_dir?")
    return Finding("controller", True, "ready")
