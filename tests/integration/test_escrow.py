"""The keys for the worst case: sealed or in clear, and with them restic alone brings a customer's files back."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from orchestrator import wiring
from orchestrator.domain.backups.words import GenerationState
from orchestrator.domain.errors import ConfigError, RequestError
from orchestrator.domain.services import Lifecycle, Service
from orchestrator.drivers.local import escrow
from orchestrator.drivers.local.keys import LocalSecrets
from orchestrator.drivers.restic import ResticRepositories
from orchestrator.ports.repositories import BackupSpec, DirectorySource
from orchestrator.store import audit, services
from orchestrator.store.backup_book import StoreBackupBook
from orchestrator.wiring.backups import backup_book
from tests.live import write_config
from tests.local_agent import LocalAgent
from tests.served import ORCHESTRATOR, Ran, command

PASSPHRASE = "correct horse battery staple"
NUMBERS = {8: "eight", 9: "nine", 10: "ten", 11: "eleven"}
DOCS = Path(__file__).parents[2] / "docs"


class Site:
    """A controller that does not run, and a customer's directory with a verified copy in a real repository."""

    def __init__(self, directory: Path) -> None:
        self.directory, self.kept = directory, directory / "kept"
        self.kept.mkdir()
        self.configs = write_config(
            directory / "configs",
            backups=f"{{targets: [{{name: main, location: {self.kept}}}]}}",
            state_dir=str(directory / "state"),
            socket="/run/nobody-listens.sock",  # no controller runs; the lab's directories are too deep for a socket
        )
        self.config = wiring.load_config(self.configs)
        wiring.init(self.config)
        self.passphrase = directory / "passphrase"
        self.passphrase.touch(mode=0o600)
        self.passphrase.write_text(PASSPHRASE + "\n")
        with self.book() as book:
            self.accesses = [book.access(book.begin(name, node="n1")) for name in ("s1", "s2")]

    @contextmanager
    def book(self) -> Iterator[StoreBackupBook]:
        with wiring.opened(self.config) as (db, clock):
            with db.write() as conn:
                for name in ("s1", "s2"):
                    service = Service(id=name, client_id="c1", plan="vps-1", state=Lifecycle.ACTIVE, node="n1")
                    services.put(conn, service, now=clock.now())
            yield backup_book(self.config, db, LocalSecrets(self.config.settings.state_dir, {}), clock)

    def run(self, *words: str) -> Ran:
        return command("--config", str(self.configs), "backup", *words)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


@pytest.mark.lab  # where restic is
def test_restic_alone_restores_from_the_escrow_when_the_controller_is_lost(site: Site, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "index.html").write_text("the customer's own")
    driver = ResticRepositories(LocalAgent(tmp_path / "node", []))
    driver.create(site.accesses[0], deadline=120.0)
    spec = BackupSpec(service_id="s1", job_id="j1", source=DirectorySource(str(home)))
    assert driver.backup(site.accesses[0], spec, deadline=120.0).whole
    sealed, clear = tmp_path / "escrow", tmp_path / "clear"
    assert site.run("export-keys", str(sealed), "--passphrase-file", str(site.passphrase)).returncode == 0
    assert site.run("export-keys", str(clear), "--in-clear").returncode == 0
    shutil.rmtree(site.config.settings.state_dir)
    shutil.rmtree(site.configs)
    shutil.rmtree(home)

    shown = command("backup", "show-escrow", str(sealed), "--passphrase-file", str(site.passphrase)).stdout
    told = command("backup", "show-escrow", str(clear), "--json").stdout
    assert json.loads(told)["repositories"][0]["service"] == "s1"
    for words in (shown, clear.read_text()):
        block = next(block for block in words.split("\n\n") if "service:    s1" in block)
        said = dict(re.split(r":\s+", line, maxsplit=1) for line in block.splitlines())
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path),
            "RESTIC_REPOSITORY": said["location"],
            "RESTIC_PASSWORD": said["key"],
        }
        back = tmp_path / "back"
        subprocess.run(["restic", "restore", "latest", "--target", str(back)], env=environment, check=True, capture_output=True)
        assert (back / "index.html").read_text() == "the customer's own"
        shutil.rmtree(back)


def test_every_repository_stands_in_it_with_its_own_key(site: Site) -> None:
    site.run("export-keys", str(site.directory / "clear"), "--in-clear")
    words = (site.directory / "clear").read_text()
    for access in site.accesses:
        assert f"location:   {access.location}\nkey:        {access.password}\n" in words


def test_one_that_was_destroyed_does_not(site: Site) -> None:
    with site.book() as book:
        book.mark("s1", 1, GenerationState.DESTROYED, why="the service has ended")
    site.run("export-keys", str(site.directory / "clear"), "--in-clear")
    assert site.accesses[0].password not in (site.directory / "clear").read_text()


