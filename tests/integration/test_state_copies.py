"""The copies of the controller's own state over simulated repositories: how many are kept, what follows damage and loss."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from orchestrator import wiring
from orchestrator.api.scrape import Scrape
from orchestrator.cli.local.doctor import Finding, examine
from orchestrator.domain.backups.state import SUBJECT, HeldCopy, Manifest
from orchestrator.domain.backups.words import Backup, BackupState, GenerationState
from orchestrator.domain.errors import (
    ConfigError,
    NotFound,
    OrchestratorError,
    PermanentDriverError,
    Refused,
    TransientDriverError,
    WrongState,
)
from orchestrator.drivers.fake.directories import put_file
from orchestrator.drivers.fake.repositories import FakeRepositories, damage
from orchestrator.drivers.fake.world import FakeWorld
from orchestrator.drivers.local import postgres
from orchestrator.drivers.local.clock import SystemClock
from orchestrator.drivers.local.state_files import LocalStateFiles
from orchestrator.engine.state_copy import StateCopying
from orchestrator.store import audit, settings
from orchestrator.store.copying import copy_sqlite, ends
from orchestrator.store.database import Database
from orchestrator.store.state_copies import all_copies, generations, state_copies
from orchestrator.wiring.controller import Controller
from tests.live import write_config
from tests.postgres import PASSWORD, databases
from tests.served import ORCHESTRATOR, command
from tests.store_files import drop_database

NODE = "n1"
REPOSITORY = "/srv/kept/_controller.1"
STAGED = ("MANIFEST.json", "state/orchestrator.sqlite")


class Wound(SystemClock):
    """The machine's clock, put forward."""

    ahead = timedelta(0)

    def now(self) -> datetime:
        return super().now() + self.ahead


class Site:
    """A controller that does not serve, whose copies go to a simulated repository."""

    def __init__(self, directory: Path, *, keep: int = 2) -> None:
        self.configs, self.clock = directory / "configs", Wound()
        self.configs.mkdir()
        self.key = self.configs / "state-key"
        self.key.touch(mode=0o600)
        self.key.write_text("a key that the operator keeps in a safe\n")
        rule = f"{{target: main, key_file: state-key, keep: {keep}, on_own_machine: true}}"
        write_config(
            self.configs,
            backups=f"{{targets: [{{name: main, location: /srv/kept}}], state: {rule}}}",
            state_dir=str(directory / "state"),
        )
        self.config = wiring.load_config(self.configs)
        wiring.init(self.config)
        self.state = self.config.settings.state_dir
        self.world = FakeWorld(directory / "world.json")
        self.world.add_node(NODE)
        for name in STAGED:  # the simulated directory; what is really staged there is the files' own
            put_file(self.world, NODE, str(self.state / "state-copy"), name, "x")
        self.controller = self.opened()

    def opened(self) -> Controller:
        return wiring.build(self.config, clock=self.clock)

    @property
    def copying(self) -> StateCopying:
        made = self.controller.state
        assert made is not None
        there = FakeRepositories(self.world, NODE, clock=self.clock)
        return replace(made, ports=replace(made.ports, repositories=lambda _: there, keeper=there))

    def make(self) -> Backup:
        self.clock.ahead += timedelta(days=1)
        return self.copying.make("test")

    def rows(self) -> tuple[Backup, ...]:
        with self.controller.db.read() as conn:
            return all_copies(conn)

    def states(self) -> dict[str, BackupState]:
        return {each.snapshot_id: each.state for each in self.rows()}

    def held(self) -> set[str]:
        found: set[str] = set()
        with self.controller.db.read() as conn:
            known = generations(conn)
        for each in (each for each in known if each.stands):
            access = self.copying.ports.book.access(each)
            there = self.copying.ports.repositories(NODE)
            found |= {snapshot.id for snapshot in there.snapshots(access, deadline=1.0)}
        return found

    def told(self) -> tuple[HeldCopy, ...]:
        given = self.config.settings.backups
        with self.controller.db.read() as conn:
            return state_copies(conn, given.targets, given.state, now=self.clock.now())


