"""The controller's own state: copied by restic, and brought back with nothing but repository and key."""

from __future__ import annotations

import getpass
import json
import os
import shutil
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from orchestrator import wiring
from orchestrator.domain.backups.words import Backup, BackupState
from orchestrator.domain.errors import ConfigError, WrongState
from orchestrator.domain.services import Lifecycle, Service
from orchestrator.drivers.local.keys import LocalSecrets
from orchestrator.drivers.local.state_files import checked
from orchestrator.store import audit, services, settings
from orchestrator.wiring.backups import backup_book
from tests.certificates import certificate_for
from tests.integration.restic_ground import processes
from tests.lab.daemons import wait_until
from tests.live import write_config
from tests.restic_runs import flip
from tests.served import ORCHESTRATOR, Ran, command, free_port

pytestmark = pytest.mark.lab  # where restic is

KEY = "a key that the operator keeps in a safe"
NAMES = ("s1", "s2")
PAIR = certificate_for("controller.example")
OUTSIDE = {"outside": "an outside secret", "certificate": PAIR.certificate.strip(), "private-key": PAIR.key.strip()}


class Site:
    """A configuration with copies of its own state on this machine, and two services with keys of their own."""

    def __init__(self, directory: Path, *, keep: int = 2) -> None:
        self.directory, self.kept, self.safe = directory, directory / "kept", directory / "safe"
        self.kept.mkdir()
        self.safe.mkdir(mode=0o700)
        self.key = secret(self.safe / "key", KEY)
        self.configs = directory / "configs"
        self.configs.mkdir()
        secret(self.configs / "state-key", KEY)
        for name, said in OUTSIDE.items():
            secret(directory / name, said)
        way = f"{{name: main, location: {self.kept}}}"
        odd = f"{{name: odd, location: 'rest:http://127.0.0.1:9/', user: u, secret_file: {directory}/outside}}"
        rule = f"{{target: main, key_file: state-key, keep: {keep}, on_own_machine: true}}"
        write_config(
            self.configs,
            backups=f"{{targets: [{way}, {odd}], state: {rule}}}",
            tls=f"{{certificate_file: {directory}/certificate, key_file: {directory}/private-key}}",
            listen=f"127.0.0.1:{free_port()}",
            state_dir=str(directory / "state"),
            socket=str(directory / "api.sock") if len(str(directory)) < 90 else "/run/nobody-listens.sock",
        )
        self.config = wiring.load_config(self.configs)
        wiring.init(self.config)
        self.state = self.config.settings.state_dir
        self.passwords = self._services()

    def _services(self) -> dict[str, str]:
        with wiring.opened(self.config) as (db, clock):
            with db.write() as conn:
                for name in NAMES:
                    service = Service(id=name, client_id="c1", plan="small", state=Lifecycle.ACTIVE, node="n1")
                    services.put(conn, service, now=clock.now())
                    audit.append(conn, at=clock.now(), who="test", what="service made", service_id=name)
            book = backup_book(self.config, db, LocalSecrets(self.state, {}), clock)
            return {name: book.access(book.begin(name, node="n1")).password for name in NAMES}

    def run(self, *words: str) -> Ran:
        return command("--config", str(self.configs), *words)

    def back_up(self) -> Backup:
        return wiring.back_up_state(self.config, who="test")

    @property
    def repository(self) -> Path:
        return self.kept / "_controller.1"

    def restore(self, into: Path, *words: str) -> Ran:
        where = ("--repository", str(self.repository), "--key-file", str(self.key), "--into", str(into))
        return command("state", "restore", *where, *words)

    def held(self) -> list[str]:
        ran = command("state", "list", "--repository", str(self.repository), "--key-file", str(self.key), "--json")
        assert ran.returncode == 0, ran.stderr
        return [row["snapshot"] for row in json.loads(ran.stdout)["items"]]