def test_a_target_that_is_not_declared_any_more_hides_no_key(site: Site) -> None:
    main = site.configs / "orchestrator.yaml"
    main.write_text(main.read_text().replace("name: main", "name: other"))
    nodes = site.configs / "nodes.yaml"
    nodes.write_text(nodes.read_text().replace("backups: main", "backups: other"))
    assert site.run("export-keys", str(site.directory / "clear"), "--in-clear").returncode == 0
    words = (site.directory / "clear").read_text()
    assert site.accesses[0].password in words
    assert "the target 'main' is not declared any more" in words


def test_the_file_is_private_sealed_and_never_written_over(site: Site) -> None:
    file = site.directory / "escrow"
    ran = site.run("export-keys", str(file), "--passphrase-file", str(site.passphrase))
    before = file.read_bytes()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert not any(access.password.encode() in before for access in site.accesses)
    assert not any(access.password in ran.stdout + ran.stderr for access in site.accesses)
    again = site.run("export-keys", str(file), "--in-clear")
    assert (again.returncode, file.read_bytes()) == (2, before)
    assert "is there already" in again.stderr


def test_in_clear_is_warned_of_and_written_into_the_audit(site: Site) -> None:
    ran = site.run("export-keys", str(site.directory / "clear"), "--in-clear")
    assert "in clear" in ran.stderr
    assert "passphrase" not in ran.stdout + ran.stderr
    with wiring.opened(site.config) as (db, _), db.read() as conn:
        (entry,) = [each for each in audit.list_page(conn)[0] if each.what == "backup keys exported"]
    assert (entry.facts["repositories"], entry.facts["sealed"]) == (2, False)


def test_another_passphrase_or_a_changed_letter_opens_nothing() -> None:
    sealed = escrow.seal("key: 00", PASSPHRASE)
    assert escrow.unseal(sealed, PASSPHRASE) == "key: 00"
    form, parameters, body = sealed.splitlines()
    body = body[:5] + ("A" if body[5] != "A" else "B") + body[6:]
    for content, passphrase in ((sealed, PASSPHRASE + "s"), (f"{form}\n{parameters}\n{body}\n", PASSPHRASE)):
        with pytest.raises(ConfigError, match="does not open"):
            escrow.unseal(content, passphrase)


@pytest.mark.parametrize(
    "content", ["", "orchestrator-escrow-1\n", "orchestrator-escrow-1\n{}\nAAAA\n", "orchestrator-escrow-2\n{}\n"]
)
def test_what_is_no_escrow_file_is_told(content: str) -> None:
    with pytest.raises(ConfigError, match="no escrow file"):
        escrow.unseal(content, PASSPHRASE)


@pytest.mark.parametrize("content", ["", "# Notes of the cook\n", "service: s1\nkey: 00\n"])
def test_another_file_is_not_shown_as_an_escrow(tmp_path: Path, content: str) -> None:
    (tmp_path / "notes").write_text(content)
    ran = command("backup", "show-escrow", str(tmp_path / "notes"))
    assert (ran.returncode, ran.stdout) == (2, "")
    assert "this is no escrow file" in ran.stderr


def test_without_a_terminal_the_file_with_the_passphrase_is_asked_for(site: Site, tmp_path: Path) -> None:
    sealed = tmp_path / "sealed"
    sealed.write_text(escrow.seal("x", PASSPHRASE))
    for words in (("export-keys", str(tmp_path / "new")), ("show-escrow", str(sealed))):
        ran = subprocess.run(
            [*ORCHESTRATOR, "--config", str(site.configs), "backup", *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            start_new_session=True,  # nobody's terminal
            check=False,
        )
        assert (ran.returncode, ran.stderr) == (2, "orchestrator: no terminal to ask on: give --passphrase-file FILE\n"), (
            ran.stderr
        )
    assert not (tmp_path / "new").exists()


def test_a_short_passphrase_is_refused() -> None:
    with pytest.raises(RequestError, match="at least 12"):
        escrow.seal("x", "short")


def test_the_pages_own_lines_open_a_sealed_file_without_this_software(tmp_path: Path) -> None:
    told = (DOCS / "operate.md").read_text()
    (found,) = re.findall(r"```python\n(.*?) *```", (DOCS / "backups.md").read_text(), re.DOTALL)
    (tmp_path / "escrow").write_text(escrow.seal("key: 00\n", PASSPHRASE))
    program = textwrap.dedent(found).replace("getpass.getpass()", repr(PASSPHRASE))
    ran = subprocess.run(
        [sys.executable, "-I", "-c", program, str(tmp_path / "escrow")], capture_output=True, text=True, check=True
    )
    assert ran.stdout == "key: 00\n"
    lines = sum(1 for line in found.splitlines() if line.strip() and not line.lstrip().startswith("#"))
    assert f"has the {NUMBERS[lines]} lines of Python" in told
    assert "python3-cryptography" in told