@pytest.fixture
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    made = Site(tmp_path_factory.mktemp("s"))  # a socket's path is short
    yield made
    made.controller.close()


def test_so_many_are_kept_and_each_reads_another_part(site: Site) -> None:
    made = [site.make() for _ in range(4)]
    assert {each.state for each in made} == {BackupState.VERIFIED}
    assert site.held() == {made[2].snapshot_id, made[3].snapshot_id}
    rows = {each.id: each for each in site.rows()}
    assert [rows[each.id].state for each in made] == [*[BackupState.FORGOTTEN] * 2, *[BackupState.VERIFIED] * 2]
    assert all(rows[each.id].pruned_at is not None for each in made[:2])
    assert len({str(each.share) for each in made}) == 4


def test_what_is_still_held_is_told_with_the_day_on_which_it_goes(site: Site) -> None:
    _, second, third = (site.make() for _ in range(3))
    last, every = third.made_at, timedelta(days=1)
    assert last is not None
    assert [(each.id, each.target, each.location, each.expires_at) for each in site.told()] == [
        (second.id, "main", REPOSITORY, last + every),
        (third.id, "main", REPOSITORY, last + 2 * every),
    ]


def test_damage_begins_a_new_repository_and_the_old_one_goes_when_as_many_stand_in_it(site: Site) -> None:
    first = site.make()
    damage(site.world, REPOSITORY, first.snapshot_id)
    with pytest.raises(PermanentDriverError, match="damaged"):
        site.make()
    assert first.snapshot_id in site.held()
    second = site.make()
    assert (second.generation, first.snapshot_id in site.held()) == (2, True)
    third = site.make()
    assert site.held() == {second.snapshot_id, third.snapshot_id}
    with site.controller.db.read() as conn:
        assert [each.state for each in generations(conn)] == [GenerationState.DESTROYED, GenerationState.MADE]
    assert [each.id for each in site.told()] == [second.id, third.id]


def test_damage_is_counted_and_told_and_no_copy_in_it_is_relied_on(site: Site) -> None:
    first = site.make()
    assert (_doctor(site).ok, _damaged(site)) == (True, (0, True))
    damage(site.world, REPOSITORY, first.snapshot_id)
    with pytest.raises(PermanentDriverError, match="damaged") as caught:
        site.make()
    assert "the next run begins a new one" in caught.value.hint
    found = _doctor(site)
    assert (found.ok, _damaged(site)) == (False, (1, False))
    assert "all are in _controller.1, which is damaged" in found.found
    assert found.mend == "orchestrator state backup begins a new one"
    ran = command("--config", str(site.configs), "state", "list")
    assert "_controller.1 is damaged: " in ran.stderr
    told = json.loads(command("--config", str(site.configs), "state", "list", "--json").stdout)
    assert [(each["repository"], each["state"]) for each in told["repositories"]] == [("_controller.1", "damaged")]
    assert {each["repository"] for each in told["items"]} == {"_controller.1"}
    assert all(each["begun_at"].endswith("Z") for each in told["items"])
    site.make()
    assert (_doctor(site).ok, _damaged(site)) == (True, (1, True))
    site.make()
    assert _damaged(site) == (0, True), "as many as are kept are verified in the new one, and the old one is gone"


def test_after_damage_the_next_one_is_due_in_an_hour(site: Site) -> None:
    first = site.make()
    damage(site.world, REPOSITORY, first.snapshot_id)
    copying = site.copying
    with pytest.raises(PermanentDriverError):
        copying.make("test")
    assert copying.once() is None
    site.clock.ahead += timedelta(hours=1)
    made = copying.once()
    assert made is not None, "the one of today cannot be relied on"
    assert made.generation == 2