def secret(path: Path, content: str) -> Path:
    path.touch(mode=0o600)
    path.write_text(content + "\n")
    return path


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


@pytest.mark.timeout(300)
def test_a_lost_controller_comes_back_with_nothing_but_the_repository_and_its_key(site: Site, tmp_path: Path) -> None:
    with wiring.opened(site.config) as (db, clock), db.write() as conn:
        settings.put(conn, settings.TURNS, 7, now=clock.now())  # a controller has run on it
        settings.put(conn, settings.LOOKED_AT, clock.now().isoformat(), now=clock.now())
    made = site.run("state", "backup")
    assert made.returncode == 0, made.stderr
    assert not (site.state / "state-copy").exists(), "what was staged is gone"
    with wiring.opened(site.config) as (db, _), db.read() as conn:
        head = audit.list_page(conn)[0][1].hash  # the last but one: the copy is written down after it was made
    escrow = tmp_path / "escrow"
    assert site.run("backup", "export-keys", str(escrow), "--in-clear").returncode == 0
    shutil.rmtree(site.state)
    shutil.rmtree(site.configs)
    for name in OUTSIDE:
        (tmp_path / name).unlink()

    told = json.loads(command("backup", "show-escrow", str(escrow), "--json").stdout)["repositories"]
    (own,) = [block for block in told if block["service"] == "_controller"]
    key = secret(tmp_path / "from-the-safe", own["key"])
    back = tmp_path / "back"
    ran = command("state", "restore", "--repository", own["location"], "--key-file", str(key), "--into", str(back), "--json")
    assert ran.returncode == 0, ran.stderr
    said = json.loads(ran.stdout)
    assert (said["config_dir"], said["state_dir"]) == (str(site.configs), str(site.state))
    assert said["audit_head"] == head
    again = site.restore(back)
    assert (again.returncode, "is left as it is" in again.stderr) == (2, True), again.stderr
    for path in (back / "config", back / "state", back / "state/keys"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700, path
    kept = [(path, path.stat().st_mode) for path in (Path("/"), *tmp_path.parents, tmp_path)]
    *lines, serve = (line.replace("USER", getpass.getuser()) for line in said["commands"])
    subprocess.run(["sh", "-e", "-c", "\n".join(lines)], check=True)
    assert serve.startswith("systemctl set-environment ORCHESTRATOR_FROZEN=1 && systemctl start")
    assert [(path, path.stat().st_mode) for path, _ in kept] == kept, "what is the machine's own is as it was"
    assert {name: (tmp_path / name).read_text().strip() for name in OUTSIDE} == OUTSIDE

    config = wiring.load_config(site.configs)
    with wiring.opened(config) as (db, clock):
        book = backup_book(config, db, LocalSecrets(config.settings.state_dir, {}), clock)
        assert {name: book.access(book.generations(name)[0]).password for name in NAMES} == site.passwords
        with db.read() as conn:
            assert audit.verify_chain(conn, head=head).ok
            assert settings.freeze(conn) is not None, "a copy is frozen by itself"
    (back / "state" / "keys" / "master.key").write_text("x")
    with pytest.raises(ConfigError, match=r"not whole: state/keys/master.key"):
        checked(back)
    other = secret(tmp_path / "other", "another key, long enough")
    refused = site.restore(tmp_path / "elsewhere", "--key-file", str(other))
    assert refused.returncode != 0
    assert "long enough" not in refused.stderr
    assert not (tmp_path / "elsewhere").exists()
    served = subprocess.Popen(
        [*ORCHESTRATOR, "--config", str(site.configs), "serve", "--frozen"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until("the controller", lambda: config.settings.socket.exists())
        shown = command("--socket", str(config.settings.socket), "freeze", "show", "--json")
        assert json.loads(shown.stdout)["frozen"] is True
        waits = json.loads(command("--socket", str(config.settings.socket), "terminations", "show", "--json").stdout)
        assert "restored" in [wait["reason"] for wait in waits["waits"]], "what destroys waits until payments are known"
    finally:
        served.terminate()
        served.wait(30)


@contextmanager
def slow(site: Site) -> Iterator[subprocess.Popen[str]]:
    """A copy that takes longer than any test waits, in a process of its own, when restic is at work."""
    main = site.configs / "orchestrator.yaml"
    was = main.read_text()
    main.write_text(was.replace("backups: {", "backups: {upload: 20 KiB/s, "))
    (site.configs / "notes").write_bytes(os.urandom(4 << 20))
    with (site.directory / "slow.err").open("w") as err:
        words = [*ORCHESTRATOR, "--config", str(site.configs), "state", "backup"]
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=err, text=True)
        try:
            wait_until("restic", lambda: any(_making(site)))
            yield process
        finally:
            process.kill()
            process.wait()
            main.write_text(was)
            (site.configs / "notes").unlink()


def _making(site: Site) -> list[int]:
    return processes(lambda words: b"backup" in words and os.fsencode(site.repository) in words)


def test_killed_while_it_runs_the_last_one_stands_and_the_next_takes_all_away(site: Site) -> None:
    first = site.back_up()
    with slow(site) as process:
        with pytest.raises(WrongState, match="already"):
            site.back_up()
        assert (site.state / "state-copy").exists()
        process.kill()
        process.wait()
        wait_until("the end of restic", lambda: not _making(site))
    assert site.held() == [first.snapshot_id]
    assert site.restore(site.directory / "back").returncode == 0
    second = site.back_up()
    assert site.held() == [second.snapshot_id, first.snapshot_id]
    assert not (site.state / "state-copy").exists()
    states = [each.state for each in wiring.state_copies(site.config)]
    assert states == [BackupState.VERIFIED, BackupState.FAILED, BackupState.VERIFIED]


def test_after_damage_the_newest_is_found_by_the_target_alone_and_the_old_one_goes_by_the_rule(tmp_path: Path) -> None:
    site = Site(tmp_path, keep=1)
    where = ("--repository", str(site.kept), "--key-file", str(site.key))
    nothing = command("state", "list", *where)
    assert (nothing.returncode, "no _controller.1" in nothing.stderr) == (3, True), nothing.stderr
    first = site.back_up()
    for pack in site.repository.glob("data/*/*"):
        flip(pack)
    failed = site.run("state", "backup")
    assert failed.returncode != 0
    assert "the next run begins a new one" in failed.stderr
    last = site.back_up()
    assert (last.generation, site.repository.exists()) == (2, False), "one is kept, and it is verified in the new one"
    shutil.copytree(site.kept / "_controller.2", site.repository)
    (site.repository / "config").write_bytes(b"no config")
    listed = command("state", "list", *where, "--json")
    rows = json.loads(listed.stdout)["items"]
    newest = str(site.kept / "_controller.2")
    assert [(row["snapshot"], row["repository"]) for row in rows] == [(last.snapshot_id, newest)], listed.stderr
    assert rows[0]["taken_at"].endswith("Z")
    assert [bool(each["problem"]) for each in json.loads(listed.stdout)["repositories"]] == [False, True]
    ran = command("state", "restore", *where, "--into", str(tmp_path / "back"))
    assert ran.returncode == 0, ran.stderr
    assert first.snapshot_id != last.snapshot_id


def test_a_target_that_is_not_mounted_gets_no_new_repository(site: Site) -> None:
    first = site.back_up()
    site.kept.rename(site.directory / "away")
    ran = site.run("state", "backup")
    assert f"the target {site.kept} is not there: is it mounted?" in ran.stderr
    assert (ran.returncode != 0, site.kept.exists()) == (True, False)
    (site.directory / "away").rename(site.kept)
    second = site.back_up()
    assert (second.generation, site.held()) == (1, [second.snapshot_id, first.snapshot_id])
