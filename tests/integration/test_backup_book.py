"""The book of backups over a real store: keys are random, wrapped for one repository, and gone when it is destroyed."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from orchestrator import wiring
from orchestrator.config.load import load
from orchestrator.domain.backups.targets import Target, Way
from orchestrator.domain.backups.words import Backup, BackupState, GenerationState, Share
from orchestrator.domain.errors import ConfigError, NotFound, PermanentDriverError, Refused, WrongState
from orchestrator.domain.plans import Node
from orchestrator.domain.services import Lifecycle, Service
from orchestrator.drivers.local.clock import SystemClock
from orchestrator.drivers.local.files import read_secret, read_trusted
from orchestrator.drivers.local.keys import LocalSecrets, init_keys
from orchestrator.ports.repositories import RunLimits
from orchestrator.store import backups, services
from orchestrator.store.backup_book import Places, StoreBackupBook
from orchestrator.store.database import Database
from orchestrator.wiring.backups import node_backups, run_limits

NOW = datetime(2026, 11, 27, tzinfo=UTC)
SHIPPED = Path(__file__).parents[2] / "configs"
NODE = Node(name="n1", zone="z1", address="192.0.2.1", backups="main")


class Site:
    """A book with two services, and targets that a test may change."""

    def __init__(self, db: Database, directory: Path) -> None:
        init_keys(directory / "state")
        self.db, self.directory = db, directory
        self.secrets = LocalSecrets(directory / "state", {})
        self.files = {name: self._file(name) for name in ("node", "keeper", "ssh")}
        with db.write() as conn:
            for name in ("s1", "s2"):
                service = Service(id=name, client_id="c1", plan="vps-1", state=Lifecycle.ACTIVE, node="n1")
                services.put(conn, service, now=NOW)
        way = Way(location="rest:https://backup.test:8000/", user="node", secret_file=self.files["node"])
        keeper = Way(location="rest:https://backup.test:8001/", user="keeper", secret_file=self.files["keeper"])
        self.target = Target(name="main", way=way, keeper=keeper)
        self.nodes = {"n1": NODE}

    def _file(self, name: str) -> Path:
        path = self.directory / name
        path.write_text(f"the {name}'s secret\n")
        path.chmod(0o600)
        return path

    @property
    def book(self) -> StoreBackupBook:
        places = Places(
            targets={self.target.name: self.target},
            nodes=self.nodes,
            secret=lambda path: read_secret(path, what="backups").decode(),
            trusted=lambda path: read_trusted(path, what="backups").decode(),
        )
        numbers = iter(range(1, 100))
        return StoreBackupBook(
            self.db, secrets=self.secrets, places=places, clock=SystemClock(), random=lambda count: bytes([next(numbers)] * count)
        )


@pytest.fixture
def site(db: Database, tmp_path: Path) -> Site:
    return Site(db, tmp_path)


def a_backup(number: int, **changes: Any) -> Backup:
    backup = Backup(id=f"b{number}", service_id="s1", job_id="j1", generation=1, begun_at=NOW, snapshot_id=f"snap{number}")
    return replace(backup, **changes)


def test_a_generation_gets_the_next_number_a_key_and_the_nodes_target(site: Site) -> None:
    book = site.book
    first, second = book.begin("s1", node="n1"), book.begin("s1", node="n1")
    assert [(each.number, each.target, each.state) for each in (first, second)] == [
        (1, "main", GenerationState.MADE),
        (2, "main", GenerationState.MADE),
    ]
    assert book.generations("s1") == (first, second)
    assert book.access(first).password == "01" * 32
    assert book.access(second).password == "02" * 32


def test_a_node_and_the_keeper_have_ways_of_their_own(site: Site) -> None:
    generation = site.book.begin("s1", node="n1")
    node, keeper = site.book.access(generation), site.book.access(generation, keeper=True)
    assert (node.location, node.user, node.secret) == ("rest:https://backup.test:8000/s1.1/", "node", "the node's secret")
    assert (keeper.location, keeper.user, keeper.secret) == (
        "rest:https://backup.test:8001/s1.1/",
        "keeper",
        "the keeper's secret",
    )
    assert node.password == keeper.password


def test_without_a_keeper_the_nodes_own_way_deletes(site: Site) -> None:
    site.target = replace(site.target, keeper=None)
    generation = site.book.begin("s1", node="n1")
    assert site.book.access(generation, keeper=True) == site.book.access(generation)


def test_ssh_files_are_handed_over_as_they_are(site: Site) -> None:
    known_hosts = site.directory / "known_hosts"
    known_hosts.write_text("[host]:22 ssh-ed25519 AAAA\n")
    known_hosts.chmod(0o644)
    way = Way(location="sftp:me@host:/srv", ssh_key_file=site.files["ssh"], ssh_known_hosts_file=known_hosts)
    site.target = Target(name="main", way=way)
    access = site.book.access(site.book.begin("s1", node="n1"))
    assert (access.location, access.ssh_key) == ("sftp:me@host:/srv/s1.1", "the ssh's secret\n")
    assert access.ssh_known_hosts == known_hosts.read_text()


@pytest.mark.parametrize(("name", "mode"), [("node", 0o640), ("node", 0o604), ("keeper", 0o666)])
def test_a_secret_that_others_can_use_is_not_used(site: Site, name: str, mode: int) -> None:
    generation = site.book.begin("s1", node="n1")
    site.files[name].chmod(mode)
    with pytest.raises(ConfigError) as caught:
        site.book.access(generation, keeper=name == "keeper")
    assert "secret" not in caught.value.message.replace(str(site.directory), "")
    assert caught.value.hint.startswith("chmod 600")


def test_host_keys_that_others_can_write_are_not_trusted(site: Site) -> None:
    known_hosts = site.directory / "known_hosts"
    known_hosts.write_text("host ssh-ed25519 AAAA\n")
    known_hosts.chmod(0o664)
    way = Way(location="sftp:me@host:/srv", ssh_key_file=site.files["ssh"], ssh_known_hosts_file=known_hosts)
    site.target = Target(name="main", way=way)
    with pytest.raises(ConfigError, match="0664"):
        site.book.access(site.book.begin("s1", node="n1"))


def test_no_key_stands_in_what_is_shown_or_kept(site: Site, db: Database) -> None:
    generation = site.book.begin("s1", node="n1")
    assert "01" * 32 not in repr(site.book.access(generation))
    assert "secret" not in repr(site.book.access(generation)).replace(str(site.directory), "")
    assert bytes([1] * 32) not in generation.wrapped_key
    assert b"01" * 32 not in generation.wrapped_key


@pytest.mark.parametrize(("service_id", "number"), [("s2", 1), ("s1", 2)])
def test_a_wrapped_key_opens_no_other_repository(site: Site, db: Database, service_id: str, number: int) -> None:
    book = site.book
    stolen = book.begin("s1", node="n1").wrapped_key
    while len(book.generations(service_id)) < number:
        book.begin(service_id, node="n1")
    with db.write() as conn:
        backups.rewrap(conn, service_id, number, stolen)
    with pytest.raises(PermanentDriverError):
        book.access(book.generations(service_id)[number - 1])


def test_a_destroyed_generation_has_no_key_any_more_whoever_asks(site: Site, db: Database) -> None:
    book = site.book
    generation = book.begin("s1", node="n1")
    book.mark("s1", 1, GenerationState.DESTROYED, why="the service has ended")
    for known in (generation, *book.generations("s1")):
        with pytest.raises(WrongState, match="was destroyed"):
            book.access(known)
    assert book.generations("s1")[0].wrapped_key == b""


def test_what_is_not_there_is_told(site: Site) -> None:
    book = site.book
    with pytest.raises(NotFound, match="no service s9"):
        book.begin("s9", node="n1")
    for mark in (
        lambda: book.mark_forgotten("s1", 1, ["x"]),
        lambda: book.mark_pruned("s1", 1),
        lambda: book.mark("s1", 1, GenerationState.DAMAGED, why="x"),
        lambda: book.mark("s1", 1, GenerationState.DESTROYED, why="x"),
    ):
        with pytest.raises(NotFound, match="no generation 1"):
            mark()
    assert book.generations("s9") == ()
    assert book.backups("s9") == ()


def test_a_node_without_a_target_or_with_one_on_itself_is_refused(site: Site) -> None:
    for nodes in ({}, {"n1": replace(NODE, backups="")}):
        site.nodes = nodes
        with pytest.raises(Refused, match="has no target"):
            site.book.begin("s1", node="n1")
    site.nodes = {"n1": NODE}
    site.target = replace(site.target, on_node="n1")
    with pytest.raises(Refused, match="on a disk of the node itself"):
        site.book.begin("s1", node="n1")
    assert site.book.generations("s1") == ()
    site.nodes = {"n1": replace(NODE, backups_on_own_node=True)}
    assert site.book.begin("s1", node="n1").number == 1


def test_a_target_that_is_not_declared_any_more_is_told_and_the_generation_is_not_taken_for_gone(site: Site) -> None:
    generation = site.book.begin("s1", node="n1")
    site.target = replace(site.target, name="other")
    with pytest.raises(ConfigError, match="no target for backups 'main'"):
        site.book.access(generation)


def test_backups_are_written_whole_and_marked(site: Site) -> None:
    book = site.book
    book.begin("s1", node="n1")
    for number in (1, 2):
        book.write(a_backup(number, state=BackupState.MADE, made_at=NOW))
    book.write(a_backup(2, state=BackupState.VERIFIED, verified_at=NOW, share=Share(number=3, of=9)))
    assert [(each.state, each.share) for each in book.backups("s1")] == [
        (BackupState.MADE, None),
        (BackupState.VERIFIED, Share(number=3, of=9)),
    ]
    assert book.mark_forgotten("s1", 1, ["snap1", "strange"]) == ("snap1",)
    assert book.mark_forgotten("s1", 1, ["snap1"]) == ("snap1",), "again"
    book.mark_pruned("s1", 1)
    first, second = book.backups("s1")
    assert (first.state, first.pruned_at is not None, second.state) == (BackupState.FORGOTTEN, True, BackupState.VERIFIED)
    book.mark("s1", 1, GenerationState.DAMAGED, why="a pack is gone")
    assert (book.generations("s1")[0].state, book.generations("s1")[0].why) == (GenerationState.DAMAGED, "a pack is gone")


def configured(directory: Path) -> Path:
    """The shipped configuration with a target of this very machine for hv1."""
    configs = Path(shutil.copytree(SHIPPED, directory / "configs"))
    (configs / "orchestrator.yaml").write_text(
        "provider: Example\nstate_dir: state\n"
        "backups: {targets: [{name: main, location: 'rest:http://127.0.0.1:8000/', user: node, secret_file: secret}],\n"
        "  opens: '22:00', closes: '06:00', upload: 1 MiB/s, io_priority: -1}\n"
    )
    nodes = (configs / "nodes.yaml").read_text()
    named = "  - name: hv1\n    backups: main\n    backups_at_once: 3\n"
    (configs / "nodes.yaml").write_text(nodes.replace("  - name: hv1\n", named))
    (configs / "secret").write_text("xyzzy\n")
    (configs / "secret").chmod(0o600)
    return configs


def test_the_engine_is_told_of_the_nodes_that_have_a_target(tmp_path: Path) -> None:
    config = load(configured(tmp_path))
    (name, offered), *others = node_backups(config).items()
    assert (name, others) == ("hv1", [])
    assert (offered.target, offered.at_once, offered.hours.bounds) == ("main", 3, (22 * 60, 30 * 60))
    assert run_limits(config) == RunLimits(upload_kib=1024, io_priority=-1)


def test_a_controller_does_not_start_without_its_targets_secrets(tmp_path: Path) -> None:
    configs = configured(tmp_path)
    wiring.init(wiring.load_config(configs))
    built = wiring.build(wiring.load_config(configs))
    assert set(built.catalog.backups) == {"hv1"}
    built.stop()
    (configs / "secret").chmod(0o644)
    with pytest.raises(ConfigError, match="can be used by other users") as caught:
        wiring.build(wiring.load_config(configs))
    assert "xyzzy" not in str(caught.value)