def test_a_repository_that_is_not_found_is_said_and_one_given_up_is_not_looked_for(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    first = site.make()
    with site.world.change() as state:
        state["repositories"].clear()
    second = site.make()
    assert f"repository {REPOSITORY} was not found; began /srv/kept/_controller.2" in caplog.text
    copying = site.copying
    assert copying.give_up(1, who="test", why="scrapped", last=False).state == GenerationState.GIVEN_UP
    with pytest.raises(Refused, match="given-up already"):
        copying.give_up(1, who="test", why="scrapped", last=True)
    with pytest.raises(Refused, match="no other repository has a verified copy"):
        copying.give_up(2, who="test", why="scrapped", last=False)
    with pytest.raises(NotFound, match=r"_controller\.3"):
        copying.give_up(3, who="test", why="scrapped", last=False)
    with copying.files.alone(), pytest.raises(WrongState, match="already"):
        copying.give_up(2, who="test", why="scrapped", last=True)
    left = {each.id: each.expires_at for each in site.told()}
    assert left[first.id] is None, "it is not called gone, for its key still opens it"
    assert left[second.id] is not None
    with site.controller.db.read() as conn:
        given_up = [each for each in audit.list_page(conn)[0] if each.what == "state backups given up"]
    assert [each.facts["generation"] for each in given_up] == [1]


def test_while_its_target_is_not_there_nothing_is_begun(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.make()

    def missing(*_args: object, **_asked: object) -> None:
        raise TransientDriverError("the target /srv/kept is not there: is it mounted?", reason="no-target")

    monkeypatch.setattr(FakeRepositories, "snapshots", missing)
    with pytest.raises(TransientDriverError, match="mounted"):
        site.make()
    with site.controller.db.read() as conn:
        assert [each.state for each in generations(conn)] == [GenerationState.MADE]


def test_the_controller_is_given_up_by_its_own_command() -> None:
    ran = command("backup", "give-up", "_controller", "1", "--reason", "scrapped")
    assert (ran.returncode, "orchestrator state give-up 1" in ran.stderr) == (2, True), ran.stderr


def test_a_failure_is_said_once(site: Site) -> None:
    words = [*ORCHESTRATOR, "--config", str(site.configs), "state", "backup"]
    with site.copying.files.alone():
        ran = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr.count("is being copied already")) == (3, 1), ran.stderr


def _doctor(site: Site) -> Finding:
    (found,) = [each for each in examine(site.configs) if each.name == "backups of itself"]
    return found


def _damaged(site: Site) -> tuple[int, bool]:
    """How many damaged repositories are counted, and whether a copy is told that one may rely on."""
    c = site.controller
    seen = Scrape(c.db, catalog=c.catalog, addresses=c.addresses, clock=c.clock).snapshot()
    return seen.repositories_damaged, seen.state_copied_at is not None


def test_copies_that_a_lost_store_had_made_are_known_again_and_none_goes_before_its_time(site: Site, tmp_path: Path) -> None:
    first = site.make()
    with site.copying.files.staged() as directory:
        shutil.copytree(directory / "state", tmp_path / "back")
    second = site.make()
    site.controller.close()
    shutil.rmtree(site.state)
    shutil.copytree(tmp_path / "back", site.state)
    site.controller = site.opened()

    assert second.snapshot_id not in site.states()
    third = site.make()
    assert site.held() == {second.snapshot_id, third.snapshot_id}
    assert site.states() == {
        first.snapshot_id: BackupState.FORGOTTEN,
        second.snapshot_id: BackupState.VERIFIED,
        third.snapshot_id: BackupState.VERIFIED,
    }


def test_one_is_made_when_it_is_due_and_one_that_failed_is_tried_an_hour_later(site: Site) -> None:
    copying = site.copying
    assert copying.once() is not None
    assert copying.once() is None
    site.clock.ahead = timedelta(days=1, minutes=1)
    site.key.chmod(0o644)
    with pytest.raises(ConfigError):
        copying.once()
    site.key.chmod(0o600)
    assert copying.once() is not None, "nothing was begun with a key that cannot be used"
    site.clock.ahead += timedelta(days=1)
    access = copying.ports.book.access(copying.ports.book.generations(SUBJECT)[0])
    site.world.fault("repositories.backup", node=NODE, error=PermanentDriverError("no disk"))
    with pytest.raises(PermanentDriverError):
        copying.once()
    assert access.location == REPOSITORY
    assert copying.once() is None
    site.clock.ahead += timedelta(hours=1)
    assert copying.once() is not None


def test_a_copy_that_fails_is_in_the_audit_and_the_ones_before_stand(site: Site) -> None:
    first = site.make()
    site.world.fault("repositories.backup", node=NODE, error=PermanentDriverError("no disk"))
    with pytest.raises(PermanentDriverError):
        site.make()
    assert site.held() == {first.snapshot_id}
    with site.controller.db.read() as conn:
        last = audit.list_page(conn)[0][0]
    assert (last.what, last.facts["problem"]) == ("state backup failed", "no disk")


def test_one_that_is_not_whole_goes_with_the_next_that_is_and_stays_told_as_that(site: Site) -> None:
    staged = str(site.state / "state-copy")
    put_file(site.world, NODE, staged, "another", "x", unreadable=True)
    with pytest.raises(PermanentDriverError):
        site.make()
    (left,) = site.held()
    put_file(site.world, NODE, staged, "another", "x")
    good = site.make()
    assert site.held() == {good.snapshot_id}
    (row,) = [each for each in site.rows() if each.snapshot_id == left]
    assert (row.state, row.forgotten_at is not None, row.pruned_at is not None) == (BackupState.PARTIAL, True, True)


def test_what_a_killed_process_left_staged_is_emptied_unless_another_works_on_it(site: Site) -> None:
    left = site.state / "state-copy"
    left.mkdir(mode=0o700)
    (left / "orchestrator.sqlite").write_text("x")
    site.copying.once()
    assert not left.exists()
    with site.copying.files.staged():
        site.copying.files.clear()
        assert (left / "MANIFEST.json").exists()
        with pytest.raises(WrongState, match="already"), site.copying.files.staged():
            pass
    assert not left.exists()


def test_what_is_staged_is_private_and_whole(site: Site) -> None:
    (site.configs / "dangling").symlink_to("/nowhere")
    (site.configs / "plans" / "round").symlink_to("..")
    with site.copying.files.staged() as directory:
        assert directory.stat().st_mode & 0o077 == 0
        names = {str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file()}
        for name in ("config/state-key", "state/keys/master.key"):
            assert (directory / name).stat().st_mode & 0o077 == 0
    assert {"config/orchestrator.yaml", "config/plans/small.yaml", "config/secrets/newest", "state/keys/signing.pub"} <= names
    assert "config/dangling" not in names
    assert not [name for name in names if "-wal" in name or "deadline-turns" in name]


def test_a_master_key_that_changes_while_the_database_is_copied_spoils_no_copy(site: Site) -> None:
    files = site.copying.files
    assert isinstance(files, LocalStateFiles)
    inner = files._copy_database

    def rotating(directory: Path, about: Manifest) -> Manifest:
        copied = inner(directory, about)
        wiring.rotate_master_key(site.config, who="test")
        return copied

    files._copy_database = rotating
    with pytest.raises(WrongState, match="keys were changed"), files.staged():
        pass
    files._copy_database = inner
    with files.staged() as directory:
        assert (directory / "state/keys/master.key").read_bytes() == (site.state / "keys/master.key").read_bytes()


def test_what_is_staged_is_found_where_it_really_is(site: Site, tmp_path: Path) -> None:
    real = tmp_path / "elsewhere"
    site.controller.close()
    site.state.rename(real)
    site.state.symlink_to(real)
    site.controller = site.opened()
    with site.copying.files.staged() as directory:
        assert directory == real / "state-copy"


def test_the_password_of_a_bmc_is_staged_with_the_rest(site: Site, tmp_path: Path) -> None:
    secret = tmp_path / "bmc"
    secret.touch(mode=0o600)
    secret.write_text("a password\n")
    reached = f"bmc: https://192.0.2.1, bmc_user: u, bmc_secret_file: {secret}"
    (site.configs / "machines.yaml").write_text(f"machines: [{{name: r1, zone: z1, class: c, {reached}}}]\n")
    site.controller.close()
    site.config = wiring.load_config(site.configs)
    site.controller = site.opened()
    with site.copying.files.staged() as directory:
        assert (directory / "elsewhere" / str(secret).lstrip("/")).read_text() == "a password\n"


def test_a_controller_that_stops_ends_a_copy_under_way(site: Site) -> None:
    halting = threading.Event()
    halting.set()
    assert replace(site.copying, halting=halting).once() is None
    assert [each.state for each in site.rows()] == [BackupState.FAILED]


def test_no_service_is_written_among_the_copies_of_the_controller(site: Site) -> None:
    with pytest.raises(Refused):
        site.copying.ports.book.backups("s1")


def test_the_copy_is_of_one_moment_whatever_is_written_meanwhile_and_holds_nothing_deleted(site: Site, tmp_path: Path) -> None:
    marker, db, now = "a-key-that-was-destroyed", site.controller.db, site.clock.now()
    raw = sqlite3.connect(str(db.url.database))
    raw.execute("PRAGMA secure_delete = OFF")  # Debian's SQLite has it on; not every one has
    raw.execute("CREATE TABLE gone AS SELECT ? AS x", (marker * 2000,))
    raw.execute("DROP TABLE gone")
    raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    raw.close()
    assert marker.encode() in Path(str(db.url.database)).read_bytes()
    with db.write() as conn:
        before = audit.append(conn, at=now, who="test", what="before")
    with db.write() as conn:
        audit.append(conn, at=now, who="test", what="not committed yet")
        copied = copy_sqlite(db, tmp_path / "copy.sqlite", now=now)
    assert copied.audit_head == before.hash
    assert marker.encode() not in (tmp_path / "copy.sqlite").read_bytes()
    assert [path.name for path in tmp_path.glob("copy.sqlite*")] == ["copy.sqlite"]


def test_a_copy_is_frozen_by_itself(site: Site) -> None:
    with site.copying.files.staged() as directory:
        url = f"sqlite:///{directory}/state/orchestrator.sqlite"
        copy = wiring.opened(replace(site.config, settings=replace(site.config.settings, database_url=url)))
        with copy as (db, _), db.read() as conn:
            frozen = settings.freeze(conn)
    assert frozen is not None
    assert "copy" in frozen.why
    with site.controller.db.read() as conn:
        assert settings.freeze(conn) is None


def test_without_pg_dump_a_database_of_postgresql_is_refused_with_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "_PATH", str(tmp_path))
    with pytest.raises(PermanentDriverError, match="no pg_dump") as caught:
        postgres.dump("postgresql://nobody@localhost:1/none", tmp_path / "dump")
    assert "postgresql-client" in caught.value.hint


def test_what_pg_dump_says_is_told(tmp_path: Path) -> None:
    with pytest.raises(OrchestratorError, match="pg_dump"):
        postgres.dump("postgresql://nobody@127.0.0.1:1/none", tmp_path / "dump")


def test_a_database_of_postgresql_is_copied_with_its_password_and_can_be_brought_back(tmp_path: Path) -> None:
    db, empty = Database(databases().launched()), Database(databases().empty())
    now = SystemClock().now()
    with db.write() as conn:
        before = audit.append(conn, at=now, who="test", what="before")
    postgres.dump(db.plain_url(), tmp_path / "dump", password=db.url.password or "")
    assert (tmp_path / "dump").stat().st_mode & 0o077 == 0
    words = ["pg_restore", "--clean", "--if-exists", "--no-owner", f"--dbname={empty.plain_url()}", str(tmp_path / "dump")]
    done = subprocess.run(words, env={**os.environ, "PGPASSWORD": PASSWORD}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert empty.migrated()
    with empty.read() as conn:
        assert ends(conn).audit_head == before.hash
    drop_database(db)
    drop_database(empty)
