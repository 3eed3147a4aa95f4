"""A new master key: killed at any line of it, everything still opens, and running it again finishes it."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from orchestrator import wiring
from orchestrator.domain.errors import OrchestratorError, PermanentDriverError, WrongState
from orchestrator.domain.services import Lifecycle, Service
from orchestrator.drivers.local.keys import LocalSecrets
from orchestrator.store import backups, services
from orchestrator.store.backup_book import key_context
from orchestrator.store.state_lock import take
from orchestrator.wiring.backups import backup_book
from tests.live import write_config
from tests.served import command

TARGETS = "{targets: [{name: main, location: /srv/backups}]}"
WATCHED = ("rotation.py", "files.py", "backup_book.py", "backups.py")


class Site:
    """A controller that does not run, with the keys of two repositories."""

    def __init__(self, directory: Path) -> None:
        write_config(directory, backups=TARGETS)
        self.directory = directory
        self.config = wiring.load_config(directory)
        wiring.init(self.config)
        self.state = self.config.settings.state_dir
        node = next(node.name for node in self.config.nodes if node.backups)
        with wiring.opened(self.config) as (db, clock):
            book = backup_book(self.config, db, LocalSecrets(self.state, {}), clock)
            for name in ("s1", "s2"):
                with db.write() as conn:
                    service = Service(id=name, client_id="c1", plan="vps-1", state=Lifecycle.ACTIVE, node=node)
                    services.put(conn, service, now=clock.now())
                book.begin(name, node=node)
        self.keys = self.opened()
        self.master = (self.state / "keys/master.key").read_bytes()
        self.public = LocalSecrets(self.state, {}).public_key()

    def opened(self, *, previous: bool = True) -> dict[str, bytes]:
        """Every repository's key, as a controller would open it now."""
        secrets = LocalSecrets(self.state, {}, previous=previous)
        with wiring.opened(self.config) as (db, _), db.read() as conn:
            known = backups.wrapped_keys(conn)
        return {
            f"{each.service_id}.{each.number}": secrets.unwrap(
                each.wrapped_key, context=key_context(each.service_id, each.number)
            )
            for each in known
        }

    def rotate(self) -> tuple[int, bool]:
        return wiring.rotate_master_key(self.config, who="test")

    def files(self) -> list[str]:
        return sorted(path.name for path in (self.state / "keys").iterdir() if path.is_file())

    def is_rotated(self) -> None:
        assert self.opened(previous=False) == self.keys
        assert LocalSecrets(self.state, {}, previous=False).public_key() == self.public
        assert (self.state / "keys/master.key").read_bytes() != self.master
        kept = ["desk.key", "desk.pem", "master.key", "signing.key", "signing.pub"]
        assert self.files() == kept, "nothing of the old one is left"


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_everything_opens_with_the_new_key_alone_and_the_old_one_is_gone(site: Site) -> None:
    assert site.rotate() == (2, False)
    site.is_rotated()
    assert all((path.stat().st_mode & 0o777) == 0o600 for path in (site.state / "keys").glob("*.key"))


def test_what_the_old_key_wrapped_does_not_open_any_more(site: Site) -> None:
    old = LocalSecrets(site.state, {}).wrap(b"x", context="c")
    site.rotate()
    with pytest.raises(PermanentDriverError):
        LocalSecrets(site.state, {}).unwrap(old, context="c")


def test_while_a_controller_runs_nothing_is_rotated(site: Site) -> None:
    with take(site.state), pytest.raises(WrongState, match="another controller"):
        site.rotate()
    assert site.opened() == site.keys
    assert (site.state / "keys/master.key").read_bytes() == site.master


def test_a_key_that_does_not_open_stops_it_and_nothing_is_lost(site: Site) -> None:
    with wiring.opened(site.config) as (db, _), db.write() as conn:
        whole = backups.generation(conn, "s2", 1).wrapped_key
        backups.rewrap(conn, "s2", 1, whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(OrchestratorError):
        site.rotate()
    assert "master.previous.key" in site.files(), "the old key is needed still"
    with wiring.opened(site.config) as (db, _), db.write() as conn:
        backups.rewrap(conn, "s2", 1, whole)
    assert site.opened() == site.keys
    assert site.rotate() == (2, True)
    site.is_rotated()


def killed_at(line: int, act: Callable[[], Any]) -> bool:
    """Do it in a process that is killed at the so-many-th line of the files watched; False: it came to its end before."""
    child = os.fork()
    if child == 0:
        left = [line]

        def trace(frame: FrameType, event: str, _arg: Any) -> Any:
            if not frame.f_code.co_filename.endswith(WATCHED) or "orchestrator" not in frame.f_code.co_filename:
                return None
            if event == "line":
                left[0] -= 1
                if left[0] == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
            return trace

        try:
            sys.settrace(trace)
            act()
            os._exit(0)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return True
    assert os.WEXITSTATUS(status) == 0, "it failed"
    return False


def test_killed_at_any_line_everything_opens_and_again_finishes_it(site: Site, whole_matrix: bool) -> None:
    lines, seen = 1, set()
    while killed_at(lines, site.rotate):
        seen.add(tuple(site.files()))
        assert site.opened() == site.keys, lines
        assert LocalSecrets(site.state, {}).public_key() == site.public, lines
        site.rotate()
        assert site.opened(previous=False) == site.keys, lines
        site.is_rotated()
        site.master = (site.state / "keys/master.key").read_bytes()
        lines += 1 if whole_matrix else 4
    assert lines > 60
    assert any("master.next.key" in names for names in seen)
    assert any("master.previous.key" in names for names in seen)


def test_the_command_says_what_it_did(site: Site) -> None:
    ran = command("--config", str(site.directory), "rotate-master-key")
    assert ran.returncode == 0, ran.stderr
    assert "2 repositories" in ran.stdout
    site.is_rotated()
